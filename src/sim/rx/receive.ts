/**
 * The receive path, section 7.1: from the wire through the filters and RSS to
 * a queue's descriptors, or into the packet buffer where a queue without
 * descriptors holds it up.
 *
 * @module
 */

import {
  CTRL_EXT_NS_DIS,
  DCA_RXCTRL_MUST_CLEAR,
  EICR_RX_MISS,
  FCTRL_SBP,
  HLREG0_JUMBOEN,
  HLREG0_LPBK,
  HLREG0_RXCRCSTRP,
  MAXFRS_SHIFT,
  MFLCN_RFCE,
  MRQC_MODE_MASK,
  MRQC_MODE_RSS,
  PAUSE_QUANTUM_MS,
  PBSIZE_SHIFT,
  RSS_TYPE_NONE,
  RXCSUM_PCSD,
  RXCTRL_RXEN,
  RXD_DD,
  RXD_EOP,
  RXD_ERROR_IPE,
  RXD_ERROR_L4E,
  RXD_ERROR_RXE,
  RXD_LEGACY_IPE,
  RXD_LEGACY_L4E,
  RXD_LEGACY_RXE,
  RXD_LEGACY_VLAN_SHIFT,
  RXD_PIF,
  RXD_VP,
  RXDCTL_ENABLE,
  RXDCTL_RLPML_EN,
  RXDCTL_RLPML_MASK,
  RXDCTL_VME,
  SECRXCTRL_RX_DIS,
  SRRCTL_BSIZEPACKET_MASK,
  SRRCTL_DESCTYPE_LEGACY,
  SRRCTL_DESCTYPE_MASK,
  SRRCTL_DESCTYPE_SHIFT,
  SRRCTL_DROP_EN,
} from "../registers/bits.ts";
import { frameCheckSequence } from "../checksum.ts";
import { Classifier } from "./classify.ts";
import { copyToHost } from "../copy.ts";
import type { Core } from "../core.ts";
import { Filters, REJECTED } from "./filters.ts";
import { Frame, MINIMUM_FRAME } from "../frame.ts";
import type { Interrupts } from "../host/interrupts.ts";
import { publish, publishPair } from "../memory_order.ts";
import { PauseSender } from "./pause.ts";
import { DESCRIPTOR_WORDS_SHIFT, Ring } from "../ring.ts";
import { Rss } from "./rss.ts";
import type { Statistics } from "../host/statistics.ts";
import { FrameQueue, frameQueueBuffer } from "../wires/frame_queue.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "../wires/wire.ts";

/** Receive queues of the 82599 and X540. */
export const RX_QUEUES = 128;
const KB_SHIFT = 10;
const FCS_LENGTH = 4;
const TAG_LENGTH = 4;
/** Places in a MAC control frame (IEEE 802.3, annex 31B). */
const PAUSE_OPCODE = 14;
const PAUSE_TIME = 16;
const OPCODE_PAUSE = 1;
/** The longest frame without HLREG0.JUMBOEN, FCS included (8.2.3.22.8). */
const STANDARD_FRAME = 1518;
const ADDRESS_A0_DD = 1;
const LENGTH_MASK = 0xffff;

/** A receive queue: its ring and what SRRCTL and RXDCTL say of it. */
export class RxQueue extends Ring {
  bufferBytes = 2048;
  legacy = true;
  dropEnable = false;
  stripVlan = false;
  /** X540: the longest frame that this queue takes, or 0 for any. */
  longest = 0;
}

/** The receive queues of one card. */
export function makeRxQueues(core: Core): RxQueue[] {
  return Array.from(
    { length: RX_QUEUES },
    (_, n) => new RxQueue(core, n, "receive"),
  );
}

/** Everything between the wire and the receive rings. */
export class Receiver {
  readonly #core: Core;
  readonly #statistics: Statistics;
  readonly #interrupts: Interrupts;
  readonly #rss: Rss;
  readonly #classifier: Classifier;
  readonly #filters: Filters;
  readonly #frame = new Frame();
  /** RXCTRL.RXEN is set and the security block lets frames through. */
  #open = false;
  #loopback = false;
  #stripCrc = true;
  #rssMode = false;
  #hashInDescriptor = false;
  #storeBad = false;
  /** The longest legal frame, FCS included, tag not. */
  #longest = STANDARD_FRAME;
  #jumbo = false;
  /** Frames that wait in the card's memory for descriptors. */
  #held: FrameQueue | null = null;
  #heldBytes = 0;
  readonly #pause: PauseSender;
  /** Where each frame of the wire is counted once: the wire's counters, but for what loops back. */
  #books: Float64Array;
  readonly #looped: Float64Array = wireCounters();

