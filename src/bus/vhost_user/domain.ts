/**
 * The memory that a vhost-user backend reaches: the rings of its device, and the pools that the device was given.
 *
 * @module
 */
import { AddressSpace } from "../../dma/address_space.ts";
import type { DmaDomain } from "../../dma/domain.ts";
import type { DmaMemory } from "../../dma/memory.ts";
import { PoolSet } from "../../dma/pool_set.ts";
import { IxlError } from "../../errors.ts";
import type { MemoryRegion } from "./protocol.ts";

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
  /** {@inheritDoc DmaDomain.pools} */
  readonly pools: PoolSet = new PoolSet();
  /** {@inheritDoc DmaDomain.fileBacked} */
  readonly fileBacked = true;
  readonly #attached = new Map<DmaMemory, Attachment>();
  readonly #users = new Set<MemoryUser>();

  /**
   * @param ordinaryPages Takes no memory on hugepages. A backend that punches a hole into a file of hugepages takes the
   * pages away, and when there are no others our next touch of them is a SIGBUS, which ends the process. A hole in a
   * file of ordinary pages reads as zeros.
   */
  constructor(readonly ordinaryPages = false) {}

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
    if (this.ordinaryPages && memory.backing !== "memfd") {
      throw new IxlError(
        "not-supported",
        `the backend gets memory on ordinary pages only (memory=pages), and this lies on ${memory.backing}: open the other device with hugepages: "never" to share its packets`,
      );
    }
    const iova = AddressSpace.shared.take(memory);
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
    AddressSpace.shared.giveBack(memory);
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
