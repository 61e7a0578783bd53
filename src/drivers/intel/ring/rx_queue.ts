/**
 * The receive queue of all Intel families: advanced one-buffer descriptors (82599 section 7.1, 82576 section 7.1), and older
 * formats that have the same bits in other places.
 *
 * Descriptors go round: the card owns those from `RxNext` up to its tail, the ones before `RxNext` that could not
 * be refilled because the pool was empty are holes, and the tail stands on the last refilled one, which the card
 * does not touch. So the tail never catches up with the head, and up to depth − 1 holes are survived.
 *
 * @module
 */
import type { Batch } from "../../../memory/batch.ts";
import type { Registers } from "../../../bus/bus.ts";
import { loadBarrier, storeBarrier, WEAK_ORDER } from "../../../dma/barrier.ts";
import { PoolError } from "../../../errors.ts";
import { type Handle, INDEX_MASK, Mempool } from "../../../memory/mempool.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import {
  BaseRxQueue,
  type FastPath,
  type LocalQueue,
} from "../../queue/rx_queue.ts";
import { Word } from "../../queue/control_block.ts";
import {
  ADVANCED_RX,
  DESCRIPTOR_WORDS,
  Rx,
  type RxErrors,
  type RxLayout,
} from "./descriptors.ts";
import { rxFastPath } from "./rx_fast_path.ts";
import { IntelWord } from "./words.ts";

/** Where a family has what receiving needs. */
export interface RxOffsets {
  /** Byte offset of the queue's tail register. */
  readonly tail: number;
  /** Byte offset of the register whose ones unmask interrupts. */
  readonly unmask: number;
  /** The queue's bit there. */
  readonly unmaskBit: number;
  /** Its error bits. */
  readonly errors: RxErrors;
  /** Where its descriptors have the rest. Default: {@linkcode ADVANCED_RX}. */
  readonly layout?: RxLayout;
  /** What the card may write into one buffer. Default: the whole KiB of an entry. */
  readonly bufferBytes?: number;
}

/** As the head of a chain: the rest of the frame is thrown away. */
const DROPPING = -1;

/** Two VLAN tags, by which a frame may exceed the largest (82599 8.2.3.22.13). */
const VLAN_ALLOWANCE = 8;

/**
 * Checksum verdicts of a family, by {@linkcode verdictIndex}. Nothing is said of an L4 checksum that is reported as
 * wrong in a packet of the unreliable type.
 */
function verdictsOf({ l4, ip, unreliable }: RxErrors): Uint8Array {
  return Uint8Array.from({ length: 1 << 7 }, (_, index) => {
    const errors = index >>> 2 << 29;
    const type = index >>> 5 << 9;
    let flags = 0;
    if ((index & 2) !== 0) {
      flags |= (errors & ip) !== 0
        ? PacketFlag.IpChecksumBad
        : PacketFlag.IpChecksumGood;
    }
    if ((index & 1) === 0) return flags;
    if ((errors & l4) === 0) return flags | PacketFlag.L4ChecksumGood;
    return (type & unreliable) !== 0 ? flags : flags | PacketFlag.L4ChecksumBad;
  });
}

/**
 * The index of a checksum verdict in a table of 128: three masks and shifts instead of a branch per bit. Bits 0 and 1
 * are the status bits L4CS and IPCS; 2 to 4 the error bits 29 to 31; 5 and 6 say UDP and SCTP.
 */
function verdictIndex(kind: number, status: number, shift: number): number {
  return ((status >>> 5) & 3) | ((status >>> shift) & 28) | ((kind >>> 4) & 96);
}

/**
 * Makes the function that says what a packet's flags are, by word 0 and the status of its last descriptor.
 *
 * @param layout Where a family's descriptors have what it looks at.
 * @param errors Its error bits.
 * @param vlanMask The status bit of a stripped VLAN tag; 0 when tags are left alone.
 */
function flagsBy(
  { hashTypes, unchecked, errorShift }: RxLayout,
  errors: RxErrors,
  vlanMask: number,
): (kind: number, status: number) => number {
  const verdicts = verdictsOf(errors);
  return (kind, status) => {
    let flags = (status & unchecked) === 0
      ? verdicts[verdictIndex(kind, status, errorShift)]
      : 0;
    const rssType = kind & hashTypes;
    if (rssType !== 0 && rssType !== Rx.RSS_TYPE_FDIR) {
      flags |= PacketFlag.RssHash;
    }
    if ((status & vlanMask) !== 0) flags |= PacketFlag.VlanStripped;
    return flags;
  };
}

