/**
 * The transmit queue of all Intel families: advanced data descriptors (82599 section 7.2, 82576 section 7.2), or with legacy ones,
 * which have the same bits but no total length.
 *
 * The card reports only where it is asked to: on the last descriptor of each batch, and on every 32nd. The driver
 * remembers where by a mark on the handle and frees whole blocks up to a report (7.2.3.5.1), 32 at least where packets
 * are sent one by one. The head register is never read for this: it says what was fetched, not what was sent.
 *
 * @module
 */
import type { Batch } from "../../../memory/batch.ts";
import type { Registers } from "../../../bus/bus.ts";
import type { TxQueue } from "../../../device_api.ts";
import { storeBarrier } from "../../../dma/barrier.ts";
import { PoolSet } from "../../../dma/pool_set.ts";
import {
  type Handle,
  INDEX_BITS,
  INDEX_MASK,
  Mempool,
} from "../../../memory/mempool.ts";
import { QueueCounters, Slot } from "../../../stats.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import {
  completeChecksum,
  isSound,
  measure,
} from "../../queue/packet_chain.ts";
import {
  assertNotClosed,
  QueueControl,
  Word,
} from "../../queue/control_block.ts";
import { refusalOf } from "../../queue/reach.ts";
import {
  ADVANCED_TX,
  DESCRIPTOR_WORDS,
  Tx,
  type TxLayout,
} from "./descriptors.ts";
import {
  freesDirectly,
  HANDLE_MASK,
  MIN_PACKET,
  REPORTS,
  type TxFastPath,
  txFastPath,
} from "./tx_fast_path.ts";

/** What a family has of its own for sending. */
export interface TxOffsets {
  /** Byte offset of the queue's tail register. */
  readonly tail: number;
  /** Largest frame without its check sequence. */
  readonly maxFrame: number;
  /** What its descriptors want. Default: {@linkcode ADVANCED_TX}. */
  readonly layout?: TxLayout;
}

const NO_FAST_PATH: TxFastPath = () => 0;

