/**
 * The switch between interrupts and polling.
 *
 * @module
 */
import type { AdaptiveConfig } from "../config.ts";

/**
 * Decides, window by window, whether a queue should sleep on its interrupt or poll.
 *
 * The rate it looks at is the one that interrupts have, or would have if the queue did not poll: one for each frame,
 * but never more than the card's interrupt interval lets through. Two thresholds with a gap between them keep it
 * from flapping.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { AdaptiveSwitch } from "./adaptive.ts";
 *
 * const config = { pollAbove: 20_000, sleepBelow: 8_000, windowMs: 50 };
 * const adaptive = new AdaptiveSwitch(config, 10, 0);
 * assert(adaptive.decide(100, 5_000)); // 50,000 a second
 * assert(adaptive.polling);
 * ```
 */
export class AdaptiveSwitch {
  /** True while the queue should poll. */
  polling = false;
  readonly #config: AdaptiveConfig;
  /** Most interrupts in a millisecond. */
  readonly #mostPerMs: number;
  #windowStart: number;
  /** Frames received when it began. */
  #framesBefore: number;

  /**
   * @param config The thresholds.
   * @param intervalUs The card's least time between two interrupts, in microseconds; 0 for no limit.
   * @param now The time in milliseconds, from any origin.
   * @param frames Frames received so far, modulo 2³².
   */
  constructor(
    config: AdaptiveConfig,
    intervalUs: number,
    now: number,
    frames = 0,
  ) {
    this.#config = config;
    this.#mostPerMs = intervalUs > 0 ? 1000 / intervalUs : Infinity;
    this.#windowStart = now;
    this.#framesBefore = frames;
  }

  /**
   * Closes the window when it is over; `frames` is how many came since the beginning, modulo 2³². True when the mode
   * changed.
   */
  decide(now: number, frames: number): boolean {
    const elapsed = now - this.#windowStart;
    const { pollAbove, sleepBelow, windowMs } = this.#config;
    if (elapsed < windowMs) return false;
    const arrived = (frames - this.#framesBefore) | 0;
    const rate = 1000 * Math.min(arrived / elapsed, this.#mostPerMs);
    this.#windowStart = now;
    this.#framesBefore = frames;
    const polling = this.polling ? rate >= sleepBelow : rate > pollAbove;
    if (polling === this.polling) return false;
    this.polling = polling;
    return true;
  }
}
