/**
 * The Toeplitz hash, by which receive-side scaling (RSS) spreads flows over
 * queues: for each bit set in the input, the 32 bits of the key that begin at
 * the same bit position are XORed into the result.
 *
 * Source: Microsoft, "RSS Hashing Types" and "Verifying the RSS Hash
 * Calculation"; Intel 82599 datasheet section 7.1.2.8.1, which uses the same
 * function and input order.
 *
 * @module
 */

import { readU32 } from "./bytes.ts";
import { IPV4_FIELD } from "./ipv4.ts";
import { IPV6_FIELD } from "./ipv6.ts";

/** Length of the hash key of RSS, in octets. */
export const RSS_KEY_LENGTH = 40;

/** Longest input that a 40-octet key can serve: IPv6 addresses and ports. */
export const RSS_INPUT_LENGTH = 36;

/**
 * Makes the key that Microsoft publishes its verification vectors with, which
 * many drivers use as their default.
 *
 * @returns a fresh copy of 40 octets
 *
 * @example
 * ```ts
 * import { defaultRssKey, RSS_KEY_LENGTH } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(defaultRssKey().length, RSS_KEY_LENGTH);
 * ```
 */
export function defaultRssKey(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(MICROSOFT_KEY);
}

// deno-fmt-ignore
const MICROSOFT_KEY: readonly number[] = [
  0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2,
  0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
  0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4,
  0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
  0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/** The 32 bits of the key that begin at bit `bit` (0 to 7) of octet `octet`. */
function keyWindow(key: Uint8Array, octet: number, bit: number): number {
  const word = readU32(key, octet);
  return bit === 0 ? word : (word << bit) | (key[octet + 4] >>> (8 - bit));
}

function checkKey(key: Uint8Array, inputLength: number): void {
  if (key.length >= inputLength + 4) return;
  throw new RangeError(
    `a key of ${key.length} octets is too short: ` +
      `${inputLength} octets of input need ${inputLength + 4}`,
  );
}

/**
 * Hashes a piece of input straight from the definition. For one packet after
 * another {@linkcode ToeplitzHasher} is faster.
 *
 * @param key at least four octets longer than the input
 * @param bytes holds the input
 * @param offset where the input begins
 * @param length octets of input
 * @returns the hash, an unsigned 32-bit number
 * @throws {RangeError} if the key is too short
 *
 * @example
 * ```ts
 * import { defaultRssKey, toeplitzHash } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * // 66.9.149.187:2794 to 161.142.100.80:1766
 * const input = new Uint8Array([66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6]);
 * assertEquals(toeplitzHash(defaultRssKey(), input, 0, 8), 0x323e8fc2);
 * assertEquals(toeplitzHash(defaultRssKey(), input, 0, 12), 0x51ccc178);
 * ```
 */
export function toeplitzHash(
  key: Uint8Array,
  bytes: Uint8Array,
  offset: number,
  length: number,
): number {
  checkKey(key, length);
  let hash = 0;
  for (let i = 0; i < length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      if (bytes[offset + i] & (0x80 >>> bit)) hash ^= keyWindow(key, i, bit);
    }
  }
  return hash >>> 0;
}

/**
 * Hashes the two addresses of an IPv4 packet.
 *
 * @param ipOffset where the IPv4 header begins
 * @returns the hash, an unsigned 32-bit number
 */
export function toeplitzIpv4(
  key: Uint8Array,
  bytes: Uint8Array,
  ipOffset: number,
): number {
  return toeplitzHash(key, bytes, ipOffset + IPV4_FIELD.source, 8);
}

/**
 * Hashes the two addresses of an IPv6 packet.
 *
 * @param ipOffset where the IPv6 header begins
 * @returns the hash, an unsigned 32-bit number
 */
export function toeplitzIpv6(
  key: Uint8Array,
  bytes: Uint8Array,
  ipOffset: number,
): number {
  return toeplitzHash(key, bytes, ipOffset + IPV6_FIELD.source, 32);
}

/**
 * Hashes addresses and ports of a TCP or UDP packet over IPv4.
 *
 * @param ipOffset where the IPv4 header begins
 * @param portsOffset where the transport's header, and so the ports, begins
 * @returns the hash, an unsigned 32-bit number
 */
