/**
 * Sending on a virtqueue, whichever kind of ring: headers, offloads, and what comes back.
 *
 * A packet in one buffer is one descriptor: its header is written into the headroom before its entry. A packet in
 * several buffers is an indirect table where the device takes these, and else a chain of descriptors.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { Batch } from "../../../memory/batch.ts";
import type { VirtioQueueBus } from "../../../bus/virtio/transport.ts";
import type { TxQueue } from "../../../device_api.ts";
import { PoolSet } from "../../../dma/pool_set.ts";
import {
  type Handle,
  INDEX_BITS,
  INDEX_MASK,
  Mempool,
} from "../../../memory/mempool.ts";
import { ETHERNET_HEADER_LENGTH } from "../../../net/ethernet.ts";
import { QueueCounters } from "../../../stats.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import {
  checksumOffset,
  checksumStart,
  completeChecksum,
  isSound,
  measure,
} from "../../queue/packet_chain.ts";
import { QueueControl, Word } from "../../queue/control_block.ts";
import { refusalOf } from "../../queue/reach.ts";
import { accepts } from "../features.ts";
import {
  firstHeaderWord,
  headerBytes,
  headerSkew,
  NetHeader,
  segmentationWord,
  writeHeader,
} from "./header.ts";
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_WORDS,
  TABLE_DESCRIPTORS,
} from "./layout.ts";
import {
  featuresOf,
  resetTxRing,
  type VirtqueueViews,
  virtqueueViews,
} from "./reset.ts";
import {
  Fault,
  faultError,
  HANDLE_MASK,
  LAST_LINK,
  PART,
  recordFault,
  SPECIAL,
  State,
  use,
} from "./state.ts";

/** The largest packet that a device cuts into segments: headers and 65535 bytes (5.1.6.3). */
const LARGEST_SEGMENTED = 65589;
/** Descriptors with the device from which on each send looks whether it has finished some. */
const RECLAIM_FROM = 16;

/** The transmit half of a queue pair. */
export abstract class VirtioTxQueue implements TxQueue {
  readonly index: number;
  readonly depth: number;
  readonly counters: QueueCounters;
  /** Ring positions and handles, shared with the next user of the queue. */
  protected readonly control: QueueControl;
  /** Number of the virtqueue (5.1.2). */
  protected readonly virtqueue: number;
  /** Where the device is notified. */
  protected readonly bus: VirtioQueueBus;
  /** The memory of the virtqueue. */
  protected readonly views: VirtqueueViews;
  /** Bytes of the header before a packet. */
  protected readonly headerBytes: number;
  /** Where entry 0 has its header in its pool's words. */
  protected readonly firstHeader: number;
  /** Whether the header has room for a hash, which is 0 on transmit. */
  protected readonly longHeader: boolean;
  /** Whether the device uses buffers in the order in which they were posted. */
  protected readonly inOrder: boolean;
  /** Whether events are asked for by index (2.7.10, 2.8.10). */
  protected readonly eventIndex: boolean;
  /** Largest frame that is not cut into segments. */
  protected readonly maxFrame: number;
  /** By pool number: not 0 where the device reaches the pool. */
  protected readonly shares: Uint8Array;
  readonly #reachable: PoolSet;
  readonly #queue: LocalQueue;
  readonly #renew: () => void;
  readonly #skew: number;
  readonly #indirect: boolean;
  readonly #checksum: boolean;
  readonly #tso4: boolean;
  readonly #tso6: boolean;
  /** Where the indirect tables begin for the device, 31:0 and 63:32. */
  readonly #tablesLow: number;
  readonly #tablesHigh: number;