  constructor(
    core: Core,
    readonly queues: readonly RxQueue[],
    statistics: Statistics,
    interrupts: Interrupts,
    wire: Wire,
  ) {
    this.#core = core;
    this.#books = wire.counters;
    this.#statistics = statistics;
    this.#interrupts = interrupts;
    this.#rss = new Rss(core.registers);
    this.#classifier = new Classifier(core, this.#rss);
    this.#filters = new Filters(core);
    this.#pause = new PauseSender(core, statistics);
    this.#bindGlobals();
    this.#bindRings();
    this.configure();
  }

  /** Back to the state after a reset; held frames are lost. */
  reset(): void {
    this.#held = null;
    this.#books[WIRE_SLOT.reset] += this.#books[WIRE_SLOT.waiting];
    this.#books[WIRE_SLOT.waiting] = 0;
    this.#heldBytes = 0;
    this.#pause.configure();
    this.#rss.reset();
    for (const queue of this.queues) {
      queue.reset();
      this.#configureQueue(queue);
    }
    this.configure();
  }

  /** Takes over the global registers that it depends on. */
  configure(): void {
    const { registers } = this.#core;
    const enabled = (registers.get("RXCTRL") & RXCTRL_RXEN) !== 0;
    const halted = (registers.get("SECRXCTRL") & SECRXCTRL_RX_DIS) !== 0;
    const hlreg0 = registers.get("HLREG0");
    const mrqc = registers.get("MRQC");
    this.#open = enabled && !halted;
    this.#loopback = (hlreg0 & HLREG0_LPBK) !== 0;
    this.#stripCrc = (hlreg0 & HLREG0_RXCRCSTRP) !== 0;
    this.#jumbo = (hlreg0 & HLREG0_JUMBOEN) !== 0;
    this.#longest = this.#jumbo
      ? registers.get("MAXFRS") >>> MAXFRS_SHIFT
      : STANDARD_FRAME;
    this.#rssMode = (mrqc & MRQC_MODE_MASK) === MRQC_MODE_RSS;
    this.#hashInDescriptor = (registers.get("RXCSUM") & RXCSUM_PCSD) !== 0;
    this.#storeBad = (registers.get("FCTRL") & FCTRL_SBP) !== 0;
    this.#filters.configure();
    this.#classifier.configure();
  }

  /** The MAC address filters changed behind software's back. */
  reloadAddresses(): void {
    this.#filters.configure();
  }

  /** Whether a step would take frames from the wire. */
  get ready(): boolean {
    return this.#open && !this.#loopback && !this.#core.gioDisabled;
  }

  /** Whether frames wait in the packet buffer. */
  get holding(): boolean {
    return this.#held !== null && !this.#held.empty;
  }