export function toeplitzIpv4Ports(
  key: Uint8Array,
  bytes: Uint8Array,
  ipOffset: number,
  portsOffset: number,
): number {
  return (toeplitzIpv4(key, bytes, ipOffset) ^
    toeplitzHash(key.subarray(8), bytes, portsOffset, 4)) >>> 0;
}

/**
 * Hashes addresses and ports of a TCP or UDP packet over IPv6.
 *
 * @param ipOffset where the IPv6 header begins
 * @param portsOffset where the transport's header, and so the ports, begins
 * @returns the hash, an unsigned 32-bit number
 */
export function toeplitzIpv6Ports(
  key: Uint8Array,
  bytes: Uint8Array,
  ipOffset: number,
  portsOffset: number,
): number {
  return (toeplitzIpv6(key, bytes, ipOffset) ^
    toeplitzHash(key.subarray(32), bytes, portsOffset, 4)) >>> 0;
}

/**
 * The same hash by table: one look-up for each octet of input instead of eight
 * tests, and no allocation after construction. The table takes 36 KiB.
 *
 * The hash of an input is the XOR of the hashes of its pieces, each hashed at
 * its own position; that is how ports that do not follow the addresses (IPv4
 * options, IPv6 extension headers) are hashed without a copy.
 *
 * @example
 * ```ts
 * import { defaultRssKey, ToeplitzHasher } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const hasher = new ToeplitzHasher(defaultRssKey());
 * const input = new Uint8Array([66, 9, 149, 187, 161, 142, 100, 80]);
 * assertEquals(hasher.hash(input, 0, 8), 0x323e8fc2);
 * ```
 */
export class ToeplitzHasher {
  readonly #table: Int32Array;

  /**
   * Builds the table for a key.
   *
   * @param key at least 40 octets
   * @throws {RangeError} if the key is too short
   */
  constructor(key: Uint8Array) {
    checkKey(key, RSS_INPUT_LENGTH);
    this.#table = new Int32Array(RSS_INPUT_LENGTH * 256);
    for (let octet = 0; octet < RSS_INPUT_LENGTH; octet++) {
      this.#fillRow(key, octet);
    }
  }

  #fillRow(key: Uint8Array, octet: number): void {
    const row = this.#table.subarray(octet * 256, (octet + 1) * 256);
    for (let bit = 0; bit < 8; bit++) {
      const mask = 0x80 >>> bit;
      const window = keyWindow(key, octet, bit);
      for (let value = mask; value < 256; value++) {
        if (value & mask) row[value] ^= window;
      }
    }
  }

  /**
   * Hashes one piece of an input.
   *
   * @param position octets of input before this piece; with `length` at most 36
   * @returns the hash, an unsigned 32-bit number
   */
  hash(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position = 0,
  ): number {
    const table = this.#table;
    let row = position << 8;
    let hash = 0;
    for (let i = offset; i < offset + length; i++, row += 256) {
      hash ^= table[row | bytes[i]];
    }
    return hash >>> 0;
  }

  /** Hashes the two addresses of the IPv4 packet at `ipOffset`. */
  ipv4(bytes: Uint8Array, ipOffset: number): number {
    return this.hash(bytes, ipOffset + IPV4_FIELD.source, 8);
  }

  /** Hashes the two addresses of the IPv6 packet at `ipOffset`. */
  ipv6(bytes: Uint8Array, ipOffset: number): number {
    return this.hash(bytes, ipOffset + IPV6_FIELD.source, 32);
  }

  /** Hashes addresses and the ports at `portsOffset` of an IPv4 packet. */
  ipv4Ports(bytes: Uint8Array, ipOffset: number, portsOffset: number): number {
    return (this.ipv4(bytes, ipOffset) ^
      this.hash(bytes, portsOffset, 4, 8)) >>> 0;
  }

  /** Hashes addresses and the ports at `portsOffset` of an IPv6 packet. */
  ipv6Ports(bytes: Uint8Array, ipOffset: number, portsOffset: number): number {
    return (this.ipv6(bytes, ipOffset) ^
      this.hash(bytes, portsOffset, 4, 32)) >>> 0;
  }
}
