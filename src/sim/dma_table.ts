/**
 * The address translator between the card and memory, checked like an IOMMU.
 *
 * @module
 */

/** The granularity of a mapping, as for an IOMMU with 4 KiB pages. */
export const DMA_PAGE_SIZE = 4096;

const TWO_TO_32 = 2 ** 32;
const HIGHEST_ADDRESS = Number.MAX_SAFE_INTEGER;
/** Offsets stay small integers in V8, so that a translation allocates nothing. */
const LARGEST_BUFFER = 2 ** 31 - 1;
const CACHE_SLOTS = 64;
const CACHE_MASK = CACHE_SLOTS - 1;
/** log2 of the 2 MiB granule that selects a cache slot. */
const GRANULE_SHIFT = 21;
const GRANULE_SHIFT_HIGH = 32 - GRANULE_SHIFT;
const GRANULE = 1 << GRANULE_SHIFT;
const GRANULE_MASK = GRANULE - 1;

/** Memory of another process, for which the buffer is a placeholder: its owner must be asked. */
export interface RemoteMemory {
  /**
   * Brings `length` bytes at `address` into `u8` at `offset`, before the card
   * uses them in its step.
   *
   * @returns whether they are there: false is a miss
   */
  reach(
    address: number,
    u8: Uint8Array,
    offset: number,
    length: number,
  ): boolean;
}

/** What the card may do with a mapping, and how. */
export interface MapOptions {
  /** False lets the card read only. */
  readonly writable?: boolean;
  /** Who is asked at each access. */
  readonly remote?: RemoteMemory;
}

/** A stretch of IOVAs that lies contiguously in one buffer. */
class Segment {
  constructor(
    readonly start: number,
    readonly end: number,
    readonly u8: Uint8Array,
    readonly u32: Uint32Array,
    /** IOVA minus the byte offset in the buffer. */
    readonly delta: number,
    readonly writable: boolean,
    readonly remote: RemoteMemory | undefined,
  ) {}

  /** Another stretch of the same mapping. */
  part(start: number, end: number): Segment {
    const { u8, u32, delta, writable, remote } = this;
    return new Segment(start, end, u8, u32, delta, writable, remote);
  }

  /** Whether the two are one where they touch. */
  continues(other: Segment): boolean {
    return this.u8 === other.u8 && this.delta === other.delta &&
      this.writable === other.writable && this.remote === other.remote;
  }
}

/**
 * The part of a segment that lies in one 2 MiB granule, which small integers
 * can describe: the common case of a lookup needs no floating point.
 */
class Slot {
  constructor(
    /** The address's bits from 21 to 52 that all of the part share. */
    readonly granule: number,
    /** Where in the granule the part starts, and where it ends. */
    readonly from: number,
    readonly to: number,
    readonly u8: Uint8Array,
    readonly u32: Uint32Array,
    /** The buffer offset of the granule's first byte; may be negative. */
    readonly base: number,
    readonly writable: boolean,
  ) {}
}

interface Views {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
}

const NO_U8: Uint8Array = new Uint8Array(0);
const NO_U32: Uint32Array = new Uint32Array(0);
const NO_SLOT: Slot = new Slot(-1, 0, -1, NO_U8, NO_U32, 0, false);
const NOWHERE: Segment = new Segment(1, -1, NO_U8, NO_U32, 0, false, undefined);

/**
 * Maps I/O virtual addresses to bytes of shared buffers, page by page.
 *
 * Adjacent mappings of one buffer grow together, so that an access may cross
 * from one into the next, as it may through a real IOMMU.
 */
export class DmaTable {
  /** After a hit: the bytes of the buffer that was found. */
  u8: Uint8Array = NO_U8;
  /** After a hit: the same buffer as words; usable at offsets that 4 divides. */
  u32: Uint32Array = NO_U32;
  /** After a hit: where in `u8` the range starts, in bytes. */
  offset = 0;
  /** After a hit: whether the card may write there. */
  writable = false;
  /** Grows with every map and unmap, so that cached translations can be checked. */
  generation = 0;

  /** Sorted by start, never overlapping. */
  readonly #segments: Segment[] = [];
  readonly #slots: Slot[] = new Array(CACHE_SLOTS).fill(NO_SLOT);
  readonly #views = new WeakMap<SharedArrayBuffer | ArrayBuffer, Views>();

