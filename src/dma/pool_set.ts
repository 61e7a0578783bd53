/**
 * Which pools a device can reach, for all isolates that send on it.
 *
 * @module
 */

/** Pool numbers go up to 1023. */
const POOLS = 1024;
/** Packets of a pool that may be sent before the set is looked at again. */
export const AT_ONCE = 32;

/** A set of pool numbers in shared memory. One isolate changes it, each may look. */
export class PoolSet {
  /** For drivers: by pool number, how many packets may be sent at once, {@linkcode AT_ONCE} or 0. */
  readonly shares: Uint8Array;

  /**
   * Makes an empty set, or lays one over memory that another isolate shares.
   *
   * @param buffer The set of another isolate. Default: a new, empty one.
   */
  constructor(
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(POOLS),
  ) {
    this.shares = new Uint8Array(buffer);
  }

  /** Adds a pool. */
  add(id: number): void {
    Atomics.store(this.shares, id, AT_ONCE);
  }

  /** Takes a pool out. */
  delete(id: number): void {
    Atomics.store(this.shares, id, 0);
  }

  /** Whether a pool is in the set. */
  has(id: number): boolean {
    return this.shares[id] !== 0;
  }
}
