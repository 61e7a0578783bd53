/**
 * The bookkeeping that every IOMMU needs, whichever calls it is programmed with.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import type { DmaDomain, IommuMap } from "./domain.ts";
import { AddressSpace } from "./address_space.ts";
import type { IovaRange } from "./iova.ts";
import { type DmaMemory, HUGEPAGE_2M } from "./memory.ts";
import { PoolSet } from "./pool_set.ts";

/** Longest piece of memory that is mapped at once. */
const LONGEST_PIECE = HUGEPAGE_2M;

interface Attachment {
  readonly iova: bigint;
  /** Where each mapped piece ends. An IOMMU unmaps only what was mapped in one piece. */
  readonly ends: number[];
}

/** A {@linkcode DmaDomain} over the calls that map addresses. */
export class MappedDomain implements DmaDomain {
  /** {@inheritDoc DmaDomain.pools} */
  readonly pools: PoolSet = new PoolSet();
  /** {@inheritDoc DmaDomain.pagewise} */
  readonly pagewise: boolean;
  readonly #attached = new Map<DmaMemory, Attachment>();

  /**
   * @param iommu The calls that map them.
   * @param usable The addresses that may be used. Default: all that the process gives out.
   */
  constructor(
    readonly iommu: IommuMap,
    public usable?: readonly IovaRange[],
  ) {
    this.pagewise = iommu.pagewise ?? false;
  }

  /** {@inheritDoc DmaDomain.attach} */
  attach(memory: DmaMemory): bigint {
    const iova = AddressSpace.shared.take(memory, this.usable);
    this.#attached.set(memory, { iova, ends: [] });
    try {
      this.grow(memory);
    } catch (error) {
      this.detach(memory);
      throw error;
    }
    return iova;
  }

  /** {@inheritDoc DmaDomain.grow} */
  grow(memory: DmaMemory): void {
    const { iova, ends } = this.#entry(memory);
    const longest = Math.max(memory.pageSize, LONGEST_PIECE);
    for (let from = ends.at(-1) ?? 0; from < memory.committed;) {
      const end = Math.min(
        (Math.floor(from / longest) + 1) * longest,
        memory.committed,
      );
      this.iommu.map(memory, from, end - from, iova + BigInt(from));
      ends.push(end);
      from = end;
    }
  }

  /** {@inheritDoc DmaDomain.shrink} */
  shrink(memory: DmaMemory, bytes: number): number {
    const { iova, ends } = this.#entry(memory);
    const mapped = ends.at(-1) ?? 0;
    while ((ends.at(-2) ?? 0) >= bytes && ends.length > 0) ends.pop();
    const keep = ends.at(-1) ?? 0;
    if (keep < mapped) this.iommu.unmap(iova + BigInt(keep), mapped - keep);
    return keep;
  }

  /** {@inheritDoc DmaDomain.detach} */
  detach(memory: DmaMemory): void {
    this.shrink(memory, 0);
    this.#attached.delete(memory);
    AddressSpace.shared.giveBack(memory);
  }

  #entry(memory: DmaMemory): Attachment {
    const entry = this.#attached.get(memory);
    if (entry) return entry;
    throw new IxlError("out-of-iova", "this memory is not attached");
  }
}
