/**
 * IPv4 headers (RFC 791) and addresses. An address is an unsigned 32-bit
 * number, so that comparing and storing one allocates nothing.
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.ts";
import { internetChecksum, partialChecksum } from "./checksum.ts";

/** Offsets of an IPv4 header's fields from its first octet (RFC 791 section 3.1). */
export const IPV4_FIELD = {
  versionAndLength: 0,
  typeOfService: 1,
  totalLength: 2,
  identification: 4,
  flagsAndFragment: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
} as const;

/** Length of an IPv4 header without options, in octets. */
export const IPV4_HEADER_LENGTH = 20;

/** Transport protocols (IANA registry "Protocol Numbers"). */
export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** Fragment offset and "more fragments"; all zero in a packet that is whole. */
const FRAGMENT_MASK = 0x3fff;
const DONT_FRAGMENT = 0x4000;

/**
 * Reads an address in dotted decimal.
 *
 * @throws {TypeError} if the text is not four numbers from 0 to 255
 *
 * @example
 * ```ts
 * import { parseIpv4 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseIpv4("192.0.2.1"), 0xc0000201);
 * ```
 */
export function parseIpv4(text: string): number {
  const parts = text.split(".");
  const valid = parts.length === 4 &&
    // No leading zeros: some systems read them as octal.
    parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && +part <= 255);
  if (!valid) {
    throw new TypeError(
      `"${text}" is not an IPv4 address: write four numbers like 192.0.2.1`,
    );
  }
  return parts.reduce((address, part) => address * 256 + Number(part), 0);
}

/**
 * Writes an address in dotted decimal.
 *
 * @example
 * ```ts
 * import { formatIpv4 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(formatIpv4(0xc0000201), "192.0.2.1");
 * ```
 */
export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/**
 * Says whether `length` octets at `offset` begin with a consistent IPv4 header
 * and hold the whole packet. Check it once, then use the other accessors. The
 * checksum is not looked at: {@linkcode hasValidIpv4Checksum} does.
 *
 * @example
 * ```ts
 * import { isIpv4 } from "@ixl/deno/net";
 * import { assertFalse } from "@std/assert";
 *
 * assertFalse(isIpv4(new Uint8Array(20), 0, 20)); // version 0
 * ```
 */
export function isIpv4(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  if (length < IPV4_HEADER_LENGTH || offset + length > bytes.length) {
    return false;
  }
  if (bytes[offset] >>> 4 !== 4) return false;
  const header = ipv4HeaderLength(bytes, offset);
  const total = ipv4TotalLength(bytes, offset);
  return header >= IPV4_HEADER_LENGTH && total >= header && total <= length;
}

/** Length of the header with its options, in octets. */
export function ipv4HeaderLength(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] & 0x0f) << 2;
}

/** Length of header and data together, in octets. */
export function ipv4TotalLength(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + IPV4_FIELD.totalLength);
}

/** Number of the protocol that the packet carries. */
export function ipv4Protocol(bytes: Uint8Array, offset: number): number {
  return bytes[offset + IPV4_FIELD.protocol];
}

/** Says whether the packet is a piece of a larger one. */
export function isIpv4Fragment(bytes: Uint8Array, offset: number): boolean {
  const field = readU16(bytes, offset + IPV4_FIELD.flagsAndFragment);
  return (field & FRAGMENT_MASK) !== 0;
}

/** Source address as a number. */
export function ipv4Source(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + IPV4_FIELD.source);
}

/** Destination address as a number. */
export function ipv4Destination(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + IPV4_FIELD.destination);
}

/** Says whether the header's checksum is right. */
export function hasValidIpv4Checksum(
  bytes: Uint8Array,
  offset: number,
): boolean {
  return internetChecksum(bytes, offset, ipv4HeaderLength(bytes, offset)) === 0;
}

