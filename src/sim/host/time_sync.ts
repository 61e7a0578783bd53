/**
 * The clock of IEEE 1588, section 7.9.2: SYSTIM grows by what TIMINCA says.
 * Frames get no time stamps.
 *
 * @module
 */

import {
  LINKS_SPEED_1G,
  TIMINCA_PERIOD_SHIFT,
  TIMINCA_VALUE_MASK,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

/** Nanoseconds of a period at 10 and at 1 Gbit/s. */
const PERIOD_10G = 6.4;
const PERIOD_1G = 64;
const NS_PER_MS = 1e6;
const HALF = 32n;
const LOW_MASK = 0xffffffffn;

/** The clock of one card. */
export class TimeSync {
  readonly #core: Core;
  readonly #speed: () => number;
  /** SYSTIM at `#since`, which is core time in milliseconds. */
  #base = 0n;
  #since = 0;
  /** SYSTIMH as it was when SYSTIML was read. */
  #latchedHigh = 0;

  /** `speed` gives the speed bits of LINKS. */
  constructor(core: Core, speed: () => number) {
    this.#core = core;
    this.#speed = speed;
    const { registers } = core;
    registers.onRead("SYSTIML", () => {
      const time = this.#time();
      this.#latchedHigh = Number((time >> HALF) & LOW_MASK);
      return Number(time & LOW_MASK);
    });
    registers.onRead("SYSTIMH", () => this.#latchedHigh);
    registers.onWrite("SYSTIML", (_n, value) => {
      this.#set((this.#time() & ~LOW_MASK) | BigInt(value));
    });
    registers.onWrite("SYSTIMH", (_n, value) => {
      this.#set((BigInt(value) << HALF) | (this.#time() & LOW_MASK));
    });
    registers.onWrite("TIMINCA", (_n, value, before) => {
      this.#set(this.#timeWith(before));
      registers.set("TIMINCA", 0, value);
    });
  }

  /** The clock stands at zero. */
  reset(): void {
    this.#set(0n);
    this.#latchedHigh = 0;
  }

  #set(time: bigint): void {
    this.#base = time;
    this.#since = this.#core.now;
  }

  #time(): bigint {
    return this.#timeWith(this.#core.registers.get("TIMINCA"));
  }

  #timeWith(increment: number): bigint {
    const periods = increment >>> TIMINCA_PERIOD_SHIFT;
    if (periods === 0) return this.#base;
    const period = this.#speed() === LINKS_SPEED_1G ? PERIOD_1G : PERIOD_10G;
    const elapsed = (this.#core.now - this.#since) * NS_PER_MS;
    const ticks = BigInt(Math.floor(elapsed / (period * periods)));
    return this.#base + ticks * BigInt(increment & TIMINCA_VALUE_MASK);
  }
}
