/**
 * A client's memory under the card's DMA.
 *
 * Memory that comes with a file descriptor is mapped: each file once, laid over SharedArrayBuffers, however many
 * regions are cut from it. A client behind an IOMMU of its own cuts thousands. Memory without a descriptor stays with
 * the client.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { closeFd } from "../ffi/libc.ts";
import { addressOf, mapFile, mapPlain } from "../ffi/mapping.ts";
import { type SharedFile, statShared } from "../ffi/shared_file.ts";
import { DMA_PAGE_SIZE, type DmaTable } from "../sim/dma_table.ts";
import { Errno, MOST_DMA_REGIONS, Refusal } from "./protocol.ts";
import type { KeptMemory } from "./remote_memory.ts";

/** Bytes of a file that one buffer covers: the DMA table takes buffers below 2 GiB. */
const WINDOW_BYTES = 2 ** 30;
/** Memory that stays with one client: address space here, and what the card has touched of it. */
const MOST_KEPT_BYTES = 2n ** 34n;
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

/** A part of a region's memory in a buffer. */
interface Window {
  readonly buffer: SharedArrayBuffer;
  /** Where in the buffer the part lies. */
  readonly byteOffset: number;
}

/** Where regions lie. */
interface Backing {
  /** Bytes in it. */
  readonly size: number;
  /** The part with this number, of which the first `needed` bytes are there. */
  window(number: number, needed: number): Window;
  /** A region in it has gone. */
  release(): void;
}

/** A file of the client, as far as it is mapped. */
class ClientFile implements Backing {
  readonly #windows = new Map<number, Window & Mapping>();
  readonly #mappings: Mapping[] = [];
  /** Regions that lie in it. */
  users = 0;

  constructor(
    readonly fd: number,
    public info: SharedFile,
    readonly forget: () => void,
  ) {}

  get size(): number {
    return this.info.size;
  }

  window(number: number, needed: number): Window {
    const known = this.#windows.get(number);
    if (known !== undefined && known.bytes >= needed) return known;
    // The first of this part, or the file has grown: regions in a shorter mapping keep that.
    const { pageSize, size } = this.info;
    const start = number * WINDOW_BYTES;
    const bytes = Math.min(WINDOW_BYTES, size - start);
    const buffer = new SharedArrayBuffer(bytes + pageSize);
    const base = addressOf(buffer);
    const address = roundUp(base, BigInt(pageSize));
    mapFile(address, bytes, this.fd, start);
    const byteOffset = Number(address - base);
    const window = { buffer, byteOffset, address, bytes };
    this.#windows.set(number, window);
    this.#mappings.push(window);
    return window;
  }

  release(): void {
    this.users--;
    this.closeIfUnused();
  }

  closeIfUnused(): void {
    if (this.users > 0) return;
    this.forget();
    for (const { address, bytes } of this.#mappings) {
      mapPlain(address, bytes);
    }
    closeFd(this.fd);
  }
}

/** A stretch of address space that a file is mapped into. */
interface Mapping {
  readonly address: bigint;
  readonly bytes: number;
}

/** Buffers in the place of memory that stays with the client. */
class StandIn implements Backing {
  readonly #buffers = new Map<number, SharedArrayBuffer>();

  constructor(readonly size: number) {}

  window(number: number): Window {
    let buffer = this.#buffers.get(number);
    if (buffer === undefined) {
      const bytes = Math.min(WINDOW_BYTES, this.size - number * WINDOW_BYTES);
      buffer = new SharedArrayBuffer(bytes);
      this.#buffers.set(number, buffer);
    }
    return { buffer, byteOffset: 0 };
  }

  release(): void {
    this.#buffers.clear();
  }
}

/** A region that the client has announced. */
interface Announced {
  readonly address: number;
  readonly size: number;
  readonly backing: Backing;
  readonly isKept: boolean;
}

/** The memory of one client. */
export class ClientMemory {
  readonly #table: DmaTable;
  readonly #regions = new Map<number, Announced>();
  readonly #files = new Map<string, ClientFile>();
  /** Regions, and bytes of them, that stay with the client. */
  #kept = { regions: 0, bytes: 0 };

  /** @param table The card's. Nothing else is in it. */
  constructor(table: DmaTable) {
    this.#table = table;
  }

  /** Whether the card can reach memory that stays with the client. */
  get anyKept(): boolean {
    return this.#kept.regions > 0;
  }

