/**
 * The frames that the generator makes and the sink knows every byte of.
 *
 * Ethernet, IPv4 and UDP with correct checksums; in the payload a magic word,
 * the flow, the flow's sequence number, and words derived from both. Pattern
 * words come in pairs x, ~x: a pair adds nothing to a one's complement sum, so
 * the UDP checksum of any length costs the same.
 *
 * @module
 */

import { fold, sumBytes } from "../checksum.ts";
import { type Frame, FRAME_CAPACITY, MINIMUM_FRAME } from "../frame.ts";

/** The shares of IMIX by frame: 7 short, 4 medium, 1 long, without FCS. */
const IMIX = [60, 60, 590, 60, 60, 1514, 590, 60, 590, 60, 60, 590];
/** 15.5 KB without FCS. */
const LONGEST = 15868;
const MOST_FLOWS = 4096;
const MAGIC = 0x3144_6c78;
const PATTERN_STEP = 0x9e3779b1;
const FLOW_MIX = 0x85ebca6b;
const HALF = 0xffff;

/** Words of a frame. The two bytes before the magic word stay zero. */
const WORD = {
  /** IP checksum and source, IP source and destination, IP destination and UDP source port. */
  firstSeeded: 6,
  lastSeeded: 8,
  udpChecksum: 10,
  magic: 11,
  flow: 12,
  sequence: 13,
  pattern: 14,
};
const TEMPLATE_WORDS = WORD.sequence;
const MAC_WORDS = 3;
const IP = 14;
const UDP = 34;

/** What kind of traffic. Generator and sink are given the same. */
export interface TrafficOptions {
  /** Flows, each with its own addresses and ports; 1 to 4096, default 64. */
  flows?: number;
  /** Frame length without FCS, 60 to 15868, or "imix"; default 60. */
  size?: number | "imix";
  /** Changes addresses, ports and content; default 1. */
  seed?: number;
}

/** What {@linkcode Traffic.check} found. */
export type Verdict = "good" | "corrupted" | "foreign";

/** Makes frames of a kind of traffic, and recognises them. */
export class Traffic {
  readonly flows: number;
  /** Frame lengths, taken in turn. */
  readonly #sizes: readonly number[];
  readonly #seed: number;
  /** Per length in use and flow: the words before the sequence number. */
  readonly #templates: Uint32Array[] = [];
  readonly #sums: Uint32Array[] = [];
  /** Which template serves a length, or -1. */
  readonly #templateOf = new Int8Array(FRAME_CAPACITY).fill(-1);
  /** The flow of the frame that was checked last. */
  flow = 0;
  /** The sequence number of the frame that was checked last. */
  sequence = 0;

  /**
   * @throws {RangeError} when `flows` or `size` is out of its range
   */
  constructor(options: TrafficOptions = {}) {
    const { flows = 64, size = 60, seed = 1 } = options;
    if (!Number.isInteger(flows) || flows < 1 || flows > MOST_FLOWS) {
      throw new RangeError(`flows must be 1 to ${MOST_FLOWS}, got ${flows}`);
    }
    this.flows = flows;
    this.#sizes = size === "imix" ? IMIX : [size];
    // Seeds next to each other make addresses and contents that differ all over.
    this.#seed = Math.imul(seed, PATTERN_STEP) >>> 0;
    for (const length of new Set(this.#sizes)) this.#addLength(length);
  }

  /** The length of the `n`-th frame. */
  lengthOf(n: number): number {
    return this.#sizes[n % this.#sizes.length];
  }

  /** Makes frame `sequence` of `flow`, `length` bytes long. */
  fill(frame: Frame, flow: number, sequence: number, length: number): void {
    const { u32 } = frame;
    const index = this.#templateOf[length];
    const template = this.#templates[index];
    const from = flow * TEMPLATE_WORDS;
    for (let i = 0; i < TEMPLATE_WORDS; i++) u32[i] = template[from + i];
    u32[WORD.sequence] = sequence;
    let pattern = this.#pattern(flow, sequence);
    const words = (length + 3) >>> 2;
    for (let i = WORD.pattern; i < words; i += 2) {
      u32[i] = pattern;
      u32[i + 1] = ~pattern;
      pattern = (pattern + PATTERN_STEP) | 0;
    }
    u32[WORD.udpChecksum] = this.#checksum(u32, index, flow, length);
    frame.length = length;
    frame.crcError = false;
  }

  /**
   * Compares every byte with what {@linkcode fill} makes, the MAC addresses
   * either way round. Sets {@linkcode flow} and {@linkcode sequence}.
   */
  check(frame: Frame): Verdict {
    const { u32, length } = frame;
    const index = length < FRAME_CAPACITY ? this.#templateOf[length] : -1;
    const flow = u32[WORD.flow];
    if (index < 0 || u32[WORD.magic] !== MAGIC || flow >= this.flows) {
      return "foreign";
    }
    const sequence = u32[WORD.sequence];
    this.flow = flow;
    this.sequence = sequence;
    const template = this.#templates[index];
    const from = flow * TEMPLATE_WORDS;
    if (this.#isOfAnotherSeed(u32, template, from, length)) return "foreign";
    let wrong = this.#macDifference(u32, template, from);
    for (let i = MAC_WORDS; i < WORD.udpChecksum; i++) {
      wrong |= u32[i] ^ template[from + i];
    }
    wrong |= this.#patternDifference(u32, length, flow, sequence);
    const sum = this.#checksum(u32, index, flow, length);
    wrong |= u32[WORD.udpChecksum] ^ sum;
    return wrong === 0 ? "good" : "corrupted";
  }

  /**
   * Whether most of the words that depend on the seed differ: more than one changed bit or two swapped words explain.
   */
  #isOfAnotherSeed(
    u32: Uint32Array,
    template: Uint32Array,
    from: number,
    length: number,
  ): boolean {
    let differing = 0;
    for (let i = WORD.firstSeeded; i <= WORD.lastSeeded; i++) {
      if (u32[i] !== template[from + i]) differing++;
    }
    if (differing < 2) return false;
    if (length < (WORD.pattern + 1) * 4) return false;
    const pattern = this.#pattern(this.flow, this.sequence);
    return u32[WORD.pattern] !== (pattern >>> 0);
  }

  #pattern(flow: number, sequence: number): number {
    const mixed = Math.imul(sequence ^ Math.imul(flow + 1, FLOW_MIX), FLOW_MIX);
    return (mixed ^ this.#seed) | 0;
  }

  #patternDifference(
    u32: Uint32Array,
    length: number,
    flow: number,
    sequence: number,
  ): number {
    let pattern = this.#pattern(flow, sequence);
    let wrong = 0;
    const whole = length >>> 2;
    let i = WORD.pattern;
    for (; i + 1 < whole; i += 2) {
      wrong |= (u32[i] ^ pattern) | (u32[i + 1] ^ ~pattern);
      pattern = (pattern + PATTERN_STEP) | 0;
    }
    if (i < whole) {
      wrong |= u32[i++] ^ pattern;
      pattern = ~pattern;
    }
    const tail = length & 3;
    if (tail !== 0) wrong |= (u32[i] ^ pattern) & ((1 << (tail * 8)) - 1);
    return wrong;
  }

  /** 0 when the addresses are the template's, as they are or swapped. */
  #macDifference(
    u32: Uint32Array,
    template: Uint32Array,
    from: number,
  ): number {
    const a = template[from];
    const b = template[from + 1];
    const c = template[from + 2];
    const same = (u32[0] ^ a) | (u32[1] ^ b) | (u32[2] ^ c);
    if (same === 0) return 0;
    // Six bytes each: destination a, low b; source high b, c.
    return (u32[0] ^ ((b >>> 16) | (c << 16))) |
      (u32[1] ^ ((c >>> 16) | (a << 16))) |
      (u32[2] ^ ((a >>> 16) | (b << 16)));
  }

