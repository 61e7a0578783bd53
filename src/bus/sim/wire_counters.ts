/**
 * What a software card's wire counts, read live from any isolate.
 *
 * @module
 */
import { WIRE_COUNTER_BYTES, WIRE_SLOT } from "../../sim/wires/wire.ts";

/**
 * A number that a wire counts. The source: `generated` frames and bytes, those it gave up `late`, and whether it has
 * `finished`. The sink: `received` frames and bytes, and how many of them were wrong in which way.
 */
export type WireCounterName =
  | "generated"
  | "generatedBytes"
  | "late"
  | "finished"
  | "received"
  | "receivedBytes"
  | "corrupted"
  | "reordered"
  | "duplicated"
  | "missing"
  | "foreign"
  | "overflow";

/** Live counters of a wire, and the word that stops its source. */
export class WireCounters {
  readonly #values: Float64Array;

  /**
   * Lays the counters over shared memory.
   *
   * @param buffer Shared with the wire.
   */
  constructor(
    readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(
      WIRE_COUNTER_BYTES,
    ),
  ) {
    this.#values = new Float64Array(buffer);
  }

  /** The value now. */
  get(name: WireCounterName): number {
    return this.#values[WIRE_SLOT[name]];
  }

  /** True once a source with an end (a pcap, a count) has given all it has. */
  get finished(): boolean {
    return this.get("finished") !== 0;
  }

  /** Stops the source, so that what is on its way can drain; or lets it run again. */
  pause(paused = true): void {
    this.#values[WIRE_SLOT.stop] = paused ? 1 : 0;
  }
}
