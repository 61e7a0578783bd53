/**
 * Passing packets from the worker that received them to another.
 *
 * @module
 */
import type { Batch } from "./batch.ts";
import { Mempool, type MempoolDescription } from "./mempool.ts";
import { SpscRing } from "./spsc_ring.ts";

/** What the receiving worker needs: structured-clonable. */
export interface HandoverDescription {
  /** Carries handles to the receiver. */
  readonly ring: SharedArrayBuffer;
  /** The packets' pool, whose freed packets travel home. */
  readonly pool: MempoolDescription;
}

/**
 * A one-way ring for packets of one pool between two workers: handles travel through a single-producer
 * single-consumer ring, nothing is copied, and what the receiver frees, or its card has sent, travels home by itself.
 *
 * The pool keeps its owner; take `describe()` from a Handover made there, once per receiving worker.
 *
 * @example
 * ```ts
 * import { Batch, Handover, Mempool } from "@ixl/deno";
 *
 * const pool = Mempool.create({ entries: 64, memory: { backing: "plain" } });
 * const handover = Handover.create(pool, 64);
 * // In the other worker: Handover.attach(description).receive(batch)
 * const description = handover.describe();
 * const batch = new Batch(8);
 * batch.push(pool.allocate());
 * console.log(handover.send(batch), description.pool.id === pool.id); // 1 true
 * pool.destroy();
 * ```
 */
export class Handover {
  readonly #ring: SpscRing;

  private constructor(
    ring: SharedArrayBuffer,
    readonly pool: MempoolDescription,
  ) {
    this.#ring = new SpscRing(ring);
  }

  /** In the pool's owner: a handover for up to `capacity` packets at a time. */
  static create(pool: Mempool, capacity = 1024): Handover {
    return new Handover(SpscRing.allocate(capacity), pool.lend());
  }

  /** In the receiver: the other end. */
  static attach(description: HandoverDescription): Handover {
    Mempool.attach(description.pool);
    return new Handover(description.ring, description.pool);
  }

  /** What the receiver needs. */
  describe(): HandoverDescription {
    return { ring: this.#ring.buffer, pool: this.pool };
  }

  /** Passes packets on from the start of `batch`; returns how many fitted. Those are no longer the caller's. */
  send(batch: Batch): number {
    return this.#ring.push(batch.handles, 0, batch.length);
  }

  /** Fills `batch` with what has arrived; never waits. Returns how many packets that are. */
  receive(batch: Batch): number {
    batch.length = this.#ring.shift(batch.handles, batch.capacity);
    return batch.length;
  }
}
