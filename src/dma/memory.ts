/**
 * Memory that a device can reach and every isolate can see.
 *
 * @module
 */
import { ConfigError, IxlError, SystemError } from "../errors.ts";
import { onNumaNode } from "../ffi/cpu.ts";
import {
  addressOf,
  lockPages,
  mapFile,
  mapPlain,
  MemFd,
  PAGE_SIZE,
  unlockPages,
} from "../ffi/mapping.ts";
import { setting } from "../environment.ts";
import { log } from "../log.ts";
import { ContiguousPages } from "./contiguous.ts";

/** 2 MiB, the page size that x86-64 and arm64 (with 4 KiB base pages) share. */
export const HUGEPAGE_2M: number = 2 << 20;
/** 1 GiB. */
export const HUGEPAGE_1G: number = 1 << 30;

/** What the bytes lie on. */
export type DmaBacking = "hugepages" | "hugepages-1g" | "memfd" | "plain";

/** How {@linkcode DmaMemory} is allocated. */
export interface DmaMemoryOptions {
  /** Bytes that are there from the start. */
  readonly bytes: number;
  /** Address space set aside for {@linkcode DmaMemory.commit}, in bytes; default: `bytes`. */
  readonly reserve?: number;
  /**
   * Bytes of the units, of at most a page, that it is used in, each of which shall lie in one page: on small pages a
   * unit is longer then ({@linkcode DmaMemory.unit}), and the memory with it. `bytes` and `reserve` are multiples of it.
   */
  readonly unit?: number;
  /**
   * "auto" (the default) takes 2 MiB hugepages and falls back to plain memory; `IXL_HUGEPAGES=never` makes it
   * plain, `IXL_HUGEPAGES=require` makes it fail instead of falling back.
   */
  readonly backing?: DmaBacking | "auto";
  /** One piece of RAM, not only of address space: 2 MiB hugepages that are neighbours. For devices without IOMMU. */
  readonly contiguous?: boolean;
  /**
   * On a file that another process can map: a memfd where it would be plain memory. With "if-possible" it stays plain
   * where the kernel allows no memfd.
   */
  readonly fileBacked?: boolean | "if-possible";
  /** Lock plain pages in RAM: for devices whose IOMMU does not pin them. */
  readonly lock?: boolean;
  /** The NUMA node to prefer; -1, the default, for no preference. */
  readonly numaNode?: number;
  /** Name shown in /proc/PID/maps and in messages. */
  readonly label?: string;
}

/**
 * A real SharedArrayBuffer laid over hugepages, a memfd, or its own plain pages.
 *
 * Bytes 0 to `committed` are usable; the rest of the reservation is address space without memory behind it, so
 * that a pool can grow in place and give its top back while every isolate keeps its views.
 *
 * @example
 * ```ts
 * import { DmaMemory } from "./memory.ts";
 *
 * const memory = DmaMemory.allocate({ bytes: 8192, backing: "plain" });
 * memory.u8[0] = 1;
 * memory.free();
 * ```
 */
export class DmaMemory {
  /** The buffer to share; the usable part starts at `byteOffset`. */
  readonly buffer: SharedArrayBuffer;
  /** Where the first usable byte lies in `buffer`. */
  readonly byteOffset: number;
  /** Process virtual address of the first usable byte. */
  readonly address: bigint;
  /** All bytes of the reservation. */
  readonly u8: Uint8Array;
  /** Granularity of {@linkcode commit} and {@linkcode decommit} in bytes. */
  readonly pageSize: number;
  /** Reserved bytes, a multiple of `pageSize`. */
  readonly reserved: number;
  /** Bytes from one unit to the next, where it was asked for in units. */
  readonly unit: number;
  readonly #memfd: MemFd | undefined;
  readonly #neighbours: ContiguousPages | undefined;
  readonly #lock: boolean;
  readonly #numaNode: number;
  #committed = 0;
  #freed = false;

