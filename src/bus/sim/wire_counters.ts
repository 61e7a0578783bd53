/**
 * What a software card's wire counts, read live from any isolate.
 *
 * @module
 */
import { WIRE_COUNTER_BYTES, WIRE_SLOT } from "../../sim/wires/wire.ts";

/** A number that a wire counts. */
export type WireCounterName = Exclude<keyof typeof WIRE_SLOT, "stop">;

/** Live counters of a wire, and the word that stops its source. */
export class WireCounters {
  readonly #values: Float64Array;

  /** @param buffer Shared with the wire. */
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