/** The receive half of a queue pair. */
export class IntelRxQueue extends BaseRxQueue {
  readonly #ring: Int32Array;
  readonly #registers: Registers;
  readonly #tailOffset: number;
  readonly #interruptOffset: number;
  readonly #interruptBit: number;
  /** What the card may write into one buffer. */
  readonly #bufferBytes: number;
  readonly #maxFrameBytes: number;
  readonly #layout: RxLayout;
  readonly #errors: RxErrors;
  /** The flags of a packet, by word 0 and the status of its last descriptor. */
  readonly #flagsOf: (kind: number, status: number) => number;

  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   * @param places Where this family has what the queue needs.
   */
  constructor(queue: LocalQueue, registers: Registers, places: RxOffsets) {
    super(queue);
    const { buffer, rxOffset } = queue.rings;
    this.#ring = new Int32Array(
      buffer,
      rxOffset,
      this.depth * DESCRIPTOR_WORDS,
    );
    this.#registers = registers;
    this.#tailOffset = places.tail;
    this.#interruptOffset = places.unmask;
    this.#interruptBit = places.unmaskBit;
    this.#errors = places.errors;
    this.#layout = places.layout ?? ADVANCED_RX;
    this.#bufferBytes = places.bufferBytes ??
      rxBufferKiB(this.pool.entrySize) * 1024;
    this.#maxFrameBytes = queue.config.maxFrameSize + VLAN_ALLOWANCE;
    this.#flagsOf = flagsBy(
      this.#layout,
      places.errors,
      queue.config.vlanStrip ? Rx.VP : 0,
    );
  }

  /** True when the card has finished the next descriptor. */
  protected get arrived(): boolean {
    return this.#countDone(1) > 0;
  }

  /** Not to catch misuse, nor where the processor reorders loads: there every packet is looked at by itself. */
  protected override fastPath(
    token: number,
    onRound: () => void,
  ): FastPath | undefined {
    if (this.pool.debug || WEAK_ORDER) return undefined;
    return rxFastPath({
      ring: this.#ring,
      control: this.control,
      token,
      onRound,
      pool: this.pool,
      counters: this.counters,
      registers: this.#registers,
      tail: this.#tailOffset,
      bufferBytes: this.#bufferBytes,
      errors: this.#errors,
      layout: this.#layout,
      flagsOf: this.#flagsOf,
    });
  }

  protected override get fastPathReady(): boolean {
    const { words } = this.control;
    return (words[Word.RxHoles] | words[IntelWord.ChainHead]) === 0;
  }

  protected override unmaskIrq(): void {
    this.#registers.write32(this.#interruptOffset, this.#interruptBit);
  }

  /** Puts the ring into its first state, full as far as the pool goes. Returns what to write to the tail. */
  resetRing(): number {
    const { words, rxSlots } = this.control;
    rxSlots.fill(0);
    this.#ring.fill(0);
    words[Word.RxNext] = 0;
    words[Word.RxHoles] = this.depth;
    words[IntelWord.ChainHead] = 0;
    words[IntelWord.ChainBytes] = 0;
    if (this.pool.available === 0) {
      throw new PoolError(`the pool of queue ${this.index} is empty`);
    }
    this.#fillHoles();
    return this.#tail();
  }

  protected override pollRing(batch: Batch): number {
    const { words } = this.control;
    if (words[Word.RxHoles] > 0) this.#refillLate();
    const { handles } = batch;
    for (;;) {
      const done = this.#countDone(handles.length);
      if (done === 0) return 0;
      loadBarrier();
      const count = this.#takeEach(handles, done);
      // Nothing but parts of a long frame: its end may have arrived already.
      if (count > 0) return count;
    }
  }

  /** Descriptors from `RxNext` on that the card has finished, of those that it was given. */
  #countDone(limit: number): number {
    const { words } = this.control;
    const ring = this.#ring;
    const end = ring.length;
    const most = Math.min(limit, this.depth - 1 - words[Word.RxHoles]);
    const statusWord = this.#layout.statusWord;
    let at = words[Word.RxNext] * DESCRIPTOR_WORDS + statusWord;
    for (let done = 0; done < most; done++) {
      if ((ring[at] & Rx.DD) === 0) return done;
      at += DESCRIPTOR_WORDS;
      if (at >= end) at = statusWord;
    }
    return most;
  }

  /** Takes the packets of `done` finished descriptors one by one, and refills as many. Returns how many packets. */
  #takeEach(handles: Uint32Array, done: number): number {
    const { words, rxSlots: slots } = this.control;
    let count = 0;
    for (let n = 0; n < done; n++) {
      const next = words[Word.RxNext];
      const head = this.#takeSegment(slots[next], next * DESCRIPTOR_WORDS);
      if (head !== 0) handles[count++] = head;
      slots[next] = 0;
      words[Word.RxNext] = next + 1 === this.depth ? 0 : next + 1;
      words[Word.RxHoles]++;
    }
    this.counters.add("rxPackets", count);
    const filled = this.#fillHoles();
    if (filled < done) this.#countMissing(done - filled);
    if (filled > 0) this.#ringDoorbell();
    return count;
  }

  /**
   * A descriptor of whatever kind: a whole frame, a part of a frame in several buffers, or something damaged or
   * impossible, which is freed and counted once. Returns the head of a frame that became complete, else 0.
   */
  #takeSegment(handle: Handle, at: number): Handle {
    const { words } = this.control;
    const status = this.#ring[at + this.#layout.statusWord];
    const length = this.#ring[at + this.#layout.lengthWord] & Rx.LENGTH;
    const last = (status & Rx.EOP) !== 0;
    const total = words[IntelWord.ChainBytes] + length;
    const head = words[IntelWord.ChainHead];
    const sound = handle !== 0 && head !== DROPPING &&
      (status & this.#errors.damaged) === 0 && length > 0 &&
      length <= this.#bufferBytes &&
      total <= this.#maxFrameBytes;
    if (!sound) {
      this.#drop(handle, head, last);
      return 0;
    }
    const { pool } = this;
    const index = handle & INDEX_MASK;
    pool.lengths[index] = length;
    pool.flags[index] = 0;
    if (head !== 0) {
      pool.nextSegments[words[IntelWord.ChainTail] & INDEX_MASK] = handle;
    }
    words[IntelWord.ChainHead] = last ? 0 : head || handle;
    words[IntelWord.ChainTail] = handle;
    words[IntelWord.ChainBytes] = last ? 0 : total;
    if (!last) return 0;
    const whole = head || handle;
    this.#describeChain(whole & INDEX_MASK, at);
    this.counters.add("rxBytes", total);
    return whole;
  }

  /** What the last descriptor says holds for the whole frame: it goes to the first segment. */
  #describeChain(index: number, at: number): void {
    const { pool } = this;
    const info = this.#ring[at] & this.#layout.kinds;
    const status = this.#ring[at + this.#layout.statusWord];
    const said = this.#flagsOf(info, status);
    if ((said & PacketFlag.RssHash) !== 0) {
      pool.rssHashes[index] = this.#ring[at + 1];
    }
    if ((said & PacketFlag.VlanStripped) !== 0) {
      pool.vlanTags[index] = this.#ring[at + 3] >>> Rx.VLAN_SHIFT;
    }
    pool.flags[index] = said;
  }

  #drop(handle: Handle, head: number, last: boolean): void {
    const { words } = this.control;
    if (head !== DROPPING) this.counters.add("rxErrors", 1);
    words[IntelWord.ChainHead] = last ? 0 : DROPPING;
    words[IntelWord.ChainBytes] = 0;
    if (head > 0) Mempool.freeChain(head);
    if (handle !== 0) this.pool.free(handle);
  }

  #countMissing(descriptors: number): void {
    this.counters.add("rxNoBuffer", descriptors);
    this.pool.countExhausted();
  }

  /** Packets came back to the pool since the last call: the card gets their buffers. */
  #refillLate(): void {
    if (this.pool.available === 0) return;
    if (this.#fillHoles() > 0) this.#ringDoorbell();
  }

  /** Fills holes, the oldest first, as far as the pool goes. Returns how many. */
  #fillHoles(): number {
    const { words, rxSlots } = this.control;
    const { pool, depth } = this;
    const ring = this.#ring;
    const holes = words[Word.RxHoles];
    const count = Math.min(holes, pool.header[0]);
    let fill = (words[Word.RxNext] - holes + depth) % depth;
    for (let n = 0; n < count; n++) {
      const fresh = pool.freeStack[--pool.header[0]];
      const to = fill * DESCRIPTOR_WORDS;
      ring[to] = pool.iovaLow + (fresh & INDEX_MASK) * pool.stride;
      ring[to + 1] = pool.iovaHigh;
      ring[to + 2] = 0;
      ring[to + 3] = 0;
      rxSlots[fill] = fresh;
      if (pool.debug) pool.debugTake(fresh);
      fill = (fill + 1) % depth;
    }
    words[Word.RxHoles] = holes - count;
    return count;
  }

  /** The last refilled descriptor: the card works on those before it. */
  #tail(): number {
    const { words } = this.control;
    const { depth } = this;
    return (words[Word.RxNext] - words[Word.RxHoles] - 1 + 2 * depth) % depth;
  }

  #ringDoorbell(): void {
    storeBarrier();
    this.#registers.write32(this.#tailOffset, this.#tail());
  }
}

/** SRRCTL.BSIZEPACKET for an entry: whole KiB, never more than the entry has (82599 8.2.3.8.7). */
export function rxBufferKiB(entrySize: number): number {
  return Math.floor(entrySize / 1024);
}
