/**
 * A source of traffic that the sink can check.
 *
 * @module
 */

import type { Frame } from "../frame.ts";
import { Traffic, type TrafficOptions } from "./traffic.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

/** How a {@linkcode GeneratorWire} behaves. */
export interface GeneratorOptions extends TrafficOptions {
  /** Frames per second; 0, the default, gives one whenever it is asked. */
  rate?: number;
  /** Frames in all; 0, the default, never ends. */
  count?: number;
  /**
   * Give frames only while the card has descriptors for them, so that none is
   * dropped ({@linkcode Wire.patient}); false by default.
   */
  patient?: boolean;
  /** Start without giving frames until {@linkcode GeneratorWire.start}. */
  stopped?: boolean;
  /** Where to count, so that other isolates can read and stop it. */
  counters?: SharedArrayBuffer;
}

/** Frames beyond this backlog are given up when the card does not poll. */
const LONGEST_BACKLOG_MS = 50;
const SMALLEST_BACKLOG = 64;

/**
 * Gives frames of all flows in turn, in order within each flow.
 *
 * Any isolate that has its counters stops it by storing 1 in slot
 * `WIRE_SLOT.stop`, and lets it go on by storing 0.
 *
 * @example
 * ```ts ignore
 * const counters = new SharedArrayBuffer(WIRE_COUNTER_BYTES);
 * const traffic = { flows: 64, size: 60 };
 * const source = new GeneratorWire({ ...traffic, rate: 1000, counters });
 * const sink = new SinkWire({ ...traffic, counters });
 * const wire = compose({ source, sink });
 * ```
 */
export class GeneratorWire implements Wire {
  readonly fd = -1;
  readonly counters: Float64Array;
  readonly patient: boolean;
  readonly #traffic: Traffic;
  readonly #framesPerMs: number;
  readonly #count: number;
  readonly #backlog: number;
  #flow = 0;
  #sequence = 0;
  #made = 0;
  /** When frame 0 of the rate was due; NaN until the first poll. */
  #origin = NaN;
  /** Frames since the origin, given or given up. */
  #due = 0;

  /** @throws {RangeError} when an option is out of its range */
  constructor(options: GeneratorOptions = {}) {
    const { rate = 0, count = 0, patient = false, stopped = false } = options;
    if (!(rate >= 0) || !(count >= 0)) {
      throw new RangeError(
        `rate and count must be 0 or more, got ${rate} and ${count}`,
      );
    }
    this.#traffic = new Traffic(options);
    this.#framesPerMs = rate / 1000;
    this.#count = count === 0 ? Infinity : count;
    this.#backlog = Math.max(
      Math.ceil(this.#framesPerMs * LONGEST_BACKLOG_MS),
      SMALLEST_BACKLOG,
    );
    this.patient = patient;
    this.counters = wireCounters(options.counters);
    if (stopped) this.stop();
  }

  /** Lets frames come. */
  start(): void {
    this.counters[WIRE_SLOT.stop] = 0;
  }

  /** No frame comes until {@linkcode start}. */
  stop(): void {
    this.counters[WIRE_SLOT.stop] = 1;
  }

  poll(frame: Frame, now: number): boolean {
    const { counters } = this;
    if (counters[WIRE_SLOT.stop] !== 0) {
      // The rate starts anew afterwards: a pause is not made up for.
      this.#origin = NaN;
      return false;
    }
    if (this.#made >= this.#count || !this.#isDue(now)) return false;
    const length = this.#traffic.lengthOf(this.#made);
    this.#traffic.fill(frame, this.#flow, this.#sequence, length);
    this.#made++;
    this.#flow++;
    if (this.#flow === this.#traffic.flows) {
      this.#flow = 0;
      this.#sequence = (this.#sequence + 1) >>> 0;
    }
    counters[WIRE_SLOT.generated] = this.#made;
    counters[WIRE_SLOT.generatedBytes] += length;
    if (this.#made >= this.#count) counters[WIRE_SLOT.finished] = 1;
    return true;
  }

  /** Nothing is connected in this direction: the frame is counted. */
  transmit(frame: Frame): void {
    this.counters[WIRE_SLOT.received]++;
    this.counters[WIRE_SLOT.receivedBytes] += frame.length;
  }

  nextPollAt(now: number): number {
    const stopped = this.counters[WIRE_SLOT.stop] !== 0;
    if (stopped || this.#made >= this.#count) return Infinity;
    if (this.#framesPerMs === 0 || Number.isNaN(this.#origin)) return now;
    return this.#origin + this.#due / this.#framesPerMs;
  }

  close(): void {
    this.stop();
  }

  #isDue(now: number): boolean {
    if (this.#framesPerMs === 0) return true;
    if (Number.isNaN(this.#origin)) {
      this.#origin = now;
      this.#due = 0;
    }
    const passed = (now - this.#origin) * this.#framesPerMs;
    const behind = passed - this.#due;
    if (behind < 0) return false;
    if (behind > this.#backlog) {
      const lost = Math.floor(behind - this.#backlog);
      this.#due += lost;
      this.counters[WIRE_SLOT.late] += lost;
    }
    this.#due++;
    return true;
  }
}
