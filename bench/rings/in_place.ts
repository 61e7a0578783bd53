/**
 * Addresses for rings without a device: a packet's is its place in the pool.
 *
 * @module
 */
import type { DmaDomain } from "../../src/dma/domain.ts";
import { PoolSet } from "../../src/dma/pool_set.ts";

/** A domain in which each pool begins at address 0. */
export function inPlace(): DmaDomain {
  return {
    pools: new PoolSet(),
    attach: () => 0n,
    grow: () => {},
    shrink: (_memory, bytes) => bytes,
    detach: () => {},
  };
}
