/**
 * Receiving on a packed ring (2.8).
 *
 * Each buffer is one descriptor, which the device overwrites when it has used it, and which then gets the next buffer.
 * Its id is its place in the ring. From the first time that a device uses buffers in another order than it got them,
 * `rxIds` has the id whose turn it is at each place.
 *
 * A device looks at one descriptor after the other. So where the processor may reorder stores, those of a batch are
 * written first, and its first one's flags last: they show all of them (2.8.6).
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * The fast loop stands in `split_rx.ts` too, with its own way to find the next descriptor. Sharing it would take a call for each
 * packet, which costs 2 to 3 ns (bench/NOTES.md). Change both.
 *
 * @module
 */
import { loadBarrier, storeBarrier, WEAK_ORDER } from "../../../dma/barrier.ts";
import { INDEX_MASK } from "../../../memory/mempool.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import { Word } from "../../queue/control_block.ts";
import { packedWantsNotification } from "./events.ts";
import { NetHeader, NOT_PLAIN, VALID_SHIFT } from "./header.ts";
import {
  availableBits,
  DESCRIPTOR_WORDS,
  DescriptorFlag,
  Packed,
  USED_WORD,
  usedBits,
  WRAP_BITS,
} from "./layout.ts";
import { FAULTY, NO_FRAME, VirtioRxQueue } from "./rx.ts";
import { Fault, State } from "./state.ts";

/** The flag of every buffer, in the last word of its descriptor. */
const WRITE_BIT = DescriptorFlag.WRITE << Packed.FLAGS_SHIFT;

/** The receive half of a queue pair on a packed ring. */
export class PackedRxQueue extends VirtioRxQueue {
  /** Whether every buffer is looked at one by one: to catch misuse, or where the processor reorders loads. */
  readonly #careful = this.pool.debug || WEAK_ORDER;

  protected override get arrived(): boolean {
    const { words } = this.control;
    // The rest of a run that the device finished with one used descriptor (2.8.9).
    if (words[State.RunLeft] > 0) return true;
    if (words[Word.RxHoles] === this.depth) return false;
    const word = words[Word.RxNext] * DESCRIPTOR_WORDS + 3;
    const last = Atomics.load(this.views.descriptors, word);
    return ((last ^ usedBits(words[State.RxUsed])) & WRAP_BITS) === 0;
  }

  protected override get unpublished(): number {
    return this.control.words[State.RxPublished];
  }

  protected override setInterrupt(wanted: boolean): void {
    const { words } = this.control;
    const { driver } = this.views;
    if (wanted && this.eventIndex) {
      driver[Packed.EVENT_PLACE] = words[Word.RxNext] |
        (words[State.RxUsed] * Packed.EVENT_WRAP);
    }
    const on = this.eventIndex ? Packed.EVENTS_AT : Packed.EVENTS_ON;
    Atomics.store(
      driver,
      Packed.EVENT_FLAGS,
      wanted ? on : Packed.EVENTS_OFF,
    );
  }

  protected override publish(): void {
    const { words } = this.control;
    const { depth } = this;
    const count = words[State.RxPublished];
    // Atomic, so that the descriptors are there before the device's wish is read.
    Atomics.store(words, State.RxPublished, 0);
    const behind = words[Word.RxNext] - words[Word.RxHoles];
    const wanted = packedWantsNotification(
      this.views.device,
      behind < 0 ? behind + depth : behind,
      behind < 0 ? words[State.RxUsed] : words[State.RxUsed] ^ 1,
      count,
      depth,
    );
    if (wanted) this.bus.notify(this.virtqueue);
  }

  protected override fillHoles(): number {
    const { words, rxSlots, rxIds } = this.control;
    const { pool, depth, views: { descriptors } } = this;
    const { header, freeStack } = pool;
    const count = Math.min(words[Word.RxHoles], header[0]);
    if (count === 0) return 0;
    const behind = words[Word.RxNext] - words[Word.RxHoles];
    const first = behind < 0 ? behind + depth : behind;
    // Places behind `RxNext` are a round ahead of it.
    const wrap = words[State.RxUsed] ^ (behind < 0 ? 0 : 1);
    for (let n = count - 1; n >= 0; n--) {
      const fresh = freeStack[--header[0]];
      const round = first + n < depth ? 0 : 1;
      const place = first + n - round * depth;
      const id = rxIds[place];
      const word = place * DESCRIPTOR_WORDS;
      descriptors[word] = pool.iovaLow + (fresh & INDEX_MASK) * pool.stride -
        this.headerBytes;
      descriptors[word + 1] = pool.iovaHigh;
      descriptors[word + 2] = this.bufferBytes;
      // The first, which shows all, comes last.
      if (n === 0) storeBarrier();
      descriptors[word + 3] = id | WRITE_BIT | availableBits(wrap ^ round);
      rxSlots[id] = fresh;
      if (pool.debug) pool.debugTake(fresh);
    }
    words[Word.RxHoles] -= count;
    words[State.RxPublished] += count;
    return count;
  }

