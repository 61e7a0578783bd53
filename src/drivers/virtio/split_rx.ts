/**
 * Receiving on a split ring (2.7).
 *
 * Each buffer is one descriptor. Where the device uses them in the order of posting, as all do in practice, each slot of
 * the available ring names the same descriptor for ever: only a descriptor's address changes, and of the available ring
 * nothing but its index. `rxIds` has the descriptor whose turn it is at each place of the available ring; a device that
 * uses buffers in another order changes it.
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
import { keepEventBehind, splitWantsNotification } from "./events.ts";
import { NetHeader, NOT_PLAIN, VALID_SHIFT } from "./header.ts";
import { DESCRIPTOR_WORDS, DescriptorFlag, Split } from "./layout.ts";
import { FAULTY, NO_FRAME, VirtioRxQueue } from "./rx.ts";
import { Fault, State } from "./state.ts";

/** The receive half of a queue pair on a split ring. */
export class SplitRxQueue extends VirtioRxQueue {
  /** Descriptors in the table are a power of two (2.7). */
  readonly #mask = this.depth - 1;

  protected override get arrived(): boolean {
    const index = Atomics.load(this.views.device, Split.INDEX);
    return index !== this.control.words[State.RxUsed];
  }

  protected override get hidden(): number {
    const { words } = this.control;
    return (this.#posted(words) - words[State.RxShown]) & 0xffff;
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

  protected override show(): void {
    const { words } = this.control;
    const { driver, device } = this.views;
    const before = words[State.RxShown];
    const after = this.#posted(words);
    words[State.RxShown] = after;
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
    const { words, rxSlots: slots, rxIds: ids } = this.control;
    const { views, pool, depth, headerBytes } = this;
    const { used, driver, descriptors } = views;
    const mask = this.#mask;
    let index = words[State.RxUsed];
    const arrived = (views.device[Split.INDEX] - index) & 0xffff;
    this.looked = 0;
    if (arrived === 0) return 0;
    const outstanding = (words[State.RxShown] - index) & 0xffff;
    if (arrived > outstanding) {
      this.fail(Fault.Index, arrived, outstanding);
      return 0;
    }
    loadBarrier();
    const { header, freeStack, lengths, flags, debug, stride } = pool;
    const { nextSegments, offloads, rssHashes, words: pages } = pool;
    const strideWords = stride >>> 2;
    const { firstHeader, hashReport, validMask } = this;
    const { buffersMask, oneBuffer, inOrder, bufferBytes } = this;
    const mostData = bufferBytes - headerBytes;
    const iovaLow = (pool.iovaLow - headerBytes) | 0;
    const most = Math.min(arrived, handles.length);
    let holes = words[Word.RxHoles];
    let left = words[State.FrameLeft];
    let run = words[State.RunLeft];
    let posted = index + depth - holes;
    let free = header[0];
    let count = 0;
    let bytes = 0;
    let taken = 0;

    for (; taken < most; taken++) {
      const place = index & mask;
      let id = used[place << 1];
      let written = used[(place << 1) + 1];
      if (((id ^ ids[place]) | run) !== 0) {
        if (id >>> 0 >= depth && run === 0) {
          this.fail(Fault.Id, id, depth - 1);
          break;
        }
        if (!inOrder) {
          ids[place] = id;
        } else {
          if (run === 0) {
            run = ((id - place) & mask) + 1;
            words[State.RunBytes] = written;
          }
          if (run > arrived - taken) {
            this.fail(Fault.Id, id, depth - 1);
            break;
          }
          id = place;
          written = --run === 0 ? words[State.RunBytes] : bufferBytes;
        }
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
      index = (index + 1) & 0xffff;
      if (free === 0) {
        holes++;
        continue;
      }
      const fresh = freeStack[--free];
      const to = posted & mask;
      const next = ids[to];
      descriptors[next << 2] = (iovaLow +
        Math.imul(fresh & INDEX_MASK, stride)) | 0;
      slots[next] = fresh;
      // A store would take the line from the device, even one that changes nothing.
      if (driver[to + Split.AVAIL_RING] !== next) {
        driver[to + Split.AVAIL_RING] = next;
      }
      if (debug) pool.debugTake(fresh);
      posted++;
    }

    header[0] = free;
    const missing = holes - words[Word.RxHoles];
    words[State.RxUsed] = index;
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
