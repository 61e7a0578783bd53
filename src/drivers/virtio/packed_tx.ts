/**
 * Sending on a packed ring (2.8).
 *
 * `txIds` has the buffer id whose turn it is at each place of the ring: the place itself, until a device finishes
 * packets in another order than it got them. A packet in several descriptors takes the ids of all its places, and goes
 * by the first.
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
import { packedWantsNotification } from "./events.ts";
import {
  availableBits,
  DESCRIPTOR_WORDS,
  DescriptorFlag,
  Packed,
  usedBits,
  WRAP_BITS,
} from "./layout.ts";
import { LAST_LINK, PART, SPECIAL } from "./slots.ts";
import { State } from "./state.ts";
import { NO_ROOM, VirtioTxQueue } from "./tx.ts";

const NEXT_BIT = DescriptorFlag.NEXT << Packed.FLAGS_SHIFT;
const INDIRECT_BIT = DescriptorFlag.INDIRECT << Packed.FLAGS_SHIFT;

/** The transmit half of a queue pair on a packed ring. */
export class PackedTxQueue extends VirtioTxQueue {
  /** What the first descriptor of the packet of the last {@linkcode #postSlowly} has in its last word. */
  #headWord = 0;

  protected override post(batch: Batch): number {
    const { words, txSlots: slots, txIds: ids } = this.control;
    const { depth, headerBytes, firstHeader, longHeader } = this;
    const { descriptors } = this.views;
    const { handles, length } = batch;
    const before = depth - words[State.TxBusy];
    let next = words[Word.TxNext];
    let bits = availableBits(words[State.TxShown]);
    let room = before;
    let firstPosted = 0;
    let firstWord = 0;
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
      const word = next << 2;
      let last: number;
      let used = 1;
      if (
        (nextSegments[index] | offloads[index]) !== 0 ||
        (size - ETHERNET_HEADER_LENGTH) >>> 0 > mostAbove
      ) {
        used = this.#postSlowly(handle, next, bits, room);
        if (used === NO_ROOM) break;
        slowly++;
        if (used === 0) continue;
        last = this.#headWord;
      } else {
        if (room === 0) break;
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
        descriptors[word] = (iovaLow + offset) | 0;
        descriptors[word + 1] = iovaHigh;
        descriptors[word + 2] = size + headerBytes;
        slots[id] = handle;
        last = id | bits;
        bytes += size;
      }
      if (room === before) {
        firstPosted = word + 3;
        firstWord = last;
      } else {
        descriptors[word + 3] = last;
      }
      room -= used;
      next += used;
      if (next >= depth) {
        next -= depth;
        bits ^= WRAP_BITS;
      }
    }

