/**
 * The memory that vhost-user backends reach: one address space for all of them, so that a packet received from one is
 * sent to another without a copy.
 *
 * @module
 */
import type { DmaDomain } from "../../dma/domain.ts";
import { type DmaMemory, HUGEPAGE_2M } from "../../dma/memory.ts";
import { IxlError } from "../../errors.ts";
import type { MemoryRegion } from "./protocol.ts";

/** Address 0 stays unused, so that a descriptor that was never filled is a fault. */
const FIRST_IOVA = BigInt(HUGEPAGE_2M);
const LAST_IOVA = 1n << 47n;

/** A backend that uses the memory now. */
export interface MemoryUser {
  /**
   * Throws when the backend cannot take these regions.
   * @throws {IxlError} "not-supported", with what to do.
   */
  check(regions: readonly MemoryRegion[]): void;
  /** Lets the backend reach these regions and no others, and waits until it does. A backend that fails is left out. */
  update(regions: readonly MemoryRegion[]): void;
}

interface Attachment {
  readonly iova: bigint;
  /** Where each piece ends that was committed at once. */
  readonly ends: number[];
}

/** A {@linkcode DmaDomain} that tells backends of its memory. */
export class VhostUserDomain implements DmaDomain {
  /** The one of this process. */
  static readonly shared: VhostUserDomain = new VhostUserDomain();

  /** {@inheritDoc DmaDomain.fileBacked} */
  readonly fileBacked = true;
  #nextIova = FIRST_IOVA;
  readonly #attached = new Map<DmaMemory, Attachment>();
  readonly #users = new Set<MemoryUser>();

  /** What backends shall reach: the pieces of each memory in order, addresses ascending within it. */
  get regions(): readonly MemoryRegion[] {
    return [...this.#attached].flatMap(([memory, { iova, ends }]) =>
      ends.map((end, i) => {
        const offset = ends[i - 1] ?? 0;
        return {
          memory,
          iova: iova + BigInt(offset),
          size: end - offset,
          offset,
          fd: memory.fd!,
        };
      })
    );
  }

  /** Tells a backend of each change from now on. What there is, it knows. */
  join(user: MemoryUser): void {
    this.#users.add(user);
  }

  /** Tells it no more. */
  leave(user: MemoryUser): void {
    this.#users.delete(user);
  }

  /** {@inheritDoc DmaDomain.attach} */
  attach(memory: DmaMemory): bigint {
    if (memory.fd === undefined) {
      throw new IxlError(
        "not-supported",
        "a vhost-user backend only reaches memory that has a file: hugepages or a memfd",
      );
    }
    const iova = this.#allocate(memory.reserved);
    this.#attached.set(memory, { iova, ends: [] });
    try {
      this.grow(memory);
    } catch (error) {
      this.#attached.delete(memory);
      throw error;
    }
    return iova;
  }

  /** {@inheritDoc DmaDomain.grow} */
  grow(memory: DmaMemory): void {
    const { ends } = this.#entry(memory);
    if (memory.committed <= (ends.at(-1) ?? 0)) return;
    ends.push(memory.committed);
    try {
      for (const user of this.#users) user.check(this.regions);
    } catch (error) {
      ends.pop();
      throw error;
    }
    this.#update();
  }

  /** {@inheritDoc DmaDomain.shrink} */
  shrink(memory: DmaMemory, bytes: number): number {
    const { ends } = this.#entry(memory);
    const pieces = ends.length;
    while (ends.length > 0 && (ends.at(-2) ?? 0) >= bytes) ends.pop();
    if (ends.length < pieces) this.#update();
    return ends.at(-1) ?? 0;
  }

  /** {@inheritDoc DmaDomain.detach} */
  detach(memory: DmaMemory): void {
    this.shrink(memory, 0);
    this.#attached.delete(memory);
  }

  /**
   * Addresses are not given twice: DPDK takes a table with the addresses and sizes of the one that it has for the same,
   * whichever files come with it. The space lasts for millions of devices.
   */
  #allocate(bytes: number): bigint {
    const size = BigInt(
      Math.max(HUGEPAGE_2M, 2 ** Math.ceil(Math.log2(bytes))),
    );
    const iova = (this.#nextIova + size - 1n) & ~(size - 1n);
    if (iova + size > LAST_IOVA) {
      throw new IxlError(
        "out-of-iova",
        "all addresses of vhost-user memory were used: restart the program",
      );
    }
    this.#nextIova = iova + size;
    return iova;
  }

  #update(): void {
    const { regions } = this;
    for (const user of [...this.#users]) user.update(regions);
  }

  #entry(memory: DmaMemory): Attachment {
    const entry = this.#attached.get(memory);
    if (entry) return entry;
    throw new IxlError("out-of-iova", "this memory is not attached");
  }
}
