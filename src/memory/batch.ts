/**
 * A reusable list of packet handles.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { Mempool } from "./mempool.ts";

/**
 * Handles of packets, filled by `receive()` and emptied by `send()`. Allocate it once, before the loop.
 *
 * @example
 * ```ts
 * import { Batch } from "@ixl/deno";
 *
 * const batch = new Batch(64);
 * console.log(batch.length, batch.capacity); // 0 64
 * ```
 */
export class Batch {
  // No field before the constructor writes it, and off V8's heap: in a loop around one batch it is a constant then.
  /** The handles; those from `length` on are meaningless. */
  declare readonly handles: Uint32Array;
  /** How many handles are in it. */
  length = 0;

  /**
   * Makes an empty batch.
   *
   * @param capacity How many packets it can hold.
   * @throws {ConfigError} unless that is within 1 to 65536.
   */
  constructor(capacity = 32) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 65536) {
      throw new ConfigError("batch", `${capacity} is not within 1 to 65536`);
    }
    this.handles = new Uint32Array(new SharedArrayBuffer(4 * capacity));
  }

  /** How many packets it can hold. */
  get capacity(): number {
    return this.handles.length;
  }

  /**
   * Appends a handle.
   *
   * @throws {RangeError} when the batch is full.
   */
  push(handle: number): void {
    if (this.length >= this.handles.length) throw isFull(this);
    this.handles[this.length++] = handle;
  }

  /** Forgets the first `count` handles, which somebody else took, and moves the others to the front. */
  removeFirst(count: number): void {
    if (count < this.length) this.handles.copyWithin(0, count, this.length);
    this.length -= count;
  }

  /**
   * Frees the packets from index `from` on and forgets them: what a forwarder does with those that `send()` did
   * not take. Returns how many packets were freed.
   */
  free(from = 0): number {
    const { handles, length } = this;
    for (let i = from; i < length; i++) Mempool.freeChain(handles[i]);
    this.length = Math.min(from, length);
    return Math.max(length - from, 0);
  }
}

function isFull({ capacity }: Batch): RangeError {
  return new RangeError(
    `the batch is full with ${capacity} packets: send or free some first, or make it larger`,
  );
}
