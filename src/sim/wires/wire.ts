/**
 * What the card's port is connected to.
 *
 * @module
 */

import type { Frame } from "../frame.ts";

/** The other end of the cable. */
export interface Wire {
  /**
   * Puts the next frame for the card into `frame`: bytes and length, at least
   * 60 bytes as any sending MAC pads to.
   *
   * @returns false when there is none at `now` (performance.now() ms)
   */
  poll(frame: Frame, now: number): boolean;
  /** Takes a frame that the card sent. The frame is the card's: copy it. */
  transmit(frame: Frame): void;
  /**
   * When {@linkcode poll} may next have a frame, in performance.now() ms:
   * `now` or earlier means at once, Infinity only after something external.
   */
  nextPollAt(now: number): number;
  /** A descriptor to sleep on, where the wire has one, else -1. */
  readonly fd: number;
  /** Numbers for whoever watches, at the places of {@linkcode WIRE_SLOT}. */
  readonly counters: Float64Array;
  /**
   * True when the card polls only while every running receive queue has room
   * for the longest frame, as if the other end honoured pause frames. Without
   * it the wire does not care and an overloaded card drops.
   */
  readonly patient?: boolean;
  /** Lets go of files and descriptors. */
  close(): void;
}

/**
 * Places in {@linkcode Wire.counters}. Sources and sinks use different ones,
 * so that both sides of a wire can share one buffer.
 */
export const WIRE_SLOT = {
  /** Written by whoever watches: 0 lets the source run, 1 stops it. */
  stop: 0,
  /** Frames and bytes (no FCS) that the source gave to the card. */
  generated: 1,
  generatedBytes: 2,
  /** Frames that a source with a rate gave up because nobody polled in time. */
  late: 3,
  /** 1 once the source has nothing more to give. */
  finished: 4,
  /** Frames and bytes that the card sent. */
  received: 8,
  receivedBytes: 9,
  /** Frames whose content is wrong. */
  corrupted: 10,
  /** Frames behind a later one of their flow. */
  reordered: 11,
  /** Frames that came before. */
  duplicated: 12,
  /** Sequence numbers that have not come though later ones have. */
  missing: 13,
  /** Frames that the generator did not make. */
  foreign: 14,
  /** Frames that found no room on the way. */
  overflow: 15,
} as const;

/** How many places {@linkcode Wire.counters} has. */
export const WIRE_SLOTS = 16;

/** Bytes of a buffer for {@linkcode Wire.counters}. */
export const WIRE_COUNTER_BYTES: number = WIRE_SLOTS *
  Float64Array.BYTES_PER_ELEMENT;

/** The counters over `buffer`, or over one of their own. */
export function wireCounters(
  buffer?: SharedArrayBuffer | ArrayBuffer,
): Float64Array {
  return new Float64Array(
    buffer ?? new SharedArrayBuffer(WIRE_COUNTER_BYTES),
    0,
    WIRE_SLOTS,
  );
}
