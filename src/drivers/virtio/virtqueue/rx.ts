/**
 * Receiving on a virtqueue, whichever kind of ring: frames from buffers, and interrupts.
 *
 * A buffer begins with the header (5.1.6.4), which lies in the headroom before a packet's entry, so that the packet
 * begins with the entry. Where the device may merge buffers, the later ones of a frame have no header: their bytes begin
 * in the headroom and are moved up. Such frames arrive as chains.
 *
 * A frame whose checksum is not complete (NEEDS_CSUM) arrives with its request in `Mempool.offloads`: sent on as it is,
 * it leaves complete. What a device says in a header is checked before it is passed on; nothing that it writes can make
 * the driver touch memory outside a buffer.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { Batch } from "../../../memory/batch.ts";
import type { VirtioQueueBus } from "../../../bus/virtio/transport.ts";
import { PoolError } from "../../../errors.ts";
import { IrqLine } from "../../../irq/line.ts";
import { type Handle, INDEX_MASK, Mempool } from "../../../memory/mempool.ts";
import { ETHERNET_HEADER_LENGTH } from "../../../net/ethernet.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import { log } from "../../../log.ts";
import { BaseRxQueue, type LocalQueue } from "../../queue/rx_queue.ts";
import { completeChecksum } from "../../queue/packet_chain.ts";
import { Word } from "../../queue/control_block.ts";
import { accepts } from "../features.ts";
import {
  firstHeaderWord,
  headerBytes,
  headerSkew,
  NetHeader,
  readHeaderWord,
} from "./header.ts";
import {
  featuresOf,
  resetRxRing,
  type VirtqueueViews,
  virtqueueViews,
} from "./reset.ts";
import {
  Fault,
  type FaultCode,
  faultError,
  recordFault,
  State,
  use,
} from "./state.ts";

/** Two VLAN tags, by which a frame may exceed the largest. */
const VLAN_ALLOWANCE = 8;
/** The largest frame where the device puts segments together (5.1.6.3): headers and 65535 bytes. */
const LARGEST_MERGED = 65589;
/** Most buffers that are refilled before the device is shown them. */
const SHOW_AT = 16;
/** What may stand in a request of {@linkcode Mempool.offloads}. */
const MAX_CSUM_OFFSET = 0x7fff;
const CSUM_OFFSET_SHIFT = 16;
const CSUM_BYTES = 2;

/** In place of a frame's bytes, below those of any: it was counted as dropped. */
const DROPPED = -1 << 30;

/** A masked header never equals this value. */
const UNREAD = 1;

/** In place of a handle: the frame is not complete. */
export const NO_FRAME = 0;
/** In place of a handle: the device did wrong, and the buffer stays where it is. */
export const FAULTY = -1;

/** The receive half of a queue pair. */
export abstract class VirtioRxQueue extends BaseRxQueue {
  /** Number of the virtqueue (5.1.2). */
  protected readonly virtqueue: number;
  /** Where the device is notified. */
  protected readonly bus: VirtioQueueBus;
  /** The memory of the virtqueue. */
  protected readonly views: VirtqueueViews;
  /** Bytes of the header before a packet. */
  protected readonly headerBytes: number;
  /** Where entry 0 has its header in the pool's words. */
  protected readonly firstHeader: number;
  /** Bytes of each buffer that the device is given, the header included. */
  protected readonly bufferBytes: number;
  /** Bits of the header's third word that must be {@linkcode oneBuffer} in a frame of one buffer. */
  protected readonly buffersMask: number;
  /** What they are then. */
  protected readonly oneBuffer: number;
  /** The bit of the header's first word that says that the checksum was checked; 0 where it means nothing. */
  protected readonly dataValid: number;
  /** Whether the header has a hash. */
  protected readonly hashReport: boolean;
  /** Whether the device uses buffers in the order in which they were posted. */
  protected readonly inOrder: boolean;
  /** Whether events are asked for by index (2.7.7.1, 2.8.10). */
  protected readonly eventIndex: boolean;
  /** How many refilled buffers are worth telling the device. */
  protected readonly publishAt: number;
  /** Buffers that the last {@linkcode takeUsed} took one by one. */
  protected looked = 0;
  readonly #queue: LocalQueue;
  readonly #renew: () => void;
  readonly #line: IrqLine;
  /** Where to tell of the link, when the queue shares its interrupt with it. */
  readonly #link: IrqLine | undefined;
  readonly #mergeable: boolean;
  /** Whether frames may come with a checksum to complete, and to be cut into segments. */
  readonly #checksums: boolean;
  readonly #tso4: boolean;
  readonly #tso6: boolean;
  #toldOfRequests = false;
  readonly #skew: number;
  readonly #maxFrameBytes: number;
  /** All memory of the pool, the headroom of its first entry included. */
  readonly #bytes: Uint8Array;

