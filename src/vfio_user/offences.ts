/**
 * What one client's driver did against the datasheet, by rule.
 *
 * @module
 */
import type { Violation } from "../sim/violations.ts";

/** Different faults that are told of one client, at most: a broken driver could make millions. */
const MOST_FAULTS = 1000;

/** Counts offences, and says which ones to tell at once. */
export class Offences {
  /** How often each rule was broken, by its message without the numbers in it. */
  readonly #counts = new Map<string, { first: string; count: number }>();
  readonly #faults = new Set<string>();
  /** Offences that were only counted. */
  #more = 0;

  /**
   * Counts an offence. True when it is to be told: the first one against its rule, and each DMA fault at an address that
   * was not told of yet.
   */
  note({ kind, message }: Violation): boolean {
    const line = `${kind}: ${message}`;
    const rule = line.replaceAll(/0x[\da-f]+|\d+(?![\d.]*\))/gi, "#");
    const known = this.#counts.get(rule);
    if (known === undefined) this.#counts.set(rule, { first: line, count: 1 });
    else known.count++;
    if (kind !== "dma-fault") return known === undefined;
    if (this.#faults.has(line) || this.#faults.size === MOST_FAULTS) {
      return false;
    }
    this.#faults.add(line);
    return true;
  }

  /** Counts offences that were reported without details. */
  noteMore(count: number): void {
    this.#more += count;
  }

  /** A line for each rule that was broken more than once. */
  summary(): string[] {
    const lines = [...this.#counts.values()]
      .filter(({ count }) => count > 1)
      .map(({ first, count }) => `${count} times: ${first}`);
    if (this.#more > 0) lines.push(`${this.#more} more were only counted`);
    return lines;
  }

  /** Forgets everything. */
  clear(): void {
    this.#counts.clear();
    this.#faults.clear();
    this.#more = 0;
  }
}
