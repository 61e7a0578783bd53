/**
 * A cable between two cards.
 *
 * @module
 */

import type { Frame } from "../frame.ts";
import { FrameQueue, frameQueueBuffer } from "./frame_queue.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

/** Bytes of frames that a {@linkcode createPair} holds in each direction. */
export const DEFAULT_PAIR_BYTES = 1 << 20;

/** One end of a cable. Two ends may live in two isolates. */
export class PairWire implements Wire {
  readonly fd = -1;
  readonly counters: Float64Array;
  readonly #incoming: FrameQueue;
  readonly #outgoing: FrameQueue;
  /** Whether there is somebody at the other end. */
  isConnected = true;

  /**
   * @param incoming the buffer that the other end calls its outgoing one
   * @param counters where to count; a buffer of its own when left out
   */
  constructor(
    incoming: SharedArrayBuffer,
    outgoing: SharedArrayBuffer,
    counters?: SharedArrayBuffer,
  ) {
    this.#incoming = new FrameQueue(incoming);
    this.#outgoing = new FrameQueue(outgoing);
    this.counters = wireCounters(counters);
  }

  poll(frame: Frame, _now: number): boolean {
    if (!this.#incoming.pop(frame)) return false;
    this.counters[WIRE_SLOT.generated]++;
    this.counters[WIRE_SLOT.generatedBytes] += frame.length;
    return true;
  }

  /** A frame is lost and counted as `overflow` when the cable is full, as `unconnected` when its other end is free. */
  transmit(frame: Frame): void {
    if (!this.isConnected) {
      this.counters[WIRE_SLOT.unconnected]++;
    } else if (this.#outgoing.push(frame)) {
      this.counters[WIRE_SLOT.received]++;
      this.counters[WIRE_SLOT.receivedBytes] += frame.length;
    } else {
      this.counters[WIRE_SLOT.overflow]++;
    }
  }

  nextPollAt(now: number): number {
    return this.#incoming.empty ? Infinity : now;
  }

  close(): void {}
}

/** The two ends of a cable that holds `bytes` of frames each way. */
export function createPair(
  bytes: number = DEFAULT_PAIR_BYTES,
): [PairWire, PairWire] {
  const there = frameQueueBuffer(bytes);
  const back = frameQueueBuffer(bytes);
  return [new PairWire(back, there), new PairWire(there, back)];
}