  /** Moves up to `budget` frames; returns how many. */
  step(wire: Wire, budget: number, now: number, linkUp: boolean): number {
    if (!this.#open || this.#core.gioDisabled) return 0;
    this.#rss.prepare();
    let moved = this.#drainHeld(budget);
    if (this.#loopback || !linkUp) return moved;
    const frame = this.#frame;
    const limit = wire.patient === true
      ? Math.min(budget, moved + this.#roomForAll())
      : budget;
    while (moved < limit) {
      frame.crcError = false;
      if (!wire.poll(frame, now)) break;
      moved++;
      this.#accept(frame);
    }
    if (this.#held !== null) this.#pause.check(this.#heldBytes, wire);
    return moved;
  }

  /** When the link partner must be told again to wait. */
  deadline(): number {
    return this.#pause.deadline();
  }

  /** A frame arrives from the transmitter, in loopback. */
  loopBack(frame: Frame): void {
    if (!this.#open) return;
    const books = this.#books;
    this.#books = this.#looped;
    this.#accept(frame);
    this.#books = books;
  }

  #accept(frame: Frame): void {
    const length = frame.length;
    const classifier = this.#classifier;
    classifier.findVlan(frame);
    if (!this.#macAccepts(frame, length)) return;
    const addressed = this.#filters.judge(frame, classifier.vlan);
    if (addressed === REJECTED) {
      this.#books[WIRE_SLOT.filtered]++;
      return;
    }
    this.#statistics.accepted(length, addressed);
    const held = this.#held;
    if (held !== null && !held.empty) this.#hold(frame);
    else if (!this.#place(frame)) this.#hold(frame);
  }

  /** The MAC's checks: length and FCS (8.2.3.23, 8.2.3.22.8). */
  #macAccepts(frame: Frame, length: number): boolean {
    const tag = this.#classifier.vlan >= 0 ? TAG_LENGTH : 0;
    const good = length >= MINIMUM_FRAME &&
      length + FCS_LENGTH <= this.#longest + tag && !frame.crcError;
    if (good) {
      this.#statistics.unfiltered(length);
      if (!this.#filters.isMacControl(frame)) return true;
      this.#takePause(frame);
      this.#books[WIRE_SLOT.control]++;
      return false;
    }
    const fate = this.#countBad(frame.crcError, length, tag);
    if (!this.#storeBad) this.#books[fate]++;
    return this.#storeBad;
  }

  /** Counts a bad frame in the register for its kind. Returns its place in the wire's counters. */
  #countBad(crcError: boolean, length: number, tag: number): number {
    if (length < MINIMUM_FRAME) {
      this.#statistics.add(crcError ? "RFC" : "RUC");
      return WIRE_SLOT.tooShort;
    }
    if (length + FCS_LENGTH > this.#longest + tag) {
      this.#statistics.add(crcError ? "RJC" : "ROC");
      return WIRE_SLOT.tooLong;
    }
    this.#statistics.add("CRCERRS");
    return WIRE_SLOT.damaged;
  }

  /** Section 3.7.7.1.2: counted, and obeyed where MFLCN.RFCE says so. */
  #takePause(frame: Frame): void {
    const { u8 } = frame;
    if (((u8[PAUSE_OPCODE] << 8) | u8[PAUSE_OPCODE + 1]) !== OPCODE_PAUSE) {
      return;
    }
    const quanta = (u8[PAUSE_TIME] << 8) | u8[PAUSE_TIME + 1];
    this.#statistics.add(quanta === 0 ? "LXONRXCNT" : "LXOFFRXCNT");
    if ((this.#core.registers.get("MFLCN") & MFLCN_RFCE) === 0) return;
    this.#core.pausedUntil = this.#core.now + quanta * PAUSE_QUANTUM_MS;
  }

  /** Gives the frame to its queue; false when it must wait. */
  #place(frame: Frame): boolean {
    const classifier = this.#classifier;
    classifier.classify(frame);
    const hashed = this.#rssMode && classifier.rssType !== RSS_TYPE_NONE;
    const index = hashed
      ? this.#rss.queueOf(classifier.hash)
      : classifier.typeQueue;
    const queue = this.queues[index];
    if (queue.stale && queue.enabled) this.#refresh(queue);
    if (!queue.usable || !queue.enabled) {
      this.#drop(index);
      return true;
    }
    const strip = queue.stripVlan && classifier.vlan >= 0;
    const length = this.#finalLength(frame, strip);
    if (queue.longest !== 0 && length > queue.longest) {
      this.#drop(index);
      return true;
    }
    const needed = length <= queue.bufferBytes
      ? 1
      : Math.ceil(length / queue.bufferBytes);
    if (needed > queue.available) {
      if (!queue.dropEnable) return false;
      this.#drop(index);
      this.#statistics.add("RNBC");
      return true;
    }
    if (!this.#stripCrc) appendFcs(frame);
    if (strip) removeTag(frame);
    this.#fill(queue, frame, strip ? TAG_LENGTH : 0, length, strip);
    this.#statistics.delivered(index, length);
    this.#books[WIRE_SLOT.delivered]++;
    this.#interrupts.received(index);
    return true;
  }

  #drop(queue: number): void {
    this.#statistics.dropped(queue);
    this.#books[WIRE_SLOT.missed]++;
  }

  #finalLength(frame: Frame, strip: boolean): number {
    const fcs = this.#stripCrc ? 0 : FCS_LENGTH;
    return frame.length + fcs - (strip ? TAG_LENGTH : 0);
  }

  /** Writes data and descriptors, the descriptor's DD last. */
  #fill(
    queue: RxQueue,
    frame: Frame,
    from: number,
    length: number,
    stripped: boolean,
  ): void {
    const { words, first, count, bufferBytes } = queue;
    const { dma } = this.#core;
    let head = queue.head;
    let left = length;
    while (left > 0) {
      const at = first + (head << DESCRIPTOR_WORDS_SHIFT);
      const piece = left > bufferBytes ? bufferBytes : left;
      // As signed numbers, which V8 never has to allocate.
      const low = words[at] | 0;
      const high = words[at + 1] | 0;
      if (!queue.legacy && (words[at + 2] & ADDRESS_A0_DD) !== 0) {
        this.#checkDone(queue, head);
      }
      if (dma.translate(low, high, piece) && dma.writable) {
        copyToHost(frame, from, dma, piece);
      } else {
        this.#core.reachToWrite(
          low,
          high,
          piece,
          `receive queue ${queue.index}: data`,
        );
      }
      left -= piece;
      from += piece;
      if (queue.legacy) this.#writeLegacy(words, at, piece, left, stripped);
      else this.#writeAdvanced(queue, at, piece, left, stripped, frame);
      head = head + 1 === count ? 0 : head + 1;
    }
    queue.head = head;
  }

  /** The write-back of section 7.1.6.2: only the last one has all fields. */
  #writeAdvanced(
    queue: RxQueue,
    at: number,
    piece: number,
    left: number,
    stripped: boolean,
    frame: Frame,
  ): void {
    const { words, pairs } = queue;
    if (left > 0) {
      words[at] = 0;
      words[at + 1] = 0;
      publishPair(words, pairs, at + 2, RXD_DD, piece);
      return;
    }
    const classifier = this.#classifier;
    words[at] = classifier.rssType | classifier.packetType;
    words[at + 1] = this.#hashInDescriptor
      ? classifier.hash
      : classifier.fragmentWord;
    let status = RXD_DD | RXD_EOP | classifier.status | classifier.errors;
    if (stripped) status |= RXD_VP;
    if (this.#filters.inexact) status |= RXD_PIF;
    if (frame.crcError || frame.length < MINIMUM_FRAME) status |= RXD_ERROR_RXE;
    const high = stripped ? piece | (classifier.vlan << 16) : piece;
    publishPair(words, pairs, at + 2, status, high);
  }

  /** Section 7.1.5. */
  #writeLegacy(
    words: Uint32Array,
    at: number,
    piece: number,
    left: number,
    stripped: boolean,
  ): void {
    const classifier = this.#classifier;
    words[at + 2] = piece;
    let status = RXD_DD;
    if (left === 0) {
      status |= RXD_EOP | (classifier.status & 0xff);
      if ((classifier.errors & RXD_ERROR_IPE) !== 0) status |= RXD_LEGACY_IPE;
      if ((classifier.errors & RXD_ERROR_L4E) !== 0) status |= RXD_LEGACY_L4E;
      if (this.#frame.crcError) status |= RXD_LEGACY_RXE;
      if (stripped) {
        status |= RXD_VP | (classifier.vlan << RXD_LEGACY_VLAN_SHIFT);
      }
    }
    publish(words, at + 3, status);
  }

  /** Software clears DD or, where it looks at that, the length (7.1.6.1). */
  #checkDone(queue: RxQueue, index: number): void {
    const at = queue.first + (index << DESCRIPTOR_WORDS_SHIFT);
    if ((queue.words[at + 3] & LENGTH_MASK) === 0) return;
    this.#core.violations.record(
      "descriptor",
      `receive queue ${queue.index}: descriptor ${index} was given to the ` +
        `card with DD and a length set as the last write-back left them: ` +
        `software could not tell that it is written again (7.1.6.1)`,
    );
  }

  /** Keeps the frame in the packet buffer, or loses and counts it. */
  #hold(frame: Frame): void {
    if (this.#held === null) {
      const bytes = this.#core.registers.get("RXPBSIZE", 0) >>> PBSIZE_SHIFT <<
        KB_SHIFT;
      this.#held = new FrameQueue(frameQueueBuffer(bytes));
    }
    if (this.#held.push(frame)) {
      this.#heldBytes += frame.length;
      this.#books[WIRE_SLOT.waiting]++;
      return;
    }
    this.#statistics.add("RXMPC");
    this.#books[WIRE_SLOT.missed]++;
    this.#interrupts.raise(EICR_RX_MISS);
  }

