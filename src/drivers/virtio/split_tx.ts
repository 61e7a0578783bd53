/**
 * Sending on a split ring (2.7).
 *
 * Descriptors are taken in the order of `txIds`, which is that of the table until a device finishes packets in another
 * order than it got them. So in practice each slot of the available ring names the same descriptor for ever, and only
 * its index changes.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { Batch } from "../../batch.ts";
import { loadBarrier, storeBarrier } from "../../dma/barrier.ts";
import { type Handle, INDEX_BITS, INDEX_MASK, Mempool } from "../../mempool.ts";
import { ETHERNET_HEADER_LENGTH } from "../../net/ethernet.ts";
import { Slot } from "../../stats.ts";
import { Word } from "../queue_control.ts";
import { keepEventBehind, splitWantsNotification } from "./events.ts";
import { DESCRIPTOR_WORDS, DescriptorFlag, Split } from "./layout.ts";
import { LAST_LINK, PART, SPECIAL } from "./slots.ts";
import { State } from "./state.ts";
import { NO_ROOM, VirtioTxQueue } from "./tx.ts";

/** The transmit half of a queue pair on a split ring. */
export class SplitTxQueue extends VirtioTxQueue {
  /** Descriptors in the table are a power of two (2.7). */
  readonly #mask = this.depth - 1;

  protected override post(batch: Batch): number {
    const { words, txSlots: slots, txIds: ids } = this.control;
    const { depth, headerBytes, firstHeader, longHeader } = this;
    const { descriptors, driver } = this.views;
    const mask = this.#mask;
    const { handles, length } = batch;
    const before = words[State.TxShown];
    let shown = before;
    let next = words[Word.TxNext];
    let room = depth - words[State.TxBusy];
    let poolId = -1;
    let lengths: Uint32Array = handles;
    let nextSegments: Uint32Array = handles;
    let offloads: Uint32Array = handles;
    let pages: Uint32Array = handles;
    let iovaLow = 0;
    let iovaHigh = 0;
    let stride = 0;
    let mostAbove = 0;
    let bytes = 0;
    let sent = 0;
    let slowly = 0;

    for (; sent < length; sent++) {
      const handle = handles[sent];
      const index = handle & INDEX_MASK;
      if (handle >>> INDEX_BITS !== poolId) {
        const pool = Mempool.of(handle);
        ({ id: poolId, lengths, nextSegments, offloads, stride } = pool);
        pages = pool.words;
        iovaLow = (pool.iovaLow - headerBytes) | 0;
        iovaHigh = pool.iovaHigh | 0;
        mostAbove = Math.min(pool.entrySize, this.maxFrame) -
          ETHERNET_HEADER_LENGTH;
      }
      const size = lengths[index];
      if (
        (nextSegments[index] | offloads[index]) !== 0 ||
        (size - ETHERNET_HEADER_LENGTH) >>> 0 > mostAbove
      ) {
        const used = this.#postSlowly(handle, next, shown, room);
        if (used === NO_ROOM) break;
        slowly++;
        if (used === 0) continue;
        shown++;
        next = (next + used) & mask;
        room -= used;
        continue;
      }
      if (room === 0) break;
      room--;
      const offset = Math.imul(index, stride);
      const at = (offset >>> 2) + firstHeader;
      pages[at] = 0;
      pages[at + 1] = 0;
      pages[at + 2] = 0;
      if (longHeader) {
        pages[at + 3] = 0;
        pages[at + 4] = 0;
      }
      const id = ids[next];
      const word = id << 2;
      descriptors[word] = (iovaLow + offset) | 0;
      descriptors[word + 1] = iovaHigh;
      descriptors[word + 2] = size + headerBytes;
      descriptors[word + 3] = 0;
      slots[id] = handle;
      const place = (shown & mask) + Split.AVAIL_RING;
      // A store would take the line from the device, even one that changes nothing.
      if (driver[place] !== id) driver[place] = id;
      next = (next + 1) & mask;
      shown++;
      bytes += size;
    }

    words[Word.TxNext] = next;
    words[State.TxBusy] = depth - room;
    if (shown !== before) this.#show(before, shown & 0xffff);
    const { values } = this.counters;
    values[Slot.txPackets] += sent - slowly;
    values[Slot.txBytes] += bytes;
    return sent;
  }

  #show(before: number, after: number): void {
    const { words } = this.control;
    const { driver, device } = this.views;
    words[State.TxShown] = after;
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

  /** Returns the descriptors that the packet took: 0 when it was dropped. */
  #postSlowly(
    handle: Handle,
    next: number,
    shown: number,
    room: number,
  ): number {
    const { txIds, txSlots, txLinks } = this.control;
    const segments = this.prepare(handle, room);
    if (segments <= 0) return segments;
    const { descriptors, driver } = this.views;
    const { values } = this.counters;
    const id = txIds[next];
    const word = id * DESCRIPTOR_WORDS;
    const used = this.needs(segments);
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
    }
    driver[(shown & this.#mask) + Split.AVAIL_RING] = id;
    values[Slot.txPackets]++;
    values[Slot.txBytes] += this.preparedBytes;
    return used;
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
      this.writeSegment(
        descriptors,
        word,
        segment,
        n === 0 ? this.headerBytes : 0,
      );
      descriptors[word + 3] = last ? 0 : nextWord(following);
      txSlots[id] = n === 0 ? handle | SPECIAL : PART;
      txLinks[id] = last ? LAST_LINK : following;
      segment = Mempool.of(segment).nextSegments[segment & INDEX_MASK];
    }
  }

  protected override takeFinished(): number {
    const { words } = this.control;
    const { device, used } = this.views;
    const { depth, finished, inOrder } = this;
    const mask = this.#mask;
    const index = words[State.TxUsed];
    const count = (device[Split.INDEX] - index) & 0xffff;
    if (count === 0) return 0;
    const posted = (words[State.TxShown] - index) & 0xffff;
    if (count > posted) {
      this.failIndex(count, posted);
      return 0;
    }
    if (!inOrder) {
      loadBarrier();
      for (let n = 0; n < count; n++) {
        const id = used[((index + n) & mask) << 1];
        if (id >>> 0 >= depth) {
          this.failId(id);
          return 0;
        }
        finished[n] = id;
      }
    }
    words[State.TxUsed] = (index + count) & 0xffff;
    return this.release(count);
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
