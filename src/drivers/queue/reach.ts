/**
 * Whether a device can reach a packet's memory, before it is told to read there.
 *
 * The fast paths look at a byte for each pool; what they do not take is looked at here.
 *
 * @module
 */
import type { PoolSet } from "../../dma/pool_set.ts";
import { IxlError, PoolError } from "../../errors.ts";
import { type Handle, INDEX_MASK, Mempool } from "../../memory/mempool.ts";
import type { LocalQueue } from "./rx_queue.ts";

/**
 * Why a device must not be told of a packet; undefined where it may.
 *
 * @param handle The packet.
 * @param reachable The pools that the device reaches.
 * @param queue Whose packet it would be.
 */
export function refusalOf(
  handle: Handle,
  reachable: PoolSet,
  queue: LocalQueue,
): Error | undefined {
  try {
    for (let segment = handle; segment !== 0;) {
      const pool = Mempool.of(segment);
      const index = segment & INDEX_MASK;
      if (index >= pool.maxEntries) return beyondPool(segment, pool);
      if (!reachable.has(pool.id)) return unreachable(pool, queue);
      segment = pool.nextSegments[index];
    }
  } catch (error) {
    return error as Error;
  }
  return undefined;
}

function beyondPool(handle: Handle, { id, maxEntries }: Mempool): PoolError {
  return new PoolError(
    `handle 0x${
      handle.toString(16)
    } is beyond the ${maxEntries} packets of pool ${id}`,
  );
}

function unreachable(
  { id }: Mempool,
  { driver, model, index }: LocalQueue,
): IxlError {
  return new IxlError(
    "pool-unreachable",
    `queue ${index} of this ${driver} device (${model}) cannot reach pool ${id}, which was made for another device: call attachMempool(pool) on the sending device, start the queues of both devices with one run(), or copy the packet`,
  );
}