  /**
   * Lets the card reach `length` bytes of `buffer` from `byteOffset` at `iova`.
   *
   * @throws {RangeError} when `iova` or `length` are not whole pages, the
   * range overlaps one that is mapped, or it does not fit the buffer.
   */
  map(
    iova: bigint,
    buffer: SharedArrayBuffer | ArrayBuffer,
    byteOffset: number,
    length: number,
    options: MapOptions = {},
  ): void {
    const start = pageNumber(iova, length);
    if (
      !Number.isInteger(byteOffset) || byteOffset < 0 || byteOffset % 4 !== 0 ||
      byteOffset + length > buffer.byteLength ||
      buffer.byteLength > LARGEST_BUFFER
    ) {
      throw new RangeError(
        `cannot map bytes ${byteOffset}..${byteOffset + length} of a buffer ` +
          `of ${buffer.byteLength} bytes: the range must start at a multiple ` +
          `of 4 and lie inside a buffer below 2 GiB`,
      );
    }
    const end = start + length;
    const next = this.#indexAt(start);
    const after = this.#segments[next];
    if (after !== undefined && after.start < end) {
      throw new RangeError(
        `cannot map IOVA 0x${start.toString(16)}..0x${end.toString(16)}: ` +
          `0x${after.start.toString(16)}..0x${after.end.toString(16)} ` +
          `is mapped already`,
      );
    }
    const { u8, u32 } = this.#viewsOf(buffer);
    const { writable = true, remote } = options;
    const delta = start - byteOffset;
    this.#insert(
      next,
      new Segment(start, end, u8, u32, delta, writable, remote),
    );
  }

  /**
   * Takes the range away from the card. What the range does not cover of the
   * mappings it touches stays mapped.
   *
   * @throws {RangeError} when `iova` or `length` are not whole pages, or a
   * page of the range is not mapped.
   */
  unmap(iova: bigint, length: number): void {
    const start = pageNumber(iova, length);
    const end = start + length;
    const first = this.#indexAt(start);
    let covered = 0;
    let last = first;
    const kept: Segment[] = [];
    for (; last < this.#segments.length; last++) {
      const segment = this.#segments[last];
      if (segment.start >= end) break;
      const from = Math.max(start, segment.start);
      const to = Math.min(end, segment.end);
      covered += to - from;
      if (segment.start < from) kept.push(segment.part(segment.start, from));
      if (to < segment.end) kept.push(segment.part(to, segment.end));
    }
    if (covered !== length) {
      throw new RangeError(
        `cannot unmap IOVA 0x${start.toString(16)}..0x${end.toString(16)}: ` +
          `only ${covered} of its ${length} bytes are mapped`,
      );
    }
    this.#segments.splice(first, last - first, ...kept);
    this.#forget();
  }

  /**
   * Looks up `length` bytes at the address made of two 32-bit halves.
   *
   * @returns true when all of it is mapped and lies contiguously in one
   * buffer: then {@linkcode u8}, {@linkcode u32} and {@linkcode offset} say
   * where. False is a miss, and they keep their old values.
   */
  translate(iovaLow: number, iovaHigh: number, length: number): boolean {
    const granule = (iovaLow >>> GRANULE_SHIFT) |
      (iovaHigh << GRANULE_SHIFT_HIGH);
    const within = iovaLow & GRANULE_MASK;
    const slot = this.#slots[granule & CACHE_MASK];
    if (
      slot.granule !== granule || within < slot.from ||
      within + length > slot.to || iovaHigh >>> GRANULE_SHIFT !== 0
    ) return this.#lookUp(iovaLow, iovaHigh, length);
    this.u8 = slot.u8;
    this.u32 = slot.u32;
    this.offset = slot.base + within;
    this.writable = slot.writable;
    return true;
  }

  /** The lookup of what is not in the cache, or crosses granules. */
  #lookUp(iovaLow: number, iovaHigh: number, length: number): boolean {
    const address = (iovaHigh >>> 0) * TWO_TO_32 + (iovaLow >>> 0);
    const segment = this.#find(address);
    if (address + length > segment.end) return false;
    this.u8 = segment.u8;
    this.u32 = segment.u32;
    this.offset = address - segment.delta;
    this.writable = segment.writable;
    if (segment.remote !== undefined) {
      return segment.remote.reach(address, this.u8, this.offset, length);
    }
    this.#remember(segment, address);
    return true;
  }

  #remember(segment: Segment, address: number): void {
    const number = Math.floor(address / GRANULE);
    const start = number * GRANULE;
    const granule = number | 0;
    // What crosses into the next granule comes here each time.
    const slot = this.#slots[granule & CACHE_MASK];
    const within = address - start;
    const known = slot.granule === granule && within >= slot.from &&
      within < slot.to;
    if (known) return;
    this.#slots[granule & CACHE_MASK] = new Slot(
      granule,
      Math.max(segment.start - start, 0),
      Math.min(segment.end - start, GRANULE),
      segment.u8,
      segment.u32,
      start - segment.delta,
      segment.writable,
    );
  }

  /** The segment with `address` in it, or {@linkcode NOWHERE}. */
  #find(address: number): Segment {
    const segment = this.#segments[this.#indexAt(address)];
    return segment !== undefined && segment.start <= address
      ? segment
      : NOWHERE;
  }

  /** Which segment is the first that ends behind `address`. */
  #indexAt(address: number): number {
    const segments = this.#segments;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (segments[middle].end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #viewsOf(buffer: SharedArrayBuffer | ArrayBuffer): Views {
    let views = this.#views.get(buffer);
    if (views === undefined) {
      views = {
        u8: new Uint8Array(buffer),
        u32: new Uint32Array(buffer, 0, buffer.byteLength >>> 2),
      };
      this.#views.set(buffer, views);
    }
    return views;
  }

  /** Puts a segment before the one at `index`, one with its neighbours where they continue each other. */
  #insert(index: number, added: Segment): void {
    const segments = this.#segments;
    const [before, after] = [segments[index - 1], segments[index]];
    let { start, end } = added;
    let [from, to] = [index, index];
    if (before?.end === start && before.continues(added)) {
      start = before.start;
      from--;
    }
    if (after?.start === end && after.continues(added)) {
      end = after.end;
      to++;
    }
    segments.splice(from, to - from, added.part(start, end));
    this.#forget();
  }

  #forget(): void {
    this.#slots.fill(NO_SLOT);
    this.generation = (this.generation + 1) | 0;
  }
}

/** The address as a number, once it and the length are whole pages. */
function pageNumber(iova: bigint, length: number): number {
  const address = Number(iova);
  if (
    iova < 0n || address + length > HIGHEST_ADDRESS ||
    address % DMA_PAGE_SIZE !== 0 || !Number.isInteger(length) ||
    length <= 0 || length % DMA_PAGE_SIZE !== 0
  ) {
    throw new RangeError(
      `IOVA 0x${iova.toString(16)} and length ${length} must be whole pages ` +
        `of ${DMA_PAGE_SIZE} bytes below 2^53`,
    );
  }
  return address;
}