/** Computes and stores the header's checksum. */
export function writeIpv4Checksum(bytes: Uint8Array, offset: number): void {
  const field = offset + IPV4_FIELD.checksum;
  writeU16(bytes, field, 0);
  const length = ipv4HeaderLength(bytes, offset);
  writeU16(bytes, field, internetChecksum(bytes, offset, length));
}

/**
 * Exchanges source and destination in place. The checksum stays right, because
 * the sum does not depend on the order of its words.
 */
export function swapIpv4Addresses(bytes: Uint8Array, offset: number): void {
  const source = ipv4Source(bytes, offset);
  writeU32(
    bytes,
    offset + IPV4_FIELD.source,
    ipv4Destination(bytes, offset),
  );
  writeU32(bytes, offset + IPV4_FIELD.destination, source);
}

/** What {@linkcode writeIpv4} puts into a header. */
export interface Ipv4Header {
  /** Source address as a number. */
  source: number;
  /** Destination address as a number. */
  destination: number;
  /** Number of the protocol carried. */
  protocol: number;
  /** Length of the data after the header, in octets. */
  payloadLength: number;
  /** Routers that the packet may pass (default 64). */
  timeToLive?: number;
  /** Identification for fragments (default 0). */
  identification?: number;
}

/**
 * Writes a header without options, checksum included. Fragmenting is forbidden.
 *
 * @returns the offset of the data
 *
 * @example
 * ```ts
 * import { hasValidIpv4Checksum, IP_PROTOCOL, isIpv4, parseIpv4, writeIpv4 } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * const packet = new Uint8Array(28);
 * writeIpv4(packet, 0, {
 *   source: parseIpv4("192.0.2.1"),
 *   destination: parseIpv4("192.0.2.2"),
 *   protocol: IP_PROTOCOL.udp,
 *   payloadLength: 8,
 * });
 * assert(isIpv4(packet, 0, packet.length));
 * assert(hasValidIpv4Checksum(packet, 0));
 * ```
 */
export function writeIpv4(
  bytes: Uint8Array,
  offset: number,
  header: Ipv4Header,
): number {
  const totalLength = IPV4_HEADER_LENGTH + header.payloadLength;
  bytes[offset + IPV4_FIELD.versionAndLength] = 0x45;
  bytes[offset + IPV4_FIELD.typeOfService] = 0;
  writeU16(bytes, offset + IPV4_FIELD.totalLength, totalLength);
  writeU16(
    bytes,
    offset + IPV4_FIELD.identification,
    header.identification ?? 0,
  );
  writeU16(bytes, offset + IPV4_FIELD.flagsAndFragment, DONT_FRAGMENT);
  bytes[offset + IPV4_FIELD.timeToLive] = header.timeToLive ?? 64;
  bytes[offset + IPV4_FIELD.protocol] = header.protocol;
  writeU32(bytes, offset + IPV4_FIELD.source, header.source);
  writeU32(bytes, offset + IPV4_FIELD.destination, header.destination);
  writeIpv4Checksum(bytes, offset);
  return offset + IPV4_HEADER_LENGTH;
}

/**
 * Sums the pseudo header that UDP and TCP put before their own over IPv4 (RFC 768,
 * RFC 9293), with the addresses taken from the IPv4 header at `ipOffset`.
 *
 * @param protocol the transport's number
 * @param length octets of the transport's header and data
 * @returns a partial sum for {@linkcode internetChecksum}
 *
 * @example
 * ```ts
 * import { IP_PROTOCOL, pseudoHeaderIpv4 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const header = new Uint8Array(20);
 * assertEquals(pseudoHeaderIpv4(header, 0, IP_PROTOCOL.udp, 8), 17 + 8);
 * ```
 */
export function pseudoHeaderIpv4(
  bytes: Uint8Array,
  ipOffset: number,
  protocol: number,
  length: number,
): number {
  return partialChecksum(
    bytes,
    ipOffset + IPV4_FIELD.source,
    8,
    protocol + length,
  );
}
