/**
 * A wire made of two: one that gives frames and one that takes them.
 *
 * @module
 */

import type { Frame } from "../frame.ts";
import type { Wire } from "./wire.ts";

/** What {@linkcode compose} puts together. */
export interface ComposeOptions {
  /** Polled for frames. */
  source: Wire;
  /** Given the frames that the card sends. */
  sink: Wire;
}

class ComposedWire implements Wire {
  readonly #source: Wire;
  readonly #sink: Wire;
  readonly fd: number;
  readonly counters: Float64Array;
  readonly patient: boolean;

  constructor({ source, sink }: ComposeOptions) {
    this.#source = source;
    this.#sink = sink;
    this.fd = source.fd;
    this.counters = source.counters;
    this.patient = source.patient === true;
  }

  poll(frame: Frame, now: number): boolean {
    return this.#source.poll(frame, now);
  }

  transmit(frame: Frame): void {
    this.#sink.transmit(frame);
  }

  nextPollAt(now: number): number {
    return this.#source.nextPollAt(now);
  }

  close(): void {
    try {
      this.#source.close();
    } finally {
      this.#sink.close();
    }
  }
}

/**
 * Joins two wires. The counters are the source's: give both the same buffer
 * and they are the sink's too.
 */
export function compose(options: ComposeOptions): Wire {
  return new ComposedWire(options);
}
