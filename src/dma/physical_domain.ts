/**
 * No IOMMU at all: a device reaches all of memory, by physical addresses.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import type { DmaDomain } from "./domain.ts";
import type { DmaMemory } from "./memory.ts";
import { PoolSet } from "./pool_set.ts";

/** A {@linkcode DmaDomain} in which nothing is mapped: an address is where the memory lies in RAM. */
export class PhysicalDomain implements DmaDomain {
  /** {@inheritDoc DmaDomain.pools} */
  readonly pools: PoolSet = new PoolSet();
  /** {@inheritDoc DmaDomain.contiguous} */
  readonly contiguous = true;

  /** {@inheritDoc DmaDomain.attach} */
  attach({ physicalAddress }: Pick<DmaMemory, "physicalAddress">): bigint {
    if (physicalAddress !== undefined) return physicalAddress;
    throw new IxlError(
      "not-supported",
      "without an IOMMU a device only reaches contiguous memory",
    );
  }

  /** Nothing to do: what was committed is the neighbour of what was there. */
  grow(): void {}

  /** Nothing is mapped, hence all that is wanted can be given back. */
  shrink(_memory: DmaMemory, bytes: number): number {
    return bytes;
  }

  /** Nothing to do. */
  detach(): void {}
}
