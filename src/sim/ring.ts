/**
 * What receive and transmit queues share: a descriptor ring in host memory
 * and the handshake by which software switches the queue on and off.
 *
 * @module
 */

import type { Core } from "./core.ts";

/** Bytes of a descriptor, sections 7.1.6 and 7.2.3. */
export const DESCRIPTOR_BYTES = 16;
const DESCRIPTOR_SHIFT = 4;
/** 32-bit words of a descriptor, as a shift. */
export const DESCRIPTOR_WORDS_SHIFT = 2;
const NO_WORDS: Uint32Array = new Uint32Array(0);
const NO_PAIRS: Float64Array = new Float64Array(0);
/** Reads of the control register that still show the state before. */
const POLLS_TO_SWITCH = 1;

/** One queue's ring. Indices count descriptors. */
export class Ring {
  /** Ring registers as written. */
  baseLow = 0;
  baseHigh = 0;
  length = 0;
  /** Descriptors in the ring. */
  count = 0;
  /** The next descriptor that the card uses. */
  head = 0;
  /** The first descriptor that software still owns. */
  tail = 0;
  /** The tail register as it reads; software may write what is no index. */
  tailWritten = 0;
  /** The queue runs; the ENABLE bit reads back set. */
  enabled = false;
  /** Software has read ENABLE back as set. */
  enabledSeen = false;
  /** What software asked for; equals `enabled` when nothing is under way. */
  asked = false;
  /** The ring in host memory: words and the index of its first word. */
  words: Uint32Array = NO_WORDS;
  first = 0;
  /** The same memory eight bytes at a time, where the ring is aligned so. */
  pairs: Float64Array = NO_PAIRS;
  usable = false;

  #pollsLeft = 0;
  #dmaGeneration = -1;
  #coreGeneration = -1;
  #pairsOfWords: Float64Array = NO_PAIRS;

  constructor(
    readonly core: Core,
    /** Queue number. */
    readonly index: number,
    /** "receive" or "transmit", for messages. */
    readonly direction: "receive" | "transmit",
  ) {}

  /** Back to the state after a reset. */
  reset(): void {
    this.baseLow = 0;
    this.baseHigh = 0;
    this.setLength(0);
    this.enabled = false;
    this.enabledSeen = false;
    this.asked = false;
    this.#pollsLeft = 0;
    this.#stop();
  }

  /** Takes RDLEN or TDLEN. */
  setLength(bytes: number): void {
    this.length = bytes;
    this.count = bytes >>> DESCRIPTOR_SHIFT;
    this.head = 0;
    this.tail = 0;
    this.tailWritten = 0;
    this.forgetView();
  }

  /** Takes RDT or TDT. */
  setTail(value: number): void {
    this.tailWritten = value;
    if (value < this.count) this.tail = value;
  }

  /** Starts switching the queue; it takes a poll or a step to happen. */
  ask(enable: boolean): void {
    this.asked = enable;
    this.#pollsLeft = POLLS_TO_SWITCH;
    this.core.queuesSwitching = true;
  }

  /** Software reads the control register. */
  poll(): boolean {
    if (this.asked !== this.enabled && this.#pollsLeft-- <= 0) this.settle();
    if (this.enabled) this.enabledSeen = true;
    return this.enabled;
  }

  /** Ends a switch that is under way. */
  settle(): void {
    if (this.asked === this.enabled) return;
    this.enabled = this.asked;
    this.enabledSeen = false;
    if (!this.enabled) this.#stop();
  }

  /** Descriptors that software has given to the card. */
  get available(): number {
    const ahead = this.tail - this.head;
    return ahead < 0 ? ahead + this.count : ahead;
  }

  /** Makes the next use of the ring translate its address again. */
  forgetView(): void {
    this.#dmaGeneration = -1;
  }

  /** Whether {@linkcode refresh} must come before the ring is touched. */
  get stale(): boolean {
    return this.#dmaGeneration !== this.core.dma.generation ||
      this.#coreGeneration !== this.core.generation;
  }

  /** Translates the whole ring; a miss is recorded once per change. */
  refresh(): void {
    const { core } = this;
    const { dma } = core;
    this.#dmaGeneration = dma.generation;
    this.#coreGeneration = core.generation;
    this.usable = this.length > 0 &&
      core.reachToWrite(
        this.baseLow,
        this.baseHigh,
        this.length,
        `${this.direction} queue ${this.index}: descriptor ring`,
      ) && dma.offset % 4 === 0;
    if (!this.usable) return;
    if (this.words !== dma.u32) this.#pairsOfWords = pairsOver(dma.u32);
    this.words = dma.u32;
    this.first = dma.offset >>> 2;
    this.pairs = dma.offset % 8 === 0 ? this.#pairsOfWords : NO_PAIRS;
    core.hasMovedData = true;
  }

  #stop(): void {
    this.head = 0;
    this.tail = 0;
    this.tailWritten = 0;
    this.words = NO_WORDS;
    this.pairs = NO_PAIRS;
    this.usable = false;
    this.forgetView();
  }
}

function pairsOver(words: Uint32Array): Float64Array {
  return new Float64Array(words.buffer, 0, words.buffer.byteLength >>> 3);
}
