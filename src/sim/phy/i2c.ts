/**
 * The two-wire bus to the SFP+ module: I2CCTL, section 8.2.3.1.5, whose four
 * bits software drives and samples by itself, and the module's answers (the
 * two-wire protocol of SFF-8419, a serial EEPROM's).
 *
 * @module
 */

import {
  I2CCTL_CLK_IN,
  I2CCTL_CLK_OUT,
  I2CCTL_DATA_IN,
  I2CCTL_DATA_OUT,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";
import { makeModuleId, MODULE_ADDRESS } from "./sfp.ts";

const OUTPUTS = I2CCTL_CLK_OUT | I2CCTL_DATA_OUT;
const BYTE_BITS = 8;
const ADDRESS_SHIFT = 1;
const READ_BIT = 1;

/** What the module does with the next bits. */
type Phase =
  | "idle"
  | "address"
  | "offset"
  | "written data"
  | "acknowledge"
  | "read data"
  | "master acknowledges";

/** The bus, and a module with an EEPROM on it. */
export class I2cBus {
  readonly #core: Core;
  readonly #memory = makeModuleId();
  #present = true;
  #phase: Phase = "idle";
  /** What follows the acknowledge bit that the module gives. */
  #next: Phase = "idle";
  #bits = 0;
  #shift = 0;
  /** Where in the module's memory the next byte is read. */
  #offset = 0;
  /** The module pulls the data line down. */
  #pullsDown = false;
  #clock = true;
  #data = true;

  constructor(core: Core) {
    this.#core = core;
    core.registers.onWrite("I2CCTL", (_n, value) => this.#drive(value));
    core.registers.onRead("I2CCTL", () => this.#sample());
  }

  /** Software lets go of both lines; the module waits for a start. */
  reset(): void {
    this.#phase = "idle";
    this.#pullsDown = false;
    this.#clock = true;
    this.#data = true;
  }

  /** Puts a module in (true) or pulls it out. */
  setPresent(present: boolean): void {
    this.#present = present;
    this.reset();
  }

  /** Whether there is a module. */
  get present(): boolean {
    return this.#present;
  }

  #sample(): number {
    const outputs = this.#core.registers.get("I2CCTL") & OUTPUTS;
    const clock = this.#clock ? I2CCTL_CLK_IN : 0;
    const data = this.#data && !this.#pullsDown ? I2CCTL_DATA_IN : 0;
    return outputs | clock | data;
  }

  /** A start or stop is an edge of data while the clock is high. */
  #drive(value: number): void {
    const clock = (value & I2CCTL_CLK_OUT) !== 0;
    const data = (value & I2CCTL_DATA_OUT) !== 0;
    const rising = clock && !this.#clock;
    const falling = !clock && this.#clock;
    const stable = clock && this.#clock;
    const edge = stable && data !== this.#data && !this.#pullsDown;
    this.#clock = clock;
    this.#data = data;
    if (!this.#present) return;
    if (edge) {
      this.#phase = data ? "idle" : "address";
      this.#bits = 0;
      this.#shift = 0;
    } else if (rising) this.#clockUp();
    else if (falling) this.#clockDown();
  }

  /** Bits are taken while the clock is high. */
  #clockUp(): void {
    const bit = this.#data ? 1 : 0;
    if (this.#phase === "master acknowledges") {
      // No acknowledge: software has read all that it wants.
      this.#next = bit === 0 ? "read data" : "idle";
    } else if (takesBits(this.#phase)) {
      this.#shift = (this.#shift << 1) | bit;
      this.#bits++;
    } else if (this.#phase === "read data") this.#bits++;
  }

  /** Bits change while the clock is low. */
  #clockDown(): void {
    if (takesBits(this.#phase)) {
      if (this.#bits === BYTE_BITS) this.#takeByte();
      return;
    }
    if (this.#phase === "acknowledge") this.#enter(this.#next);
    else if (this.#phase === "master acknowledges") this.#enter(this.#next);
    else if (this.#phase === "read data") {
      if (this.#bits === BYTE_BITS) {
        this.#pullsDown = false;
        this.#phase = "master acknowledges";
        this.#offset = (this.#offset + 1) % this.#memory.length;
      } else this.#showBit();
    }
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#bits = 0;
    this.#shift = 0;
    this.#pullsDown = false;
    if (phase === "read data") this.#showBit();
  }

  #takeByte(): void {
    const byte = this.#shift;
    if (this.#phase === "address") {
      if (byte >>> ADDRESS_SHIFT !== MODULE_ADDRESS) {
        this.#enter("idle");
        return;
      }
      this.#next = (byte & READ_BIT) !== 0 ? "read data" : "offset";
    } else if (this.#phase === "offset") {
      this.#offset = byte % this.#memory.length;
      this.#next = "written data";
    } else {
      // The identification is write protected: acknowledged and ignored.
      this.#next = "written data";
    }
    this.#phase = "acknowledge";
    this.#pullsDown = true;
  }

  #showBit(): void {
    const bit = this.#memory[this.#offset] >>> (BYTE_BITS - 1 - this.#bits);
    this.#pullsDown = (bit & 1) === 0;
  }
}

function takesBits(phase: Phase): boolean {
  return phase === "address" || phase === "offset" || phase === "written data";
}
