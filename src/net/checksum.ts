/**
 * The Internet checksum: the one's complement of the one's complement sum of
 * all 16-bit words (RFC 1071) and its incremental update (RFC 1624).
 *
 * A sum in the making is a plain number of at most 32 bits. Sums of pieces are
 * chained through the `initial` argument, each piece but the last of even
 * length, because the words would straddle the seam otherwise.
 *
 * @module
 */

/**
 * Adds the 16-bit words of a piece of data to a sum. A last odd octet counts
 * as the high half of a word (RFC 1071 section 1).
 *
 * @param initial a sum returned earlier, or 0
 * @returns the sum, folded to 16 bits
 *
 * @example
 * ```ts
 * import { partialChecksum } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * // RFC 1071 section 3
 * const bytes = new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
 * assertEquals(partialChecksum(bytes, 0, 8), 0xddf2);
 * ```
 */
export function partialChecksum(
  bytes: Uint8Array,
  offset: number,
  length: number,
  initial = 0,
): number {
  const end = offset + (length & ~1);
  let sum = foldChecksum(initial);
  for (let i = offset; i < end; i += 2) {
    sum += (bytes[i] << 8) | bytes[i + 1];
    // Stays inside 31 bits for any length, so V8 keeps it an integer.
    if (sum > 0x3fff_0000) sum = foldChecksum(sum);
  }
  if (length & 1) sum += bytes[end] << 8;
  return foldChecksum(sum);
}

/**
 * Folds a sum to 16 bits by adding the carries back in.
 *
 * @example
 * ```ts
 * import { foldChecksum } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(foldChecksum(0x2ddf0), 0xddf2);
 * ```
 */
export function foldChecksum(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/**
 * Computes the checksum of a piece of data. Over data that already holds a
 * right checksum the result is 0.
 *
 * @param initial a partial sum to start from, such as a pseudo header's
 * @returns the 16 bits to store
 *
 * @example
 * ```ts
 * import { internetChecksum } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
 * assertEquals(internetChecksum(bytes, 0, 8), 0x220d);
 * ```
 */
export function internetChecksum(
  bytes: Uint8Array,
  offset: number,
  length: number,
  initial = 0,
): number {
  return ~partialChecksum(bytes, offset, length, initial) & 0xffff;
}

/**
 * Updates a checksum for one 16-bit word that changed, without the rest of the
 * data (RFC 1624 equation 3).
 *
 * @param checksum the checksum as stored
 * @param oldWord the word before the change
 * @param newWord the word after the change
 * @returns the new checksum
 *
 * @example
 * ```ts
 * import { updateChecksum } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * // RFC 1624 section 4
 * assertEquals(updateChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
 * ```
 */
export function updateChecksum(
  checksum: number,
  oldWord: number,
  newWord: number,
): number {
  const sum = (~checksum & 0xffff) + (~oldWord & 0xffff) + (newWord & 0xffff);
  return ~foldChecksum(sum) & 0xffff;
}

/**
 * Updates a checksum for a 32-bit word that changed, such as an IPv4 address.
 *
 * @param checksum the checksum as stored
 * @param oldWord the 32 bits before the change
 * @param newWord the 32 bits after the change
 * @returns the new checksum
 *
 * @example
 * ```ts
 * import { updateChecksum32 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const there = updateChecksum32(0x1234, 0x0a000001, 0xc0000201);
 * assertEquals(updateChecksum32(there, 0xc0000201, 0x0a000001), 0x1234);
 * ```
 */
export function updateChecksum32(
  checksum: number,
  oldWord: number,
  newWord: number,
): number {
  const high = updateChecksum(checksum, oldWord >>> 16, newWord >>> 16);
  return updateChecksum(high, oldWord & 0xffff, newWord & 0xffff);
}
