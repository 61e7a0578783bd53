/**
 * The end of a wire that checks every frame the generator made.
 *
 * @module
 */

import type { Frame } from "../frame.ts";
import { Traffic, type TrafficOptions } from "./traffic.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

/** What a {@linkcode SinkWire} expects. */
export interface SinkOptions extends TrafficOptions {
  /** Where to count, so that other isolates can read it. */
  counters?: SharedArrayBuffer;
}

/** Sequence numbers of a flow whose arrival is remembered. */
const WINDOW = 512;
const WINDOW_SHIFT = 9;
const WINDOW_MASK = WINDOW - 1;
/** Above half the range, a difference of sequence numbers means "before". */
const HALF_RANGE = 0x80000000;

/**
 * Takes frames, gives none. Verifies content byte by byte and each flow's
 * sequence: a gap counts as missing until it is filled, a late frame as
 * reordered, a frame seen before as duplicated.
 *
 * What is more than {@linkcode WINDOW} behind its flow is taken for reordered,
 * as nobody remembers whether it came.
 */
export class SinkWire implements Wire {
  readonly fd = -1;
  readonly counters: Float64Array;
  readonly #traffic: Traffic;
  /** The next sequence number of each flow. */
  readonly #next: Uint32Array;
  /** Per flow and place in the window: the last that came there, plus one. */
  readonly #seen: Uint32Array;

  /** @throws {RangeError} when an option is out of its range */
  constructor(options: SinkOptions = {}) {
    this.#traffic = new Traffic(options);
    this.#next = new Uint32Array(this.#traffic.flows);
    this.#seen = new Uint32Array(this.#traffic.flows * WINDOW);
    this.counters = wireCounters(options.counters);
  }

  poll(_frame: Frame, _now: number): boolean {
    return false;
  }

  transmit(frame: Frame): void {
    const { counters } = this;
    counters[WIRE_SLOT.received]++;
    counters[WIRE_SLOT.receivedBytes] += frame.length;
    const verdict = this.#traffic.check(frame);
    if (verdict === "good") {
      this.#follow(this.#traffic.flow, this.#traffic.sequence);
    } else if (verdict === "corrupted") counters[WIRE_SLOT.corrupted]++;
    else counters[WIRE_SLOT.foreign]++;
  }

  /** Takes and counts a frame as {@linkcode transmit} does if it is right. False, and nothing counted, if it is not. */
  takes(frame: Frame): boolean {
    if (this.#traffic.check(frame) !== "good") return false;
    this.counters[WIRE_SLOT.received]++;
    this.counters[WIRE_SLOT.receivedBytes] += frame.length;
    this.#follow(this.#traffic.flow, this.#traffic.sequence);
    return true;
  }

  nextPollAt(_now: number): number {
    return Infinity;
  }

  close(): void {}

  #follow(flow: number, sequence: number): void {
    const next = this.#next[flow];
    const place = (flow << WINDOW_SHIFT) | (sequence & WINDOW_MASK);
    const ahead = (sequence - next) >>> 0;
    if (ahead < HALF_RANGE) {
      this.counters[WIRE_SLOT.missing] += ahead;
      this.#next[flow] = sequence + 1;
    } else if (this.#seen[place] === ((sequence + 1) >>> 0)) {
      this.counters[WIRE_SLOT.duplicated]++;
      return;
    } else {
      this.counters[WIRE_SLOT.reordered]++;
      this.counters[WIRE_SLOT.missing]--;
    }
    this.#seen[place] = sequence + 1;
  }
}
