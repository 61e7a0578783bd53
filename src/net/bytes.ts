/**
 * Big-endian loads and stores, the byte order of every header on the wire.
 *
 * None of these allocates. They read and write where they are told: callers
 * check the length once per header, with `isIpv4` and its siblings, not once
 * per field. Outside the array a load gives 0 bits and a store does nothing.
 *
 * @module
 */

/**
 * Reads an unsigned 16-bit big-endian number.
 *
 * @example
 * ```ts
 * import { readU16 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(readU16(new Uint8Array([0x08, 0x00]), 0), 0x0800);
 * ```
 */
export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

/**
 * Reads an unsigned 32-bit big-endian number.
 *
 * @example
 * ```ts
 * import { readU32 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(readU32(new Uint8Array([192, 0, 2, 1]), 0), 0xc0000201);
 * ```
 */
export function readU32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] << 24) | (bytes[offset + 1] << 16) |
    (bytes[offset + 2] << 8) | bytes[offset + 3]) >>> 0;
}

/**
 * Writes the low 16 bits of `value`, big-endian.
 *
 * @example
 * ```ts
 * import { writeU16 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(2);
 * writeU16(bytes, 0, 0x86dd);
 * assertEquals([...bytes], [0x86, 0xdd]);
 * ```
 */
export function writeU16(
  bytes: Uint8Array,
  offset: number,
  value: number,
): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/**
 * Writes the low 32 bits of `value`, big-endian.
 *
 * @example
 * ```ts
 * import { writeU32 } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(4);
 * writeU32(bytes, 0, 0x0a000001);
 * assertEquals([...bytes], [10, 0, 0, 1]);
 * ```
 */
export function writeU32(
  bytes: Uint8Array,
  offset: number,
  value: number,
): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
