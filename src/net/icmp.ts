/**
 * ICMP echo (RFC 792).
 *
 * @module
 */

import { readU16, writeU16 } from "./bytes.ts";
import { internetChecksum, updateChecksum } from "./checksum.ts";

/** Offsets of an echo message's fields from its first octet. */
export const ICMP_FIELD = {
  type: 0,
  code: 1,
  checksum: 2,
  identifier: 4,
  sequence: 6,
  data: 8,
} as const;

/** Length of an echo message before its data, in octets. */
export const ICMP_HEADER_LENGTH = 8;

/** Types of message (RFC 792). */
export const ICMP_TYPE = { echoReply: 0, echoRequest: 8 } as const;

/**
 * Says whether `length` octets at `offset` are an echo request with a right
 * checksum.
 *
 * @param length octets of the whole message, its data included
 *
 * @example
 * ```ts
 * import { isIcmpEchoRequest } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * const message = new Uint8Array([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
 * assert(isIcmpEchoRequest(message, 0, 8));
 * ```
 */
export function isIcmpEchoRequest(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  return length >= ICMP_HEADER_LENGTH && offset + length <= bytes.length &&
    bytes[offset] === ICMP_TYPE.echoRequest && bytes[offset + 1] === 0 &&
    internetChecksum(bytes, offset, length) === 0;
}

/**
 * Turns an echo request into its reply, in place. Only the type changes, so
 * the checksum is updated instead of computed anew, whatever the data's length.
 *
 * @example
 * ```ts
 * import { internetChecksum, makeEchoReply } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const message = new Uint8Array([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
 * makeEchoReply(message, 0);
 * assertEquals(message[0], 0);
 * assertEquals(internetChecksum(message, 0, 8), 0);
 * ```
 */
export function makeEchoReply(bytes: Uint8Array, offset: number): void {
  const oldWord = readU16(bytes, offset + ICMP_FIELD.type);
  const newWord = ICMP_TYPE.echoReply << 8;
  const field = offset + ICMP_FIELD.checksum;
  writeU16(bytes, offset + ICMP_FIELD.type, newWord);
  const checksum = updateChecksum(readU16(bytes, field), oldWord, newWord);
  // Both forms of zero verify, except that 0x0000 does not in a message of
  // nothing but zeros.
  writeU16(bytes, field, checksum === 0 ? 0xffff : checksum);
}
