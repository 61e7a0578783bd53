/**
 * The transmit path, section 7.2: from the rings through the offloads to the
 * wire.
 *
 * @module
 */

import {
  DMATXCTL_TE,
  DMATXCTL_VT_SHIFT,
  HLREG0_LPBK,
  HLREG0_TXPADEN,
  SECTXCTRL_TX_DIS,
  TDWBAL_ADDRESS_MASK,
  TDWBAL_HEAD_WB_EN,
  TXC_IPLEN_MASK,
  TXC_IPV4,
  TXC_L4T_MASK,
  TXC_L4T_SCTP,
  TXC_L4T_SHIFT,
  TXC_L4T_TCP,
  TXC_L4T_UDP,
  TXC_MACLEN_MASK,
  TXC_MACLEN_SHIFT,
  TXC_VLAN_SHIFT,
  TXD_DD,
  TXD_DEXT,
  TXD_EOP,
  TXD_IFCS,
  TXD_INDEX_MASK,
  TXD_INDEX_SHIFT,
  TXD_IPSEC,
  TXD_IXSM,
  TXD_LEGACY_CSO_SHIFT,
  TXD_LEGACY_CSS_SHIFT,
  TXD_LEGACY_IC,
  TXD_LEGACY_VLAN_SHIFT,
  TXD_LENGTH_MASK,
  TXD_PAYLEN_SHIFT,
  TXD_RESERVED,
  TXD_RS,
  TXD_STATUS_MASK,
  TXD_TSE,
  TXD_TXSM,
  TXD_TYPE_CONTEXT,
  TXD_TYPE_DATA,
  TXD_TYPE_MASK,
  TXD_TYPE_SHIFT,
  TXD_VLE,
  TXDCTL_ENABLE,
  TXDCTL_SWFLSH,
  TXDCTL_WTHRESH_MASK,
  TXDCTL_WTHRESH_SHIFT,
} from "../registers/bits.ts";
import { crc32c, fold, sumBytes } from "../checksum.ts";
import { copyFromHost } from "../copy.ts";
import type { Core } from "../core.ts";
import { Frame, MINIMUM_FRAME } from "../frame.ts";
import type { Interrupts } from "../host/interrupts.ts";
import { publish } from "../memory_order.ts";
import { DESCRIPTOR_WORDS_SHIFT, Ring } from "../ring.ts";
import { Segmenter } from "./segment.ts";
import {
  BROADCAST,
  MULTICAST,
  type Statistics,
  UNICAST,
} from "../host/statistics.ts";
import type { Wire } from "../wires/wire.ts";

/** Transmit queues of the 82599 and X540. */
export const TX_QUEUES = 128;
const CONTEXTS = 2;
const CONTEXT_WORDS = 4;
/** The longest frame, 15.5 KB with FCS (section 1.3), here without. */
const LONGEST_FRAME = 15872 - 4;
/** Descriptors that one frame may use (7.2.1.1). */
const MOST_DESCRIPTORS = 40;
const ADDRESS_BYTES = 12;
const TAG_LENGTH = 4;
const UDP_CHECKSUM_OFFSET = 6;
const TCP_CHECKSUM_OFFSET = 16;
const SCTP_CHECKSUM_OFFSET = 8;
const IPV4_CHECKSUM_OFFSET = 10;
const ALL_ONES = 0xffff;
const NO_FRAME = -1;

/** A transmit queue: its ring, contexts and write-backs that wait. */
export class TxQueue extends Ring {
  wthresh = 0;
  /** The two context descriptors, as words, and which were given. */
  readonly contexts = new Uint32Array(CONTEXTS * CONTEXT_WORDS);
  contextsGiven = 0;
  /** Head write-back: address, and whether it is on (7.2.3.5.2). */
  headLow = 0;
  headHigh = 0;
  headWriteBack = false;
  /** Descriptors with RS whose DD is not written yet, and the oldest. */
  waiting = 0;
  waitingFrom = 0;
  /** The chain without an end was reported already. */
  endlessReported = false;
}

/** The transmit queues of one card. */
export function makeTxQueues(core: Core): TxQueue[] {
  return Array.from(
    { length: TX_QUEUES },
    (_, n) => new TxQueue(core, n, "transmit"),
  );
}

