/**
 * A bench for the software card: memory, a wire that a test feeds by hand, and
 * a bring-up that obeys the datasheet, each step of which a test may leave out
 * or change.
 *
 * It knows nothing of the driver: registers come from the model's own table.
 */

import { Card, type Model } from "../../../src/sim/card.ts";
import { DmaTable } from "../../../src/sim/dma_table.ts";
import type { Frame } from "../../../src/sim/frame.ts";
import {
  type Register,
  type RegisterName,
  REGISTERS,
} from "../../../src/sim/registers/registers.ts";
import type { Wire } from "../../../src/sim/wires/wire.ts";
import { wireCounters } from "../../../src/sim/wires/wire.ts";

/** The byte offset of a register. */
export function at(name: RegisterName, n = 0): number {
  for (const span of (REGISTERS[name] as Register).spans) {
    if (n >= span.first && n < span.first + span.count) {
      return span.at + (n - span.first) * span.stride;
    }
  }
  throw new RangeError(`${name} has no element ${n}`);
}

/** A wire whose two ends are arrays. */
export class HandWire implements Wire {
  readonly fd = -1;
  readonly counters: Float64Array = wireCounters();
  patient = false;
  /** Frames for the card. */
  readonly toCard: Uint8Array[] = [];
  /** Frames from the card. */
  readonly fromCard: Uint8Array[] = [];
  /** The next frame comes with a wrong FCS. */
  spoilNext = false;

  poll(frame: Frame, _now: number): boolean {
    const next = this.toCard.shift();
    if (next === undefined) return false;
    frame.set(next);
    frame.crcError = this.spoilNext;
    this.spoilNext = false;
    return true;
  }

  transmit(frame: Frame): void {
    this.fromCard.push(frame.bytes());
  }

  nextPollAt(now: number): number {
    return this.toCard.length > 0 ? now : Infinity;
  }

  close(): void {}
}

export const ENABLE = 1 << 25;
export const RING_SIZE = 32;
const BUFFER_BYTES = 2048;
const IOVA = 0x1_2340_0000n;
const IOVA_LOW = 0x2340_0000;
const IOVA_HIGH = 1;
const MEMORY_BYTES = 4 << 20;
const RX_RINGS = 0;
const TX_RINGS = 1 << 18;
const RX_BUFFERS = 1 << 20;
const TX_BUFFERS = 3 << 20;
const RING_BYTES = 1 << 14;

export interface RigOptions {
  model?: Model;
  wire?: Wire;
  rxQueues?: number;
  txQueues?: number;
  /** SRRCTL bits beyond advanced one-buffer of 2 KB. */
  dropEnable?: boolean;
  bufferKilobytes?: number;
  ringSize?: number;
}

