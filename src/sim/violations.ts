/**
 * What a driver did wrong, kept for the test that asks.
 *
 * @module
 */

/**
 * The class of a {@linkcode Violation}: an address the driver never mapped,
 * a step out of the datasheet's order, a register misused, a descriptor that
 * means nothing legal.
 */
export type ViolationKind = "dma-fault" | "order" | "register" | "descriptor";

/** One thing the driver did that the datasheet forbids. */
export interface Violation {
  /** Which rule family was broken. */
  readonly kind: ViolationKind;
  /** What happened and what the datasheet asks for, with its section. */
  readonly message: string;
}

/** How many violations are kept in full; more are only counted. */
export const VIOLATION_LIMIT = 100;

/** Collects violations; the first {@linkcode VIOLATION_LIMIT} in full. */
export class ViolationLog {
  /** The first violations, in order. */
  readonly list: Violation[] = [];
  /** All of them, those beyond the limit included. */
  count = 0;

  /** Records one violation. */
  record(kind: ViolationKind, message: string): void {
    this.count++;
    if (this.list.length < VIOLATION_LIMIT) this.list.push({ kind, message });
  }

  /** Forgets everything. */
  clear(): void {
    this.list.length = 0;
    this.count = 0;
  }
}