  /**
   * @param queue Which queue, and its memory.
   * @param bus Where the device is notified.
   * @param renew Starts the ring afresh, and the other one of the pair too unless another isolate uses it.
   */
  constructor(queue: LocalQueue, bus: VirtioQueueBus, renew: () => void) {
    this.#renew = renew;
    const features = featuresOf(queue);
    const { rxDepth, txDepth } = queue.config;
    this.index = queue.index;
    this.depth = txDepth;
    this.counters = new QueueCounters(queue.counters);
    this.control = new QueueControl(queue.control, rxDepth, txDepth);
    this.virtqueue = 2 * queue.index + 1;
    this.bus = bus;
    this.views = virtqueueViews(queue, "tx");
    this.headerBytes = headerBytes(features);
    this.firstHeader = firstHeaderWord(this.headerBytes);
    this.#skew = headerSkew(this.headerBytes);
    this.longHeader = accepts(features, "hash-report");
    this.inOrder = accepts(features, "in-order");
    this.eventIndex = accepts(features, "event-index");
    // No more than the MTU that was agreed on (5.1.4.2).
    this.maxFrame = queue.virtio!.maxFrame;
    this.#queue = queue;
    this.#reachable = new PoolSet(queue.reachable);
    this.shares = this.#reachable.shares;
    this.#indirect = accepts(features, "indirect");
    this.#checksum = accepts(features, "checksum");
    this.#tso4 = accepts(features, "tso4");
    this.#tso6 = accepts(features, "tso6");
    const tables = queue.virtio!.txIova + BigInt(this.views.layout.tables);
    this.#tablesLow = Number(tables & 0xffffffffn);
    this.#tablesHigh = Number(tables >> 32n);
  }

  get pending(): number {
    return this.control.words[State.TxBusy];
  }

