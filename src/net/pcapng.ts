/**
 * Capture files of the next generation ("pcapng"), as Wireshark writes them:
 * blocks, that say in front and behind how long they are. Decoding only; files
 * are opened elsewhere.
 *
 * Source: "PCAP Next Generation (pcapng) Capture File Format",
 * draft-ietf-opsawg-pcapng; sections below are those of that document.
 *
 * @module
 */

import { CAPTURE_WINDOW, type CaptureDecoder } from "./capture_decoder.ts";
import {
  PCAP_LINK_TYPE_ETHERNET,
  PCAP_MAX_SNAP_LENGTH,
  PcapError,
  type PcapRecord,
  removeFcs,
} from "./pcap.ts";
import { PcapngInterface } from "./pcapng_interface.ts";

/** Types of the blocks that are not passed over (section 11.1). */
export const PCAPNG_BLOCK = {
  /** Section 4.1; the same in both byte orders. */
  sectionHeader: 0x0a0d0d0a,
  /** Section 4.2. */
  interfaceDescription: 1,
  /** Appendix A; obsolete. */
  packet: 2,
  /** Section 4.4. */
  simplePacket: 3,
  /** Section 4.3. */
  enhancedPacket: 6,
} as const;

/** Section 3.1: offsets from the block's first octet. */
const BLOCK_FIELD = { type: 0, length: 4, body: 8 } as const;
/** The length stands at the block's end again. */
const TRAILER_LENGTH = 4;
/** Blocks begin at multiples of this. */
const ALIGNMENT = 4;
/** A block without a body. */
const SHORTEST_BLOCK = BLOCK_FIELD.body + TRAILER_LENGTH;

/** Section 4.1. */
const SECTION_FIELD = {
  byteOrderMagic: 8,
  versionMajor: 12,
  versionMinor: 14,
  options: 24,
} as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const VERSION_MAJOR = 1;
/** Section 4.1: some writers say 2 and mean 0. */
const VERSIONS_MINOR: readonly number[] = [0, 2];

/** Section 4.2. */
const INTERFACE_OPTIONS = 16;

/** Section 4.3, and appendix A, which differs in the interface's width. */
const PACKET_FIELD = {
  interface: 8,
  timeHigh: 12,
  timeLow: 16,
  capturedLength: 20,
  originalLength: 24,
  frame: 28,
} as const;

/** Section 4.4. */
const SIMPLE_FIELD = { originalLength: 8, frame: 12 } as const;

/** Lengths of these blocks when what is variable in them is empty. */
const SHORTEST = new Map<number, number>([
  [PCAPNG_BLOCK.sectionHeader, SECTION_FIELD.options + TRAILER_LENGTH],
  [PCAPNG_BLOCK.interfaceDescription, INTERFACE_OPTIONS + TRAILER_LENGTH],
  [PCAPNG_BLOCK.packet, PACKET_FIELD.frame + TRAILER_LENGTH],
  [PCAPNG_BLOCK.simplePacket, SIMPLE_FIELD.frame + TRAILER_LENGTH],
  [PCAPNG_BLOCK.enhancedPacket, PACKET_FIELD.frame + TRAILER_LENGTH],
]);

/** Keeps a hostile file from filling the memory; real ones have a dozen. */
const MOST_INTERFACES = 65536;

/**
 * Says whether a file is pcapng rather than classic pcap or something else.
 *
 * @param bytes begins with the file's first octet
 *
 * @example
 * ```ts
 * import { encodePcapHeader, isPcapng } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * assert(!isPcapng(encodePcapHeader()));
 * assert(isPcapng(Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a)));
 * ```
 */
export function isPcapng(bytes: Uint8Array): boolean {
  if (bytes.length < 4) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(0) === PCAPNG_BLOCK.sectionHeader;
}

/**
 * The decoder of one pcapng file: its Ethernet frames, from all sections and
 * interfaces. Pieces are parts of blocks, so that a block may be longer than
 * the window. Simple Packet Blocks have no time: their `seconds` are NaN.
 *
 * @example Count the frames of a file
 * ```ts
 * import { PcapngDecoder } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * // A Section Header Block.
 * const words = [0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28];
 * const file = new DataView(Uint32Array.from(words).buffer);
 * const decoder = new PcapngDecoder();
 * let frames = 0;
 * for (let at = 0; at < file.byteLength;) {
 *   at += decoder.decode(file, at, file.byteLength);
 *   if (decoder.found) frames++;
 * }
 * decoder.end(0);
 * assertEquals(frames, 0);
 * ```
 */