  /**
   * Lets the card reach a region of a file.
   * @param fd The file, which belongs to this object from then on: it is closed when this throws, too.
   * @throws {Refusal} when the region overlaps another, or cannot be mapped.
   */
  map(region: DmaRegion, fd: number): void {
    let file: ClientFile | undefined;
    try {
      this.#assertNew(region);
      file = this.#file(fd);
      this.#lay(region, file, undefined);
      file.users++;
    } finally {
      if (file?.fd !== fd) closeFd(fd);
      file?.closeIfUnused();
    }
  }

  /**
   * Lets the card reach a region through messages.
   * @throws {Refusal} when the region overlaps another, or there is too much of that.
   */
  keep(region: DmaRegion, remote: KeptMemory): void {
    this.#assertNew(region);
    if (BigInt(this.#kept.bytes) + region.size > MOST_KEPT_BYTES) {
      throw new Refusal(
        Errno.ENOSPC,
        `more than ${MOST_KEPT_BYTES} bytes without a file`,
      );
    }
    const size = Number(region.size);
    this.#lay({ ...region, offset: 0n }, new StandIn(size), remote);
    this.#kept.regions++;
    this.#kept.bytes += size;
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
    const page = BigInt(DMA_PAGE_SIZE);
    if (
      size === 0n || address + size > HIGHEST_ADDRESS ||
      address % page !== 0n || size % page !== 0n
    ) {
      throw new Refusal(
        Errno.EINVAL,
        `a region must be whole pages of ${DMA_PAGE_SIZE} bytes below 2^52`,
      );
    }
    if (this.#regions.size >= MOST_DMA_REGIONS) {
      throw new Refusal(Errno.ENOSPC, `there are ${MOST_DMA_REGIONS} regions`);
    }
  }

  #file(fd: number): ClientFile {
    const info = statShared(fd);
    const known = this.#files.get(info.key);
    if (known !== undefined) {
      known.info = info;
      return known;
    }
    if (!info.cannotShrink) {
      throw new Refusal(
        Errno.EPERM,
        "its file could be cut short under the card: seal it against that " +
          "(QEMU: memory-backend-memfd)",
      );
    }
    const file = new ClientFile(
      fd,
      info,
      () => this.#files.delete(info.key),
    );
    this.#files.set(info.key, file);
    return file;
  }

  /** Enters a region into the table, window by window. */
  #lay(
    { address, size, offset, writable }: DmaRegion,
    backing: Backing,
    remote: KeptMemory | undefined,
  ): void {
    if (
      offset % BigInt(DMA_PAGE_SIZE) !== 0n ||
      offset + size > BigInt(backing.size)
    ) {
      throw new Refusal(Errno.EINVAL, "the region is not in its file");
    }
    const [start, length, first] = [address, size, offset].map(Number);
    const options = remote === undefined ? { writable } : { writable, remote };
    let done = 0;
    try {
      while (done < length) {
        const at = first + done;
        const number = Math.floor(at / WINDOW_BYTES);
        const within = at - number * WINDOW_BYTES;
        const bytes = Math.min(length - done, WINDOW_BYTES - within);
        const { buffer, byteOffset } = backing.window(number, within + bytes);
        const iova = BigInt(start + done);
        this.#table.map(iova, buffer, byteOffset + within, bytes, options);
        done += bytes;
      }
    } catch (error) {
      if (done > 0) this.#table.unmap(address, done);
      throw refusalOf(error);
    }
    const isKept = remote !== undefined;
    this.#regions.set(start, { address: start, size: length, backing, isKept });
  }

  #remove({ address, size, backing, isKept }: Announced): void {
    this.#regions.delete(address);
    this.#table.unmap(BigInt(address), size);
    if (isKept) {
      this.#kept.regions--;
      this.#kept.bytes -= size;
    }
    backing.release();
  }
}

/** An overlap, or memory that the system does not give. */
function refusalOf(error: unknown): unknown {
  if (error instanceof RangeError) {
    const isOverlap = error.message.includes("mapped already");
    const code = isOverlap ? Errno.EEXIST : Errno.ENOMEM;
    return new Refusal(code, error.message);
  }
  if (error instanceof IxlError) {
    return new Refusal(Errno.EINVAL, error.message);
  }
  return error;
}

function roundUp(value: bigint, unit: bigint): bigint {
  return (value + unit - 1n) / unit * unit;
}
