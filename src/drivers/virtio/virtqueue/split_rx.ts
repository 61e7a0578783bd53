/**
 * Receiving on a split ring (2.7).
 *
 * Each buffer is one descriptor. Where the device uses them in the order of posting, as nearly all do, each entry of the
 * available ring names the same descriptor for ever: only a descriptor's address changes, and of the available ring
 * nothing but its index. From the first time that a device uses buffers in another order, `rxIds` has the descriptor
 * whose turn it is at each place of the available ring.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * The fast loop stands in `packed_rx.ts` too, with its own way to find the next descriptor. Sharing it would take a call for each
 * packet, which costs 2 to 3 ns (bench/NOTES.md). Change both.
 *
 * @module
 */
import { loadBarrier, storeBarrier } from "../../../dma/barrier.ts";
import { INDEX_MASK } from "../../../memory/mempool.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import { Word } from "../../queue/control_block.ts";
import { keepEventBehind, splitWantsNotification } from "./events.ts";
import { NetHeader, NOT_PLAIN, VALID_SHIFT } from "./header.ts";
import { DESCRIPTOR_WORDS, DescriptorFlag, Split } from "./layout.ts";
import { FAULTY, NO_FRAME, VirtioRxQueue } from "./rx.ts";
import { Fault, State } from "./state.ts";

/** The receive half of a queue pair on a split ring. */
export class SplitRxQueue extends VirtioRxQueue {
  /** Descriptors in the table are a power of two (2.7). */
  readonly #mask = this.depth - 1;
  /** What the device says that it wrote into the buffer of the last {@linkcode #nextId}. */
  #written = 0;

  protected override get arrived(): boolean {
    const index = Atomics.load(this.views.device, Split.INDEX);
    return index !== this.control.words[State.RxUsed];
  }

  protected override get unpublished(): number {
    const { words } = this.control;
    return (this.#posted(words) - words[State.RxPublished]) & 0xffff;
  }

  /** The available index when all is shown. */
  #posted(words: Int32Array): number {
    return (words[State.RxUsed] + this.depth - words[Word.RxHoles]) & 0xffff;
  }

  protected override setInterrupt(wanted: boolean): void {
    const { driver } = this.views;
    if (!this.eventIndex) {
      Atomics.store(driver, Split.FLAGS, wanted ? 0 : Split.NO_INTERRUPT);
      return;
    }
    const used = this.control.words[State.RxUsed];
    // The event of an index that is past comes after 2¹⁶ buffers more, or never where it is set anew before.
    Atomics.store(
      driver,
      Split.AVAIL_RING + this.depth,
      wanted ? used : used - 1,
    );
  }

  protected override fillHoles(): number {
    const { words, rxSlots, rxIds } = this.control;
    const { pool, views: { descriptors, driver } } = this;
    const { header, freeStack } = pool;
    const count = Math.min(words[Word.RxHoles], header[0]);
    const first = this.#posted(words);
    for (let n = 0; n < count; n++) {
      const fresh = freeStack[--header[0]];
      const place = (first + n) & this.#mask;
      const id = rxIds[place];
      const word = id * DESCRIPTOR_WORDS;
      descriptors[word] = pool.iovaLow + (fresh & INDEX_MASK) * pool.stride -
        this.headerBytes;
      descriptors[word + 1] = pool.iovaHigh;
      descriptors[word + 2] = this.bufferBytes;
      descriptors[word + 3] = DescriptorFlag.WRITE;
      driver[place + Split.AVAIL_RING] = id;
      rxSlots[id] = fresh;
      if (pool.debug) pool.debugTake(fresh);
    }
    words[Word.RxHoles] -= count;
    return count;
  }

  protected override publish(): void {
    const { words } = this.control;
    const { driver, device } = this.views;
    const before = words[State.RxPublished];
    const after = this.#posted(words);
    words[State.RxPublished] = after;
    storeBarrier();
    Atomics.store(driver, Split.INDEX, after);
    const wanted = splitWantsNotification(
      device,
      this.eventIndex ? this.depth : 0,
      before,
      after,
    );
    if (wanted) this.bus.notify(this.virtqueue);
    if (this.eventIndex && words[State.RxAwake] === 0) {
      keepEventBehind(driver, this.depth, words[State.RxUsed]);
    }
  }

  protected override takeUsed(handles: Uint32Array): number {
    const { words } = this.control;
    const index = words[State.RxUsed];
    const arrived = (this.views.device[Split.INDEX] - index) & 0xffff;
    this.looked = 0;
    if (arrived === 0) return 0;
    const outstanding = (words[State.RxPublished] - index) & 0xffff;
    if (arrived > outstanding) {
      this.fail(Fault.Index, arrived, outstanding);
      return 0;
    }
    loadBarrier();
    const special = words[Word.RxHoles] | words[State.FrameLeft] |
      words[State.RunLeft];
    if (special === 0 && !this.pool.debug) {
      const count = this.#takeWhole(handles, arrived);
      if (count > 0) return count;
    }
    return this.#takeEach(handles, arrived);
  }