/** Everything between the transmit rings and the wire. */
export class Transmitter {
  readonly #core: Core;
  readonly #statistics: Statistics;
  readonly #interrupts: Interrupts;
  /** Frames go here in place of the wire while HLREG0.LPBK is set. */
  readonly #loopBack: (frame: Frame) => void;
  readonly #frame = new Frame();
  #segmenter: Segmenter | null = null;
  /** Where frames go in the step that is under way. */
  #wire: Wire | null = null;
  /** Queues that are enabled, so that a step need not look at all of them. */
  #active: TxQueue[] = [];
  #next = 0;
  #open = false;
  #loopback = false;
  #pad = true;
  /** The latest frame's first descriptor, where most fields are valid. */
  #firstCommand = 0;
  #firstOptions = 0;

  constructor(
    core: Core,
    readonly queues: readonly TxQueue[],
    statistics: Statistics,
    interrupts: Interrupts,
    loopBack: (frame: Frame) => void,
  ) {
    this.#core = core;
    this.#statistics = statistics;
    this.#interrupts = interrupts;
    this.#loopBack = loopBack;
    this.#bind();
    this.configure();
  }

  /** Back to the state after a reset. */
  reset(): void {
    for (const queue of this.queues) {
      queue.reset();
      queue.contextsGiven = 0;
      queue.waiting = 0;
      queue.headWriteBack = false;
      queue.wthresh = 0;
      queue.endlessReported = false;
    }
    this.#active = [];
    this.configure();
  }

  /** Takes over the global registers that it depends on. */
  configure(): void {
    const { registers } = this.#core;
    const hlreg0 = registers.get("HLREG0");
    const enabled = (registers.get("DMATXCTL") & DMATXCTL_TE) !== 0;
    const halted = (registers.get("SECTXCTRL") & SECTXCTRL_TX_DIS) !== 0;
    this.#open = enabled && !halted;
    this.#loopback = (hlreg0 & HLREG0_LPBK) !== 0;
    this.#pad = (hlreg0 & HLREG0_TXPADEN) !== 0;
  }

  /** When the link partner's pause is over; Infinity when there is none. */
  deadline(): number {
    const { now, pausedUntil } = this.#core;
    return pausedUntil > now ? pausedUntil : Infinity;
  }

  /** Queues were switched: looks again at which ones run. */
  listActive(): void {
    this.#active = this.queues.filter((queue) => queue.enabled);
  }

