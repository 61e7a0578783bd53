/**
 * Sending on a split ring (2.7).
 *
 * Descriptors are taken in the order of the table, and each entry of the available ring names the same one for ever: only
 * its index changes. That is so until a device finishes packets in another order than it got them, or a packet takes
 * several descriptors: from then on `txIds` has the descriptor whose turn it is.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * The fast loop stands in `packed_tx.ts` too, with its own way to find the next descriptor. Sharing it would take a call for each
 * packet, which costs 2 to 3 ns (bench/NOTES.md). Change both.
 *
 * @module
 */
import { loadBarrier, storeBarrier } from "../../../dma/barrier.ts";
import {
  type Handle,
  INDEX_BITS,
  INDEX_MASK,
  Mempool,
} from "../../../memory/mempool.ts";
import { ETHERNET_HEADER_LENGTH } from "../../../net/ethernet.ts";
import { Word } from "../../queue/control_block.ts";
import { keepEventBehind, splitWantsNotification } from "./events.ts";
import { DESCRIPTOR_WORDS, DescriptorFlag, Split } from "./layout.ts";
import { LAST_LINK, PART, SPECIAL, State } from "./state.ts";
import { VirtioTxQueue } from "./tx.ts";

/** The transmit half of a queue pair on a split ring. */
export class SplitTxQueue extends VirtioTxQueue {
  /** Descriptors in the table are a power of two (2.7). */
  readonly #mask = this.depth - 1;

  protected override postRun(
    handles: Uint32Array,
    from: number,
    to: number,
  ): number {
    const { words, txSlots: slots, txIds: ids } = this.control;
    const { headerBytes, longHeader } = this;
    const { descriptors, driver } = this.views;
    const pool = Mempool.of(handles[from]);
    if (this.shares[pool.id] === 0) return 0;
    const { maxEntries } = pool;
    const { lengths, nextSegments, offloads, stride, words: memory } = pool;
    const iovaLow = (pool.iovaLow - headerBytes) | 0;
    const iovaHigh = pool.iovaHigh | 0;
    const idBits = pool.id << INDEX_BITS;
    const mostAbove = Math.min(pool.entrySize, this.maxFrame) -
      ETHERNET_HEADER_LENGTH;
    const { firstHeader } = this;
    const mask = this.#mask;
    const outOfOrder = words[State.TxOutOfOrder] !== 0;
    const end = Math.min(to, from + this.depth - words[State.TxBusy]);
    let next = words[Word.TxNext];
    let posted = words[State.TxPosted];
    let bytes = 0;
    let at = from;
    for (; at < end; at++) {
      const handle = handles[at];
      const index = handle ^ idBits;
      if (index >>> 0 >= maxEntries) break;
      const size = lengths[index];
      // One unsigned comparison refuses packets that are too short and too long.
      if (
        (nextSegments[index] | offloads[index]) !== 0 ||
        (size - ETHERNET_HEADER_LENGTH) >>> 0 > mostAbove
      ) break;
      const offset = Math.imul(index, stride);
      const head = (offset >>> 2) + firstHeader;
      memory[head] = 0;
      memory[head + 1] = 0;
      memory[head + 2] = 0;
      if (longHeader) {
        memory[head + 3] = 0;
        memory[head + 4] = 0;
      }
      const id = outOfOrder ? ids[next] : next;
      const word = id << 2;
      descriptors[word] = iovaLow + offset;
      descriptors[word + 1] = iovaHigh;
      descriptors[word + 2] = size + headerBytes;
      descriptors[word + 3] = 0;
      slots[id] = handle;
      // Not where it stands there already: a store would take the line from the device.
      if (outOfOrder) driver[(posted & mask) + Split.AVAIL_RING] = id;
      next = (next + 1) & mask;
      posted++;
      bytes += size;
    }
    if (at === from) return 0;
    words[Word.TxNext] = next;
    words[State.TxPosted] = posted & 0xffff;
    words[State.TxBusy] += at - from;
    this.count(at - from, bytes);
    return at - from;
  }

  protected override publish(): void {
    const { words } = this.control;
    const { driver, device } = this.views;
    const before = words[State.TxPublished];
    const after = words[State.TxPosted];
    if (before === after) return;
    words[State.TxPublished] = after;
    storeBarrier();
    Atomics.store(driver, Split.INDEX, after);
    const wanted = splitWantsNotification(
      device,
      this.eventIndex ? this.depth : 0,
      before,
      after,
    );
    if (wanted) this.bus.notify(this.virtqueue);
    if (this.eventIndex) {
      keepEventBehind(driver, this.depth, words[State.TxUsed]);
    }
  }

