/**
 * The time of day with the resolution of `performance.now()`, for time stamps.
 *
 * `performance.timeOrigin` is what the clock said when the program began: a time stamp made from it stays behind when
 * the clock is set, or when NTP corrects it.
 *
 * @module
 */

/** Beyond this distance from the time of day, in milliseconds, the steady clock is set anew. */
const TOLERANCE_MS = 2;

/**
 * Milliseconds since 1970, with a fraction, that follow the system's clock when that is set.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * import { CaptureClock } from "@ixl/deno/net";
 *
 * const clock = new CaptureClock();
 * assert(Math.abs(clock.now() - Date.now()) < 1000);
 * ```
 */
export class CaptureClock {
  #offset = NaN;
  readonly #wall: () => number;
  readonly #steady: () => number;

  /**
   * A clock that reads two others.
   *
   * @param wall The time of day in whole milliseconds since 1970.
   * @param steady A clock with a finer resolution, in milliseconds since whenever.
   */
  constructor(
    wall: () => number = Date.now,
    steady: () => number = () => performance.now(),
  ) {
    this.#wall = wall;
    this.#steady = steady;
  }

  /** The time now. */
  now(): number {
    const wall = this.#wall();
    const steady = this.#steady();
    const now = this.#offset + steady;
    if (Math.abs(now - wall) < TOLERANCE_MS) return now;
    this.#offset = wall - steady;
    return wall;
  }
}
