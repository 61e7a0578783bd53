/**
 * Receive side scaling: the Toeplitz hash (section 7.1.2.8.1) by tables, and
 * the redirection table.
 *
 * @module
 */

import type { RegisterFile } from "../registers/register_file.ts";

const KEY_BYTES = 40;
const KEY_WORDS = 10;
/** The longest input: two IPv6 addresses and two ports. */
const INPUT_BYTES = 36;
const BYTE_VALUES = 256;
const RETA_ENTRIES = 128;
const RETA_MASK = RETA_ENTRIES - 1;
const ENTRIES_PER_WORD = 4;
const QUEUE_MASK = 0xf;

/** Hashes the fields that choose a receive queue. */
export class Rss {
  /** The hash's share of each byte value at each input position. */
  readonly #table = new Uint32Array(INPUT_BYTES * BYTE_VALUES);
  readonly #reta = new Uint8Array(RETA_ENTRIES);
  readonly #registers: RegisterFile;
  #stale = true;

  constructor(registers: RegisterFile) {
    this.#registers = registers;
    registers.onWrite("RSSRK", () => {
      this.#stale = true;
    });
    registers.onWrite("RETA", (n, value) => {
      for (let i = 0; i < ENTRIES_PER_WORD; i++) {
        this.#reta[n * ENTRIES_PER_WORD + i] = (value >>> (i * 8)) & QUEUE_MASK;
      }
    });
  }

  /** Key and redirection table are zero after a reset. */
  reset(): void {
    this.#stale = true;
    this.#reta.fill(0);
  }

  /** The receive queue that the redirection table gives to a hash. */
  queueOf(hash: number): number {
    return this.#reta[hash & RETA_MASK];
  }

  /** Rebuilds the tables when the key has changed. */
  prepare(): void {
    if (!this.#stale) return;
    this.#stale = false;
    const key = new Uint8Array(KEY_BYTES + 1);
    for (let i = 0; i < KEY_WORDS; i++) {
      const word = this.#registers.get("RSSRK", i);
      for (let b = 0; b < 4; b++) key[i * 4 + b] = word >>> (b * 8);
    }
    for (let at = 0; at < INPUT_BYTES; at++) this.#fillPosition(key, at);
  }

  /**
   * The hash of `length` bytes of `u8` from `at`; at most 36. The 32 bits come
   * as a signed number, which V8 never has to allocate.
   */
  hash(u8: Uint8Array, at: number, length: number): number {
    const table = this.#table;
    let hash = 0;
    for (let i = 0; i < length; i++) {
      hash ^= table[(i << 8) | u8[at + i]];
    }
    return hash;
  }

  /** {@linkcode hash} of the twelve bytes of an IPv4 flow. */
  hash12(u8: Uint8Array, at: number): number {
    const table = this.#table;
    return (table[u8[at]] ^
      table[(1 << 8) | u8[at + 1]] ^
      table[(2 << 8) | u8[at + 2]] ^
      table[(3 << 8) | u8[at + 3]] ^
      table[(4 << 8) | u8[at + 4]] ^
      table[(5 << 8) | u8[at + 5]] ^
      table[(6 << 8) | u8[at + 6]] ^
      table[(7 << 8) | u8[at + 7]] ^
      table[(8 << 8) | u8[at + 8]] ^
      table[(9 << 8) | u8[at + 9]] ^
      table[(10 << 8) | u8[at + 10]] ^
      table[(11 << 8) | u8[at + 11]]) | 0;
  }

  /** {@linkcode hash} of two pieces, as for ports behind header options. */
  hashPieces(
    u8: Uint8Array,
    first: number,
    firstLength: number,
    second: number,
    secondLength: number,
  ): number {
    const table = this.#table;
    let hash = this.hash(u8, first, firstLength);
    for (let i = 0; i < secondLength; i++) {
      hash ^= table[((firstLength + i) << 8) | u8[second + i]];
    }
    return hash;
  }

  /** Bit b of input byte `at` adds the key's 32 bits from bit 8·at + b. */
  #fillPosition(key: Uint8Array, at: number): void {
    const table = this.#table;
    const high = (key[at] << 24 | key[at + 1] << 16 | key[at + 2] << 8 |
      key[at + 3]) >>> 0;
    const next = key[at + 4];
    for (let value = 0; value < BYTE_VALUES; value++) {
      let hash = 0;
      for (let bit = 0; bit < 8; bit++) {
        if ((value & (0x80 >> bit)) === 0) continue;
        hash ^= bit === 0 ? high : (high << bit) | (next >>> (8 - bit));
      }
      table[(at << 8) | value] = hash;
    }
  }
}
