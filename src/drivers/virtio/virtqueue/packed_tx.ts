/**
 * Sending on a packed ring (2.8).
 *
 * The id of a packet is its place in the ring. From the first time that a device finishes packets in another order than
 * it got them, `txIds` has the id whose turn it is at each place. A packet in several descriptors takes the ids of all
 * its places, and goes by the first.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * The fast loop stands in `split_tx.ts` too, with its own way to find the next descriptor. Sharing it would take a call for each
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
import { packedWantsNotification } from "./events.ts";
import {
  availableBits,
  DESCRIPTOR_WORDS,
  DescriptorFlag,
  Packed,
  USED_WORD,
  usedBits,
  WRAP_BITS,
} from "./layout.ts";
import { LAST_LINK, PART, SPECIAL, State } from "./state.ts";
import { VirtioTxQueue } from "./tx.ts";

const NEXT_BIT = DescriptorFlag.NEXT << Packed.FLAGS_SHIFT;
const INDIRECT_BIT = DescriptorFlag.INDIRECT << Packed.FLAGS_SHIFT;

/** The transmit half of a queue pair on a packed ring. */
export class PackedTxQueue extends VirtioTxQueue {
  /** Where the flags are that show all that was posted; negative when that is nothing. */
  #heldPlace = -1;
  /** What comes there. */
  #heldWord = 0;
  /** Descriptors that were posted and not shown. */
  #posted = 0;

  protected override postRun(
    handles: Uint32Array,
    from: number,
    to: number,
  ): number {
    const { words, txSlots: slots, txIds: ids } = this.control;
    const { headerBytes, longHeader, depth } = this;
    const { descriptors } = this.views;
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
    const end = Math.min(to, from + depth - words[State.TxBusy]);
    const outOfOrder = words[State.TxOutOfOrder] !== 0;
    const first = words[Word.TxNext];
    const firstBits = availableBits(words[State.TxPosted]);
    // The first of all is not available before it is shown.
    let hidden = this.#heldPlace < 0 ? WRAP_BITS : 0;
    let next = first;
    let bits = firstBits;
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
      const word = next << 2;
      descriptors[word] = iovaLow + offset;
      descriptors[word + 1] = iovaHigh;
      descriptors[word + 2] = size + headerBytes;
      descriptors[word + 3] = id | (bits ^ hidden);
      hidden = 0;
      slots[id] = handle;
      if (++next === depth) {
        next = 0;
        bits ^= WRAP_BITS;
      }
      bytes += size;
    }
    if (at === from) return 0;
    if (this.#heldPlace < 0) this.#hold(first, ids[first] | firstBits);
    words[Word.TxNext] = next;
    words[State.TxPosted] = (bits & Packed.AVAIL_BIT) === 0 ? 0 : 1;
    words[State.TxBusy] += at - from;
    this.#posted += at - from;
    this.count(at - from, bytes);
    return at - from;
  }

