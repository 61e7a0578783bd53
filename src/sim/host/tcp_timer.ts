/**
 * The TCP timer, sections 7.3.3 and 8.2.3.1: a free interrupt every so many
 * milliseconds, for the timers of a TCP stack.
 *
 * @module
 */

import {
  EICR_TCP_TIMER,
  TCPTIMER_DURATION_MASK,
  TCPTIMER_ENABLE,
  TCPTIMER_FINISH,
  TCPTIMER_KICK_START,
  TCPTIMER_LOOP,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";
import type { Interrupts } from "./interrupts.ts";

/** The timer of one card. */
export class TcpTimer {
  readonly #core: Core;
  readonly #interrupts: Interrupts;
  /** When it is over; Infinity while it stands. */
  #endsAt = Infinity;

  constructor(core: Core, interrupts: Interrupts) {
    this.#core = core;
    this.#interrupts = interrupts;
    const { registers } = core;
    registers.onWrite("TCPTIMER", (_n, value) => {
      const triggers = TCPTIMER_KICK_START | TCPTIMER_FINISH;
      registers.set("TCPTIMER", 0, value & ~triggers);
      if ((value & TCPTIMER_ENABLE) === 0) this.#endsAt = Infinity;
      else if ((value & TCPTIMER_FINISH) !== 0) this.#finish();
      else if ((value & TCPTIMER_KICK_START) !== 0) this.#start(core.now);
    });
  }

  /** It stands. */
  reset(): void {
    this.#endsAt = Infinity;
  }

  /** Interrupts when its time has come. */
  run(): void {
    if (this.#core.now >= this.#endsAt) this.#finish();
  }

  /** When {@linkcode run} has something to do. */
  deadline(): number {
    return this.#endsAt;
  }

  #start(from: number): void {
    const value = this.#core.registers.get("TCPTIMER");
    const duration = value & TCPTIMER_DURATION_MASK;
    this.#endsAt = duration === 0 ? Infinity : from + duration;
  }

  /** With Loop it begins again by itself, from when it was over. */
  #finish(): void {
    const over = Math.min(this.#endsAt, this.#core.now);
    this.#endsAt = Infinity;
    const loops = this.#core.registers.get("TCPTIMER") & TCPTIMER_LOOP;
    if (loops !== 0) this.#start(over);
    if (this.#endsAt <= this.#core.now) this.#start(this.#core.now);
    this.#interrupts.raise(EICR_TCP_TIMER);
  }
}