  protected override postOne(
    handle: Handle,
    segments: number,
    used: number,
  ): void {
    const { words, txIds, txSlots, txLinks } = this.control;
    const { descriptors, driver } = this.views;
    const next = words[Word.TxNext];
    const posted = words[State.TxPosted];
    const id = txIds[next];
    const word = id * DESCRIPTOR_WORDS;
    if (segments === 1) {
      this.writeSegment(descriptors, word, handle, this.headerBytes);
      descriptors[word + 3] = 0;
      txSlots[id] = handle;
    } else if (used === 1) {
      this.writeTable(id, handle, segments, tableWord);
      this.writeTableAddress(word, id, segments);
      descriptors[word + 3] = DescriptorFlag.INDIRECT;
      txSlots[id] = handle | SPECIAL;
      txLinks[id] = LAST_LINK;
    } else {
      this.#postChain(handle, next, segments);
      // It has one entry for several descriptors.
      words[State.TxOutOfOrder] = 1;
    }
    driver[(posted & this.#mask) + Split.AVAIL_RING] = id;
    words[State.TxPosted] = (posted + 1) & 0xffff;
    words[Word.TxNext] = (next + used) & this.#mask;
  }

  #postChain(handle: Handle, next: number, segments: number): void {
    const { txIds, txSlots, txLinks } = this.control;
    const { descriptors } = this.views;
    let segment = handle;
    for (let n = 0; n < segments; n++) {
      const id = txIds[(next + n) & this.#mask];
      const following = txIds[(next + n + 1) & this.#mask];
      const word = id * DESCRIPTOR_WORDS;
      const last = n + 1 === segments;
      const header = n === 0 ? this.headerBytes : 0;
      this.writeSegment(descriptors, word, segment, header);
      descriptors[word + 3] = last ? 0 : nextWord(following);
      txSlots[id] = n === 0 ? handle | SPECIAL : PART;
      txLinks[id] = last ? LAST_LINK : following;
      segment = Mempool.of(segment).nextSegments[segment & INDEX_MASK];
    }
  }

  protected override takeFinished(): number {
    const { words, txIds } = this.control;
    const { device, used } = this.views;
    const index = words[State.TxUsed];
    let left = (device[Split.INDEX] - index) & 0xffff;
    if (left === 0) return 0;
    const posted = (words[State.TxPublished] - index) & 0xffff;
    if (left > posted) {
      this.failIndex(left, posted);
      return 0;
    }
    loadBarrier();
    let freed = 0;
    while (left > 0) {
      const inTurn = this.inOrder ? left : this.#countInTurn(left);
      let packets = inTurn > 0 ? this.releasePlain(inTurn) : 0;
      let parts = packets;
      if (packets === 0) {
        const entry = words[State.TxUsed] & this.#mask;
        // In order, the entries between may not be written (2.7.9).
        const id = this.inOrder
          ? txIds[words[Word.TxClean]]
          : used[entry * Split.USED_WORDS] >>> 0;
        parts = this.releaseOne(id);
        packets = 1;
        if (parts === 0) break;
      }
      words[State.TxUsed] = (words[State.TxUsed] + packets) & 0xffff;
      left -= packets;
      freed += parts;
    }
    return freed;
  }

  /** How many of the next `most` entries of the used ring name the descriptors whose turn it is. */
  #countInTurn(most: number): number {
    const { words, txIds: ids } = this.control;
    const { used } = this.views;
    const mask = this.#mask;
    const outOfOrder = words[State.TxOutOfOrder] !== 0;
    const entry = words[State.TxUsed];
    const clean = words[Word.TxClean];
    let n = 0;
    for (; n < most; n++) {
      const place = (clean + n) & mask;
      const id = outOfOrder ? ids[place] : place;
      if (used[((entry + n) & mask) << 1] !== id) break;
    }
    return n;
  }
}

/** The last word of a descriptor that `next` follows. */
function nextWord(next: number): number {
  return DescriptorFlag.NEXT | (next << Split.NEXT_SHIFT);
}

/** The last word of descriptor `n` of a table: they stand in order (2.7.5.3). */
function tableWord(n: number, count: number): number {
  return n + 1 === count ? 0 : nextWord(n + 1);
}