  /** Puts the ring into its first state. What it held is forgotten, not freed. */
  resetRing(): void {
    resetTxRing(this.#queue);
  }

  send(batch: Batch): number {
    if (!this.#usable()) return 0;
    const { words } = this.control;
    const { handles, length } = batch;
    const busy = words[State.TxBusy];
    if (busy >= RECLAIM_FROM || busy + length > this.depth) {
      this.takeFinished();
      if (words[State.Fault] !== 0) throw faultError(words);
    }
    let sent = 0;
    while (sent < length) {
      // The packets before it are sent; the next call reports what is wrong with it.
      if (sent > 0 && !Mempool.knows(handles[sent])) break;
      const run = this.postRun(handles, sent, length);
      sent += run;
      if (sent === length) break;
      if (run > 0) continue;
      const refusal = refusalOf(handles[sent], this.#reachable, this.#queue);
      if (refusal !== undefined) {
        if (sent > 0) break;
        throw refusal;
      }
      if (!this.#postSlowly(handles[sent])) break;
      sent++;
    }
    this.publish();
    return sent;
  }

  /** Nothing to do: each send looks for faults, and a closed device is marked as one. */
  close(): void {}

  reaches({ id }: Mempool): boolean {
    return this.#reachable.has(id);
  }

  reclaim(): number {
    if (!this.#usable()) return 0;
    const { words } = this.control;
    const freed = this.takeFinished();
    if (freed === 0 && words[State.Fault] !== 0) throw faultError(words);
    return freed;
  }

  /** Frees what the device has finished, before the ring is emptied: whatever else the device did. */
  settle(): void {
    if (this.control.words[State.Fault] === 0) this.takeFinished();
  }

  /** Posts packets in one buffer each, from one pool, as far as there is room. Returns how many. */
  protected abstract postRun(
    handles: Uint32Array,
    from: number,
    to: number,
  ): number;
  /** Posts a packet whose header is written, and which has room. */
  protected abstract postOne(
    handle: Handle,
    segments: number,
    descriptors: number,
  ): void;
  /** Shows the device what was posted, and notifies it if it asks for that. */
  protected abstract publish(): void;
  /** Frees the packets that the device has finished. Returns the number of descriptors. */
  protected abstract takeFinished(): number;

  /** False when the ring had to be started afresh; throws on a broken pair. */
  #usable(): boolean {
    const { words } = this.control;
    use(words, State.TxUser);
    if (words[State.Epoch] !== words[State.TxRenewed]) {
      this.#renew();
      return false;
    }
    if (words[State.Fault] !== 0) throw faultError(words);
    return true;
  }

  /** Records that the device says that it used more than it had. */
  protected failIndex(value: number, limit: number): void {
    const { words } = this.control;
    recordFault(words, Fault.Index, this.virtqueue, value, limit);
  }

  /** Records that the device used what it did not have. */
  protected failId(id: number): 0 {
    const { words } = this.control;
    recordFault(words, Fault.Id, this.virtqueue, id, this.depth - 1);
    return 0;
  }

  /** Descriptors of the packet whose first is `id`; 0 where it is the first of none. */
  protected descriptorsOf(id: number): number {
    const { txSlots: slots, txLinks: links } = this.control;
    if (id >= this.depth) return 0;
    const slot = slots[id];
    if (slot === 0 || (slot & PART) !== 0) return 0;
    if ((slot & SPECIAL) === 0) return 1;
    let count = 1;
    for (let part = links[id]; part !== LAST_LINK; part = links[part]) count++;
    return count;
  }

  /**
   * Frees up to `most` packets in one descriptor each, in the order of their posting, straight onto the stack of a pool
   * that is owned here. Stops before anything else. Returns how many.
   */
  protected releasePlain(most: number): number {
    const { words, txSlots: slots, txIds: ids } = this.control;
    const { depth } = this;
    const outOfOrder = words[State.TxOutOfOrder] !== 0;
    let clean = words[Word.TxClean];
    const first = slots[ids[clean]];
    if (first === 0 || (first & (PART | SPECIAL)) !== 0) return 0;
    const pool = Mempool.of(first);
    if (pool.debug || pool.lent) return 0;
    const { header, freeStack } = pool;
    const idBits = pool.id << INDEX_BITS;
    const limit = pool.capacity;
    let free = header[0];
    let n = 0;
    for (; n < most; n++) {
      const id = outOfOrder ? ids[clean] : clean;
      const handle = slots[id];
      // Marks, other pools and empty slots make it large.
      if ((handle ^ idBits) >>> 0 >= limit) break;
      freeStack[free++] = handle;
      slots[id] = 0;
      if (++clean === depth) clean = 0;
    }
    header[0] = free;
    words[Word.TxClean] = clean;
    words[State.TxBusy] -= n;
    return n;
  }

  /**
   * Frees the packet whose first descriptor is `id`, of whatever kind. Returns its descriptors; 0 where the device did
   * not have it.
   */
  protected releaseOne(id: number): number {
    const { words, txSlots: slots, txIds: ids, txLinks: links } = this.control;
    const { depth } = this;
    if (this.descriptorsOf(id) === 0) return this.failId(id);
    const slot = slots[id];
    Mempool.freeChain(slot & HANDLE_MASK);
    let clean = words[Word.TxClean];
    let part = id;
    let count = 0;
    do {
      slots[part] = 0;
      if (ids[clean] !== part) {
        ids[clean] = part;
        words[State.TxOutOfOrder] = 1;
      }
      if (++clean === depth) clean = 0;
      part = (slot & SPECIAL) !== 0 ? links[part] : LAST_LINK;
      count++;
    } while (part !== LAST_LINK);
    words[Word.TxClean] = clean;
    words[State.TxBusy] -= count;
    return count;
  }

  /** Counts what was posted. */
  protected count(packets: number, bytes: number): void {
    this.counters.add("txPackets", packets);
    this.counters.add("txBytes", bytes);
  }

  /**
   * A packet that is not one plain buffer: in several buffers, of an unusual length, or with offloads. One that cannot
   * be sent at all is freed and counted in `txErrors`. False when there is no room for it.
   */
  #postSlowly(handle: Handle): boolean {
    const { words } = this.control;
    const pool = Mempool.of(handle);
    const index = handle & INDEX_MASK;
    const request = pool.offloads[index];
    const segment = request === 0 ? 0 : pool.segmentSizes[index];
    const { segments, bytes } = measure(
      handle,
      segment === 0 ? this.maxFrame : LARGEST_SEGMENTED,
    );
    if (segments === 0 || bytes < ETHERNET_HEADER_LENGTH) {
      return this.#drop(handle);
    }
    const descriptors = this.#indirect && segments <= TABLE_DESCRIPTORS
      ? 1
      : segments;
    if (descriptors > this.depth) return this.#drop(handle);
    if (words[State.TxBusy] + descriptors > this.depth) return false;
    if (!this.#writeHeader(handle, pool, request, segment)) {
      return this.#drop(handle);
    }
    this.postOne(handle, segments, descriptors);
    words[State.TxBusy] += descriptors;
    this.count(1, bytes);
    return true;
  }

  #drop(handle: Handle): true {
    this.counters.add("txErrors", 1);
    Mempool.freeChain(handle);
    return true;
  }

  /** Writes the header of a packet. Returns false when the device cannot perform the request, and software cannot either. */
  #writeHeader(
    handle: Handle,
    pool: Mempool,
    request: number,
    segment: number,
  ): boolean {
    const index = handle & INDEX_MASK;
    const start = checksumStart(request);
    let flags = 0;
    let sizes = 0;
    let offset = 0;
    if (request !== 0) {
      if (!isSound(handle, request)) return false;
      if (segment !== 0) {
        flags = segmentationWord(
          pool.u8,
          index * pool.stride,
          pool.lengths[index],
          start,
        );
        if (!this.#cuts(flags)) return false;
      } else if (this.#checksum) {
        flags = NetHeader.NEEDS_CSUM;
      } else {
        completeChecksum(handle, request);
      }
      if (flags !== 0) {
        sizes = segment | (start << NetHeader.CSUM_START_SHIFT);
        offset = checksumOffset(request);
      }
      pool.offloads[index] = 0;
    }
    const at = index * (pool.stride >>> 2) + this.firstHeader;
    writeHeader(pool.words, at, this.#skew, flags, sizes, offset);
    if (this.longHeader) {
      pool.words[at + NetHeader.HASH_WORD] = 0;
      pool.words[at + NetHeader.HASH_TYPE_WORD] = 0;
    }
    return true;
  }

  /** Whether the device cuts packets of this kind into segments. */
  #cuts(flags: number): boolean {
    const type = flags & NetHeader.GSO_TYPE;
    return (type === NetHeader.GSO_TCPV4 && this.#tso4) ||
      (type === NetHeader.GSO_TCPV6 && this.#tso6);
  }

  /**
   * Writes address and length of one segment into a descriptor; the last word is the caller's.
   * @param header Bytes of the header in front of it.
   */
  protected writeSegment(
    descriptors: Int32Array,
    word: number,
    segment: Handle,
    header: number,
  ): void {
    const pool = Mempool.of(segment);
    const index = segment & INDEX_MASK;
    descriptors[word] = pool.iovaLow + index * pool.stride - header;
    descriptors[word + 1] = pool.iovaHigh;
    descriptors[word + 2] = pool.lengths[index] + header;
  }

  /**
   * Writes the indirect table of descriptor `id`.
   * @param lastWord What stands in the last word of the table's descriptor `n` of `count`.
   */
  protected writeTable(
    id: number,
    handle: Handle,
    segments: number,
    lastWord: (n: number, count: number) => number,
  ): void {
    const { tables } = this.views;
    let word = id * TABLE_DESCRIPTORS * DESCRIPTOR_WORDS;
    let segment = handle;
    for (let n = 0; n < segments; n++) {
      const header = n === 0 ? this.headerBytes : 0;
      this.writeSegment(tables, word, segment, header);
      tables[word + 3] = lastWord(n, segments);
      word += DESCRIPTOR_WORDS;
      segment = Mempool.of(segment).nextSegments[segment & INDEX_MASK];
    }
  }

  /** Points a descriptor to the indirect table of `id`; the last word is the caller's. */
  protected writeTableAddress(
    word: number,
    id: number,
    segments: number,
  ): void {
    const { descriptors } = this.views;
    const low = this.#tablesLow + id * TABLE_DESCRIPTORS * DESCRIPTOR_BYTES;
    descriptors[word] = low;
    descriptors[word + 1] = this.#tablesHigh + Math.floor(low / 2 ** 32);
    descriptors[word + 2] = segments * DESCRIPTOR_BYTES;
  }
}
