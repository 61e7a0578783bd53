/**
 * What the two sides of `latency.ts` share.
 *
 * @module
 */
import type { IrqLine } from "../../src/irq/line.ts";

/** Words shared by the card and the driver's registers. */
export const Shared = {
  /** The first descriptor that is not the card's, as the driver wrote it. */
  Tail: 0,
  /** 1 while the interrupt may be raised. */
  Unmasked: 1,
  /** 1 when something arrived after the last interrupt. */
  Cause: 2,
  /** Raised by the driver's side to ask for the time. */
  Asked: 3,
  /** Follows it when the time is there. */
  Answered: 4,
  /** 1 when the card shall begin. */
  Begin: 5,
  /** How many there are. */
  Words: 6,
} as const;

/** What the card needs to know. */
export interface LatencyStart {
  /** The receive ring. */
  readonly ring: SharedArrayBuffer;
  /** Descriptors in it, a power of two. */
  readonly depth: number;
  /** {@linkcode Shared}. */
  readonly words: SharedArrayBuffer;
  /** When each packet was written, in milliseconds of the card's clock, and behind them the time when asked for it. */
  readonly stamps: SharedArrayBuffer;
  /** Packets to write. */
  readonly packets: number;
  /** Milliseconds between two. */
  readonly intervalMs: number;
  /** The interrupt. */
  readonly irqFd: number;
}

/** Raises the interrupt if there is a cause and it is not masked; masks it then, as EIAM does. */
export function raiseInterrupt(words: Int32Array, line: IrqLine): void {
  if (Atomics.load(words, Shared.Cause) === 0) return;
  if (Atomics.compareExchange(words, Shared.Unmasked, 1, 0) !== 1) return;
  Atomics.store(words, Shared.Cause, 0);
  line.raise();
}