    const wrap = (bits & Packed.AVAIL_BIT) === 0 ? 0 : 1;
    words[Word.TxNext] = next;
    words[State.TxShown] = wrap;
    words[State.TxBusy] = depth - room;
    if (room !== before) {
      storeBarrier();
      // Shows all of them. Atomic, so that the device's wish is read after it.
      Atomics.store(descriptors, firstPosted, firstWord);
      const wanted = packedWantsNotification(
        this.views.device,
        next,
        wrap,
        before - room,
        depth,
      );
      if (wanted) this.bus.notify(this.virtqueue);
    }
    const { values } = this.counters;
    values[Slot.txPackets] += sent - slowly;
    values[Slot.txBytes] += bytes;
    return sent;
  }

  /**
   * Returns the descriptors that the packet took: 0 when it was dropped. All is written but the last word of the first
   * one, which is in `#headWord`.
   */
  #postSlowly(
    handle: Handle,
    next: number,
    bits: number,
    room: number,
  ): number {
    const { txIds, txSlots, txLinks } = this.control;
    const segments = this.prepare(handle, room);
    if (segments <= 0) return segments;
    const { descriptors } = this.views;
    const { values } = this.counters;
    const id = txIds[next];
    const word = next * DESCRIPTOR_WORDS;
    const used = this.needs(segments);
    if (segments === 1) {
      this.writeSegment(descriptors, word, handle, this.headerBytes);
      txSlots[id] = handle;
      this.#headWord = id | bits;
    } else if (used === 1) {
      this.writeTable(id, handle, segments, tableWord);
      this.writeTableAddress(word, id, segments);
      txSlots[id] = handle | SPECIAL;
      txLinks[id] = LAST_LINK;
      this.#headWord = id | bits | INDIRECT_BIT;
    } else {
      this.#postChain(handle, next, bits, segments);
    }
    values[Slot.txPackets]++;
    values[Slot.txBytes] += this.preparedBytes;
    return used;
  }

  #postChain(
    handle: Handle,
    next: number,
    bits: number,
    segments: number,
  ): void {
    const { txIds, txSlots, txLinks } = this.control;
    const { depth, views: { descriptors } } = this;
    const head = txIds[next];
    let segment = handle;
    let place = next;
    let round = bits;
    for (let n = 0; n < segments; n++) {
      const part = txIds[place];
      const word = place * DESCRIPTOR_WORDS;
      const last = n + 1 === segments;
      const flags = head | round | (last ? 0 : NEXT_BIT);
      this.writeSegment(
        descriptors,
        word,
        segment,
        n === 0 ? this.headerBytes : 0,
      );
      if (n === 0) this.#headWord = flags;
      else descriptors[word + 3] = flags;
      if (++place === depth) {
        place = 0;
        round ^= WRAP_BITS;
      }
      txSlots[part] = n === 0 ? handle | SPECIAL : PART;
      txLinks[part] = last ? LAST_LINK : txIds[place];
      segment = Mempool.of(segment).nextSegments[segment & INDEX_MASK];
    }
  }

  protected override takeFinished(): number {
    const { words, txSlots: slots } = this.control;
    const { depth, finished, inOrder, views: { descriptors } } = this;
    let at = words[Word.TxClean];
    let bits = usedBits(words[State.TxUsed]);
    let left = words[State.TxBusy];
    let count = 0;
    while (left > 0) {
      const last = descriptors[(at << 2) + 3];
      if (((last ^ bits) & WRAP_BITS) !== 0) break;
      loadBarrier();
      const id = last & Packed.ID;
      let parts = 1;
      // Above the slots of plain packets are those that have a mark.
      if (id !== at || slots[id] >>> 30 !== 0 || slots[id] === 0) {
        if (inOrder) {
          parts = this.#countRun(at, id, left);
          count += this.#runPackets - 1;
        } else {
          parts = id < depth ? this.descriptorsOf(id) : 0;
        }
        if (parts === 0 || parts > left) {
          this.failId(id);
          return 0;
        }
      }
      if (!inOrder) finished[count] = id;
      count++;
      left -= parts;
      at += parts;
      if (at >= depth) {
        at -= depth;
        bits ^= WRAP_BITS;
      }
    }
    if (count === 0) return 0;
    words[State.TxUsed] = bits === 0 ? 0 : 1;
    return this.release(count);
  }

  /** Packets of the run that {@linkcode #countRun} looked at last. */
  #runPackets = 0;

  /**
   * Descriptors of the packets from place `at` on to the one with the id `last`, which the device has finished together
   * (2.8.8); 0 where there is no such packet among the next `left` descriptors.
   */
  #countRun(at: number, last: number, left: number): number {
    let parts = 0;
    let packets = 0;
    while (parts < left) {
      const id = (at + parts) % this.depth;
      const own = this.descriptorsOf(id);
      if (own === 0) return 0;
      parts += own;
      packets++;
      if (id === last) {
        this.#runPackets = packets;
        return parts;
      }
    }
    return 0;
  }
}

/** Descriptors of a table need no flags: they are all there are (2.8.7). */
function tableWord(): number {
  return 0;
}