  #hold(place: number, word: number): void {
    this.#heldPlace = place * DESCRIPTOR_WORDS + 3;
    this.#heldWord = word;
  }

  protected override publish(): void {
    if (this.#heldPlace < 0) return;
    const { words } = this.control;
    storeBarrier();
    // Atomic, so that the device's wish is read after it.
    Atomics.store(this.views.descriptors, this.#heldPlace, this.#heldWord);
    const wanted = packedWantsNotification(
      this.views.device,
      words[Word.TxNext],
      words[State.TxPosted],
      this.#posted,
      this.depth,
    );
    this.#heldPlace = -1;
    this.#posted = 0;
    if (wanted) this.bus.notify(this.virtqueue);
  }

  protected override postOne(
    handle: Handle,
    segments: number,
    used: number,
  ): void {
    const { words, txIds, txSlots, txLinks } = this.control;
    const { depth, views: { descriptors } } = this;
    const next = words[Word.TxNext];
    const bits = availableBits(words[State.TxPosted]);
    const id = txIds[next];
    const word = next * DESCRIPTOR_WORDS;
    let last = id | bits;
    if (segments === 1) {
      this.writeSegment(descriptors, word, handle, this.headerBytes);
      txSlots[id] = handle;
    } else if (used === 1) {
      this.writeTable(id, handle, segments, tableWord);
      this.writeTableAddress(word, id, segments);
      txSlots[id] = handle | SPECIAL;
      txLinks[id] = LAST_LINK;
      last |= INDIRECT_BIT;
    } else {
      this.#postChain(handle, next, bits, segments);
      last |= NEXT_BIT;
    }
    // The first of all comes last, and the first of a chain after its others.
    if (this.#heldPlace < 0) this.#hold(next, last);
    else descriptors[word + 3] = last;
    const wraps = next + used >= depth;
    words[Word.TxNext] = wraps ? next + used - depth : next + used;
    if (wraps) words[State.TxPosted] ^= 1;
    this.#posted += used;
  }

  /** Writes all of a chain but the last word of its first descriptor. */
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
      const header = n === 0 ? this.headerBytes : 0;
      this.writeSegment(descriptors, word, segment, header);
      if (n > 0) descriptors[word + 3] = head | round | (last ? 0 : NEXT_BIT);
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
    const { words, txIds } = this.control;
    let freed = 0;
    let known = 0;
    for (;;) {
      if (known === 0) {
        known = this.inOrder ? this.#countFinished() : this.#countInTurn();
        if (known === 0 && this.inOrder) return freed;
      }
      const before = words[Word.TxClean];
      let parts = known > 0 ? this.releasePlain(known) : 0;
      if (parts === 0) {
        const id = known > 0 ? txIds[before] : this.#nextFinished();
        parts = id < 0 ? 0 : this.releaseOne(id);
        if (parts === 0) return freed;
      }
      if (before + parts >= this.depth) words[State.TxUsed] ^= 1;
      known = this.inOrder ? known - parts : 0;
      freed += parts;
    }
  }

  /** The packet that the next used descriptor names; negative where there is none. */
  #nextFinished(): number {
    const { words } = this.control;
    if (words[State.TxBusy] === 0) return -1;
    const word = words[Word.TxClean] * DESCRIPTOR_WORDS + 3;
    const last = this.views.descriptors[word];
    if (((last ^ usedBits(words[State.TxUsed])) & WRAP_BITS) !== 0) return -1;
    loadBarrier();
    return last & Packed.ID;
  }

  /** How many used descriptors, from the next on, name the ids whose turn it is. */
  #countInTurn(): number {
    const { words, txIds: ids } = this.control;
    const { descriptors } = this.views;
    const { depth } = this;
    const outOfOrder = words[State.TxOutOfOrder] !== 0;
    const most = words[State.TxBusy];
    let bits = usedBits(words[State.TxUsed]);
    let at = words[Word.TxClean];
    let n = 0;
    for (; n < most; n++) {
      const id = outOfOrder ? ids[at] : at;
      if (((descriptors[(at << 2) + 3] ^ (id | bits)) & USED_WORD) !== 0) break;
      if (++at === depth) {
        at = 0;
        bits ^= WRAP_BITS;
      }
    }
    return n;
  }

  /**
   * In order: descriptors of all packets that used descriptors stand for, each for all up to the one that it names
   * (2.8.8).
   */
  #countFinished(): number {
    const { words, txSlots: slots } = this.control;
    const { depth, views: { descriptors } } = this;
    const most = words[State.TxBusy];
    let bits = usedBits(words[State.TxUsed]);
    let at = words[Word.TxClean];
    let count = 0;
    while (count < most) {
      const last = descriptors[(at << 2) + 3];
      if (((last ^ bits) & WRAP_BITS) !== 0) break;
      const id = last & Packed.ID;
      let parts = 1;
      if (id !== at || (slots[id] & SPECIAL) !== 0) {
        const own = this.descriptorsOf(id);
        parts = own + (id - at + depth) % depth;
        if (own === 0 || count + parts > most) {
          this.failId(id);
          break;
        }
      }
      count += parts;
      at += parts;
      if (at >= depth) {
        at -= depth;
        bits ^= WRAP_BITS;
      }
    }
    return count;
  }
}

/** Descriptors of a table need no flags: they are all there are (2.8.7). */
function tableWord(): number {
  return 0;
}