/** The transmit half of a queue pair. */
export class IntelTxQueue implements TxQueue {
  readonly index: number;
  readonly depth: number;
  readonly counters: QueueCounters;
  readonly #control: QueueControl;
  readonly #ring: Int32Array;
  readonly #registers: Registers;
  readonly #tailOffset: number;
  readonly #maxFrame: number;
  readonly #layout: TxLayout;
  readonly #queue: LocalQueue;
  readonly #reachable: PoolSet;
  readonly #fastPaths = new WeakMap<Mempool, TxFastPath>();
  /** The one for the pool that packets came from last. */
  #fastPath: TxFastPath = NO_FAST_PATH;

  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   * @param places What this family has of its own.
   */
  constructor(queue: LocalQueue, registers: Registers, places: TxOffsets) {
    const { rxDepth, txDepth } = queue.config;
    this.index = queue.index;
    this.depth = txDepth;
    this.counters = new QueueCounters(queue.counters);
    this.#control = new QueueControl(queue.control, rxDepth, txDepth);
    this.#ring = new Int32Array(
      queue.rings.buffer,
      queue.rings.txOffset,
      txDepth * DESCRIPTOR_WORDS,
    );
    this.#queue = queue;
    this.#reachable = new PoolSet(queue.reachable);
    this.#registers = registers;
    this.#tailOffset = places.tail;
    this.#maxFrame = places.maxFrame;
    this.#layout = places.layout ?? ADVANCED_TX;
  }

  get pending(): number {
    const { words } = this.#control;
    const used = words[Word.TxNext] - words[Word.TxClean];
    return used < 0 ? used + this.depth : used;
  }

  /** Puts the ring into its first state. What it held is forgotten, not freed. */
  resetRing(): void {
    const { words, txSlots } = this.#control;
    txSlots.fill(0);
    this.#ring.fill(0);
    words[Word.TxNext] = 0;
    words[Word.TxClean] = 0;
  }

  /** The device is closed: from now on `send()` says so. */
  close(): void {
    this.#fastPath = NO_FAST_PATH;
  }

  send(batch: Batch): number {
    const { handles, length } = batch;
    const sent = this.#fastPath(handles, 0, length);
    if (sent === length && sent > 0) return sent;
    return this.#sendOn(handles, sent, length);
  }

  /** What is left of a batch, whatever it is. Packets before `from` stand in the ring, and the card does not know yet. */
  #sendOn(handles: Uint32Array, from: number, to: number): number {
    let sent = from;
    for (let run = from; run > 0 && sent < to; sent += run) {
      run = this.#fastPath(handles, sent, to);
    }
    // The fast path tells the card at the end of a batch.
    if (sent === to && sent > 0) return sent;
    assertNotClosed(this.#control.words);
    this.reclaim();
    // Where it does not reclaim, the fast path does not settle either.
    this.counters.settle(Slot.txPackets);
    this.counters.settle(Slot.txBytes);
    const { words } = this.#control;
    const told = sent === 0 ? words[Word.TxNext] : -1;
    while (sent < to) {
      // The packets before it are sent; the next call reports what is wrong with it.
      if (sent > 0 && !Mempool.knows(handles[sent])) break;
      const path = this.#pathFor(Mempool.of(handles[sent]));
      const run = path(handles, sent, to);
      sent += run;
      if (sent === to) return sent;
      if (run > 0) continue;
      const refusal = refusalOf(handles[sent], this.#reachable, this.#queue);
      if (refusal !== undefined) {
        if (sent > 0) break;
        throw refusal;
      }
      if (this.#room() === 0 || !this.#sendSlowly(handles[sent])) break;
      sent++;
    }
    if (words[Word.TxNext] !== told) this.#submit(words[Word.TxNext]);
    return sent;
  }

  reaches({ id }: Mempool): boolean {
    return this.#reachable.has(id);
  }

  /** The fast path for a pool. The next batch takes it at once if freeing is simple there. */
  #pathFor(pool: Mempool): TxFastPath {
    let path = this.#fastPaths.get(pool);
    if (path === undefined) {
      if (!this.reaches(pool)) return NO_FAST_PATH;
      path = txFastPath({
        ring: this.#ring,
        control: this.#control,
        counters: this.counters,
        registers: this.#registers,
        tail: this.#tailOffset,
        maxFrame: this.#maxFrame,
        layout: this.#layout,
        reachable: this.#reachable,
      }, pool);
      this.#fastPaths.set(pool, path);
    }
    if (freesDirectly(pool)) this.#fastPath = path;
    return path;
  }

  /** Descriptors that can be filled. */
  #room(): number {
    const { words } = this.#control;
    const room = words[Word.TxClean] - words[Word.TxNext] - 1;
    return room < 0 ? room + this.depth : room;
  }

  /** Asks for a report on the last descriptor and tells the card. */
  #submit(next: number): void {
    const { txSlots } = this.#control;
    const last = next === 0 ? this.depth - 1 : next - 1;
    this.#ring[last * DESCRIPTOR_WORDS + 2] |= Tx.RS;
    txSlots[last] |= REPORTS;
    storeBarrier();
    this.#registers.write32(this.#tailOffset, next);
  }

  /**
   * A packet in several buffers, of a length that the card cannot send as it is, or with a checksum to complete. One that
   * cannot be sent at all is freed and counted in `txErrors`. False when there is no room for it.
   */
  #sendSlowly(handle: Handle): boolean {
    const { segments, bytes } = measure(handle, this.#maxFrame);
    // Only a packet in one buffer can be padded.
    const isShort = segments > 1 && bytes < MIN_PACKET;
    if (segments === 0 || isShort || !isPossible(handle)) {
      this.counters.add("txErrors", 1);
      Mempool.freeChain(handle);
      return true;
    }
    if (segments > this.#room()) return false;
    const request = requestOf(handle);
    if (request !== 0) completeChecksum(handle, request);
    if (bytes < MIN_PACKET) pad(handle);
    const total = Math.max(bytes, MIN_PACKET);
    const { words } = this.#control;
    let at = words[Word.TxNext];
    for (let segment = handle; segment !== 0;) {
      const pool = Mempool.of(segment);
      const following = pool.nextSegments[segment & INDEX_MASK];
      this.#writeSegment(at, segment, pool, total, following === 0);
      at = at + 1 === this.depth ? 0 : at + 1;
      segment = following;
    }
    words[Word.TxNext] = at;
    this.counters.add("txPackets", 1);
    this.counters.add("txBytes", total);
    return true;
  }

  #writeSegment(
    at: number,
    handle: Handle,
    pool: Mempool,
    total: number,
    last: boolean,
  ): void {
    const ring = this.#ring;
    const word = at * DESCRIPTOR_WORDS;
    const index = handle & INDEX_MASK;
    ring[word] = pool.iovaLow + index * pool.stride;
    ring[word + 1] = pool.iovaHigh;
    ring[word + 2] = this.#layout.command | pool.lengths[index] |
      (last ? Tx.EOP | Tx.RS : 0);
    ring[word + 3] = (total << Tx.PAYLEN_SHIFT) & this.#layout.totals;
    this.#control.txSlots[at] = last ? handle | REPORTS : handle;
    pool.nextSegments[index] = 0;
    pool.offloads[index] = 0;
  }

  reclaim(): number {
    const ring = this.#ring;
    const depth = this.depth;
    const { words, txSlots: slots } = this.#control;
    const next = words[Word.TxNext];
    let clean = words[Word.TxClean];
    let freed = 0;
    while (clean !== next) {
      // The last descriptor before `next` always reports, so this ends.
      let end = clean;
      while ((slots[end] & REPORTS) === 0) {
        if (++end === depth) end = 0;
      }
      if ((ring[(end << 2) + 3] & Tx.DD) === 0) break;
      const stop = end + 1 === depth ? 0 : end + 1;
      const count = stop > clean ? stop - clean : stop - clean + depth;
      this.#free(clean, count);
      freed += count;
      clean = stop;
      words[Word.TxClean] = clean;
    }
    return freed;
  }

  /** Frees the packets of `count` descriptors: straight onto the stack of a pool that is owned here. */
  #free(from: number, count: number): void {
    const { txSlots: slots } = this.#control;
    const depth = this.depth;
    let at = from;
    let left = count;
    while (left > 0) {
      const pool = Mempool.of(slots[at] & HANDLE_MASK);
      const { id, header, freeStack } = pool;
      const limit = pool.capacity;
      const direct = freesDirectly(pool);
      let free = header[0];
      for (; left > 0; left--) {
        const handle = slots[at] & HANDLE_MASK;
        if (handle >>> INDEX_BITS !== id) break;
        if (direct && (handle & INDEX_MASK) < limit) {
          freeStack[free++] = handle;
        } else {
          header[0] = free;
          pool.free(handle);
          free = header[0];
        }
        slots[at] = 0;
        if (++at === depth) at = 0;
      }
      header[0] = free;
    }
  }
}

/** What the driver does for the packet before it is sent: see {@linkcode Mempool.offloads}. */
function requestOf(handle: Handle): number {
  return Mempool.of(handle).offloads[handle & INDEX_MASK];
}

/** False for a packet that is to be cut into segments, which these cards are not asked to do here. */
function isPossible(handle: Handle): boolean {
  const request = requestOf(handle);
  if (request === 0) return true;
  const { segmentSizes } = Mempool.of(handle);
  return segmentSizes[handle & INDEX_MASK] === 0 && isSound(handle, request);
}

/** Lengthens a tiny packet with zeros; the card pads it to 60 bytes anyway. */
function pad(handle: Handle): void {
  const pool = Mempool.of(handle);
  const index = handle & INDEX_MASK;
  const start = pool.offset(handle);
  pool.u8.fill(0, start + pool.lengths[index], start + MIN_PACKET);
  pool.lengths[index] = MIN_PACKET;
}
