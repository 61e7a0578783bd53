/**
 * A client's memory under the card's DMA.
 *
 * The card's addresses are laid out in SharedArrayBuffers as the client lays them out: what follows in addresses
 * follows in the buffer, whatever files it comes from. So a ring of several pages is one piece for the card, though an
 * IOMMU in the client gives it page by page. Memory without a file stays with the client, and the buffer stands in.
 *
 * @module
 */
import { SystemError } from "../errors.ts";
import { closeFd } from "../ffi/libc.ts";
import { addressOf, mapFile, mapPlain, PAGE_SIZE } from "../ffi/mapping.ts";
import { statShared } from "../ffi/shared_file.ts";
import type { DmaTable } from "../sim/dma_table.ts";
import { Errno, MOST_DMA_REGIONS, Refusal } from "./protocol.ts";
import type { KeptMemory } from "./remote_memory.ts";

/** Addresses that one buffer covers: the DMA table takes buffers below 2 GiB. */
const WINDOW_BYTES = 2 ** 30;
/** Buffers of one client. They are address space; memory is behind what is mapped. */
const MOST_WINDOWS = 128;
/** Addresses are numbers here: the card's own limit. */
const HIGHEST_ADDRESS = 2n ** 52n;

/** DMA_MAP. */
export interface DmaRegion {
  readonly address: bigint;
  readonly size: bigint;
  /** Where it begins in its file. */
  readonly offset: bigint;
  /** Whether the card may write to it. */
  readonly writable: boolean;
}

/** The buffer for a stretch of addresses. */
class Window {
  readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(
    WINDOW_BYTES + PAGE_SIZE,
  );
  /** Where in the buffer, and in this process, the stretch begins: at a page. */
  readonly byteOffset: number;
  readonly address: bigint;
  /** Regions, or parts of them, that lie in it. */
  users = 0;

  constructor() {
    const page = BigInt(PAGE_SIZE);
    const start = addressOf(this.buffer);
    this.address = (start + page - 1n) / page * page;
    this.byteOffset = Number(this.address - start);
  }
}

/** A part of a region, in one window. */
interface Part {
  /** Number of the window. */
  readonly number: number;
  /** Where in the window it begins. */
  readonly within: number;
  readonly bytes: number;
  /** Where in the region it begins. */
  readonly from: number;
}

/** A region that the client has announced. */
interface Announced {
  readonly address: number;
  readonly size: number;
  readonly isKept: boolean;
}

/** The memory of one client. */
export class ClientMemory {
  readonly #table: DmaTable;
  readonly #regions = new Map<number, Announced>();
  readonly #windows = new Map<number, Window>();
  #keptRegions = 0;

  /** @param table The card's. Nothing else is in it. */
  constructor(table: DmaTable) {
    this.#table = table;
  }

  /** Whether the card can reach memory that stays with the client. */
  get anyKept(): boolean {
    return this.#keptRegions > 0;
  }

  /**
   * Lets the card reach a region of a file.
   * @param fd The file, which this takes and closes.
   * @throws {Refusal} when the region overlaps another, or cannot be mapped.
   */
  map(region: DmaRegion, fd: number): void {
    try {
      this.#assertNew(region);
      assertMappable(region, fd);
      this.#lay(region, fd, undefined);
    } finally {
      closeFd(fd);
    }
  }

  /**
   * Lets the card reach a region through messages.
   * @throws {Refusal} when the region overlaps another.
   */
  keep(region: DmaRegion, remote: KeptMemory): void {
    this.#assertNew(region);
    this.#lay(region, undefined, remote);
    this.#keptRegions++;
  }

  /**
   * Takes away all regions within a range, as the kernel's VFIO does: an IOMMU in the client flushes more than it has
   * mapped. A range that cuts a region in two is refused.
   */
  unmap(address: bigint, size: bigint): void {
    const only = this.#regions.get(Number(address));
    if (only !== undefined && BigInt(only.size) === size) {
      return this.#remove(only);
    }
    const end = address + size;
    const within: Announced[] = [];
    for (const region of this.#regions.values()) {
      const from = BigInt(region.address);
      const to = from + BigInt(region.size);
      if (to <= address || from >= end) continue;
      if (from < address || to > end) {
        throw new Refusal(Errno.EINVAL, "the range cuts a region in two");
      }
      within.push(region);
    }
    for (const region of within) this.#remove(region);
  }

  /** The rings of the card lie where others write: it looks at them again. */
  refresh(): void {
    this.#table.generation = (this.#table.generation + 1) | 0;
  }

