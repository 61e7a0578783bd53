/**
 * What stands in a transmit descriptor's slot: the packet, and how it lies in the ring.
 *
 * A packet in one descriptor is just its handle. Otherwise {@linkcode SPECIAL} is set, and the descriptor's link says
 * what follows. Only the first slot of a packet frees it.
 *
 * @module
 */

/** Handles stay below 2³⁰. */
export const HANDLE_MASK = 0x3fffffff;
/** Not the first descriptor of its packet. */
export const PART = 1 << 30;
/** A packet in an indirect table, or in several descriptors. */
export const SPECIAL = 1 << 31;
/** In place of a following descriptor: it was the last. */
export const LAST_LINK = 0xffff;
