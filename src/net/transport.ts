/**
 * The checksums of UDP (RFC 768) and TCP (RFC 9293), which cover a pseudo
 * header made of the addresses of the IP header before them.
 *
 * @module
 */

import { readU16, writeU16 } from "./bytes.ts";
import { internetChecksum } from "./checksum.ts";
import { IP_PROTOCOL } from "./ipv4.ts";

/** Where UDP and TCP keep their checksums, from their first octet. */
const CHECKSUM_OFFSET_UDP = 6;
const CHECKSUM_OFFSET_TCP = 16;

/**
 * Computes and stores the checksum of a UDP datagram or TCP segment.
 *
 * A UDP checksum that comes out as 0 is stored as 0xffff, because 0 means "not
 * computed" (RFC 768).
 *
 * @param pseudoHeader sum from {@linkcode pseudoHeaderIpv4} or
 * {@linkcode pseudoHeaderIpv6}
 * @param offset where the transport's header begins
 * @param length octets of the transport's header and data
 * @param protocol {@linkcode IP_PROTOCOL}`.udp` or `.tcp`
 *
 * @example
 * ```ts
 * import {
 *   internetChecksum,
 *   IP_PROTOCOL,
 *   pseudoHeaderIpv4,
 *   writeTransportChecksum,
 * } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const packet = new Uint8Array(28); // an IPv4 header and an empty datagram
 * const pseudo = pseudoHeaderIpv4(packet, 0, IP_PROTOCOL.udp, 8);
 * writeTransportChecksum(pseudo, packet, 20, 8, IP_PROTOCOL.udp);
 * assertEquals(internetChecksum(packet, 20, 8, pseudo), 0);
 * ```
 */
export function writeTransportChecksum(
  pseudoHeader: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  protocol: number,
): void {
  const isUdp = protocol === IP_PROTOCOL.udp;
  const field = offset + (isUdp ? CHECKSUM_OFFSET_UDP : CHECKSUM_OFFSET_TCP);
  writeU16(bytes, field, 0);
  const checksum = internetChecksum(bytes, offset, length, pseudoHeader);
  writeU16(bytes, field, isUdp && checksum === 0 ? 0xffff : checksum);
}

/**
 * Says whether the stored checksum of a UDP datagram or TCP segment is right.
 * A UDP checksum of 0 over IPv4 was never computed and passes.
 *
 * @param pseudoHeader sum from {@linkcode pseudoHeaderIpv4} or
 * {@linkcode pseudoHeaderIpv6}
 * @param offset where the transport's header begins
 * @param length octets of the transport's header and data
 * @param protocol {@linkcode IP_PROTOCOL}`.udp` or `.tcp`
 *
 * @example
 * ```ts
 * import { hasValidTransportChecksum, IP_PROTOCOL } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * assert(hasValidTransportChecksum(25, new Uint8Array(8), 0, 8, IP_PROTOCOL.udp));
 * ```
 */
export function hasValidTransportChecksum(
  pseudoHeader: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  protocol: number,
): boolean {
  if (
    protocol === IP_PROTOCOL.udp &&
    readU16(bytes, offset + CHECKSUM_OFFSET_UDP) === 0
  ) return true;
  return internetChecksum(bytes, offset, length, pseudoHeader) === 0;
}
