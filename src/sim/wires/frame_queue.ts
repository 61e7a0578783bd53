/**
 * A bounded first-in-first-out queue of frames in one shared buffer.
 *
 * @module
 */

import { type Frame, FRAME_CAPACITY } from "../frame.ts";

const HEADER_WORDS = 2;
const WRITTEN = 0;
const READ = 1;
/** A length that says: the next frame is at the start of the ring. */
const WRAP = 0xffffffff;
const MINIMUM_WORDS = FRAME_CAPACITY / 2;

/** The buffer for a {@linkcode FrameQueue} of about `bytes` of frames. */
export function frameQueueBuffer(bytes: number): SharedArrayBuffer {
  const words = Math.max(Math.ceil(bytes / 4), MINIMUM_WORDS);
  return new SharedArrayBuffer((HEADER_WORDS + words) * 4);
}

/**
 * One producer and one consumer may use the same buffer from two isolates,
 * each through a FrameQueue of its own. Each frame takes its length rounded up
 * to words, and one word.
 */
export class FrameQueue {
  readonly #indices: Int32Array;
  readonly #words: Uint32Array;
  readonly #size: number;
  #writeAt: number;
  #readAt: number;
  /** What was last seen of the other side. */
  #seenWritten: number;
  #seenRead: number;

  constructor(buffer: SharedArrayBuffer) {
    this.#indices = new Int32Array(buffer, 0, HEADER_WORDS);
    this.#words = new Uint32Array(buffer, HEADER_WORDS * 4);
    this.#size = this.#words.length;
    this.#writeAt = this.#seenWritten = Atomics.load(this.#indices, WRITTEN);
    this.#readAt = this.#seenRead = Atomics.load(this.#indices, READ);
  }

  /** Whether the consumer would find nothing. */
  get empty(): boolean {
    if (this.#readAt !== this.#seenWritten) return false;
    this.#seenWritten = Atomics.load(this.#indices, WRITTEN);
    return this.#readAt === this.#seenWritten;
  }

  /** Adds a copy of the frame; false when there is no room. */
  push(frame: Frame): boolean {
    const length = frame.length;
    const need = 1 + ((length + 3) >>> 2);
    let at = this.#place(need);
    if (at < 0) {
      this.#seenRead = Atomics.load(this.#indices, READ);
      at = this.#place(need);
      if (at < 0) return false;
    }
    const words = this.#words;
    const source = frame.u32;
    if (at !== this.#writeAt) words[this.#writeAt] = WRAP;
    words[at] = length;
    for (let i = 1; i < need; i++) words[at + i] = source[i - 1];
    const after = at + need;
    this.#writeAt = after === this.#size ? 0 : after;
    Atomics.store(this.#indices, WRITTEN, this.#writeAt);
    return true;
  }

  /** Takes the oldest frame; false when there is none. */
  pop(frame: Frame): boolean {
    if (!this.peek(frame)) return false;
    this.drop();
    return true;
  }

  /** Copies the oldest frame and leaves it there; false when there is none. */
  peek(frame: Frame): boolean {
    if (this.empty) return false;
    const words = this.#words;
    if (words[this.#readAt] === WRAP) this.#readAt = 0;
    const at = this.#readAt;
    const length = words[at];
    const target = frame.u32;
    const need = 1 + ((length + 3) >>> 2);
    for (let i = 1; i < need; i++) target[i - 1] = words[at + i];
    frame.length = length;
    frame.crcError = false;
    return true;
  }

  /** Removes the frame that {@linkcode peek} has shown. */
  drop(): void {
    const length = this.#words[this.#readAt];
    const after = this.#readAt + 1 + ((length + 3) >>> 2);
    this.#readAt = after === this.#size ? 0 : after;
    Atomics.store(this.#indices, READ, this.#readAt);
  }

  /** Where `need` words fit, never filling up to the reader; or -1. */
  #place(need: number): number {
    const write = this.#writeAt;
    const read = this.#seenRead;
    if (write < read) return write + need < read ? write : -1;
    const reachesEnd = write + need === this.#size;
    if (write + need < this.#size || (reachesEnd && read > 0)) return write;
    return need < read ? 0 : -1;
  }
}
