/**
 * The frame that wires and the card hand to each other.
 *
 * @module
 */

/** Bytes that a {@linkcode Frame} can hold; above the 15.5 KB of the 82599. */
export const FRAME_CAPACITY = 16384;

/**
 * The shortest frame a MAC puts on the wire, without its FCS. A wire that
 * carries shorter data pads it with zeros ({@linkcode Frame.pad}).
 */
export const MINIMUM_FRAME = 60;

/**
 * A reusable Ethernet frame: destination address first, no FCS.
 *
 * One object serves many frames, so that no frame allocates. `u8` and `u32`
 * view the same bytes.
 */
export class Frame {
  /** The bytes; only the first {@linkcode length} belong to the frame. */
  readonly u8: Uint8Array;
  /** The same bytes as little-endian words, for copies. */
  readonly u32: Uint32Array;
  /** Bytes in the frame, without FCS. */
  length = 0;
  /** True when the FCS that came with the frame was wrong. */
  crcError = false;

  /** Makes an empty frame with room for `capacity` bytes, a multiple of 4. */
  constructor(capacity: number = FRAME_CAPACITY) {
    const buffer = new ArrayBuffer(capacity);
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
  }

  /** Fills up to the shortest legal length with zeros, as a sending MAC does. */
  pad(): void {
    for (let at = this.length; at < MINIMUM_FRAME; at++) this.u8[at] = 0;
    if (this.length < MINIMUM_FRAME) this.length = MINIMUM_FRAME;
  }

  /**
   * Takes a copy of `bytes`; what goes beyond {@linkcode FRAME_CAPACITY} is
   * cut off. For tests and slow wires: the fast ones write words in place.
   */
  set(bytes: Uint8Array): void {
    const length = Math.min(bytes.length, FRAME_CAPACITY);
    this.u8.set(length === bytes.length ? bytes : bytes.subarray(0, length));
    this.length = length;
    this.crcError = false;
  }

  /** A fresh copy of the frame's bytes. */
  bytes(): Uint8Array {
    return this.u8.slice(0, this.length);
  }
}
