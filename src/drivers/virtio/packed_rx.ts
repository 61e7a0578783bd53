/**
 * Receiving on a packed ring (2.8).
 *
 * Each buffer is one descriptor, which the device overwrites when it has used it, and which then gets the next buffer.
 * `rxIds` has the buffer id whose turn it is at each place of the ring: the place itself, until a device uses buffers in
 * another order than it got them.
 *
 * A device looks at one descriptor after the other. So those of a batch are written first, and its first one's flags
 * last: they show all of them (2.8.6).
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { loadBarrier, storeBarrier } from "../../dma/barrier.ts";
import { INDEX_MASK } from "../../mempool.ts";
import { PacketFlag } from "../../packet.ts";
import { Slot } from "../../stats.ts";
import { Word } from "../queue_control.ts";
import { packedWantsNotification } from "./events.ts";
import { NetHeader, NOT_PLAIN, VALID_SHIFT } from "./header.ts";
import {
  availableBits,
  DESCRIPTOR_WORDS,
  DescriptorFlag,
  Packed,
  usedBits,
  WRAP_BITS,
} from "./layout.ts";
import { FAULTY, NO_FRAME, VirtioRxQueue } from "./rx.ts";
import { Fault, State } from "./state.ts";

/** The flag of every buffer, in the last word of its descriptor. */
const WRITE_BIT = DescriptorFlag.WRITE << Packed.FLAGS_SHIFT;

/** The receive half of a queue pair on a packed ring. */
export class PackedRxQueue extends VirtioRxQueue {
  protected override get arrived(): boolean {
    const { words } = this.control;
    if (words[Word.RxHoles] === this.depth) return false;
    const word = words[Word.RxNext] * DESCRIPTOR_WORDS + 3;
    const last = Atomics.load(this.views.descriptors, word);
    return ((last ^ usedBits(words[State.RxUsed])) & WRAP_BITS) === 0;
  }

  protected override get hidden(): number {
    return this.control.words[State.RxShown];
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

  protected override show(): void {
    const { words } = this.control;
    const { depth } = this;
    const count = words[State.RxShown];
    // Atomic, so that the descriptors are there before the device's wish is read.
    Atomics.store(words, State.RxShown, 0);
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
    words[State.RxShown] += count;
    return count;
  }

  protected override takeUsed(handles: Uint32Array): number {
    const { words, rxSlots: slots, rxIds: ids } = this.control;
    const { pool, depth, headerBytes, views: { descriptors } } = this;
    const { header, freeStack, lengths, flags, debug, stride } = pool;
    const { nextSegments, offloads, rssHashes, words: pages } = pool;
    const strideWords = stride >>> 2;
    const { firstHeader, hashReport, validMask } = this;
    const { buffersMask, oneBuffer, inOrder, bufferBytes } = this;
    const mostData = bufferBytes - headerBytes;
    const iovaLow = (pool.iovaLow - headerBytes) | 0;
    const iovaHigh = pool.iovaHigh | 0;
    let next = words[Word.RxNext];
    let bits = usedBits(words[State.RxUsed]);
    let holes = words[Word.RxHoles];
    let left = words[State.FrameLeft];
    let run = words[State.RunLeft];
    const outstanding = depth - holes;
    const most = Math.min(outstanding, handles.length);
    let fill = next - holes;
    // What makes a descriptor available at `fill`.
    let fresh = WRITE_BIT | (bits ^ Packed.USED_BIT);
    if (fill < 0) fill += depth;
    else fresh ^= WRAP_BITS;
    let firstFilled = 0;
    let firstWord = 0;
    let filled = 0;
    let free = header[0];
    let count = 0;
    let bytes = 0;
    let taken = 0;

    for (; taken < most; taken++) {
      const word = next << 2;
      let id = next;
      let written = bufferBytes;
      if (run === 0) {
        const last = descriptors[word + 3];
        if (((last ^ bits) & WRAP_BITS) !== 0) break;
        loadBarrier();
        id = last & Packed.ID;
        written = descriptors[word + 2];
        if (id !== ids[next]) {
          const ahead = id < next ? id - next + depth : id - next;
          if (id >= depth || (inOrder && ahead >= outstanding - taken)) {
            this.fail(Fault.Id, id, depth - 1);
            break;
          }
          if (inOrder) {
            run = ahead;
            words[State.RunBytes] = written;
            id = next;
            written = bufferBytes;
          } else {
            ids[next] = id;
          }
        }
      } else if (--run === 0) {
        written = words[State.RunBytes];
      }
      const handle = slots[id];
      const size = written - headerBytes;
      const entry = handle & INDEX_MASK;
      const at = Math.imul(entry, strideWords) + firstHeader;
      const said = pages[at];
      if (
        handle !== 0 && left === 0 && (size - 1) >>> 0 < mostData &&
        (said & NOT_PLAIN) === 0 &&
        (pages[at + NetHeader.BUFFERS_WORD] & buffersMask) === oneBuffer
      ) {
        let flag = (said & validMask) << VALID_SHIFT;
        if (
          hashReport && (pages[at + NetHeader.HASH_TYPE_WORD] & 0xffff) !== 0
        ) {
          flag |= PacketFlag.RssHash;
          rssHashes[entry] = pages[at + NetHeader.HASH_WORD];
        }
        lengths[entry] = size;
        flags[entry] = flag;
        nextSegments[entry] = 0;
        offloads[entry] = 0;
        bytes += size;
        handles[count++] = handle;
      } else {
        if (handle === 0) {
          this.fail(Fault.Id, id, depth - 1);
          break;
        }
        // Frees change the stack, so it must be as the pool knows it.
        header[0] = free;
        const frame = this.takePart(handle, written >>> 0);
        free = header[0];
        left = words[State.FrameLeft];
        if (frame === FAULTY) break;
        if (frame !== NO_FRAME) handles[count++] = frame;
      }
      slots[id] = 0;
      if (++next === depth) {
        next = 0;
        bits ^= WRAP_BITS;
      }
      if (free === 0) {
        holes++;
        continue;
      }
      const taking = freeStack[--free];
      const to = fill << 2;
      const fillId = ids[fill];
      descriptors[to] = (iovaLow +
        Math.imul(taking & INDEX_MASK, stride)) | 0;
      descriptors[to + 1] = iovaHigh;
      descriptors[to + 2] = bufferBytes;
      if (filled === 0) {
        firstFilled = to + 3;
        firstWord = fillId | fresh;
      } else {
        descriptors[to + 3] = fillId | fresh;
      }
      slots[fillId] = taking;
      if (debug) pool.debugTake(taking);
      filled++;
      if (++fill === depth) {
        fill = 0;
        fresh ^= WRAP_BITS;
      }
    }

    header[0] = free;
    if (filled > 0) {
      storeBarrier();
      descriptors[firstFilled] = firstWord;
      words[State.RxShown] += filled;
    }
    const missing = holes - words[Word.RxHoles];
    words[Word.RxNext] = next;
    words[State.RxUsed] = bits === 0 ? 0 : 1;
    words[Word.RxHoles] = holes;
    words[State.RunLeft] = run;
    const { values } = this.counters;
    values[Slot.rxPackets] += count;
    values[Slot.rxBytes] += bytes;
    if (missing > 0) this.countMissing(missing);
    this.looked = taken;
    return count;
  }
}
