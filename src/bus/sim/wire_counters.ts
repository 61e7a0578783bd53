/**
 * What a software card's wire counts, read live from any isolate.
 *
 * @module
 */
import { WIRE_COUNTER_BYTES, WIRE_SLOT } from "../../sim/wires/wire.ts";

/** Where a software card put the frames that came from its wire: each is in exactly one of these. */
export const FATES: readonly WireCounterName[] = [
  ...["delivered", "tooShort", "tooLong", "damaged", "control"] as const,
  ...["filtered", "missed", "waiting", "reset"] as const,
];

/**
 * A number that a wire or its card counts, in frames where nothing else is said.
 *
 * - The source: `generated` frames and `generatedBytes`, those it gave up `late` because the card did not look in time,
 *   those of a capture that it `skipped` as longer than any card receives, and 1 once it has `finished`
 * - The card, of the generated frames: `delivered` to memory, `tooShort`, `tooLong`, `damaged`, MAC `control` frames
 *   that it kept, `filtered`, `missed` for want of a buffer, those `waiting` in its packet buffer now, and those that
 *   a `reset` found there. Together they are all that were generated.
 * - The sink: `received` frames and `receivedBytes`, of these `corrupted`, `reordered`, `duplicated`, `foreign` (not
 *   of a generator), the sequence numbers that are `missing`, and besides them what the card sent in vain: the
 *   `overflow`, frames that found no room on the wire, and those sent into a cable whose other end is `unconnected`
 */
export type WireCounterName =
  | "generated"
  | "generatedBytes"
  | "late"
  | "skipped"
  | "finished"
  | "delivered"
  | "tooShort"
  | "tooLong"
  | "damaged"
  | "control"
  | "filtered"
  | "missed"
  | "waiting"
  | "reset"
  | "received"
  | "receivedBytes"
  | "corrupted"
  | "reordered"
  | "duplicated"
  | "missing"
  | "foreign"
  | "overflow"
  | "unconnected";

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
