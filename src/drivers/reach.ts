/**
 * Whether a device can reach a packet's memory, before it is told to read there.
 *
 * Queues ask once for each pool and remember the answer, so that the data path does not pay for it.
 *
 * @module
 */
import type { PoolSet } from "../dma/pool_set.ts";
import { IxlError } from "../errors.ts";
import { type Handle, INDEX_MASK, Mempool } from "../mempool.ts";
import type { LocalQueue } from "./base_rx_queue.ts";

/** The first pool of a packet's segments that is not in the set; undefined when the device reaches all of them. */
export function unreachablePool(
  handle: Handle,
  reachable: PoolSet,
): Mempool | undefined {
  for (let segment = handle; segment !== 0;) {
    const pool = Mempool.of(segment);
    if (!reachable.has(pool.id)) return pool;
    segment = pool.nextSegments[segment & INDEX_MASK];
  }
  return undefined;
}

/** What `send()` throws. */
export function unreachableError(
  { id }: Mempool,
  { driver, model, index }: LocalQueue,
): IxlError {
  return new IxlError(
    "pool-unreachable",
    `queue ${index} of this ${driver} device (${model}) cannot reach pool ${id}, which was made for another device: call attachMempool(pool) on the sending device, start the queues of both devices with one run(), or copy the packet`,
  );
}