  protected override takeUsed(handles: Uint32Array): number {
    const { words } = this.control;
    const special = words[Word.RxHoles] | words[State.FrameLeft] |
      words[State.RunLeft];
    this.looked = 0;
    if (special === 0 && !this.#careful) {
      const count = this.#takeWhole(handles);
      if (count > 0) return count;
    }
    return this.#takeEach(handles);
  }

  /**
   * The common case: whole frames in one buffer each, used in the order of posting, and a fresh buffer for each. Stops
   * before anything else. There are no holes, so every descriptor has a buffer. Only where the processor keeps the order of loads, and that of stores.
   */
  #takeWhole(handles: Uint32Array): number {
    const { words, rxSlots: slots, rxIds: ids } = this.control;
    const { pool, depth, headerBytes, firstHeader, dataValid } = this;
    const { hashReport, buffersMask, oneBuffer, bufferBytes } = this;
    const { descriptors } = this.views;
    const { header, freeStack, lengths, flags, stride } = pool;
    const { rssHashes, words: memory } = pool;
    const mostData = bufferBytes - headerBytes;
    const iovaLow = (pool.iovaLow - headerBytes) | 0;
    const iovaHigh = pool.iovaHigh | 0;
    let next = words[Word.RxNext];
    let bits = usedBits(words[State.RxUsed]);
    const outOfOrder = words[State.RxOutOfOrder] !== 0;
    let fill = WRITE_BIT | availableBits(words[State.RxUsed] ^ 1);
    let free = header[0];
    const most = Math.min(depth, handles.length, free);
    let bytes = 0;
    let n = 0;
    for (; n < most; n++) {
      const word = next << 2;
      const id = outOfOrder ? ids[next] : next;
      if (((descriptors[word + 3] ^ (id | bits)) & USED_WORD) !== 0) break;
      const size = descriptors[word + 2] - headerBytes;
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
      descriptors[word] = iovaLow + Math.imul(fresh & INDEX_MASK, stride);
      descriptors[word + 1] = iovaHigh;
      descriptors[word + 2] = bufferBytes;
      slots[id] = fresh;
      // Available a round later. Stores arrive in order: this one shows the buffer.
      descriptors[word + 3] = id | fill;
      if (++next === depth) {
        next = 0;
        bits ^= WRAP_BITS;
        fill ^= WRAP_BITS;
      }
    }
    if (n === 0) return 0;
    header[0] = free;
    words[Word.RxNext] = next;
    words[State.RxUsed] = bits === 0 ? 0 : 1;
    words[State.RxPublished] += n;
    this.counters.add("rxPackets", n);
    this.counters.add("rxBytes", bytes);
    return n;
  }

  /** Takes used buffers of whatever kind one by one, and refills as many. Returns how many frames are complete. */
  #takeEach(handles: Uint32Array): number {
    const { words, rxSlots: slots } = this.control;
    const { depth } = this;
    let count = 0;
    let taken = 0;
    for (; taken < handles.length; taken++) {
      if (words[State.RunLeft] === 0 && !this.#startRun()) break;
      const place = words[Word.RxNext];
      const id = this.control.rxIds[place];
      const last = words[State.RunLeft] === 1;
      const frame = this.takePart(
        slots[id],
        last ? words[State.RunBytes] >>> 0 : this.bufferBytes,
      );
      if (frame === FAULTY) break;
      slots[id] = 0;
      words[State.RunLeft]--;
      words[Word.RxHoles]++;
      words[Word.RxNext] = place + 1 === depth ? 0 : place + 1;
      if (place + 1 === depth) words[State.RxUsed] ^= 1;
      if (frame !== NO_FRAME) handles[count++] = frame;
    }
    this.counters.add("rxPackets", count);
    if (taken > 0) this.refill(taken);
    this.looked = taken;
    return count;
  }

  /**
   * Looks at the next used descriptor. In order, it stands for all up to the one that it names (2.8.8). False where there
   * is none, and where the device did not have what it names.
   */
  #startRun(): boolean {
    const { words, rxSlots, rxIds } = this.control;
    const { depth } = this;
    if (!this.arrived) return false;
    loadBarrier();
    const { descriptors } = this.views;
    const place = words[Word.RxNext];
    const word = place * DESCRIPTOR_WORDS;
    const id = descriptors[word + 3] & Packed.ID;
    const ahead = this.inOrder ? (id - place + depth) % depth : 0;
    // In order, what is behind the posted buffers is a hole.
    if (id >= depth || rxSlots[id] === 0) {
      this.fail(Fault.Id, id, depth - 1);
      return false;
    }
    if (!this.inOrder && rxIds[place] !== id) {
      rxIds[place] = id;
      words[State.RxOutOfOrder] = 1;
    }
    words[State.RunLeft] = ahead + 1;
    words[State.RunBytes] = descriptors[word + 2];
    return true;
  }
}
