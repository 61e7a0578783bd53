/**
 * The fast path of sending: packets in one buffer each, from one pool, that need nothing but to be sent. Made like
 * the one of receiving (`rx_fast_path.ts`), and for the same reason.
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { storeBarrier, WEAK_ORDER } from "../../../dma/barrier.ts";
import { AT_ONCE, type PoolSet } from "../../../dma/pool_set.ts";
import { INDEX_BITS, type Mempool } from "../../../memory/mempool.ts";
import { type QueueCounters, Slot } from "../../../stats.ts";
import { type QueueControl, Word } from "../../queue/control_block.ts";
import { Tx, type TxLayout, wordViews } from "./descriptors.ts";

/** Descriptors without a report, at most; packets that the fast path sends at once. */
export const REPORT_EVERY = AT_ONCE;
/** On a handle in `txSlots`: its descriptor asked for a report. Handles stay below 2³⁰. */
export const REPORTS: number = 1 << 31;
/** The handle alone. */
export const HANDLE_MASK = 0x7fffffff;
/** Shorter packets are not sent, padding included, but may hang the transmit unit (7.2.3.2.4; Linux pads to 17). */
export const MIN_PACKET = 17;

/** What the fast path works on. */
export interface TxFastPathParts {
  /** The transmit ring. */
  readonly ring: Int32Array;
  /** The queue's positions and handles. */
  readonly control: QueueControl;
  /** The queue pair's counters. */
  readonly counters: QueueCounters;
  /** The card's registers in this isolate. */
  readonly registers: Registers;
  /** Byte offset of the queue's tail register. */
  readonly tail: number;
  /** Largest frame without its check sequence. */
  readonly maxFrame: number;
  /** What the descriptors want. */
  readonly layout: TxLayout;
  /** The pools that the card reaches. */
  readonly reachable: PoolSet;
}

/** Sends handles from `from` on, at most {@linkcode REPORT_EVERY} and none from `to` on, and returns how many. */
export type TxFastPath = (
  handles: Uint32Array,
  from: number,
  to: number,
) => number;

/** Whether freeing a packet of a pool is no more than a push onto its stack. */
export function freesDirectly({ debug, lent }: Mempool): boolean {
  return !debug && !lent;
}

/**
 * Makes the function for packets of one pool. It stops at a packet that wants more, for want of room, and after a block.
 * The card is told only when it gets to the end; what is there carries its report in any case.
 *
 * Before that it takes back what was sent, where it {@linkcode freesDirectly}, in blocks of at least
 * {@linkcode REPORT_EVERY}. When it meets a packet there that is not for it, it sends nothing.
 */
export function txFastPath(parts: TxFastPathParts, pool: Mempool): TxFastPath {
  const { registers, tail, counters } = parts;
  const { lows } = counters;
  const { words, txSlots: slots } = parts.control;
  const depth = slots.length;
  const [word0, word1, word2, word3] = wordViews(parts.ring);
  const { TxNext, TxClean } = Word;
  const { imul } = Math;
  const { DD, RS, PAYLEN_SHIFT } = Tx;
  const { txPackets, txBytes } = Slot;
  const handleMask = HANDLE_MASK;
  const minPacket = MIN_PACKET;
  const reportEvery = REPORT_EVERY;
  const reports = REPORTS;
  const wholePacket = parts.layout.command | Tx.EOP;
  const { totals } = parts.layout;
  const { header, freeStack, lengths, nextSegments, offloads } = pool;
  const { maxEntries, stride } = pool;
  const iovaLow = pool.iovaLow | 0;
  const iovaHigh = pool.iovaHigh | 0;
  const idBits = pool.id << INDEX_BITS;
  const { id } = pool;
  const { shares } = parts.reachable;
  const mostAbove = Math.min(pool.entrySize, parts.maxFrame) - MIN_PACKET;
  const reclaims = freesDirectly(pool);
  /** Room that is left while there is no block to take back. */
  const enough = depth - reportEvery;

  // Smaller than what V8 always compiles into the caller.
  const count = (slot: number, amount: number) => {
    lows[slot] = (lows[slot] + amount) | 0;
  };
  const doorbell = WEAK_ORDER
    ? (value: number) => {
      storeBarrier();
      registers.write32(tail, value);
    }
    : (value: number) => registers.write32(tail, value);

  /** Takes back what was sent, in blocks of at least `reportEvery`. Returns how many descriptors can be filled. */
  function reclaimBlocks(): number {
    const { capacity } = pool;
    let clean = words[TxClean];
    let free = header[0];
    let used = words[TxNext] - clean;
    if (used < 0) used += depth;
    while (reclaims && used >= reportEvery) {
      let end = clean + reportEvery - 1;
      if (end >= depth) end -= depth;
      // The last descriptor that was filled always reports, so this ends.
      // A slot above the mask has the mark REPORTS: the card writes back its descriptor.
      while (slots[end] <= handleMask) {
        if (++end === depth) end = 0;
      }
      if ((word3[end << 2] & DD) === 0) break;
      const after = end + 1 === depth ? 0 : end + 1;
      do {
        const stop = clean <= end ? (end + 1) | 0 : depth;
        used = (used + clean - stop) | 0;
        for (; clean < stop; clean = (clean + 1) | 0) {
          const handle = slots[clean] & handleMask;
          if ((handle ^ idBits) >= capacity) {
            // Of another pool, or above a shrinking one.
            header[0] = free;
            words[TxClean] = clean;
            return 0;
          }
          freeStack[free] = handle;
          free = (free + 1) | 0;
        }
        if (clean === depth) {
          clean = 0;
          counters.settle(txPackets);
          counters.settle(txBytes);
        }
      } while (clean !== after);
    }
    header[0] = free;
    words[TxClean] = clean;
    return depth - 1 - used;
  }

  return function sendWhole(
    handles: Uint32Array,
    from: number,
    to: number,
  ): number {
    const state = words;
    let next = state[TxNext];
    let room = (state[TxClean] - next - 1) | 0;
    if (room < 0) room = (room + depth) | 0;
    if (room < enough) room = reclaimBlocks() | 0;
    let end = from + room;
    if (end > to) end = to;
    // As many as a report is for; none once the card has lost the pool, because the device that it belongs to closes.
    const most = from + shares[id];
    if (end > most) end = most;
    let bytes = 0;
    let n = from;
    let last = 0;
    for (; n < end; n++) {
      // As a signed number, which the mark below keeps it.
      const handle = handles[n] | 0;
      const index = handle ^ idBits;
      if (index >>> 0 >= maxEntries) break;
      const size = lengths[index];
      if (
        (nextSegments[index] | offloads[index]) !== 0 ||
        (size - minPacket) >>> 0 > mostAbove
      ) break;
      const at = next << 2;
      word0[at] = iovaLow + imul(index, stride);
      word1[at] = iovaHigh;
      word2[at] = wholePacket | size;
      word3[at] = (size << PAYLEN_SHIFT) & totals;
      slots[next] = handle;
      bytes = (bytes + size) | 0;
      last = next;
      if (++next === depth) next = 0;
    }
    const sent = n - from;
    if (sent === 0) return 0;
    word2[last << 2] |= RS;
    slots[last] |= reports;
    state[TxNext] = next;
    count(txPackets, sent);
    count(txBytes, bytes);
    if (n === to) doorbell(next);
    return sent;
  };
}
