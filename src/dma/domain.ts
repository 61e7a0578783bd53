/**
 * What a device can reach: the seam to an IOMMU.
 *
 * @module
 */
import type { DmaMemory } from "./memory.ts";

/**
 * One address space that all devices of the process share, so that a packet received on one card can be sent on
 * another without a copy.
 */
export interface DmaDomain {
  /** True where devices use physical addresses: only memory that was allocated `contiguous` can be attached. */
  readonly contiguous?: boolean;
  /** True where other processes are the devices: only memory that was allocated `fileBacked` can be attached. */
  readonly fileBacked?: boolean;
  /**
   * True behind an IOMMU of which not every device makes one piece: QEMU's igb and e1000e drop a frame on sending whose
   * two pages are not neighbours in RAM. Memory on small pages is then used in units that do not cross a page.
   */
  readonly pagewise?: boolean;
  /**
   * Sets I/O virtual addresses aside for the whole reservation and maps the committed part.
   * The range never crosses a multiple of 4 GiB: the upper half of an address is the same for all its bytes.
   */
  attach(memory: DmaMemory): bigint;
  /** Maps what was committed since the last call. */
  grow(memory: DmaMemory): void;
  /**
   * Unmaps what it can from `bytes` on, to be called before {@linkcode DmaMemory.decommit}. Returns where what is
   * still mapped ends, which may be later: an IOMMU unmaps whole pieces.
   */
  shrink(memory: DmaMemory, bytes: number): number;
  /** Unmaps all of it and gives the addresses back: to be called before {@linkcode DmaMemory.free}. */
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