export class PcapngDecoder implements CaptureDecoder {
  /** Whether the last decode() ended with a frame. */
  found = false;
  /** Where that frame is in the window, its length and time. */
  readonly record: PcapRecord = {
    seconds: NaN,
    nanoseconds: 0,
    offset: 0,
    capturedLength: 0,
    originalLength: 0,
  };
  #littleEndian = true;
  /** Of the section. */
  #interfaces: PcapngInterface[] = [];
  /** Octets of the file that are decoded. */
  #position = 0;
  /** Where the block begins in the file. */
  #block = 0;
  #blockLength = 0;
  /** Octets of the block that are not decoded; 0 between blocks. */
  #left = 0;

  /**
   * Decodes a block, or some of it.
   *
   * @param window where some of the file is
   * @param from where in the window the part begins that was not decoded yet
   * @param to where it ends
   * @returns the length of the piece, as {@linkcode CaptureDecoder} says
   * @throws {PcapError} if the file is damaged, or a packet is no Ethernet frame
   */
  decode(window: DataView, from: number, to: number): number {
    this.found = false;
    const there = to - from;
    const length = this.#left === 0
      ? this.#enterBlock(window, from, there)
      : this.#leaveBlock(window, from, there);
    if (length > there) return length;
    if (this.#left === 0) this.#left = this.#blockLength;
    this.#left -= length;
    this.#position += length;
    return length;
  }

  /**
   * Says that the file has no more than the window.
   *
   * @param left octets of the window that were not decoded
   * @throws {PcapError} if the file is cut short
   */
  end(left: number): void {
    if (left === 0 && this.#left === 0 && this.#position > 0) return;
    const block = this.#left === 0 ? this.#position : this.#block;
    throw new PcapError(
      `the file is cut short in the block at octet ${block}: ` +
        `${this.#position + left - block} octets are left of it`,
      block,
    );
  }

  /** Decodes what is wanted of a block; the rest is to be passed over. */
  #enterBlock(window: DataView, from: number, there: number): number {
    if (there < SHORTEST_BLOCK) return SHORTEST_BLOCK;
    this.#block = this.#position;
    const type = window.getUint32(from + BLOCK_FIELD.type, this.#littleEndian);
    if (type === PCAPNG_BLOCK.sectionHeader) {
      this.#readByteOrder(window, from);
    }
    this.#readLength(window, from, type);
    switch (type) {
      case PCAPNG_BLOCK.sectionHeader:
        return this.#enterSection(window, from, there);
      case PCAPNG_BLOCK.interfaceDescription:
        return this.#addInterface(window, from, there);
      case PCAPNG_BLOCK.packet:
      case PCAPNG_BLOCK.enhancedPacket:
        return this.#findFrame(window, from, there, type);
      case PCAPNG_BLOCK.simplePacket:
        return this.#findSimpleFrame(window, from, there);
      default:
        return BLOCK_FIELD.body;
    }
  }

  /** Passes over the rest of a block, and compares the lengths at its ends. */
  #leaveBlock(window: DataView, from: number, there: number): number {
    if (this.#left > TRAILER_LENGTH) {
      return Math.max(1, Math.min(this.#left - TRAILER_LENGTH, there));
    }
    if (there < TRAILER_LENGTH) return TRAILER_LENGTH;
    const length = window.getUint32(from, this.#littleEndian);
    if (length !== this.#blockLength) {
      this.#fail(
        `is ${this.#blockLength} octets long, and ${length} at its end`,
      );
    }
    return TRAILER_LENGTH;
  }

  #readByteOrder(window: DataView, from: number): void {
    const at = from + SECTION_FIELD.byteOrderMagic;
    const littleEndian = window.getUint32(at, true) === BYTE_ORDER_MAGIC;
    if (!littleEndian && window.getUint32(at) !== BYTE_ORDER_MAGIC) {
      this.#fail("is a section header without a byte order");
    }
    this.#littleEndian = littleEndian;
  }

  #readLength(window: DataView, from: number, type: number): void {
    const at = from + BLOCK_FIELD.length;
    const length = window.getUint32(at, this.#littleEndian);
    const shortest = SHORTEST.get(type) ?? SHORTEST_BLOCK;
    if (length < shortest || length % ALIGNMENT !== 0) {
      this.#fail(
        `claims to be ${length} octets long: a multiple of ${ALIGNMENT} ` +
          `that is at least ${shortest} is expected`,
      );
    }
    this.#blockLength = length;
  }

  #enterSection(window: DataView, from: number, there: number): number {
    const field = SECTION_FIELD;
    if (there < field.options) return field.options;
    const little = this.#littleEndian;
    const major = window.getUint16(from + field.versionMajor, little);
    const minor = window.getUint16(from + field.versionMinor, little);
    if (major !== VERSION_MAJOR || !VERSIONS_MINOR.includes(minor)) {
      this.#fail(
        `has the unknown version ${major}.${minor} of the format: ` +
          `${VERSION_MAJOR}.${VERSIONS_MINOR[0]} is expected`,
      );
    }
    this.#interfaces = [];
    return field.options;
  }

  #addInterface(window: DataView, from: number, there: number): number {
    const length = this.#blockLength;
    // All but the trailer is read at once, to have the options in one place.
    const whole = length - TRAILER_LENGTH;
    if (whole > CAPTURE_WINDOW) {
      this.#fail(
        `describes an interface in ${length} octets: ` +
          `${CAPTURE_WINDOW} are read at most`,
      );
    }
    if (there < whole) return whole;
    if (this.#interfaces.length === MOST_INTERFACES) {
      this.#fail(`is interface ${MOST_INTERFACES + 1} of its section`);
    }
    const block = {
      at: from,
      length,
      littleEndian: this.#littleEndian,
      position: this.#position,
    };
    this.#interfaces.push(new PcapngInterface(window, block));
    return whole;
  }

  #findFrame(
    window: DataView,
    from: number,
    there: number,
    type: number,
  ): number {
    const field = PACKET_FIELD;
    if (there < field.frame) return field.frame;
    const little = this.#littleEndian;
    const id = type === PCAPNG_BLOCK.packet
      ? window.getUint16(from + field.interface, little)
      : window.getUint32(from + field.interface, little);
    const source = this.#ethernet(id);
    const captured = window.getUint32(from + field.capturedLength, little);
    this.#checkCaptured(captured, field.frame);
    if (there < field.frame + captured) return field.frame + captured;
    const high = window.getUint32(from + field.timeHigh, little);
    const low = window.getUint32(from + field.timeLow, little);
    source.readTime(high, low, this.record);
    this.record.originalLength = window.getUint32(
      from + field.originalLength,
      little,
    );
    return this.#give(from, field.frame, captured, source.fcsLength);
  }

  #findSimpleFrame(window: DataView, from: number, there: number): number {
    const field = SIMPLE_FIELD;
    const { snapLength, fcsLength } = this.#ethernet(0);
    const original = window.getUint32(
      from + field.originalLength,
      this.#littleEndian,
    );
    const captured = snapLength === 0
      ? original
      : Math.min(original, snapLength);
    this.#checkCaptured(captured, field.frame);
    if (there < field.frame + captured) return field.frame + captured;
    this.record.seconds = NaN;
    this.record.nanoseconds = 0;
    this.record.originalLength = original;
    return this.#give(from, field.frame, captured, fcsLength);
  }

  #give(
    from: number,
    header: number,
    captured: number,
    fcsLength: number,
  ): number {
    this.record.offset = from + header;
    this.record.capturedLength = captured;
    if (fcsLength > 0) removeFcs(this.record, fcsLength);
    this.found = true;
    return header + captured;
  }

  #ethernet(id: number): PcapngInterface {
    if (id >= this.#interfaces.length) {
      this.#fail(
        `is a packet of interface ${id}, but its section describes ` +
          `${this.#interfaces.length} before it`,
      );
    }
    const found = this.#interfaces[id];
    if (found.linkType !== PCAP_LINK_TYPE_ETHERNET) {
      this.#fail(
        `is a packet whose link type is ${found.linkType}, not Ethernet ` +
          `(${PCAP_LINK_TYPE_ETHERNET})`,
      );
    }
    return found;
  }

  #checkCaptured(captured: number, header: number): void {
    const room = this.#blockLength - header - TRAILER_LENGTH;
    if (captured <= Math.min(room, PCAP_MAX_SNAP_LENGTH)) return;
    this.#fail(
      `claims a frame of ${captured} octets, with room for ${room}: ` +
        "the file is damaged",
    );
  }

  #fail(what: string): never {
    throw new PcapError(
      `the block at octet ${this.#block} ${what}`,
      this.#block,
    );
  }
}