  /**
   * @param queue Which queue, and its memory.
   * @param bus Where the device is notified.
   * @param renew Starts the ring afresh, and the other one of the pair too unless another isolate uses it.
   */
  constructor(queue: LocalQueue, bus: VirtioQueueBus, renew: () => void) {
    super(queue);
    this.#renew = renew;
    const features = featuresOf(queue);
    this.#queue = queue;
    this.bus = bus;
    this.virtqueue = 2 * queue.index;
    this.views = virtqueueViews(queue, "rx");
    this.#line = new IrqLine(queue.irqFd);
    this.#link = queue.linkFd === undefined
      ? undefined
      : new IrqLine(queue.linkFd);
    this.headerBytes = headerBytes(features);
    this.firstHeader = firstHeaderWord(this.headerBytes);
    this.#skew = headerSkew(this.headerBytes);
    this.#mergeable = accepts(features, "mergeable");
    this.hashReport = accepts(features, "hash-report");
    this.inOrder = accepts(features, "in-order");
    this.eventIndex = accepts(features, "event-index");
    this.publishAt = Math.min(SHOW_AT, this.depth >> 2);
    const { entrySize } = this.pool;
    this.#bytes = new Uint8Array(this.pool.u8.buffer);
    // The bytes of a frame's later buffers must fit their entries after they were moved up by a header.
    this.bufferBytes = this.#mergeable
      ? entrySize
      : entrySize + this.headerBytes;
    this.buffersMask = this.#mergeable ? ~0 << NetHeader.BUFFERS_SHIFT : 0;
    this.oneBuffer = this.#mergeable ? 1 << NetHeader.BUFFERS_SHIFT : 0;
    // The fast path reads headers word by word. Where they are not aligned, every packet takes the slow path.
    if (this.#skew !== 0) this.oneBuffer = UNREAD;
    this.#checksums = accepts(features, "guest-checksum");
    this.dataValid = this.#checksums ? NetHeader.DATA_VALID : 0;
    this.#tso4 = accepts(features, "guest-tso4");
    this.#tso6 = accepts(features, "guest-tso6");
    const merges = this.#tso4 || this.#tso6;
    this.#maxFrameBytes = VLAN_ALLOWANCE +
      (merges ? LARGEST_MERGED : queue.config.maxFrameSize);
  }

  /**
   * Takes used buffers and refills the ring. Returns the number of packets; where that is 0, {@linkcode looked} says
   * whether there were parts of one.
   */
  protected abstract takeUsed(handles: Uint32Array): number;
  /** Fills holes, the oldest first, as far as the pool goes. Returns how many. */
  protected abstract fillHoles(): number;
  /** Shows the device what it has not seen, and notifies it if it asks for that. */
  protected abstract publish(): void;
  /** Buffers that the device was not told of. */
  protected abstract get unpublished(): number;
  /** Asks for an interrupt with the next used buffer, or for none. */
  protected abstract setInterrupt(wanted: boolean): void;
  /** True when the device has used a buffer that was not taken yet. */
  protected abstract get arrived(): boolean;

  /** Puts the ring into its first state, full as far as the pool goes. What it held is forgotten, not freed. */
  resetRing(): void {
    resetRxRing(this.#queue);
    if (this.pool.available === 0) {
      throw new PoolError(`the pool of queue ${this.index} is empty`);
    }
    this.fillHoles();
    this.publish();
  }

  protected override pollRing(batch: Batch): number {
    const { words } = this.control;
    use(words, State.RxUser);
    if (words[State.Epoch] !== words[State.RxRenewed]) {
      this.#renew();
      this.fillHoles();
      this.publish();
      return 0;
    }
    if (words[State.Fault] !== 0) throw faultError(words);
    if (words[Word.RxHoles] > 0) this.fillHoles();
    let count = this.takeUsed(batch.handles);
    // Nothing but parts of a long frame: its end may have arrived already. A device that is faster than we are could
    // go on so for ever.
    for (let parts = 0; count === 0 && this.looked > 0;) {
      parts += this.looked;
      if (parts > this.depth) break;
      count = this.takeUsed(batch.handles);
    }
    if (count === 0) {
      if (words[State.Fault] !== 0) throw faultError(words);
      if (this.unpublished > 0) this.publish();
      return 0;
    }
    if (this.unpublished >= this.publishAt) this.publish();
    // It has fired, or is about to.
    if (words[State.RxAwake] !== 0) this.maskIrq();
    return count;
  }

  protected override unmaskIrq(): void {
    const { words } = this.control;
    if (this.bus.unmaskInterrupt()) this.#link?.raise();
    // The caller may wait now. The device must know of all buffers before that, or it has none to wake it with.
    if (this.unpublished > 0 && this.holding) this.publish();
    words[State.RxAwake] = 1;
    this.setInterrupt(true);
    if (!this.arrived) return;
    this.maskIrq();
    this.#line.raise();
  }

  /** Asks for no more interrupts. */
  maskIrq(): void {
    this.control.words[State.RxAwake] = 0;
    this.setInterrupt(false);
  }

  /** Records what the device did wrong. */
  protected fail(code: FaultCode, value: number, limit: number): typeof FAULTY {
    recordFault(this.control.words, code, this.virtqueue, value, limit);
    return FAULTY;
  }

  /** Fills holes after `taken` buffers became some, and counts those for which the pool had nothing. */
  protected refill(taken: number): void {
    const filled = this.fillHoles();
    if (filled >= taken) return;
    this.counters.add("rxNoBuffer", taken - filled);
    this.pool.countExhausted();
  }

  /**
   * A used buffer that is not a whole and plain frame. Returns the frame that it completes, {@linkcode NO_FRAME} or
   * {@linkcode FAULTY}. The buffer is the frame's, or was freed, but where the device did wrong.
   * @param written What the device says that it wrote.
   */
  protected takePart(handle: Handle, written: number): Handle {
    const { words } = this.control;
    if (written === 0 || written > this.bufferBytes) {
      return this.fail(Fault.Length, written, this.bufferBytes);
    }
    return words[State.FrameLeft] === 0
      ? this.#takeFirst(handle, written)
      : this.#takeNext(handle, written);
  }

  #takeFirst(handle: Handle, written: number): Handle {
    const { words } = this.control;
    const { pool } = this;
    const index = handle & INDEX_MASK;
    if (written < this.headerBytes) {
      return this.fail(Fault.Length, written, this.bufferBytes);
    }
    // The device could change it while it is looked at: each bit is read once.
    const at = index * (pool.stride >>> 2) + this.firstHeader;
    const { words: memory } = pool;
    const skew = this.#skew;
    const flags = readHeaderWord(memory, at, NetHeader.FLAGS_WORD, skew);
    const sizes = readHeaderWord(memory, at, NetHeader.SIZES_WORD, skew);
    const last = readHeaderWord(memory, at, NetHeader.BUFFERS_WORD, skew);
    const buffers = this.#mergeable ? last >>> NetHeader.BUFFERS_SHIFT : 1;
    if (buffers === 0 || buffers > this.depth) {
      return this.fail(Fault.Buffers, buffers, this.depth);
    }
    const size = written - this.headerBytes;
    pool.lengths[index] = size;
    words[State.FrameLeft] = buffers - 1;
    words[State.FrameBytes] = size;
    if (!this.#describe(index, size, flags, sizes, last)) {
      return this.#drop(handle);
    }
    if (this.hashReport) this.#noteHash(index, at);
    words[State.FrameTail] = handle;
    if (buffers > 1) {
      words[State.FrameHead] = handle;
      return NO_FRAME;
    }
    this.#fulfil(handle);
    this.counters.add("rxBytes", size);
    return handle;
  }

  #takeNext(handle: Handle, written: number): Handle {
    const { words } = this.control;
    const { pool } = this;
    const index = handle & INDEX_MASK;
    const head = words[State.FrameHead];
    const total = words[State.FrameBytes] + written;
    words[State.FrameLeft]--;
    words[State.FrameBytes] = total;
    if (head === 0 || total > this.#maxFrameBytes) return this.#drop(handle);
    const start = index * pool.stride;
    const from = start - this.headerBytes + pool.u8.byteOffset;
    this.#bytes.copyWithin(
      start + pool.u8.byteOffset,
      from,
      from + written,
    );
    pool.lengths[index] = written;
    pool.flags[index] = 0;
    pool.nextSegments[words[State.FrameTail] & INDEX_MASK] = handle;
    words[State.FrameTail] = handle;
    if (words[State.FrameLeft] > 0) return NO_FRAME;
    words[State.FrameHead] = 0;
    this.#fulfil(head);
    this.counters.add("rxBytes", total);
    return head;
  }