  private constructor(
    readonly backing: DmaBacking,
    readonly options: DmaMemoryOptions,
  ) {
    this.pageSize = backing === "hugepages-1g" ? HUGEPAGE_1G : HUGEPAGE_2M;
    if (backing === "plain" || backing === "memfd") this.pageSize = PAGE_SIZE;
    const { unit = 1, bytes, reserve = 0 } = options;
    this.unit = this.pageSize === PAGE_SIZE ? wholeInPage(unit) : unit;
    this.reserved = this.#roundUp(
      Math.max(reserve, bytes) / unit * this.unit,
    );
    this.#lock = options.lock ?? false;
    this.#numaNode = options.numaNode ?? -1;
    // Room to align: only the part on whole pages is ever remapped.
    this.buffer = new SharedArrayBuffer(this.reserved + this.pageSize);
    const start = addressOf(this.buffer);
    const size = BigInt(this.pageSize);
    this.address = (start + size - 1n) & ~(size - 1n);
    this.byteOffset = Number(this.address - start);
    this.u8 = new Uint8Array(this.buffer, this.byteOffset, this.reserved);
    if (backing !== "plain") {
      this.#memfd = new MemFd(
        options.label ?? "ixl",
        backing === "memfd" ? 0 : this.pageSize,
      );
    }
    if (options.contiguous && this.#memfd) {
      const most = this.reserved / this.pageSize;
      this.#neighbours = new ContiguousPages(this.#memfd, this.pageSize, most);
    }
  }

  /**
   * Allocates memory.
   * @throws {IxlError} "no-hugepages" when hugepages were asked for and there are not enough, "permission" when they
   * shall be contiguous and the kernel does not say where they lie.
   */
  static allocate(options: DmaMemoryOptions): DmaMemory {
    if (!Number.isSafeInteger(options.bytes) || options.bytes <= 0) {
      throw new ConfigError("bytes", `${options.bytes} is no size`);
    }
    const wanted = options.backing ?? "auto";
    if (options.contiguous) return DmaMemory.#allocateContiguous(options);
    if (wanted !== "auto") return DmaMemory.#allocateOn(wanted, options);
    const policy = setting("IXL_HUGEPAGES") ?? "auto";
    if (policy === "never") return DmaMemory.#allocateOn("plain", options);
    try {
      return DmaMemory.#allocateOn("hugepages", options);
    } catch (error) {
      if (policy === "require" || !(error instanceof IxlError)) throw error;
      log("info", options.label ?? "dma", `plain pages: ${error.message}`);
      return DmaMemory.#allocateOn("plain", options);
    }
  }

  static #allocateContiguous(options: DmaMemoryOptions): DmaMemory {
    if (options.backing !== "plain") {
      return DmaMemory.#allocateOn("hugepages", options);
    }
    throw new ConfigError(
      "hugepages",
      'a card without an IOMMU needs them: leave out hugepages: "never"',
    );
  }

  static #allocateOn(
    wanted: DmaBacking,
    options: DmaMemoryOptions,
  ): DmaMemory {
    if (wanted === "plain" && options.fileBacked) {
      try {
        return DmaMemory.#commitOn("memfd", options);
      } catch (error) {
        const isRefused = error instanceof SystemError &&
          error.call === "memfd_create";
        if (options.fileBacked !== "if-possible" || !isRefused) throw error;
      }
    }
    return DmaMemory.#commitOn(wanted, options);
  }

  static #commitOn(
    backing: DmaBacking,
    options: DmaMemoryOptions,
  ): DmaMemory {
    const memory = new DmaMemory(backing, options);
    try {
      memory.commit(options.bytes / (options.unit ?? 1) * memory.unit);
    } catch (error) {
      memory.free();
      throw error;
    }
    return memory;
  }

  /** Usable bytes now. */
  get committed(): number {
    return this.#committed;
  }

  /** Where the first byte lies in RAM, for contiguous memory; else undefined. */
  get physicalAddress(): bigint | undefined {
    return this.#neighbours?.address;
  }

  /** The memfd behind it, for sharing with another process; undefined for plain memory. */
  get fd(): number | undefined {
    return this.#memfd?.fd;
  }

  /** Whether units of this length, which lie one behind the other, cross a page only where they are longer than one. */
  keepsWithinPages(unit: number): boolean {
    return this.pageSize !== PAGE_SIZE || wholeInPage(unit) === unit;
  }

  /** Makes at least the first `bytes` bytes usable. Returns the bytes committed. */
  commit(bytes: number): number {
    this.#assertLive();
    const target = this.#roundUp(bytes);
    if (target > this.reserved) {
      throw new IxlError(
        "out-of-memory",
        `${bytes} bytes are more than the ${this.reserved} reserved`,
      );
    }
    if (target <= this.#committed) return this.#committed;
    const at = this.#committed;
    const length = target - at;
    const address = this.address + BigInt(at);
    onNumaNode(this.#numaNode, () => {
      if (this.#neighbours) return this.#mapNeighbours(address, target);
      this.#memfd?.allocate(at, length);
      if (this.#memfd) mapFile(address, length, this.#memfd.fd, at);
    });
    this.#committed = target;
    if (this.#lock) lockPages(address, length);
    return target;
  }

  /** Gives everything above the first `bytes` bytes back to the system. Nothing may reach it any more. */
  decommit(bytes: number): number {
    this.#assertLive();
    const target = this.#roundUp(bytes);
    if (target >= this.#committed) return this.#committed;
    const length = this.#committed - target;
    const address = this.address + BigInt(target);
    if (this.#lock) unlockPages(address, length);
    // The buffer stays readable (zeros) for a stray view, but no longer on the old pages.
    mapPlain(address, length);
    if (this.#neighbours) this.#neighbours.shrinkTo(target / this.pageSize);
    else this.#memfd?.release(target, length);
    this.#committed = target;
    return target;
  }

  /** Gives all of it back, once: a second call throws. Unmap it from every device first. */
  free(): void {
    this.decommit(0);
    this.#memfd?.close();
    this.#freed = true;
  }

  #mapNeighbours(address: bigint, committed: number): void {
    const neighbours = this.#neighbours!;
    const pages = neighbours.growTo(committed / this.pageSize);
    try {
      pages.forEach(({ offset }, i) => {
        const at = address + BigInt(i * this.pageSize);
        mapFile(at, this.pageSize, this.#memfd!.fd, offset);
      });
    } catch (error) {
      neighbours.shrinkTo(this.#committed / this.pageSize);
      throw error;
    }
  }

  #assertLive(): void {
    if (this.#freed) {
      throw new IxlError(
        "pool-misuse",
        `${this.options.label ?? "DMA memory"} was already freed`,
      );
    }
  }

  #roundUp(bytes: number): number {
    return Math.ceil(bytes / this.pageSize) * this.pageSize;
  }
}

/** The least length of a unit with which no unit crosses a small page; one that is longer than a page cannot but. */
function wholeInPage(unit: number): number {
  return unit > PAGE_SIZE ? unit : 2 ** Math.ceil(Math.log2(unit));
}