  #drainHeld(budget: number): number {
    const held = this.#held;
    if (held === null) return 0;
    const frame = this.#frame;
    let moved = 0;
    while (moved < budget && held.peek(frame)) {
      this.#classifier.findVlan(frame);
      if (!this.#place(frame)) break;
      held.drop();
      this.#books[WIRE_SLOT.waiting]--;
      this.#heldBytes -= frame.length;
      moved++;
    }
    return moved;
  }

  /** How many of the longest frames every running queue has room for. */
  #roomForAll(): number {
    if (this.holding) return 0;
    let frames = Infinity;
    for (const queue of this.queues) {
      if (!queue.enabled) continue;
      const longest = this.#longest + TAG_LENGTH;
      const needed = Math.ceil(longest / queue.bufferBytes);
      frames = Math.min(frames, Math.floor(queue.available / needed));
    }
    return frames === Infinity ? 0 : frames;
  }

  /** The last sentence of 4.6.7, checked when a queue is first used. */
  #refresh(queue: RxQueue): void {
    const { registers, violations } = this.#core;
    const n = queue.index;
    queue.refresh();
    if ((registers.get("DCA_RXCTRL", n) & DCA_RXCTRL_MUST_CLEAR) !== 0) {
      violations.record(
        "order",
        `receive queue ${n} runs with DCA_RXCTRL[${n}] bit 12 set (4.6.7)`,
      );
    }
    if ((registers.get("CTRL_EXT") & CTRL_EXT_NS_DIS) === 0) {
      violations.record(
        "order",
        `receive queue ${n} runs with CTRL_EXT.NS_DIS (bit 16) clear (4.6.7)`,
      );
    }
  }

  #bindGlobals(): void {
    const { registers } = this.#core;
    const names = [
      "RXCTRL",
      "SECRXCTRL",
      "HLREG0",
      "MAXFRS",
      "MRQC",
      "RXCSUM",
      "FCTRL",
    ] as const;
    for (const name of names) registers.onWrite(name, () => this.configure());
    registers.onWrite("RXPBSIZE", () => {
      if (this.#held?.empty === true) this.#held = null;
      this.#heldBytes = this.#held === null ? 0 : this.#heldBytes;
    });
  }

  #bindRings(): void {
    const { registers } = this.#core;
    registers.onWrite("RDBAL", (n, value) => {
      this.queues[n].baseLow = value;
      this.queues[n].forgetView();
    });
    registers.onWrite("RDBAH", (n, value) => {
      this.queues[n].baseHigh = value;
      this.queues[n].forgetView();
    });
    registers.onWrite("RDLEN", (n, value) => this.queues[n].setLength(value));
    registers.onWrite("RDH", (n, value) => {
      this.queues[n].head = value < this.queues[n].count ? value : 0;
    });
    registers.onRead("RDH", (n) => this.queues[n].head);
    registers.onWrite("RDT", (n, value) => this.queues[n].setTail(value));
    registers.onRead("RDT", (n) => this.queues[n].tailWritten);
    registers.onWrite("SRRCTL", (n) => this.#configureQueue(this.queues[n]));
    registers.onWrite("RXDCTL", (n) => this.#configureQueue(this.queues[n]));
    registers.onRead("RXDCTL", (n) => {
      const enabled = this.queues[n].poll() ? RXDCTL_ENABLE : 0;
      return (registers.get("RXDCTL", n) & ~RXDCTL_ENABLE) | enabled;
    });
  }

  #configureQueue(queue: RxQueue): void {
    const { registers, model } = this.#core;
    const srrctl = registers.get("SRRCTL", queue.index);
    const rxdctl = registers.get("RXDCTL", queue.index);
    const kilobytes = srrctl & SRRCTL_BSIZEPACKET_MASK;
    const type = (srrctl >>> SRRCTL_DESCTYPE_SHIFT) & SRRCTL_DESCTYPE_MASK;
    queue.bufferBytes = Math.max(kilobytes, 1) << KB_SHIFT;
    queue.legacy = type === SRRCTL_DESCTYPE_LEGACY;
    queue.dropEnable = (srrctl & SRRCTL_DROP_EN) !== 0;
    queue.stripVlan = (rxdctl & RXDCTL_VME) !== 0;
    const limited = model === "x540" && (rxdctl & RXDCTL_RLPML_EN) !== 0;
    queue.longest = limited ? rxdctl & RXDCTL_RLPML_MASK : 0;
  }
}

/** Puts the FCS behind the frame, least significant byte first. */
function appendFcs(frame: Frame): void {
  const { u8, length } = frame;
  const fcs = frameCheckSequence(u8, length);
  for (let i = 0; i < FCS_LENGTH; i++) u8[length + i] = fcs >>> (i * 8);
}

/** Moves the addresses over the tag, so that the frame starts at byte 4. */
function removeTag(frame: Frame): void {
  const { u32 } = frame;
  u32[3] = u32[2];
  u32[2] = u32[1];
  u32[1] = u32[0];
}
