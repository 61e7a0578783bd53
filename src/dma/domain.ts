/**
 * What a device can reach: the seam to an IOMMU.
 *
 * @module
 */
import type { DmaMemory } from "./memory.ts";
import type { PoolSet } from "./pool_set.ts";

/**
 * The memory that one device reaches, or several behind one IOMMU. Memory can be attached to several domains, and has
 * the same address in each, so that a packet received on one device can be sent on another without a copy.
 */
export interface DmaDomain {
  /** The pools that are attached. Kept by {@linkcode Mempool}. */
  readonly pools: PoolSet;
  /** True where devices use physical addresses: only memory that was allocated `contiguous` can be attached. */
  readonly contiguous?: boolean;
  /** True where other processes are the devices: only memory that was allocated `fileBacked` can be attached. */
  readonly fileBacked?: boolean;
  /** True where memory on hugepages cannot be attached. */
  readonly ordinaryPages?: boolean;
  /**
   * True behind an IOMMU of which not every device makes one piece: QEMU's igb and e1000e drop a frame on sending whose
   * two pages are not neighbours in RAM. Memory on small pages is then used in units that do not cross a page.
   */
  readonly pagewise?: boolean;
  /**
   * Maps the committed part at the address that the memory has in this process, and returns that address.
   * The range never crosses a multiple of 4 GiB: the upper half of an address is the same for all its bytes.
   * @throws {IxlError} "out-of-iova" or "not-supported" when the device cannot reach this memory.
   */
  attach(memory: DmaMemory): bigint;
  /** Maps what was committed since the last call. */
  grow(memory: DmaMemory): void;
  /**
   * Unmaps what it can from `bytes` on, to be called before {@linkcode DmaMemory.decommit}. Returns where what is
   * still mapped ends, which may be later: an IOMMU unmaps whole pieces.
   */
  shrink(memory: DmaMemory, bytes: number): number;
  /** Unmaps all of it: to be called before {@linkcode DmaMemory.free}. */
  detach(memory: DmaMemory): void;
}

/** The mapping calls of one kind of IOMMU. */
export interface IommuMap {
  /** See {@linkcode DmaDomain.pagewise}. */
  readonly pagewise?: boolean;
  /** Lets devices reach `length` bytes of `memory` from `offset` on, at `iova`. */
  map(memory: DmaMemory, offset: number, length: number, iova: bigint): void;
  /** Takes a range back. */
  unmap(iova: bigint, length: number): void;
}
