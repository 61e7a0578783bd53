/**
 * Allocation of I/O virtual addresses: what a device uses to reach memory.
 *
 * @module
 */
import { IxlError } from "../errors.ts";

/** A range of addresses; `end` is the first address behind it. */
export interface IovaRange {
  /** First address. */
  readonly start: bigint;
  /** First address behind the range. */
  readonly end: bigint;
}

const EVERYWHERE: readonly IovaRange[] = [{ start: 0n, end: 1n << 64n }];

/**
 * First-fit allocator, lowest addresses first: an emulated IOMMU may have only 39 address bits.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { IovaAllocator } from "./iova.ts";
 *
 * const iova = new IovaAllocator([{ start: 0x1000n, end: 0x10000n }]);
 * assertEquals(iova.allocate(0x2000, 0x1000), 0x1000n);
 * ```
 */
export class IovaAllocator {
  readonly #free: { start: bigint; end: bigint }[];
  readonly #taken = new Map<bigint, bigint>();

  /** @param allowed The ranges that the device and its IOMMU can use, without the reserved ones. */
  constructor(allowed: readonly IovaRange[]) {
    this.#free = allowed
      .filter(({ start, end }) => end > start)
      .map(({ start, end }) => ({ start, end }))
      .sort((a, b) => (a.start < b.start ? -1 : 1));
  }

  /**
   * Takes `length` bytes at a multiple of `alignment`, a power of two.
   *
   * @param within The ranges to choose from. Default: all.
   * @throws {IxlError} "out-of-iova" when no allowed range has room.
   */
  allocate(
    length: number,
    alignment: number,
    within: readonly IovaRange[] = EVERYWHERE,
  ): bigint {
    const size = BigInt(length);
    const align = BigInt(alignment);
    for (const [i, range] of this.#free.entries()) {
      for (const { start: from, end: to } of within) {
        const lowest = range.start > from ? range.start : from;
        const start = (lowest + align - 1n) & ~(align - 1n);
        const end = start + size;
        if (end > range.end || end > to) continue;
        const pieces = [
          { start: range.start, end: start },
          { start: end, end: range.end },
        ].filter((piece) => piece.end > piece.start);
        this.#free.splice(i, 1, ...pieces);
        this.#taken.set(start, end);
        return start;
      }
    }
    throw new IxlError(
      "out-of-iova",
      `no room for ${length} bytes among the addresses that the device can use: use smaller pools or fewer queues`,
    );
  }

  /** Gives back what {@linkcode allocate} returned. */
  free(start: bigint): void {
    const end = this.#taken.get(start);
    if (end === undefined) {
      throw new IxlError(
        "out-of-iova",
        `0x${start.toString(16)} was not allocated`,
      );
    }
    this.#taken.delete(start);
    const at = this.#free.findIndex((range) => range.start > start);
    const index = at < 0 ? this.#free.length : at;
    this.#free.splice(index, 0, { start, end });
    this.#mergeAt(index);
    this.#mergeAt(index - 1);
  }

  /** Joins the free ranges at `index` and behind it when they touch. */
  #mergeAt(index: number): void {
    const [left, right] = [this.#free[index], this.#free[index + 1]];
    if (left === undefined || right === undefined || left.end !== right.start) {
      return;
    }
    this.#free.splice(index, 2, { start: left.start, end: right.end });
  }
}
