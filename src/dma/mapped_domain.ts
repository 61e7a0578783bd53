/**
 * The bookkeeping that every IOMMU needs, whichever calls it is programmed with.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import type { DmaDomain, IommuMap } from "./domain.ts";
import type { IovaAllocator } from "./iova.ts";
import { type DmaMemory, HUGEPAGE_2M } from "./memory.ts";

/** An IOMMU unmaps only what was mapped in one piece: pieces end at these boundaries, and so do unmappings. */
const PIECE = HUGEPAGE_2M;

interface Attachment {
  readonly iova: bigint;
  mapped: number;
}

/** A {@linkcode DmaDomain} over an allocator of addresses and the calls that map them. */
export class MappedDomain implements DmaDomain {
  readonly #attached = new Map<DmaMemory, Attachment>();

  /**
   * @param iovas The addresses that may be used.
   * @param iommu The calls that map them.
   */
  constructor(
    readonly iovas: IovaAllocator,
    readonly iommu: IommuMap,
  ) {}

  /** {@inheritDoc DmaDomain.attach} */
  attach(memory: DmaMemory): bigint {
    const alignment = Math.max(HUGEPAGE_2M, nextPowerOfTwo(memory.reserved));
    const iova = this.iovas.allocate(memory.reserved, alignment);
    this.#attached.set(memory, { iova, mapped: 0 });
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
    const entry = this.#entry(memory);
    const piece = Math.max(memory.pageSize, PIECE);
    while (entry.mapped < memory.committed) {
      const { iova, mapped } = entry;
      const end = Math.min(
        (Math.floor(mapped / piece) + 1) * piece,
        memory.committed,
      );
      this.iommu.map(memory, mapped, end - mapped, iova + BigInt(mapped));
      entry.mapped = end;
    }
  }

  /** {@inheritDoc DmaDomain.shrink} */
  shrink(memory: DmaMemory, bytes: number): number {
    const entry = this.#entry(memory);
    const piece = Math.max(memory.pageSize, PIECE);
    const keep = Math.ceil(bytes / piece) * piece;
    if (keep >= entry.mapped) return entry.mapped;
    this.iommu.unmap(entry.iova + BigInt(keep), entry.mapped - keep);
    entry.mapped = keep;
    return keep;
  }

  /** {@inheritDoc DmaDomain.detach} */
  detach(memory: DmaMemory): void {
    this.shrink(memory, 0);
    this.iovas.free(this.#entry(memory).iova);
    this.#attached.delete(memory);
  }

  #entry(memory: DmaMemory): Attachment {
    const entry = this.#attached.get(memory);
    if (entry) return entry;
    throw new IxlError("out-of-iova", "this memory is not attached");
  }
}

function nextPowerOfTwo(value: number): number {
  return 2 ** Math.ceil(Math.log2(value));
}
