/**
 * A wire with a second listener.
 *
 * @module
 */
import type { Frame } from "../frame.ts";
import type { Wire } from "./wire.ts";

/** Works like `main`, and shows every frame that the card sends to `listener` too. */
export class TeeWire implements Wire {
  readonly fd: number;
  readonly counters: Float64Array;
  readonly patient: boolean;
  readonly #main: Wire;
  readonly #listener: Wire;

  /**
   * @param main Gives frames, counts, and is the wire to everybody else.
   * @param listener Only takes frames.
   */
  constructor(main: Wire, listener: Wire) {
    this.#main = main;
    this.#listener = listener;
    this.fd = main.fd;
    this.counters = main.counters;
    this.patient = main.patient === true;
  }

  poll(frame: Frame, now: number): boolean {
    return this.#main.poll(frame, now);
  }

  transmit(frame: Frame): void {
    this.#listener.transmit(frame);
    this.#main.transmit(frame);
  }

  nextPollAt(now: number): number {
    // A listener may have something to do in time, too: a file to write out.
    return Math.min(
      this.#main.nextPollAt(now),
      this.#listener.nextPollAt(now),
    );
  }

  close(): void {
    try {
      this.#main.close();
    } finally {
      this.#listener.close();
    }
  }
}
