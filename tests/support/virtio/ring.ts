/**
 * The device's side of a virtqueue, by the specification (virtio 1.2, 2.7 and 2.8) and not by the driver.
 */
import type { VirtqueueSetup } from "../../../src/bus/virtio/transport.ts";
import type { DmaTable } from "../../../src/sim/dma_table.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 1 << 7;
const USED = 1 << 15;
const DESCRIPTOR_BYTES = 16;

/** A stretch of memory that the driver gave to the device. */
export interface Piece {
  /** The bytes. */
  readonly bytes: Uint8Array;
  /** Whether the device is to write them. */
  readonly writable: boolean;
}

/** What the driver put into a ring as one. */
export interface Chain {
  /** What to name it by when it is used. */
  readonly id: number;
  /** Its parts, in order. */
  readonly pieces: readonly Piece[];
  /** Descriptors that it takes in the ring. */
  readonly descriptors: number;
}

/** A virtqueue as its device sees it. */
export interface DeviceRing {
  /** What the driver made available next, if anything. */
  take(): Chain | undefined;
  /** Gives it back. */
  use(chain: Chain, written: number): void;
}

/** The memory at an address, which the driver must have mapped. */
export function memoryAt(
  table: DmaTable,
  iova: bigint,
  length: number,
): Uint8Array {
  const low = Number(iova & 0xffffffffn);
  const high = Number(iova >> 32n);
  if (!table.translate(low, high, length)) {
    throw new Error(`0x${iova.toString(16)}, ${length} bytes: not mapped`);
  }
  return table.u8.subarray(table.offset, table.offset + length);
}

/** Lays the device's side over a virtqueue. */
export function deviceRing(
  table: DmaTable,
  setup: VirtqueueSetup,
  packed: boolean,
): DeviceRing {
  return packed ? new PackedSide(table, setup) : new SplitSide(table, setup);
}

function view(table: DmaTable, iova: bigint, length: number): DataView {
  const { buffer, byteOffset } = memoryAt(table, iova, length);
  return new DataView(buffer, byteOffset, length);
}

class SplitSide implements DeviceRing {
  readonly #table: DmaTable;
  readonly #size: number;
  readonly #descriptors: DataView;
  readonly #available: DataView;
  readonly #used: DataView;
  #next = 0;
  #done = 0;

  constructor(table: DmaTable, setup: VirtqueueSetup) {
    const { size } = setup;
    this.#table = table;
    this.#size = size;
    this.#descriptors = view(
      table,
      setup.descriptors,
      size * DESCRIPTOR_BYTES,
    );
    this.#available = view(table, setup.driver, 6 + 2 * size);
    this.#used = view(table, setup.device, 6 + 8 * size);
  }

  take(): Chain | undefined {
    if (this.#available.getUint16(2, true) === this.#next) return undefined;
    const id = this.#available.getUint16(
      4 + 2 * (this.#next % this.#size),
      true,
    );
    this.#next = (this.#next + 1) & 0xffff;
    const pieces: Piece[] = [];
    let descriptors = 0;
    for (let at = id, more = true; more; descriptors++) {
      const flags = this.#descriptors.getUint16(at * 16 + 12, true);
      pieces.push(...piecesOf(this.#table, this.#descriptors, at * 16, flags));
      at = this.#descriptors.getUint16(at * 16 + 14, true);
      more = (flags & NEXT) !== 0;
    }
    return { id, pieces, descriptors };
  }

  use(chain: Chain, written: number): void {
    const at = 4 + 8 * (this.#done % this.#size);
    this.#used.setUint32(at, chain.id, true);
    this.#used.setUint32(at + 4, written, true);
    this.#done = (this.#done + 1) & 0xffff;
    this.#used.setUint16(2, this.#done, true);
  }
}

class PackedSide implements DeviceRing {
  readonly #table: DmaTable;
  readonly #size: number;
  readonly #ring: DataView;
  #next = 0;
  #nextWrap = true;
  #done = 0;
  #doneWrap = true;

  constructor(table: DmaTable, setup: VirtqueueSetup) {
    this.#table = table;
    this.#size = setup.size;
    this.#ring = view(table, setup.descriptors, setup.size * DESCRIPTOR_BYTES);
  }

  take(): Chain | undefined {
    const first = this.#ring.getUint16(this.#next * 16 + 14, true);
    const available = (first & AVAIL) !== 0 === this.#nextWrap &&
      (first & USED) !== 0 !== this.#nextWrap;
    if (!available) return undefined;
    const pieces: Piece[] = [];
    let descriptors = 0;
    let id = 0;
    for (let more = true; more; descriptors++) {
      const at = this.#next * 16;
      const flags = this.#ring.getUint16(at + 14, true);
      // Counts on the last one only (2.8.6).
      id = this.#ring.getUint16(at + 12, true);
      pieces.push(...piecesOf(this.#table, this.#ring, at, flags));
      if (++this.#next === this.#size) {
        this.#next = 0;
        this.#nextWrap = !this.#nextWrap;
      }
      more = (flags & NEXT) !== 0;
    }
    return { id, pieces, descriptors };
  }

  use(chain: Chain, written: number): void {
    const at = this.#done * 16;
    this.#ring.setUint32(at + 8, written, true);
    this.#ring.setUint16(at + 12, chain.id, true);
    this.#ring.setUint16(at + 14, this.#doneWrap ? AVAIL | USED : 0, true);
    this.#done += chain.descriptors;
    if (this.#done < this.#size) return;
    this.#done -= this.#size;
    this.#doneWrap = !this.#doneWrap;
  }
}

function piecesOf(
  table: DmaTable,
  descriptors: DataView,
  at: number,
  flags: number,
): Piece[] {
  const iova = descriptors.getBigUint64(at, true);
  const length = descriptors.getUint32(at + 8, true);
  if ((flags & INDIRECT) === 0) {
    return [{
      bytes: memoryAt(table, iova, length),
      writable: (flags & WRITE) !== 0,
    }];
  }
  const inner = view(table, iova, length);
  return Array.from({ length: length / DESCRIPTOR_BYTES }, (_, i) => ({
    bytes: memoryAt(
      table,
      inner.getBigUint64(i * 16, true),
      inner.getUint32(i * 16 + 8, true),
    ),
    writable: false,
  }));
}

/** All bytes of a chain that the device reads. */
export function readable({ pieces }: Chain): Uint8Array {
  const parts = pieces.filter(({ writable }) => !writable);
  const all = new Uint8Array(
    parts.reduce((sum, { bytes }) => sum + bytes.length, 0),
  );
  let at = 0;
  for (const { bytes } of parts) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}

/** The first piece of a chain that the device writes. */
export function writable({ pieces }: Chain): Uint8Array {
  const piece = pieces.find(({ writable }) => writable);
  if (piece === undefined) throw new Error("nothing to write to");
  return piece.bytes;
}