  /**
   * The common case: whole frames in one buffer each, used in the order of posting, and a fresh buffer for each. Stops
   * before anything else. There are no holes, so every descriptor has a buffer.
   */
  #takeWhole(handles: Uint32Array, arrived: number): number {
    const { words, rxSlots: slots, rxIds: ids } = this.control;
    const { pool, headerBytes, firstHeader, dataValid } = this;
    const { hashReport, buffersMask, oneBuffer } = this;
    const { used, driver, descriptors } = this.views;
    const { header, freeStack, lengths, flags, stride } = pool;
    const { rssHashes, words: memory } = pool;
    const mostData = this.bufferBytes - headerBytes;
    const iovaLow = (pool.iovaLow - headerBytes) | 0;
    const mask = this.#mask;
    const outOfOrder = words[State.RxOutOfOrder] !== 0;
    const first = words[State.RxUsed];
    let free = header[0];
    const most = Math.min(arrived, handles.length, free);
    let bytes = 0;
    let n = 0;
    for (; n < most; n++) {
      const place = (first + n) & mask;
      const id = used[place << 1];
      if (id !== (outOfOrder ? ids[place] : place)) break;
      const size = used[(place << 1) + 1] - headerBytes;
      const handle = slots[id];
      const index = handle & INDEX_MASK;
      // One unsigned comparison refuses both 0 and too many bytes.
      if ((size - 1) >>> 0 >= mostData) break;
      const at = (Math.imul(index, stride) >>> 2) + firstHeader;
      if (
        (memory[at + NetHeader.BUFFERS_WORD] & buffersMask) !== oneBuffer
      ) break;
      // Without the feature these bits are 0, unless the device breaks the rules.
      const said = memory[at];
      if ((said & NOT_PLAIN) !== 0) break;
      let flag = (said & dataValid) << VALID_SHIFT;
      if (
        hashReport && (memory[at + NetHeader.HASH_TYPE_WORD] & 0xffff) !== 0
      ) {
        flag |= PacketFlag.RssHash;
        rssHashes[index] = memory[at + NetHeader.HASH_WORD];
      }
      lengths[index] = size;
      flags[index] = flag;
      bytes += size;
      handles[n] = handle;
      const fresh = freeStack[--free];
      descriptors[id << 2] = iovaLow +
        Math.imul(fresh & INDEX_MASK, stride);
      slots[id] = fresh;
      // Not where it stands there already: a store would take the line from the device.
      if (outOfOrder) driver[place + Split.AVAIL_RING] = id;
    }
    if (n === 0) return 0;
    header[0] = free;
    words[State.RxUsed] = (first + n) & 0xffff;
    this.counters.add("rxPackets", n);
    this.counters.add("rxBytes", bytes);
    return n;
  }

  /** Takes used buffers of whatever kind one by one, and refills as many. Returns how many frames are complete. */
  #takeEach(handles: Uint32Array, arrived: number): number {
    const { words, rxSlots: slots } = this.control;
    const most = Math.min(arrived, handles.length);
    let count = 0;
    let taken = 0;
    for (; taken < most; taken++) {
      const place = words[State.RxUsed] & this.#mask;
      const id = this.#nextId(place, arrived - taken);
      if (id < 0) break;
      const frame = this.takePart(slots[id], this.#written);
      if (frame === FAULTY) break;
      slots[id] = 0;
      words[State.RxUsed] = (words[State.RxUsed] + 1) & 0xffff;
      words[Word.RxHoles]++;
      if (frame !== NO_FRAME) handles[count++] = frame;
    }
    this.counters.add("rxPackets", count);
    this.refill(taken);
    this.looked = taken;
    return count;
  }

  /** The descriptor that the device used at a place of the used ring; {@linkcode FAULTY} where it did not have it. */
  #nextId(place: number, arrived: number): number {
    const { words, rxSlots, rxIds } = this.control;
    const { used } = this.views;
    const { depth } = this;
    // In order, the entry of the first stands for all up to the one that it names (2.7.9).
    if (words[State.RunLeft] === 0) {
      const id = used[place * Split.USED_WORDS] >>> 0;
      const run = this.inOrder ? ((id - place) & this.#mask) + 1 : 1;
      if (id >= depth || run > arrived) {
        return this.fail(Fault.Id, id, depth - 1);
      }
      if (!this.inOrder && rxIds[place] !== id) {
        rxIds[place] = id;
        words[State.RxOutOfOrder] = 1;
      }
      words[State.RunLeft] = run;
      words[State.RunBytes] = used[place * Split.USED_WORDS + 1];
    }
    const last = words[State.RunLeft] === 1;
    const id = rxIds[place];
    if (rxSlots[id] === 0) return this.fail(Fault.Id, id, depth - 1);
    this.#written = last ? words[State.RunBytes] >>> 0 : this.bufferBytes;
    words[State.RunLeft]--;
    return id;
  }
}