  /** Sends up to `budget` frames, one queue after the other; returns how many. */
  step(wire: Wire, budget: number, linkUp: boolean): number {
    const active = this.#active;
    const stopped = !this.#open || this.#core.gioDisabled;
    if (stopped || active.length === 0) return 0;
    if (!linkUp && !this.#loopback) return 0;
    if (this.#core.now < this.#core.pausedUntil) return 0;
    this.#wire = wire;
    let moved = 0;
    let idle = 0;
    while (moved < budget && idle < active.length) {
      if (this.#next >= active.length) this.#next = 0;
      const queue = active[this.#next++];
      const share = Math.ceil(budget / active.length);
      const sent = this.#sendFrom(queue, Math.min(share, budget - moved));
      moved += sent;
      idle = sent > 0 ? 0 : idle + 1;
    }
    if (moved === 0) {
      for (const queue of active) {
        this.#writeBackWaiting(queue);
      }
    }
    return moved;
  }

  #sendFrom(queue: TxQueue, budget: number): number {
    if (queue.available === 0) return 0;
    if (queue.stale) queue.refresh();
    if (!queue.usable) return 0;
    const frame = this.#frame;
    let sent = 0;
    while (sent < budget && queue.available > 0) {
      const length = this.#gather(queue);
      if (length === NO_FRAME) break;
      sent++;
      if (length === 0) continue;
      frame.length = length;
      this.#emit(frame);
    }
    return sent;
  }

  #emit(frame: Frame): void {
    if (this.#loopback) this.#loopBack(frame);
    else this.#wire!.transmit(frame);
  }

  /**
   * Takes the next frame's descriptors from the ring, its bytes from memory.
   *
   * @returns its length, 0 when it was spoilt and is not sent (or was no
   * frame), {@linkcode NO_FRAME} when its end is not in the ring yet
   */
  #gather(queue: TxQueue): number {
    const { words, first } = queue;
    const at = first + (queue.head << DESCRIPTOR_WORDS_SHIFT);
    const command = words[at + 2] | 0;
    const options = words[at + 3] | 0;
    const type = (command >>> TXD_TYPE_SHIFT) & TXD_TYPE_MASK;
    const extended = (command & TXD_DEXT) !== 0;
    if (extended && type === TXD_TYPE_CONTEXT) return this.#takeContext(queue);
    const chain = (command & TXD_EOP) !== 0 ? 1 : this.#chainLength(queue);
    if (chain === 0) return NO_FRAME;
    this.#firstCommand = command;
    this.#firstOptions = options;
    if (extended && (command & TXD_TSE) !== 0) {
      this.#sendSegments(queue, chain);
      return 0;
    }
    const length = this.#fetch(queue, chain, extended, this.#frame);
    if (length === 0) return 0;
    const sound = extended
      ? this.#checkAdvanced(queue, length)
      : this.#checkLegacy(queue);
    if (!sound) return 0;
    return this.#finish(queue, length, extended);
  }

  /** How many descriptors the frame at the head has; 0 when not all there. */
  #chainLength(queue: TxQueue): number {
    const { words, first, count, available } = queue;
    let index = queue.head;
    for (let n = 1; n <= available; n++) {
      const command = words[first + (index << DESCRIPTOR_WORDS_SHIFT) + 2];
      if ((command & TXD_EOP) !== 0) return n;
      index = index + 1 === count ? 0 : index + 1;
    }
    if (available === count - 1 && !queue.endlessReported) {
      queue.endlessReported = true;
      this.#complain(queue, "no descriptor of a full ring has EOP (7.2.3.2)");
    }
    return 0;
  }

  /** Collects `chain` descriptors' data; 0 when a piece was out of reach. */
  #fetch(
    queue: TxQueue,
    chain: number,
    extended: boolean,
    frame: Frame,
  ): number {
    const { words, first, count } = queue;
    const { dma } = this.#core;
    const capacity = frame.u8.length;
    let length = 0;
    let whole = true;
    if (chain > MOST_DESCRIPTORS && frame === this.#frame) {
      this.#complain(queue, `a frame of ${chain} descriptors (7.2.1.1: 40)`);
    }
    for (let n = 1; n <= chain; n++) {
      const head = queue.head;
      const at = first + (head << DESCRIPTOR_WORDS_SHIFT);
      // As signed numbers, which V8 never has to allocate.
      const low = words[at] | 0;
      const high = words[at + 1] | 0;
      const command = words[at + 2] | 0;
      const options = words[at + 3] | 0;
      this.#checkDescriptor(queue, command, options, n < chain, extended);
      const piece = command & TXD_LENGTH_MASK;
      if (length + piece > capacity) whole = false;
      else if (piece > 0 && dma.translate(low, high, piece)) {
        copyFromHost(dma, frame, length, piece);
      } else if (piece > 0) {
        whole = false;
        const what =
          `transmit queue ${queue.index}: data of descriptor ${head}`;
        this.#core.reach(low, high, piece, what);
      }
      length += piece;
      queue.head = head + 1 === count ? 0 : head + 1;
      if ((command & TXD_RS) !== 0) this.#report(queue, head);
      else if (n === chain && queue.wthresh > 0) {
        this.#complain(
          queue,
          "WTHRESH above 0 and a frame without RS (7.2.3.5.1)",
        );
      }
    }
    return whole ? length : 0;
  }

  /** Section 7.2.4: one large send leaves as many frames. */
  #sendSegments(queue: TxQueue, chain: number): void {
    const segmenter = this.#segmenter ??= new Segmenter(this.#core);
    const length = this.#fetch(queue, chain, true, segmenter.frame);
    const at = this.#contextAt(queue);
    if (length === 0 || at < 0) return;
    segmenter.frame.length = length;
    const problem = segmenter.begin(queue.contexts, at, this.#firstOptions);
    if (problem !== "") {
      this.#complain(queue, problem);
      return;
    }
    const payload = length - segmenter.headers;
    const inserts = (this.#firstCommand & TXD_IFCS) !== 0;
    this.#checkPayload(queue, payload);
    if (!this.#checkFrame(queue, segmenter.longest, inserts)) return;
    const frame = this.#frame;
    while (segmenter.next(frame)) {
      this.#dress(queue, true);
      this.#emit(frame);
    }
  }

  /** Rules for every data descriptor, sections 7.2.3.2.2 and 7.2.3.2.4. */
  #checkDescriptor(
    queue: TxQueue,
    command: number,
    options: number,
    more: boolean,
    extended: boolean,
  ): void {
    const isExtended = (command & TXD_DEXT) !== 0;
    const type = (command >>> TXD_TYPE_SHIFT) & TXD_TYPE_MASK;
    if ((options & TXD_STATUS_MASK) !== 0) {
      this.#complain(queue, "a descriptor was posted with DD set");
    }
    if (isExtended !== extended || (extended && type !== TXD_TYPE_DATA)) {
      this.#complain(queue, "a frame mixes descriptor types");
    }
    if (extended && (command & TXD_RESERVED) !== 0) {
      this.#complain(queue, "a descriptor has reserved bits set");
    }
    if ((command & TXD_LENGTH_MASK) === 0) {
      this.#complain(queue, "a data descriptor has no length");
    }
    if (more && (command & TXD_RS) !== 0) {
      this.#complain(queue, "RS on a descriptor without EOP");
    }
  }

  /** Rules for the first descriptor of a frame, section 7.2.3.2.4. */
  #checkAdvanced(queue: TxQueue, length: number): boolean {
    if ((this.#firstOptions & TXD_IPSEC) !== 0) {
      this.#complain(queue, "IPsec is not modelled");
      return false;
    }
    this.#checkPayload(queue, length);
    const inserts = (this.#firstCommand & TXD_IFCS) !== 0;
    return this.#checkFrame(queue, length, inserts);
  }

  #checkPayload(queue: TxQueue, length: number): void {
    const payload = this.#firstOptions >>> TXD_PAYLEN_SHIFT;
    if (payload === length) return;
    this.#complain(
      queue,
      `PAYLEN is ${payload}, the descriptors hold ${length} bytes`,
    );
  }

  #checkLegacy(queue: TxQueue): boolean {
    const inserts = (this.#firstCommand & TXD_IFCS) !== 0;
    return this.#checkFrame(queue, this.#frame.length, inserts);
  }

  #checkFrame(queue: TxQueue, length: number, insertsFcs: boolean): boolean {
    if (!insertsFcs) {
      this.#complain(queue, "IFCS is clear: the frame would go without an FCS");
      return false;
    }
    if (length > LONGEST_FRAME) {
      this.#complain(queue, `a frame of ${length} bytes is over 15.5 KB`);
      return false;
    }
    if (length < MINIMUM_FRAME && !this.#pad) {
      this.#complain(
        queue,
        `a frame of ${length} bytes with HLREG0.TXPADEN clear (8.2.3.22.8)`,
      );
    }
    return true;
  }

  /** Offloads and what all frames get; returns the length on the wire. */
  #finish(queue: TxQueue, length: number, extended: boolean): number {
    const frame = this.#frame;
    const offloads = this.#firstOptions & (TXD_IXSM | TXD_TXSM);
    frame.length = length;
    if (extended && offloads !== 0) this.#insertChecksums(queue);
    else if (!extended && (this.#firstCommand & TXD_LEGACY_IC) !== 0) {
      this.#insertLegacyChecksum();
    }
    this.#dress(queue, extended);
    return frame.length;
  }

  /** Tag, padding and counting. */
  #dress(queue: TxQueue, extended: boolean): void {
    const frame = this.#frame;
    if ((this.#firstCommand & TXD_VLE) !== 0) this.#insertTag(queue, extended);
    if (this.#pad && frame.length < MINIMUM_FRAME) frame.pad();
    this.#statistics.transmitted(queue.index, frame.length, addressing(frame));
  }

  /** Section 7.2.5: software left the pseudo header's sum in the field. */
  #insertChecksums(queue: TxQueue): void {
    const at = this.#contextAt(queue);
    if (at < 0) return;
    const { u8, u32, length } = this.#frame;
    const lengths = queue.contexts[at];
    const command = queue.contexts[at + 2];
    const ip = (lengths >>> TXC_MACLEN_SHIFT) & TXC_MACLEN_MASK;
    const l4 = ip + (lengths & TXC_IPLEN_MASK);
    const type = (command >>> TXC_L4T_SHIFT) & TXC_L4T_MASK;
    if ((ip & 1) !== 0 || (l4 & 1) !== 0 || l4 > length) {
      this.#complain(queue, "a context's header lengths do not fit the frame");
      return;
    }
    if ((this.#firstOptions & TXD_IXSM) !== 0 && (command & TXC_IPV4) !== 0) {
      const field = ip + IPV4_CHECKSUM_OFFSET;
      u8[field] = u8[field + 1] = 0;
      store16(u8, field, ~fold(sumBytes(u32, u8, ip, l4)));
    }
    if ((this.#firstOptions & TXD_TXSM) === 0) return;
    if (type === TXC_L4T_SCTP) {
      this.#insertSctpChecksum(l4);
      return;
    }
    if (type !== TXC_L4T_TCP && type !== TXC_L4T_UDP) {
      this.#complain(queue, `L4T is ${type}, which is no protocol`);
      return;
    }
    const sum = ~fold(sumBytes(u32, u8, l4, length)) & ALL_ONES;
    const field = l4 +
      (type === TXC_L4T_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
    store16(u8, field, sum === 0 && type === TXC_L4T_UDP ? ALL_ONES : sum);
  }

  /** Section 7.2.5.3: the field, which software leaves zero, is little endian. */
  #insertSctpChecksum(l4: number): void {
    const { u8, length } = this.#frame;
    const at = l4 + SCTP_CHECKSUM_OFFSET;
    const crc = crc32c(u8, l4, length);
    store16(u8, at, crc);
    store16(u8, at + 2, crc >>> 16);
  }

  /** Section 7.2.3.2.2: CSS is where the sum starts, CSO where it goes. */
  #insertLegacyChecksum(): void {
    const { u8, u32, length } = this.#frame;
    const start = (this.#firstOptions >>> TXD_LEGACY_CSS_SHIFT) & 0xff;
    const field = (this.#firstCommand >>> TXD_LEGACY_CSO_SHIFT) & 0xff;
    if ((start & 1) !== 0 || start >= length || field + 2 > length) return;
    store16(u8, field, ~fold(sumBytes(u32, u8, start, length)));
  }

  #insertTag(queue: TxQueue, extended: boolean): void {
    const frame = this.#frame;
    let tag = this.#firstOptions >>> TXD_LEGACY_VLAN_SHIFT;
    if (extended) {
      const at = this.#contextAt(queue);
      if (at < 0) return;
      tag = queue.contexts[at] >>> TXC_VLAN_SHIFT;
    }
    const { u8 } = frame;
    u8.copyWithin(ADDRESS_BYTES + TAG_LENGTH, ADDRESS_BYTES, frame.length);
    const type = this.#core.registers.get("DMATXCTL") >>> DMATXCTL_VT_SHIFT;
    u8[ADDRESS_BYTES] = type >>> 8;
    u8[ADDRESS_BYTES + 1] = type;
    u8[ADDRESS_BYTES + 2] = tag >>> 8;
    u8[ADDRESS_BYTES + 3] = tag;
    frame.length += TAG_LENGTH;
  }

  /** Where the context that the first descriptor names is, or -1. */
  #contextAt(queue: TxQueue): number {
    const index = (this.#firstOptions >>> TXD_INDEX_SHIFT) & TXD_INDEX_MASK;
    if (index < CONTEXTS && (queue.contextsGiven & (1 << index)) !== 0) {
      return index * CONTEXT_WORDS;
    }
    this.#complain(queue, `an offload uses context ${index}, never given`);
    return -1;
  }

  /** Section 7.2.3.2.3. */
  #takeContext(queue: TxQueue): number {
    const { words, first, head, count } = queue;
    const at = first + (head << DESCRIPTOR_WORDS_SHIFT);
    const index = (words[at + 3] >>> TXD_INDEX_SHIFT) & TXD_INDEX_MASK;
    if (index >= CONTEXTS) {
      this.#complain(queue, `context ${index}: a queue has two`);
    } else {
      for (let i = 0; i < CONTEXT_WORDS; i++) {
        queue.contexts[index * CONTEXT_WORDS + i] = words[at + i];
      }
      queue.contextsGiven |= 1 << index;
    }
    queue.head = head + 1 === count ? 0 : head + 1;
    if ((words[at + 2] & TXD_RS) !== 0) this.#report(queue, head);
    return 0;
  }

  /** A descriptor with RS is done, section 7.2.3.5. */
  #report(queue: TxQueue, index: number): void {
    if (queue.wthresh > 1) {
      if (queue.waiting === 0) queue.waitingFrom = index;
      queue.waiting++;
      if (queue.waiting >= queue.wthresh) this.#writeBackWaiting(queue);
      return;
    }
    if (queue.headWriteBack) this.#writeBackHead(queue);
    else this.#markDone(queue, index);
    this.#interrupts.transmitted(queue.index);
  }

  #markDone(queue: TxQueue, index: number): void {
    const at = queue.first + (index << DESCRIPTOR_WORDS_SHIFT) + 3;
    publish(queue.words, at, queue.words[at] | TXD_DD);
  }

  #writeBackHead(queue: TxQueue): void {
    const { dma } = this.#core;
    const what = `transmit queue ${queue.index}: head write-back`;
    const { headLow, headHigh } = queue;
    if (!this.#core.reachToWrite(headLow, headHigh, 4, what)) return;
    publish(dma.u32, dma.offset >>> 2, queue.head);
  }

  /** Writes back what WTHRESH has held, all at once. */
  #writeBackWaiting(queue: TxQueue): void {
    if (queue.waiting === 0) return;
    const { words, first, count, head } = queue;
    let index = queue.waitingFrom;
    while (index !== head) {
      const at = first + (index << DESCRIPTOR_WORDS_SHIFT);
      if ((words[at + 2] & TXD_RS) !== 0) this.#markDone(queue, index);
      index = index + 1 === count ? 0 : index + 1;
    }
    queue.waiting = 0;
    if (queue.headWriteBack) this.#writeBackHead(queue);
    this.#interrupts.transmitted(queue.index);
  }

  #complain(queue: TxQueue, problem: string): void {
    this.#core.violations.record(
      "descriptor",
      `transmit queue ${queue.index}, head ${queue.head}: ${problem} ` +
        `(7.2.3.2)`,
    );
  }

  #bind(): void {
    const { registers } = this.#core;
    for (const name of ["HLREG0", "DMATXCTL", "SECTXCTRL"] as const) {
      registers.onWrite(name, () => this.configure());
    }
    registers.onWrite("TDBAL", (n, value) => {
      this.queues[n].baseLow = value;
      this.queues[n].forgetView();
    });
    registers.onWrite("TDBAH", (n, value) => {
      this.queues[n].baseHigh = value;
      this.queues[n].forgetView();
    });
    registers.onWrite("TDLEN", (n, value) => this.queues[n].setLength(value));
    registers.onWrite("TDH", (n, value) => {
      this.queues[n].head = value < this.queues[n].count ? value : 0;
    });
    registers.onRead("TDH", (n) => this.queues[n].head);
    registers.onWrite("TDT", (n, value) => this.queues[n].setTail(value));
    registers.onRead("TDT", (n) => this.queues[n].tailWritten);
    registers.onWrite("TXDCTL", (n, value) => {
      const queue = this.queues[n];
      queue.wthresh = (value >>> TXDCTL_WTHRESH_SHIFT) & TXDCTL_WTHRESH_MASK;
      if ((value & TXDCTL_SWFLSH) !== 0) this.#writeBackWaiting(queue);
      registers.set("TXDCTL", n, value & ~TXDCTL_SWFLSH);
    });
    registers.onRead("TXDCTL", (n) => {
      const was = this.queues[n].enabled;
      const enabled = this.queues[n].poll();
      if (was !== enabled) this.listActive();
      return (registers.get("TXDCTL", n) & ~TXDCTL_ENABLE) |
        (enabled ? TXDCTL_ENABLE : 0);
    });
    registers.onWrite("TDWBAL", (n, value) => {
      this.queues[n].headWriteBack = (value & TDWBAL_HEAD_WB_EN) !== 0;
      this.queues[n].headLow = value & TDWBAL_ADDRESS_MASK;
    });
    registers.onWrite("TDWBAH", (n, value) => {
      this.queues[n].headHigh = value;
    });
  }
}

function store16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
}

function addressing(frame: Frame): number {
  const { u32 } = frame;
  if ((u32[0] & 1) === 0) return UNICAST;
  const all = u32[0] === 0xffffffff && (u32[1] & ALL_ONES) === ALL_ONES;
  return all ? BROADCAST : MULTICAST;
}
