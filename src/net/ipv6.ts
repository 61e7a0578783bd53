/**
 * The fixed IPv6 header (RFC 8200 section 3) and its addresses. Extension
 * headers are not walked.
 *
 * @module
 */

import { readU16 } from "./bytes.ts";
import { partialChecksum } from "./checksum.ts";

/** Offsets of an IPv6 header's fields from its first octet. */
export const IPV6_FIELD = {
  versionAndClass: 0,
  payloadLength: 4,
  nextHeader: 6,
  hopLimit: 7,
  source: 8,
  destination: 24,
} as const;

/** Length of the fixed header, in octets. */
export const IPV6_HEADER_LENGTH = 40;

/** Length of an address, in octets. */
export const IPV6_ADDRESS_LENGTH = 16;

/**
 * Says whether `length` octets at `offset` begin with an IPv6 header and hold
 * the whole packet.
 *
 * @example
 * ```ts
 * import { isIpv6 } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * const packet = new Uint8Array(40);
 * packet[0] = 0x60;
 * assert(isIpv6(packet, 0, 40));
 * ```
 */
export function isIpv6(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  if (length < IPV6_HEADER_LENGTH || offset + length > bytes.length) {
    return false;
  }
  const payload = readU16(bytes, offset + IPV6_FIELD.payloadLength);
  return bytes[offset] >>> 4 === 6 && IPV6_HEADER_LENGTH + payload <= length;
}

/** Number of the header that follows: a transport, or an extension. */
export function ipv6NextHeader(bytes: Uint8Array, offset: number): number {
  return bytes[offset + IPV6_FIELD.nextHeader];
}

/** Length of everything after the fixed header, in octets. */
export function ipv6PayloadLength(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + IPV6_FIELD.payloadLength);
}

function parseGroups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").map((group) =>
    /^[0-9a-f]{1,4}$/i.test(group) ? parseInt(group, 16) : NaN
  );
}

/**
 * Reads an address in the form of RFC 4291 section 2.2, without a zone and
 * without an embedded IPv4 address.
 *
 * @returns its sixteen octets
 * @throws {TypeError} if the text is not such an address
 *
 * @example
 * ```ts
 * import { parseIpv6 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseIpv6("2001:db8::1")[15], 1);
 * ```
 */
export function parseIpv6(text: string): Uint8Array<ArrayBuffer> {
  const halves = text.split("::");
  const head = parseGroups(halves[0]);
  const tail = parseGroups(halves[1] ?? "");
  const missing = 8 - head.length - tail.length;
  const complete = halves.length === 1
    ? missing === 0
    : halves.length === 2 && missing >= 1;
  if (!complete || head.some(Number.isNaN) || tail.some(Number.isNaN)) {
    throw new TypeError(
      `"${text}" is not an IPv6 address: write groups like 2001:db8::1`,
    );
  }
  const groups = [...head, ...Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(
    groups.flatMap((group) => [group >>> 8, group & 0xff]),
  );
}

/**
 * Sums the pseudo header that UDP and TCP put before their own over IPv6 (RFC 8200
 * section 8.1), with the addresses taken from the IPv6 header at `ipOffset`.
 *
 * @param protocol the transport's number
 * @param length octets of the transport's header and data
 * @returns a partial sum for {@linkcode internetChecksum}
 *
 * @example
 * ```ts
 * import { IP_PROTOCOL, pseudoHeaderIpv6 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const header = new Uint8Array(40);
 * assertEquals(pseudoHeaderIpv6(header, 0, IP_PROTOCOL.tcp, 20), 6 + 20);
 * ```
 */
export function pseudoHeaderIpv6(
  bytes: Uint8Array,
  ipOffset: number,
  protocol: number,
  length: number,
): number {
  return partialChecksum(
    bytes,
    ipOffset + IPV6_FIELD.source,
    32,
    protocol + length,
  );
}
