/**
 * Copies packets into memory that a device can reach, where it cannot reach the memory that they were received in.
 *
 * @module
 */
import type { Batch } from "../memory/batch.ts";
import type { TxQueue } from "../device_api.ts";
import { type Handle, INDEX_MASK, Mempool } from "../memory/mempool.ts";

/** Copies for one transmit queue. */
export class PacketCopier {
  /**
   * @param tx The queue that sends.
   * @param pool Where copies go: the queue reaches it, and the calling isolate owns it.
   */
  constructor(readonly tx: TxQueue, readonly pool: Mempool) {}

  /**
   * Replaces packets that the queue cannot reach by copies, and frees the originals, until the pool is empty. Returns how
   * many packets from the start of the batch can be sent now.
   */
  copyAll(batch: Batch): number {
    const { handles, length } = batch;
    for (let i = 0; i < length; i++) {
      const handle = handles[i];
      if (this.#isReachable(handle)) continue;
      const copy = this.#copy(handle);
      if (copy === 0) return i;
      this.tx.counters.add("copied", 1);
      handles[i] = copy;
      Mempool.freeChain(handle);
    }
    return length;
  }

  #isReachable(handle: Handle): boolean {
    for (let segment = handle; segment !== 0;) {
      const pool = Mempool.of(segment);
      if (!this.tx.reaches(pool)) return false;
      segment = pool.nextSegments[segment & INDEX_MASK];
    }
    return true;
  }

  /** A packet with the same bytes, flags and requests; 0 when the pool has no room for it. */
  #copy(handle: Handle): Handle {
    const { pool } = this;
    const copy = pool.allocate();
    if (copy === 0) return 0;
    const from = Mempool.of(handle);
    const source = handle & INDEX_MASK;
    const target = copy & INDEX_MASK;
    pool.flags[target] = from.flags[source];
    pool.vlanTags[target] = from.vlanTags[source];
    pool.rssHashes[target] = from.rssHashes[source];
    pool.offloads[target] = from.offloads[source];
    pool.segmentSizes[target] = from.segmentSizes[source];
    pool.lengths[target] = 0;
    let last = copy;
    for (let segment = handle; segment !== 0;) {
      const { u8, lengths, nextSegments, stride } = Mempool.of(segment);
      const index = segment & INDEX_MASK;
      const start = index * stride;
      last = this.#append(last, u8.subarray(start, start + lengths[index]));
      if (last === 0) {
        Mempool.freeChain(copy);
        return 0;
      }
      segment = nextSegments[index];
    }
    return copy;
  }

  /** Appends bytes to a packet whose last segment is `last`. Returns what is the last one then; 0 when there is no room. */
  #append(last: Handle, bytes: Uint8Array): Handle {
    const { pool } = this;
    let segment = last;
    for (let done = 0; done < bytes.length;) {
      const length = pool.lengths[segment & INDEX_MASK];
      const size = Math.min(pool.entrySize - length, bytes.length - done);
      if (size === 0) {
        const next = pool.allocate();
        if (next === 0) return 0;
        pool.lengths[next & INDEX_MASK] = 0;
        pool.nextSegments[segment & INDEX_MASK] = next;
        segment = next;
        continue;
      }
      const part = bytes.subarray(done, done + size);
      pool.u8.set(part, pool.offset(segment) + length);
      pool.lengths[segment & INDEX_MASK] = length + size;
      done += size;
    }
    return segment;
  }
}
