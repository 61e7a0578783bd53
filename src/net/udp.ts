/**
 * UDP headers (RFC 768).
 *
 * @module
 */

import { readU16, writeU16 } from "./bytes.ts";

/** Offsets of a UDP header's fields from its first octet. */
export const UDP_FIELD = {
  sourcePort: 0,
  destinationPort: 2,
  length: 4,
  checksum: 6,
  data: 8,
} as const;

/** Length of a UDP header, in octets. */
export const UDP_HEADER_LENGTH = 8;

/**
 * Says whether `length` octets at `offset` hold a whole UDP datagram.
 *
 * @example
 * ```ts
 * import { isUdp, writeUdp } from "@ixl/deno/net";
 * import { assert, assertFalse } from "@std/assert";
 *
 * const datagram = new Uint8Array(12);
 * writeUdp(datagram, 0, 1234, 53, 4);
 * assert(isUdp(datagram, 0, 12));
 * assertFalse(isUdp(datagram, 0, 11));
 * ```
 */
export function isUdp(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  if (length < UDP_HEADER_LENGTH || offset + length > bytes.length) {
    return false;
  }
  const stated = udpLength(bytes, offset);
  return stated >= UDP_HEADER_LENGTH && stated <= length;
}

/** Length of header and data together, in octets. */
export function udpLength(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + UDP_FIELD.length);
}

/** Port that the datagram came from. */
export function udpSourcePort(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + UDP_FIELD.sourcePort);
}

/** Port that the datagram goes to. */
export function udpDestinationPort(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + UDP_FIELD.destinationPort);
}

/**
 * Writes a header with the checksum left at 0, which means "not computed" over
 * IPv4. `writeTransportChecksum` fills it in once the data is there.
 *
 * @param dataLength octets of data after the header
 * @returns the offset of the data
 *
 * @example
 * ```ts
 * import { udpDestinationPort, writeUdp } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const datagram = new Uint8Array(8);
 * writeUdp(datagram, 0, 1234, 53, 0);
 * assertEquals(udpDestinationPort(datagram, 0), 53);
 * ```
 */
export function writeUdp(
  bytes: Uint8Array,
  offset: number,
  sourcePort: number,
  destinationPort: number,
  dataLength: number,
): number {
  writeU16(bytes, offset + UDP_FIELD.sourcePort, sourcePort);
  writeU16(bytes, offset + UDP_FIELD.destinationPort, destinationPort);
  writeU16(bytes, offset + UDP_FIELD.length, UDP_HEADER_LENGTH + dataLength);
  writeU16(bytes, offset + UDP_FIELD.checksum, 0);
  return offset + UDP_HEADER_LENGTH;
}
