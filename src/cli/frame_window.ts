/**
 * Frames that went in and have not come out yet, as far as they can still be expected.
 *
 * @module
 */

/** Frames that are kept, about 20 octets each. */
export const WINDOW: number = 1 << 21;
const NONE = -1;
const FNV_PRIME = 0x01000193;
const OTHER_PRIME = 0x85ebca6b;

/** 64 bits that stand for a frame. */
export class FrameHash {
  /** Half of them. */
  low = 0;
  /** The other half. */
  high = 0;

  /** Begins with a number, such as a length. */
  begin(value: number): this {
    this.low = 0x811c9dc5 ^ value;
    this.high = 0x9e3779b9 + value;
    return this;
  }

  /** Adds octets of a buffer. */
  add(bytes: Uint8Array, from: number, to: number): this {
    let { low, high } = this;
    for (let i = from; i < to; i++) {
      const octet = bytes[i];
      low = Math.imul(low ^ octet, FNV_PRIME);
      high = Math.imul(high + octet, OTHER_PRIME);
      high ^= high >>> 15;
    }
    this.low = low;
    this.high = high;
    return this;
  }

  /** Adds so many zeros. */
  addZeros(count: number): this {
    for (let i = 0; i < count; i++) {
      this.low = Math.imul(this.low, FNV_PRIME);
      this.high = Math.imul(this.high, OTHER_PRIME);
      this.high ^= this.high >>> 15;
    }
    return this;
  }

  /** 53 of the bits, as a number. */
  get number(): number {
    return (this.low >>> 0) * 2 ** 21 + (this.high >>> 11);
  }
}

/** A queue of frames in which each can be found by its hash. Equal frames are found in the order in which they came. */
export class FrameWindow {
  readonly #size: number;
  readonly #low: Int32Array;
  readonly #high: Int32Array;
  /** The next frame in the same bucket; the frame itself where it was taken. */
  readonly #next: Int32Array;
  readonly #isTaken: Uint8Array;
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;
  /** Positions of the oldest frame that is kept, and of the next one that comes. */
  #first = 0;
  #end = 0;
  #lastTaken = 0;

  /** @param size Frames that are kept; a power of two. */
  constructor(size: number) {
    this.#size = size;
    this.#low = new Int32Array(size);
    this.#high = new Int32Array(size);
    this.#next = new Int32Array(size);
    this.#isTaken = new Uint8Array(size);
    this.#heads = new Int32Array(size).fill(NONE);
    this.#tails = new Int32Array(size).fill(NONE);
  }

  /** False when the next frame would be further from the last one that was found than frames are expected to be. */
  get hasRoom(): boolean {
    return this.#end - this.#lastTaken < this.#size / 2;
  }

  /** Appends a frame. The oldest one is given up where there is no room. */
  add({ low, high }: FrameHash): void {
    if (this.#end - this.#first === this.#size) this.#giveUpOldest();
    const index = this.#end++ % this.#size;
    this.#low[index] = low;
    this.#high[index] = high;
    this.#next[index] = NONE;
    this.#isTaken[index] = 0;
    const bucket = this.#bucketOf(low);
    const tail = this.#tails[bucket];
    if (tail === NONE) this.#heads[bucket] = index;
    else this.#next[tail] = index;
    this.#tails[bucket] = index;
  }

  /** Takes the oldest frame with this hash. Returns its position among all that were added; -1 when there is none. */
  take({ low, high }: FrameHash): number {
    const bucket = this.#bucketOf(low);
    let before = NONE;
    for (
      let index = this.#heads[bucket];
      index !== NONE;
      before = index, index = this.#next[index]
    ) {
      if (this.#low[index] !== low || this.#high[index] !== high) continue;
      this.#unlink(bucket, before, index);
      const behind = (index - this.#first % this.#size + this.#size) %
        this.#size;
      this.#lastTaken = Math.max(this.#lastTaken, this.#first + behind);
      return this.#first + behind;
    }
    return NONE;
  }

  #giveUpOldest(): void {
    const index = this.#first++ % this.#size;
    if (this.#isTaken[index] !== 0) return;
    // Within its bucket it is the oldest, too.
    this.#unlink(this.#bucketOf(this.#low[index]), NONE, index);
  }

  #unlink(bucket: number, before: number, index: number): void {
    const next = this.#next[index];
    if (before === NONE) this.#heads[bucket] = next;
    else this.#next[before] = next;
    if (next === NONE) this.#tails[bucket] = before;
    this.#isTaken[index] = 1;
  }

  #bucketOf(low: number): number {
    return (low ^ low >>> 16) & (this.#size - 1);
  }
}
