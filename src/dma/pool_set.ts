/**
 * Which pools a device can reach, for all isolates that send on it.
 *
 * @module
 */

/** Pool numbers go up to 1023. */
const WORDS = 32;

/** A set of pool numbers in shared memory. One isolate changes it, each may look. */
export class PoolSet {
  readonly #words: Int32Array;

  /**
   * Makes an empty set, or lays one over memory that another isolate shares.
   *
   * @param buffer The set of another isolate. Default: a new, empty one.
   */
  constructor(
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 4),
  ) {
    this.#words = new Int32Array(buffer);
  }

  /** Adds a pool. */
  add(id: number): void {
    Atomics.or(this.#words, id >>> 5, 1 << (id & 31));
  }

  /** Takes a pool out. */
  delete(id: number): void {
    Atomics.and(this.#words, id >>> 5, ~(1 << (id & 31)));
  }

  /** Whether a pool is in the set. */
  has(id: number): boolean {
    return (this.#words[id >>> 5] >>> (id & 31) & 1) !== 0;
  }
}