  /** The word with the UDP checksum: what the template lacks is added. */
  #checksum(
    u32: Uint32Array,
    index: number,
    flow: number,
    length: number,
  ): number {
    const sequence = u32[WORD.sequence];
    let sum = this.#sums[index][flow] + (sequence & HALF) + (sequence >>> 16);
    // Whole pairs of the pattern cancel out; what is behind them does not.
    let at = WORD.pattern + (((length >>> 2) - WORD.pattern) & ~1);
    if (at < length >>> 2) {
      sum += (u32[at] & HALF) + (u32[at] >>> 16);
      at++;
    }
    const tail = length & 3;
    if (tail !== 0) {
      const word = u32[at] & ((1 << (tail * 8)) - 1);
      sum += (word & HALF) + (word >>> 16);
    }
    const checksum = ~fold(sum) & HALF;
    return checksum === 0 ? HALF : checksum;
  }

  #addLength(length: number): void {
    if (
      !Number.isInteger(length) || length < MINIMUM_FRAME || length > LONGEST
    ) {
      throw new RangeError(
        `size must be ${MINIMUM_FRAME} to ${LONGEST} or "imix", got ${length}`,
      );
    }
    this.#templateOf[length] = this.#templates.length;
    const template = new Uint32Array(this.flows * TEMPLATE_WORDS);
    const sums = new Uint32Array(this.flows);
    for (let flow = 0; flow < this.flows; flow++) {
      const header = this.#header(flow, length);
      template.set(header.words, flow * TEMPLATE_WORDS);
      sums[flow] = header.sum;
    }
    this.#templates.push(template);
    this.#sums.push(sums);
  }

  /** Everything before the sequence number, and its part of the UDP sum. */
  #header(flow: number, length: number): { words: Uint32Array; sum: number } {
    const words = new Uint32Array(TEMPLATE_WORDS);
    const u8 = new Uint8Array(words.buffer);
    const view = new DataView(words.buffer);
    const udpLength = length - UDP;
    const mixed = Math.imul(flow + 1, FLOW_MIX) ^ this.#seed;
    u8.set([2, 0, 0, 0, flow >>> 8, flow, 2, 0, 0, 1, flow >>> 8, flow], 0);
    view.setUint16(12, 0x0800);
    u8[IP] = 0x45;
    view.setUint16(IP + 2, length - IP);
    view.setUint16(IP + 6, 0x4000);
    u8.set([64, 17], IP + 8);
    u8.set([10, mixed >>> 24, flow >>> 8, flow], IP + 12);
    u8.set([10, 128 | (mixed >>> 17), mixed >>> 8, 1 + (flow % 254)], IP + 16);
    storeSum(u8, IP + 10, fold(sumBytes(words, u8, IP, UDP)));
    view.setUint16(UDP, 1024 + ((mixed >>> 3) & 0x3fff));
    view.setUint16(UDP + 2, 1024 + flow);
    view.setUint16(UDP + 4, udpLength);
    words[WORD.magic] = MAGIC;
    words[WORD.flow] = flow;
    const pseudo = sumBytes(words, u8, IP + 12, UDP) + (17 << 8) +
      ((udpLength & 0xff) << 8) + (udpLength >>> 8);
    const sum = fold(pseudo + sumBytes(words, u8, UDP, u8.length));
    return { words, sum };
  }
}

function storeSum(u8: Uint8Array, at: number, sum: number): void {
  u8[at] = ~sum;
  u8[at + 1] = ~sum >>> 8;
}