  /**
   * Completes the checksum of a frame that came with a request although that was not agreed on. Its user does not look for
   * requests then, and would pass on a wrong checksum.
   */
  #fulfil(handle: Handle): void {
    const index = handle & INDEX_MASK;
    const request = this.pool.offloads[index];
    if (request === 0 || this.#checksums) return;
    completeChecksum(handle, request);
    this.pool.offloads[index] = 0;
    if (this.#toldOfRequests) return;
    this.#toldOfRequests = true;
    log(
      "warn",
      `queue ${this.index}`,
      "the device leaves checksums open that it has to complete (VIRTIO_NET_F_GUEST_CSUM was not agreed on): the driver completes them",
    );
  }

  /** Frees what there is of a frame, counts it once, and remembers to throw the rest away. */
  #drop(handle: Handle): typeof NO_FRAME {
    const { words } = this.control;
    const head = words[State.FrameHead];
    words[State.FrameHead] = 0;
    if (head !== 0) Mempool.freeChain(head);
    this.pool.free(handle);
    if (words[State.FrameBytes] >= 0) this.counters.add("rxErrors", 1);
    words[State.FrameBytes] = DROPPED;
    return NO_FRAME;
  }

  /** Takes over what the header says of a frame. False where it makes no sense. */
  #describe(
    index: number,
    size: number,
    flags: number,
    sizes: number,
    last: number,
  ): boolean {
    const { pool } = this;
    const type = flags & NetHeader.GSO_TYPE;
    let request = 0;
    if ((flags & NetHeader.NEEDS_CSUM) !== 0) {
      const start = sizes >>> NetHeader.CSUM_START_SHIFT;
      const offset = last & 0xffff;
      const sound = start >= ETHERNET_HEADER_LENGTH &&
        offset <= MAX_CSUM_OFFSET && start + offset + CSUM_BYTES <= size;
      if (!sound) return false;
      request = start | (offset << CSUM_OFFSET_SHIFT);
      pool.segmentSizes[index] = 0;
    }
    if (type !== 0) {
      const segment = sizes & 0xffff;
      const known = type === NetHeader.GSO_TCPV4 ||
        type === NetHeader.GSO_TCPV6;
      if (!known || segment === 0) return false;
      // Where this was not agreed on, the frame is no longer than any other, and is left in one piece.
      const isAgreed = type === NetHeader.GSO_TCPV4 ? this.#tso4 : this.#tso6;
      if (isAgreed) pool.segmentSizes[index] = segment;
    }
    pool.offloads[index] = request;
    pool.flags[index] = (flags & this.dataValid) !== 0
      ? PacketFlag.L4ChecksumGood
      : 0;
    return size > 0;
  }

  #noteHash(index: number, at: number): void {
    const { pool } = this;
    if ((pool.words[at + NetHeader.HASH_TYPE_WORD] & 0xffff) === 0) return;
    pool.rssHashes[index] = pool.words[at + NetHeader.HASH_WORD];
    pool.flags[index] |= PacketFlag.RssHash;
  }
}
