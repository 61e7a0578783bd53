/**
 * Sending pause frames, section 3.7.7.3: XOFF while the packet buffer is
 * fuller than FCRTH, XON when it has sunk below FCRTL.
 *
 * @module
 */

import {
  FCCFG_LINK_FLOW_CONTROL,
  FCRT_ENABLE,
  FCRT_THRESHOLD_MASK,
  PAUSE_QUANTUM_MS,
  RAH_ADDRESS_MASK,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";
import { Frame, MINIMUM_FRAME } from "../frame.ts";
import type { Statistics } from "../host/statistics.ts";
import type { Wire } from "../wires/wire.ts";

const TIME_MASK = 0xffff;
/** To 01-80-c2-00-00-01, as a MAC control frame with opcode 1. */
const DESTINATION = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x01];
const TYPE_AND_OPCODE = [0x88, 0x08, 0x00, 0x01];
const SOURCE = 6;
const TYPE = 12;
const TIME = 16;

/** Watches how full the packet buffer is. */
export class PauseSender {
  readonly #core: Core;
  readonly #statistics: Statistics;
  readonly #frame = new Frame();
  /** The thresholds in bytes, and whether they are in use. */
  #high = Infinity;
  #low = 0;
  #sendsXon = false;
  /** When XOFF is said again; Infinity while nothing is held up. */
  #refreshAt = Infinity;

  constructor(core: Core, statistics: Statistics) {
    this.#core = core;
    this.#statistics = statistics;
    const names = ["FCCFG", "FCRTH", "FCRTL"] as const;
    for (const name of names) {
      core.registers.onWrite(name, () => this.configure());
    }
  }

  /** Takes over the registers that it depends on; nothing is held up. */
  configure(): void {
    const { registers } = this.#core;
    const high = registers.get("FCRTH", 0);
    const low = registers.get("FCRTL", 0);
    const on = (registers.get("FCCFG") & FCCFG_LINK_FLOW_CONTROL) !== 0 &&
      (high & FCRT_ENABLE) !== 0;
    this.#high = on ? high & FCRT_THRESHOLD_MASK : Infinity;
    this.#low = low & FCRT_THRESHOLD_MASK;
    this.#sendsXon = (low & FCRT_ENABLE) !== 0;
    this.#refreshAt = Infinity;
  }

  /** When XOFF has to be said again. */
  deadline(): number {
    return this.#refreshAt;
  }

  /** The packet buffer holds `bytes`. */
  check(bytes: number, wire: Wire): void {
    const { now, registers } = this.#core;
    const isOff = this.#refreshAt !== Infinity;
    const stays = isOff && bytes > this.#low && now >= this.#refreshAt;
    if ((!isOff && bytes >= this.#high) || stays) {
      const time = registers.get("FCTTV", 0) & TIME_MASK;
      const refresh = Math.max(time - registers.get("FCRTV"), 1);
      this.#refreshAt = now + refresh * PAUSE_QUANTUM_MS;
      this.#send(time, wire);
      this.#statistics.add("LXOFFTXC");
    } else if (isOff && bytes <= this.#low) {
      this.#refreshAt = Infinity;
      if (!this.#sendsXon) return;
      this.#send(0, wire);
      this.#statistics.add("LXONTXC");
    }
  }

  #send(time: number, wire: Wire): void {
    const { registers } = this.#core;
    const frame = this.#frame;
    const { u8 } = frame;
    const low = registers.get("RAL", 0);
    const high = registers.get("RAH", 0) & RAH_ADDRESS_MASK;
    u8.set(DESTINATION);
    for (let i = 0; i < 4; i++) u8[SOURCE + i] = low >>> (i * 8);
    u8[SOURCE + 4] = high;
    u8[SOURCE + 5] = high >>> 8;
    u8.set(TYPE_AND_OPCODE, TYPE);
    u8[TIME] = time >>> 8;
    u8[TIME + 1] = time;
    frame.length = MINIMUM_FRAME;
    wire.transmit(frame);
  }
}