  /** Takes everything away. */
  close(): void {
    for (const region of [...this.#regions.values()]) this.#remove(region);
  }

  #assertNew({ address, size }: DmaRegion): void {
    const page = BigInt(PAGE_SIZE);
    if (
      size === 0n || address + size > HIGHEST_ADDRESS ||
      address % page !== 0n || size % page !== 0n
    ) {
      throw new Refusal(
        Errno.EINVAL,
        `a region must be whole pages of ${PAGE_SIZE} bytes below 2^52`,
      );
    }
    if (this.#regions.size >= MOST_DMA_REGIONS) {
      throw new Refusal(Errno.ENOSPC, `there are ${MOST_DMA_REGIONS} regions`);
    }
  }

  /** Enters a region into the table, and lays its file over the buffers. */
  #lay(
    { address, size, offset, writable }: DmaRegion,
    fd: number | undefined,
    remote: KeptMemory | undefined,
  ): void {
    const region = {
      address: Number(address),
      size: Number(size),
      isKept: remote !== undefined,
    };
    const options = remote === undefined ? { writable } : { writable, remote };
    const done: Part[] = [];
    try {
      for (const part of partsOf(region)) {
        const { number, within, bytes, from } = part;
        const window = this.#window(number);
        this.#table.map(
          address + BigInt(from),
          window.buffer,
          window.byteOffset + within,
          bytes,
          options,
        );
        done.push(part);
        window.users++;
        const at = window.address + BigInt(within);
        if (fd !== undefined) mapFile(at, bytes, fd, Number(offset) + from);
      }
    } catch (error) {
      for (const part of done) this.#clear(region.address, part);
      this.#dropUnused();
      throw refusalOf(error);
    }
    this.#regions.set(region.address, region);
  }

  #window(number: number): Window {
    let window = this.#windows.get(number);
    if (window !== undefined) return window;
    if (this.#windows.size === MOST_WINDOWS) {
      throw new Refusal(
        Errno.ENOSPC,
        `addresses in more than ${MOST_WINDOWS} GiB`,
      );
    }
    window = new Window();
    this.#windows.set(number, window);
    return window;
  }

  #remove(region: Announced): void {
    this.#regions.delete(region.address);
    if (region.isKept) this.#keptRegions--;
    for (const part of partsOf(region)) this.#clear(region.address, part);
    this.#dropUnused();
  }

  #clear(address: number, { number, within, bytes, from }: Part): void {
    const window = this.#windows.get(number)!;
    this.#table.unmap(BigInt(address + from), bytes);
    mapPlain(window.address + BigInt(within), bytes);
    window.users--;
  }

  #dropUnused(): void {
    for (const [number, { users }] of this.#windows) {
      if (users === 0) this.#windows.delete(number);
    }
  }
}

/** Cuts a region where windows end. */
function partsOf({ address, size }: Announced): Part[] {
  const parts: Part[] = [];
  for (let from = 0; from < size;) {
    const number = Math.floor((address + from) / WINDOW_BYTES);
    const within = address + from - number * WINDOW_BYTES;
    const bytes = Math.min(size - from, WINDOW_BYTES - within);
    parts.push({ number, within, bytes, from });
    from += bytes;
  }
  return parts;
}

/** A mapping may only be touched if its file cannot be shortened. */
function assertMappable({ offset, size }: DmaRegion, fd: number): void {
  const file = statShared(fd);
  if (!file.cannotShrink) {
    throw new Refusal(
      Errno.EPERM,
      "its file could be cut short under the card: seal it against that " +
        "(QEMU: memory-backend-memfd)",
    );
  }
  if (file.pageSize > PAGE_SIZE) {
    throw new Refusal(
      Errno.EINVAL,
      `its file has pages of ${file.pageSize} bytes: only those of ${PAGE_SIZE} can be laid anywhere`,
    );
  }
  if (offset % BigInt(PAGE_SIZE) !== 0n || offset + size > BigInt(file.size)) {
    throw new Refusal(Errno.EINVAL, "the region is not in its file");
  }
}

/** An overlap, or memory that the system does not give. */
function refusalOf(error: unknown): unknown {
  if (error instanceof SystemError) {
    return new Refusal(Errno.ENOMEM, error.message);
  }
  if (!(error instanceof RangeError)) return error;
  const isOverlap = error.message.includes("mapped already");
  return new Refusal(isOverlap ? Errno.EEXIST : Errno.ENOMEM, error.message);
}
