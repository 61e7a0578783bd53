/**
 * How many good frames a card's filters kept out, which Intel cards tell by two counters: frames that came, less those
 * that passed.
 *
 * @module
 */

/**
 * Adds up the difference of two counters that are read one after the other while frames arrive. It never counts a frame
 * that only came between the two reads: what looks negative is made up for first.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FilteredCount } from "./filtered_count.ts";
 *
 * const filtered = new FilteredCount();
 * assertEquals([filtered.add(3), filtered.add(-2), filtered.add(2), filtered.add(1)], [3, 0, 0, 1]);
 * ```
 */
export class FilteredCount {
  #seen = 0;
  #told = 0;

  /**
   * Takes what came less what passed since the last call, what came being read first. Returns how many more frames
   * are known to be filtered.
   */
  add(difference: number): number {
    this.#seen += difference;
    const more = Math.max(0, this.#seen - this.#told);
    this.#told += more;
    return more;
  }
}
