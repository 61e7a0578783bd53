/**
 * The I/O virtual addresses of this isolate's devices: a memory has the same address for each device that reaches it,
 * so that a packet can be received by one device and sent by another of any kind.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { IovaAllocator, type IovaRange } from "./iova.ts";

/** 2 MiB: large pages can be mapped as one piece. */
const LEAST_ALIGNMENT = 2 << 20;
/** Drivers add the offset of a packet to the lower half of an address, without carry. */
const LARGEST = 2 ** 32;

/**
 * Address 0 stays unused, so that a descriptor that was never filled causes a fault. An emulated IOMMU may have only 39
 * address bits. The gap is where x86 has its message-signalled interrupts: an IOMMU does not translate addresses there.
 */
const USABLE: readonly IovaRange[] = [
  { start: 1n << 21n, end: 0xfee00000n },
  { start: 0xfef00000n, end: 1n << 39n },
];

/** What is given an address. */
export interface Addressed {
  /** Bytes, those included that it may grow into. */
  readonly reserved: number;
}

interface Taken {
  readonly iova: bigint;
  users: number;
}

/** Gives each memory one address for all devices. */
export class AddressSpace {
  /** The one of this isolate. */
  static readonly shared: AddressSpace = new AddressSpace();

  readonly #iovas = new IovaAllocator(USABLE);
  readonly #taken = new Map<Addressed, Taken>();
  readonly #limits = new Set<Limit>();
  /** Addresses are given out in turn: the same one again as late as possible, see {@linkcode AddressSpace.take}. */
  #next = 0n;

  /**
   * The address of a memory: a new one for its first user, the same for each further one. It is a multiple of the
   * memory's size, rounded up to a power of two, so that the upper half of the address is the same for all its bytes.
   *
   * An address is reused late, because DPDK ignores a table of memory whose addresses and sizes are those of the table
   * before, even where the files behind them differ.
   *
   * @param usable Where the device can reach it.
   * @throws {IxlError} "out-of-iova" when there is no room, or the memory has an address that the device cannot use.
   */
  take(memory: Addressed, usable: readonly IovaRange[] = USABLE): bigint {
    const known = this.#taken.get(memory);
    if (known !== undefined) {
      assertUsable(known.iova, memory.reserved, usable);
      known.users++;
      return known.iova;
    }
    const { reserved } = memory;
    if (reserved > LARGEST) {
      throw new IxlError(
        "out-of-iova",
        `a memory of ${reserved} bytes is more than the 4 GiB that a device can reach in one piece: use smaller pools (poolMaxEntries, poolEntries) or fewer queues`,
      );
    }
    const iova = this.#allocate(reserved, usable);
    this.#taken.set(memory, { iova, users: 1 });
    return iova;
  }

  /** Undoes one {@linkcode take}. */
  giveBack(memory: Addressed): void {
    const known = this.#taken.get(memory);
    if (known === undefined) {
      throw new IxlError("out-of-iova", "this memory has no address");
    }
    if (--known.users > 0) return;
    this.#taken.delete(memory);
    this.#iovas.free(known.iova);
  }

  /** From now on, where there is room, addresses lie within `ranges` too: those of a device that is open. */
  limit(ranges: readonly IovaRange[]): Limit {
    const limit: Limit = {
      ranges,
      [Symbol.dispose]: () => void this.#limits.delete(limit),
    };
    this.#limits.add(limit);
    return limit;
  }

  #allocate(reserved: number, usable: readonly IovaRange[]): bigint {
    const size = Math.max(
      LEAST_ALIGNMENT,
      2 ** Math.ceil(Math.log2(reserved)),
    );
    const all = [...this.#limits].reduce<readonly IovaRange[]>(
      (ranges, limit) => intersect(ranges, limit.ranges),
      usable,
    );
    const ahead = intersect(all, [{ start: this.#next, end: 1n << 64n }]);
    for (const within of [ahead, all]) {
      const iova = this.#try(reserved, size, within);
      if (iova === undefined) continue;
      this.#next = iova + BigInt(size);
      return iova;
    }
    return this.#iovas.allocate(reserved, size, usable);
  }

  #try(
    reserved: number,
    alignment: number,
    within: readonly IovaRange[],
  ): bigint | undefined {
    try {
      return this.#iovas.allocate(reserved, alignment, within);
    } catch (error) {
      if (error instanceof IxlError && error.code === "out-of-iova") return;
      throw error;
    }
  }
}

/** A wish about addresses, until it is disposed of. */
export interface Limit extends Disposable {
  /** Where they shall lie. */
  ranges: readonly IovaRange[];
}

function assertUsable(
  iova: bigint,
  length: number,
  usable: readonly IovaRange[],
): void {
  const end = iova + BigInt(length);
  if (usable.some((range) => range.start <= iova && end <= range.end)) return;
  throw new IxlError(
    "out-of-iova",
    `the memory has the address 0x${
      iova.toString(16)
    } for other devices, which the IOMMU of this one cannot translate`,
  );
}

function intersect(
  some: readonly IovaRange[],
  others: readonly IovaRange[],
): IovaRange[] {
  return some.flatMap((a) =>
    others.map((b) => ({
      start: a.start > b.start ? a.start : b.start,
      end: a.end < b.end ? a.end : b.end,
    }))
  ).filter(({ start, end }) => start < end);
}
