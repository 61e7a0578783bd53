/**
 * When the other side wants to be told, and when we do.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { WEAK_ORDER } from "../../../dma/barrier.ts";
import { availEventWord, Packed, Split } from "./layout.ts";

/** Half of the indexes of a split ring. */
const FAR = 0x8000;

/**
 * Whether the step of an index modulo 2¹⁶ from `before` to `after` writes the entry that `event` names (2.7.7.1,
 * 2.7.10).
 */
export function passes(event: number, before: number, after: number): boolean {
  return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff);
}

/** Reads what must not be older than the last atomic store: on x86-64 every load is behind it. */
function readAfter(words: Uint16Array, index: number): number {
  return WEAK_ORDER ? Atomics.load(words, index) : words[index];
}

/**
 * Split: whether the device wants to be notified of the entries between two available indexes (2.7.10). The new index
 * was stored by an atomic operation, so that this is read after it.
 * @param used The used ring.
 * @param depth Where its `avail_event` is used: its entries; else 0.
 */
export function splitWantsNotification(
  used: Uint16Array,
  depth: number,
  before: number,
  after: number,
): boolean {
  if (depth === 0) {
    return (readAfter(used, Split.FLAGS) & Split.NO_NOTIFY) === 0;
  }
  const event = readAfter(used, availEventWord(depth));
  return passes(event, before, after);
}

/**
 * Split: keeps `used_event` where no index comes by soon (2.7.7.1): interrupts cannot be turned off in another way.
 * @param available The available ring.
 * @param depth Its entries.
 * @param used The index up to which buffers were taken.
 */
export function keepEventBehind(
  available: Uint16Array,
  depth: number,
  used: number,
): void {
  const word = Split.AVAIL_RING + depth;
  if (((used - available[word]) & 0xffff) > FAR) available[word] = used - 1;
}

/**
 * Packed: whether the device wants to be notified of `count` descriptors that end before place `next` (2.8.10). The last
 * was stored by an atomic operation, so that this is read after it.
 * @param device The device's event structure.
 * @param wrap The wrap counter at `next`.
 * @param depth Descriptors in the ring.
 */
export function packedWantsNotification(
  device: Uint16Array,
  next: number,
  wrap: number,
  count: number,
  depth: number,
): boolean {
  const flags = readAfter(device, Packed.EVENT_FLAGS) & Packed.EVENT_MASK;
  if (flags !== Packed.EVENTS_AT) return flags !== Packed.EVENTS_OFF;
  const named = readAfter(device, Packed.EVENT_PLACE);
  const place = named & ~Packed.EVENT_WRAP;
  // One round behind where the wrap counters differ.
  const event = named >>> 15 === wrap ? place : place - depth;
  return passes(event, next - count, next);
}
