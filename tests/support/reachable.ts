/**
 * Which pools a queue without a device can send from.
 *
 * @module
 */
import { PoolSet } from "../../src/dma/pool_set.ts";
import type { Mempool } from "../../src/memory/mempool.ts";

/** The set of these pools, for a queue's description. */
export function reachable(...pools: readonly Mempool[]): SharedArrayBuffer {
  const set = new PoolSet();
  for (const { id } of pools) set.add(id);
  return set.buffer;
}
