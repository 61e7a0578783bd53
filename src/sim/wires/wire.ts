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
  /** Live counters, at the places of {@linkcode WIRE_SLOT}. */
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
 * Places in {@linkcode Wire.counters}. Sources, sinks and the card use different ones,
 * so that they can share one buffer.
 */
export const WIRE_SLOT = {
  /** Written by others: 0 lets the source run, 1 stops it. */
  stop: 0,
  /** Frames and bytes (no FCS) that the source gave to the card. */
  generated: 1,
  generatedBytes: 2,
  /** Frames that a source with a rate gave up because it was not polled in time. */
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
  /** Frames from the card that found no room on the way. */
  overflow: 15,
  /** Frames of a capture that are longer than any card receives: left out, not generated. */
  skipped: 16,
  /** Frames from the card that went into a cable without another end. */
  unconnected: 26,
  // Where the card put the generated frames: each is in one of these.
  /** Frames that the card wrote to host memory. */
  delivered: 17,
  /** Frames below 64 octets with the FCS (RUC, RFC). */
  tooShort: 18,
  /** Frames above the longest that the card was told to take (ROC, RJC). */
  tooLong: 19,
  /** Frames whose FCS is wrong (CRCERRS). */
  damaged: 20,
  /** MAC control frames, as pause frames are, that the MAC kept (LXONRXCNT, LXOFFRXCNT). */
  control: 21,
  /** Good frames that the address or VLAN filters keep out (RXNFGPC less GPRC). */
  filtered: 22,
  /** Frames for which a queue had no descriptor, or the packet buffer no room (QPRDC, RXMPC). */
  missed: 23,
  /** Frames that wait in the packet buffer now. */
  waiting: 24,
  /** Frames that waited there when the card was reset. */
  reset: 25,
} as const;

/** How many places {@linkcode Wire.counters} has. */
export const WIRE_SLOTS = 32;

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
