/**
 * A single-producer single-consumer ring of 32-bit values over shared memory.
 *
 * @module
 */

const HEAD = 0;
/** On a cache line of its own, so that the two sides do not fight over one. */
const TAIL = 16;
const ENTRIES = 32;

/**
 * One isolate pushes, one other shifts. Neither waits for the other.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { SpscRing } from "./spsc_ring.ts";
 *
 * const ring = new SpscRing(SpscRing.allocate(8));
 * ring.push(new Uint32Array([7, 8]), 0, 2);
 * const out = new Uint32Array(4);
 * assertEquals(ring.shift(out, 4), 2);
 * ```
 */
export class SpscRing {
  readonly #words: Int32Array;
  readonly #entries: Uint32Array;
  readonly #mask: number;

  /** @param buffer Memory that {@linkcode SpscRing.allocate} made; share it with the other side. */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, ENTRIES);
    this.#entries = new Uint32Array(buffer, ENTRIES * 4);
    this.#mask = this.#entries.length - 1;
  }

  /** Memory for at least `capacity` entries. */
  static allocate(capacity: number): SharedArrayBuffer {
    const entries = 2 ** Math.ceil(Math.log2(Math.max(capacity, 2)));
    return new SharedArrayBuffer((ENTRIES + entries) * 4);
  }

  /** How many values it can hold. */
  get capacity(): number {
    return this.#entries.length;
  }

  /** How many values are in it. */
  get length(): number {
    return (Atomics.load(this.#words, HEAD) -
      Atomics.load(this.#words, TAIL)) | 0;
  }

  /** Appends up to `count` values from `values[from]` on; returns how many fitted. */
  push(values: Uint32Array, from: number, count: number): number {
    const head = this.#words[HEAD];
    const used = (head - Atomics.load(this.#words, TAIL)) | 0;
    const n = Math.min(count, this.#entries.length - used);
    const entries = this.#entries;
    const mask = this.#mask;
    for (let i = 0; i < n; i++) entries[(head + i) & mask] = values[from + i];
    Atomics.store(this.#words, HEAD, (head + n) | 0);
    return n;
  }

  /** Appends one value; false when the ring is full. */
  pushOne(value: number): boolean {
    const head = this.#words[HEAD];
    const used = (head - Atomics.load(this.#words, TAIL)) | 0;
    if (used >= this.#entries.length) return false;
    this.#entries[head & this.#mask] = value;
    Atomics.store(this.#words, HEAD, (head + 1) | 0);
    return true;
  }

  /** Takes up to `count` values into `out[0…]`; returns how many. */
  shift(out: Uint32Array, count: number): number {
    const tail = this.#words[TAIL];
    const available = (Atomics.load(this.#words, HEAD) - tail) | 0;
    const n = Math.min(count, available);
    const entries = this.#entries;
    const mask = this.#mask;
    for (let i = 0; i < n; i++) out[i] = entries[(tail + i) & mask];
    Atomics.store(this.#words, TAIL, (tail + n) | 0);
    return n;
  }
}
