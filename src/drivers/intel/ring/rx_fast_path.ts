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
import type { Registers } from "../../../bus/bus.ts";
import { INDEX_MASK, type Mempool } from "../../../memory/mempool.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import { type QueueCounters, Slot } from "../../../stats.ts";
import type { FastPath } from "../../queue/rx_queue.ts";
import { type QueueControl, Word } from "../../queue/control_block.ts";
import { IntelWord } from "./words.ts";
import { Rx, type RxErrors, type RxLayout, wordViews } from "./descriptors.ts";

/** What the fast path works on. */
export interface RxFastPathParts {
  /** The receive ring. */
  readonly ring: Int32Array;
  /** The queue's positions and handles. */
  readonly control: QueueControl;
  /** The value of `Word.Ready` while it may receive. */
  readonly token: number;
  /** To be called after each round of the ring. */
  readonly onRound: () => void;
  /** Where the packets lie. */
  readonly pool: Mempool;
  /** The queue pair's counters. */
  readonly counters: QueueCounters;
  /** The card's registers in this isolate. */
  readonly registers: Registers;
  /** Byte offset of the queue's tail register. */
  readonly tail: number;
  /** What the card may write into one buffer. */
  readonly bufferBytes: number;
  /** The family's error bits. */
  readonly errors: RxErrors;
  /** Where its descriptors have the rest. */
  readonly layout: RxLayout;
  /** The flags of a packet, by word 0 and the status of its last descriptor. */
  readonly flagsOf: (kind: number, status: number) => number;
}

/**
 * Makes the function: it takes frames into `handles`, refills the ring, tells the card, and returns how many.
 *
 * It stops before anything else than a whole and sound frame, and returns 0 where `Word.Ready` has not its token. It
 * relies on a processor that keeps the order of loads.
 */
export function rxFastPath(parts: RxFastPathParts): FastPath {
  const { pool, registers, counters, token, tail, bufferBytes } = parts;
  const { onRound, flagsOf } = parts;
  const { lows } = counters;
  const { imul } = Math;
  const { words, rxSlots: slots } = parts.control;
  const depth = slots.length;
  const views = wordViews(parts.ring);
  const [word0, word1, word2, word3] = views;
  const { layout, errors } = parts;
  const statuses = views[layout.statusWord];
  const sizes = views[layout.lengthWord];
  const { kinds } = layout;
  const { Ready, RxNext } = Word;
  const { CachedStatus: Status, CachedType: PacketType, CachedFlags: Flags } =
    IntelWord;
  const { LENGTH, VLAN_SHIFT } = Rx;
  const { RssHash, VlanStripped } = PacketFlag;
  const { rxPackets, rxBytes, polls, polling } = Slot;
  const indexMask = INDEX_MASK;
  const more = RssHash | VlanStripped;
  const whole = Rx.DD | Rx.EOP;
  const interesting = whole | errors.damaged;
  const { header, freeStack, lengths, flags, rssHashes, vlanTags, stride } =
    pool;
  const iovaLow = pool.iovaLow | 0;
  const iovaHigh = pool.iovaHigh | 0;

  // Before the first frame, assume a status without errors.
  if (words[Status] === 0) words[Status] = whole;

  /** Remembers what a status and a kind say; false unless they are those of a whole and sound frame. */
  function decode(status: number, kind: number): boolean {
    if ((status & interesting) !== whole) return false;
    words[Status] = status;
    words[PacketType] = kind;
    words[Flags] = flagsOf(kind, status);
    return true;
  }

  function endRound(): void {
    counters.settle(rxPackets);
    counters.settle(rxBytes);
    counters.settle(polls);
    onRound();
  }

  // Smaller than what V8 always compiles into the caller.
  const count = (slot: number, amount: number) => {
    lows[slot] = (lows[slot] + amount) | 0;
  };
  const doorbell = (value: number) => registers.write32(tail, value);

  return function receiveWhole(handles: Uint32Array): number {
    const state = words;
    if (state[Ready] !== token) return 0;
    const first = state[RxNext];
    let next = first;
    let free = header[0];
    let most = handles.length | 0;
    if (most > free) most = free;
    // To the end of the ring, then from its beginning. A card that lies may lead it round again, as far as there are
    // fresh buffers.
    let stop = (depth - first) | 0;
    if (stop > most) stop = most;
    let bytes = 0;
    let n = 0;
    frames: while (n < stop) {
      let at = next << 2;
      const status = statuses[at];
      const kind = word0[at] & kinds;
      if (
        (status !== state[Status] || kind !== state[PacketType]) &&
        !decode(status, kind)
      ) break;
      const said = state[Flags];
      // All frames of a flow, as a rule.
      do {
        const length = sizes[at] & LENGTH;
        if ((length - 1) >>> 0 >= bufferBytes) break frames;
        const handle = slots[next];
        const index = handle & indexMask;
        if ((said & more) !== 0) {
          // Each is looked at only where its flag is set.
          rssHashes[index] = word1[at];
          vlanTags[index] = word3[at] >>> VLAN_SHIFT;
        }
        lengths[index] = length;
        flags[index] = said;
        bytes = (bytes + length) | 0;
        handles[n] = handle;
        n = (n + 1) | 0;
        free = (free - 1) | 0;
        const fresh = freeStack[free];
        word0[at] = iovaLow + imul(fresh & indexMask, stride);
        word1[at] = iovaHigh;
        word2[at] = 0;
        word3[at] = 0;
        slots[next] = fresh;
        next = (next + 1) | 0;
        at = next << 2;
      } while (
        n < stop && statuses[at] === status && (word0[at] & kinds) === kind
      );
      if (next === depth) {
        next = 0;
        stop = most;
      }
    }
    if (n === 0) return 0;
    header[0] = free;
    doorbell((next === 0 ? depth : next) - 1);
    count(rxPackets, n);
    count(rxBytes, bytes);
    count(polls, lows[polling]);
    state[RxNext] = next;
    if (next <= first) endRound();
    return n;
  };
}
