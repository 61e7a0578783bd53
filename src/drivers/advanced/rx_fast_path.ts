/**
 * The fast path of receiving: whole frames in one buffer each, and a fresh buffer for each.
 *
 * It is a function, and what it works on are constants around it. Of a function that exists once in its isolate, V8
 * compiles such constants into the code, addresses and lengths of arrays included, where it would load and check fields
 * of an object at every call. A queue worker has one receive queue, as a rule; where there are more, they work the
 * same way at the price of those loads.
 *
 * What is imported or exported is no constant to V8: it looks such names up at each use, so they become constants first.
 * Each word of a descriptor has a view of its own: one index, checked once, reaches all of them.
 *
 * @module
 */
import type { Registers } from "../../bus/bus.ts";
import { INDEX_MASK, type Mempool } from "../../mempool.ts";
import { PacketFlag } from "../../packet.ts";
import { Slot } from "../../stats.ts";
import { type QueueControl, Word } from "../queue_control.ts";
import { Rx, type RxErrors, type RxLayout, wordViews } from "./descriptors.ts";

/** Words of the control block with the frame whose last descriptor has not come yet. */
export const Chain = {
  /** Handle of its first segment; 0 for no such frame, below 0 while the rest of one is thrown away. */
  Head: Word.Scratch,
  /** Handle of its last segment. */
  Tail: Word.Scratch + 1,
  /** Bytes so far. */
  Bytes: Word.Scratch + 2,
} as const;

/** What the fast path works on. */
export interface RxFastPathParts {
  /** The receive ring. */
  readonly ring: Int32Array;
  /** The queue's positions and handles. */
  readonly control: QueueControl;
  /** The value of `Word.Owner` while this isolate may receive. */
  readonly token: number;
  /** Where the packets lie. */
  readonly pool: Mempool;
  /** The queue pair's counters. */
  readonly counters: Float64Array;
  /** The card's registers in this isolate. */
  readonly registers: Registers;
  /** Byte offset of the queue's tail register. */
  readonly tail: number;
  /** What the card may write into one buffer. */
  readonly bufferBytes: number;
  /** The status bit of a stripped VLAN tag; 0 when tags are left alone. */
  readonly vlanMask: number;
  /** The family's error bits. */
  readonly errors: RxErrors;
  /** Where its descriptors have the rest. */
  readonly layout: RxLayout;
  /** Checksum verdicts by {@linkcode verdictIndex}. */
  readonly verdicts: Uint8Array;
}

/** Bits 0 and 1: L4CS and IPCS; 2 to 4: the error bits 29 to 31; 5 and 6: a UDP packet, an SCTP packet. */
export function verdictIndex(
  info: number,
  status: number,
  shift: number,
): number {
  return ((status >>> 5) & 3) | ((status >>> shift) & 28) | ((info >>> 4) & 96);
}

/**
 * Makes the function: it takes frames into `handles`, refills the ring, tells the card, and returns how many.
 *
 * It stops before anything else than a whole and sound frame, and returns 0 where the queue is not in its usual state:
 * stopped, not owned, wanted by another, with holes in the ring, or in the middle of a long frame. It relies on a
 * processor that keeps the order of loads.
 */
export function rxFastPath(
  parts: RxFastPathParts,
): (handles: Uint32Array) => number {
  const { pool, registers, token, tail, bufferBytes, vlanMask, verdicts } =
    parts;
  const { words, rxSlots: slots } = parts.control;
  const depth = slots.length;
  const views = wordViews(parts.ring);
  const [word0, word1, word2, word3] = views;
  const { layout, errors } = parts;
  const statuses = views[layout.statusWord];
  const sizes = views[layout.lengthWord];
  const { hashTypes, unchecked, errorShift } = layout;
  const { Stop, Wanted, Owner, RxHoles, RxNext } = Word;
  const { Head } = Chain;
  const { LENGTH, VLAN_SHIFT, RSS_TYPE_FDIR } = Rx;
  const { RssHash, VlanStripped } = PacketFlag;
  const { rxPackets, rxBytes, polls, polling } = Slot;
  const indexMask = INDEX_MASK;
  const verdictAt = verdictIndex;
  const whole = Rx.DD | Rx.EOP;
  const interesting = whole | errors.damaged;
  const { header, freeStack, lengths, flags, rssHashes, vlanTags, stride } =
    pool;
  const iovaLow = pool.iovaLow | 0;
  const iovaHigh = pool.iovaHigh | 0;
  const counters = parts.counters;

  return function receiveWhole(handles: Uint32Array): number {
    if (
      (words[Stop] | words[Wanted] | (words[Owner] ^ token) |
        words[RxHoles] | words[Head]) !== 0
    ) return 0;
    pool.sync();
    let next = words[RxNext];
    let free = header[0];
    const most = Math.min(handles.length, depth - 1, free);
    let bytes = 0;
    let n = 0;
    frames: while (n < most) {
      let at = next << 2;
      const status = statuses[at];
      const info = word0[at];
      if ((status & interesting) !== whole) break;
      let said = (status & unchecked) === 0
        ? verdicts[verdictAt(info, status, errorShift)]
        : 0;
      const rssType = info & hashTypes;
      if (rssType !== 0 && rssType !== RSS_TYPE_FDIR) said |= RssHash;
      if ((status & vlanMask) !== 0) said |= VlanStripped;
      // What was said of one frame holds for those after it with the same status and kind: all of a flow, as a rule.
      const end = Math.min(most, n + depth - next);
      do {
        const length = sizes[at] & LENGTH;
        const handle = slots[next];
        if ((length - 1) >>> 0 >= bufferBytes || handle === 0) break frames;
        const index = handle & indexMask;
        if ((said & RssHash) !== 0) rssHashes[index] = word1[at];
        if ((said & VlanStripped) !== 0) {
          vlanTags[index] = word3[at] >>> VLAN_SHIFT;
        }
        lengths[index] = length;
        flags[index] = said;
        bytes = (bytes + length) | 0;
        handles[n] = handle;
        free = (free - 1) | 0;
        const fresh = freeStack[free];
        word0[at] = (iovaLow + Math.imul(fresh & indexMask, stride)) | 0;
        word1[at] = iovaHigh;
        word2[at] = 0;
        word3[at] = 0;
        slots[next] = fresh;
        next = (next + 1) | 0;
        at = next << 2;
        n = (n + 1) | 0;
      } while (n < end && statuses[at] === status && word0[at] === info);
      if (next === depth) next = 0;
    }
    if (n === 0) return 0;
    header[0] = free;
    words[RxNext] = next;
    counters[rxPackets] += n;
    counters[rxBytes] += bytes;
    counters[polls] += counters[polling];
    registers.write32(tail, next === 0 ? depth - 1 : next - 1);
    return n;
  };
}
