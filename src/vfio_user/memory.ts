/**
 * A client's memory under the card's DMA.
 *
 * Memory that comes with a file descriptor is mapped: each file once, laid over SharedArrayBuffers, however many
 * regions are cut from it. A client behind an IOMMU of its own cuts thousands.
 *
 * @module
 */
import { closeFd } from "../ffi/libc.ts";
import { addressOf, mapFile, mapPlain } from "../ffi/mapping.ts";
import { type SharedFile, statShared } from "../ffi/shared_file.ts";
import { DMA_PAGE_SIZE, type DmaTable } from "../sim/dma_table.ts";
import { Errno, MOST_DMA_REGIONS, Refusal } from "./protocol.ts";

/** Bytes of a file that one buffer covers: the DMA table takes buffers below 2 GiB. */
const WINDOW_BYTES = 2 ** 30;
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

/** A part of a file in a buffer. */
interface Window {
  readonly buffer: SharedArrayBuffer;
  /** Where in the buffer the part lies. */
  readonly byteOffset: number;
  readonly address: bigint;
  readonly bytes: number;
}

/** A file of the client, as far as it is mapped. */
class ClientFile {
  readonly windows: Map<number, Window> = new Map();
  /** Regions that lie in it. */
  users = 0;

  constructor(readonly fd: number, readonly info: SharedFile) {}

  /** The window with this number, mapped when it is not yet. */
  window(number: number): Window {
    const known = this.windows.get(number);
    if (known !== undefined) return known;
    const { pageSize, size } = this.info;
    const start = number * WINDOW_BYTES;
    const bytes = Math.min(WINDOW_BYTES, size - start);
    const buffer = new SharedArrayBuffer(bytes + pageSize);
    const base = addressOf(buffer);
    const address = roundUp(base, BigInt(pageSize));
    mapFile(address, bytes, this.fd, start);
    const window = {
      buffer,
      byteOffset: Number(address - base),
      address,
      bytes,
    };
    this.windows.set(number, window);
    return window;
  }

  close(): void {
    for (const { address, bytes } of this.windows.values()) {
      mapPlain(address, bytes);
    }
    closeFd(this.fd);
  }
}

/** A region that the client has announced. */
interface Announced {
  readonly address: number;
  readonly size: number;
  /** The file that it lies in. */
  readonly file: ClientFile;
}

/** The memory of one client. */
export class ClientMemory {
  readonly #table: DmaTable;
  readonly #regions = new Map<number, Announced>();
  readonly #files = new Map<string, ClientFile>();

  /** @param table The card's. Nothing else is in it. */
  constructor(table: DmaTable) {
    this.#table = table;
  }

  /**
   * Lets the card reach a region of a file.
   * @param fd The file, which belongs to this object from then on: it is closed when this throws, too.
   * @throws {Refusal} when the region overlaps another, or cannot be mapped.
   */
  map(region: DmaRegion, fd: number): void {
    let file: ClientFile | undefined;
    try {
      const range = this.#newRange(region);
      file = this.#file(fd);
      this.#lay(range, Number(region.offset), file);
    } finally {
      if (file?.fd !== fd) closeFd(fd);
      this.#closeIfUnused(file);
    }
  }

  /**
   * Takes away all regions within a range, as the kernel's VFIO does: an IOMMU in the client flushes more than it has
   * mapped. A range that cuts a region in two is refused.
   */
  unmap(address: bigint, size: bigint): void {
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

  /** Takes everything away. */
  close(): void {
    for (const region of [...this.#regions.values()]) this.#remove(region);
  }

  #newRange({ address, size }: DmaRegion): { start: number; length: number } {
    const [start, length] = [Number(address), Number(size)];
    if (
      size === 0n || address + size > HIGHEST_ADDRESS ||
      start % DMA_PAGE_SIZE !== 0 || length % DMA_PAGE_SIZE !== 0
    ) {
      throw new Refusal(
        Errno.EINVAL,
        `a region must be whole pages of ${DMA_PAGE_SIZE} bytes below 2^52`,
      );
    }
    if (this.#regions.size >= MOST_DMA_REGIONS) {
      throw new Refusal(Errno.ENOSPC, `there are ${MOST_DMA_REGIONS} regions`);
    }
    return { start, length };
  }

  #file(fd: number): ClientFile {
    const info = statShared(fd);
    const known = this.#files.get(info.key);
    if (known !== undefined) return known;
    if (!info.cannotShrink) {
      throw new Refusal(
        Errno.EPERM,
        "its file could be cut short under the card: seal it against that " +
          "(QEMU: memory-backend-memfd)",
      );
    }
    const file = new ClientFile(fd, info);
    this.#files.set(info.key, file);
    return file;
  }

  /** Enters a region into the table, window by window. */
  #lay(
    { start, length }: { start: number; length: number },
    offset: number,
    file: ClientFile,
  ): void {
    if (offset % DMA_PAGE_SIZE !== 0 || offset + length > file.info.size) {
      throw new Refusal(Errno.EINVAL, "the region is not in its file");
    }
    if (this.#regions.has(start)) {
      throw new Refusal(Errno.EEXIST, "there is a region already");
    }
    let done = 0;
    try {
      while (done < length) {
        const at = offset + done;
        const number = Math.floor(at / WINDOW_BYTES);
        const within = at - number * WINDOW_BYTES;
        const bytes = Math.min(length - done, WINDOW_BYTES - within);
        const { buffer, byteOffset } = file.window(number);
        const iova = BigInt(start + done);
        this.#table.map(iova, buffer, byteOffset + within, bytes);
        done += bytes;
      }
    } catch (error) {
      if (done > 0) this.#table.unmap(BigInt(start), done);
      if (!(error instanceof RangeError)) throw error;
      throw new Refusal(Errno.EEXIST, error.message);
    }
    file.users++;
    this.#regions.set(start, { address: start, size: length, file });
  }

  #remove({ address, size, file }: Announced): void {
    this.#regions.delete(address);
    this.#table.unmap(BigInt(address), size);
    file.users--;
    this.#closeIfUnused(file);
  }

  #closeIfUnused(file: ClientFile | undefined): void {
    if (file === undefined || file.users > 0) return;
    this.#files.delete(file.info.key);
    file.close();
  }
}

function roundUp(value: bigint, unit: bigint): bigint {
  return (value + unit - 1n) / unit * unit;
}