/** A card on the bench. */
export class Rig {
  readonly memory = new SharedArrayBuffer(MEMORY_BYTES);
  readonly u8 = new Uint8Array(this.memory);
  readonly u32 = new Uint32Array(this.memory);
  readonly dma = new DmaTable();
  readonly hand = new HandWire();
  readonly interrupts: number[] = [];
  readonly card: Card;
  readonly ringSize: number;
  readonly #options: RigOptions;
  now = 0;

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.ringSize = options.ringSize ?? RING_SIZE;
    this.dma.map(IOVA, this.memory, 0, MEMORY_BYTES);
    this.card = new Card({
      model: options.model ?? "82599",
      macAddress: "02:aa:bb:cc:dd:01",
      dma: this.dma,
      wire: options.wire ?? this.hand,
      interrupt: (vector) => this.interrupts.push(vector),
    });
  }

  read(name: RegisterName, n = 0): number {
    return this.card.read(at(name, n), 4);
  }

  write(name: RegisterName, value: number, n = 0): void {
    this.card.write(at(name, n), value, 4);
  }

  set(name: RegisterName, bits: number, n = 0): void {
    this.write(name, this.read(name, n) | bits, n);
  }

  clear(name: RegisterName, bits: number, n = 0): void {
    this.write(name, this.read(name, n) & ~bits, n);
  }

  /** Steps the card `ms` later. */
  step(ms = 0.01, budget = 256): number {
    this.now += ms;
    return this.card.step(budget, this.now);
  }

  /** The messages of the violations, for short assertions. */
  messages(): string[] {
    return this.card.violations.map((v) => `${v.kind}: ${v.message}`);
  }

  /** Brings the card up as the datasheet asks; link included. */
  bringUp(): void {
    this.card.writeConfig(4, 6, 2);
    this.softwareReset();
    this.write("ESDP", 1 << 11); // laser on: SDP3 output, low
    this.receiveSetup();
    this.transmitSetup();
    for (let q = 0; q < (this.#options.rxQueues ?? 1); q++) this.startRx(q);
    for (let q = 0; q < (this.#options.txQueues ?? 1); q++) this.startTx(q);
    this.enableReceive();
    this.step(20);
    this.read("LINKS");
  }

  softwareReset(): void {
    this.write("EIMC", 0x7fffffff);
    this.set("CTRL", 1 << 2);
    while ((this.read("STATUS") & (1 << 19)) !== 0);
    const x540 = this.#options.model === "x540";
    if (x540) this.lockPhy();
    this.set("CTRL", 1 << 26);
    while ((this.read("CTRL") & (1 << 26)) !== 0);
    this.write("EIMC", 0x7fffffff);
    while ((this.read("EEC") & (1 << 9)) === 0);
    while ((this.read("RDRXCTL") & (1 << 3)) === 0);
    this.card.read(at("EICR"), 4);
  }

  lockPhy(): void {
    const value = this.read("SW_FW_SYNC");
    this.write("SW_FW_SYNC", value | (1 << 1));
  }

  receiveSetup(): void {
    this.set("CTRL_EXT", 1 << 16);
    this.set("FCTRL", 1 << 10); // BAM
    this.set("RDRXCTL", 1 << 1); // CRCStrip, as HLREG0 has it
    this.set("RXCSUM", 1 << 13); // PCSD
  }

  transmitSetup(): void {
    this.set("RTTDCS", 1 << 6);
    this.write("DTXMXSZRQ", 0xfff);
    this.clear("RTTDCS", 1 << 6);
    this.set("DMATXCTL", 1);
  }

  startRx(q: number, post = true): void {
    const { dropEnable = true, bufferKilobytes = 2 } = this.#options;
    this.write("RDBAL", IOVA_LOW + RX_RINGS + q * RING_BYTES, q);
    this.write("RDBAH", IOVA_HIGH, q);
    this.write("RDLEN", this.ringSize * 16, q);
    const drop = dropEnable ? 1 << 28 : 0;
    this.write("SRRCTL", 0x400 | (1 << 25) | drop | bufferKilobytes, q);
    this.clear("DCA_RXCTRL", 1 << 12, q);
    this.set("RXDCTL", ENABLE, q);
    while ((this.read("RXDCTL", q) & ENABLE) === 0);
    for (let i = 0; i < this.ringSize; i++) this.postRx(q, i);
    if (post) this.write("RDT", this.ringSize - 1, q);
  }

  startTx(q: number): void {
    this.write("TDBAL", IOVA_LOW + TX_RINGS + q * RING_BYTES, q);
    this.write("TDBAH", IOVA_HIGH, q);
    this.write("TDLEN", this.ringSize * 16, q);
    this.set("TXDCTL", ENABLE, q);
    while ((this.read("TXDCTL", q) & ENABLE) === 0);
  }

  stopRx(q: number): void {
    this.clear("RXDCTL", ENABLE, q);
    while ((this.read("RXDCTL", q) & ENABLE) !== 0);
  }

  enableReceive(): void {
    this.set("SECRXCTRL", 1 << 1);
    while ((this.read("SECRXSTAT") & 1) === 0);
    this.set("RXCTRL", 1);
    this.clear("SECRXCTRL", 1 << 1);
  }

  rxDescriptor(q: number, i: number): number {
    return (RX_RINGS + q * RING_BYTES) / 4 + i * 4;
  }

  txDescriptor(q: number, i: number): number {
    return (TX_RINGS + q * RING_BYTES) / 4 + i * 4;
  }

  rxBuffer(q: number, i: number): number {
    return RX_BUFFERS + (q * this.ringSize + i) * BUFFER_BYTES;
  }

  txBuffer(q: number, i: number): number {
    return TX_BUFFERS + (q * this.ringSize + i) * BUFFER_BYTES;
  }

  iova(offset: number): [number, number] {
    return [IOVA_LOW + offset, IOVA_HIGH];
  }

  postRx(q: number, i: number): void {
    const d = this.rxDescriptor(q, i);
    this.u32[d] = IOVA_LOW + this.rxBuffer(q, i);
    this.u32[d + 1] = IOVA_HIGH;
    this.u32[d + 2] = 0;
    this.u32[d + 3] = 0;
  }

  /** The four words of a receive descriptor. */
  rx(q: number, i: number): Uint32Array {
    const d = this.rxDescriptor(q, i);
    return this.u32.slice(d, d + 4);
  }

  /** The data in the buffer of a receive descriptor. */
  rxData(q: number, i: number, length: number): Uint8Array {
    const from = this.rxBuffer(q, i);
    return this.u8.slice(from, from + length);
  }

  /** Writes an advanced data descriptor with its data. */
  postTx(
    q: number,
    i: number,
    data: Uint8Array,
    options: { eop?: boolean; rs?: boolean; payload?: number; more?: number } =
      {},
  ): void {
    const { eop = true, rs = true, payload = data.length, more = 0 } = options;
    this.u8.set(data, this.txBuffer(q, i));
    const d = this.txDescriptor(q, i);
    this.u32[d] = IOVA_LOW + this.txBuffer(q, i);
    this.u32[d + 1] = IOVA_HIGH;
    this.u32[d + 2] = data.length | (3 << 20) | (eop ? 1 << 24 : 0) |
      (1 << 25) | (rs ? 1 << 27 : 0) | (1 << 29) | more;
    this.u32[d + 3] = payload << 14;
  }
}

/** A frame to the rig's card (or to `to`) with a counted payload. */
export function makeFrame(
  length = 60,
  to: readonly number[] = [2, 0xaa, 0xbb, 0xcc, 0xdd, 1],
): Uint8Array {
  const frame = new Uint8Array(length);
  for (let i = 0; i < length; i++) frame[i] = i;
  frame.set(to, 0);
  frame.set([2, 0, 0, 0, 0, 9, 0x88, 0xb5], 6);
  return frame;
}
