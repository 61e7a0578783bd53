/**
 * Interrupt causes, masks, vectors and throttling, sections 7.3 and 8.2.3.5.
 *
 * Every cause has a vector. A cause that occurs, or is unmasked while set,
 * requests its vector; the vector fires at once or when its throttling
 * interval is over, so no request is ever lost.
 *
 * @module
 */

import {
  EICR_OTHER_CLEAR_DISABLE_MASK,
  EICR_OTHER_MASK,
  EICR_QUEUE_MASK,
  EICR_TCP_TIMER,
  EITR_COUNTER_WRITE_DISABLE,
  EITR_INTERVAL_MASK,
  EITR_INTERVAL_SHIFT,
  EITR_UNIT_MS,
  GPIE_EIAME,
  GPIE_MSIX_MODE,
  GPIE_OCD,
  IVAR_RESERVED,
  IVAR_VALID,
  IVAR_VECTOR_MASK,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

const QUEUE_COUNT = 128;
/** MSI-X vectors of the physical function, section 7.3.1.3. */
export const VECTOR_COUNT = 64;
const NO_VECTOR = -1;
const HALF = 32;
const IVAR_MISC_TCP_TIMER = 0;
const IVAR_MISC_OTHER = 1;
const IVAR_BYTES = 4;
/** The vector that stands for all causes when MSI-X is off. */
const ONLY_VECTOR = 0;

/** The interrupt logic of one card. */
export class Interrupts {
  readonly #core: Core;
  readonly #fire: (vector: number) => void;
  /** Causes of vectors 0–31 and 32–63, and the other causes of EICR. */
  readonly #cause = new Int32Array(2);
  readonly #mask = new Int32Array(2);
  #other = 0;
  #otherMask = 0;
  /** Vectors that asked to fire and have not. */
  readonly #requested = new Int32Array(2);
  readonly #rxVector = new Int8Array(QUEUE_COUNT).fill(NO_VECTOR);
  readonly #txVector = new Int8Array(QUEUE_COUNT).fill(NO_VECTOR);
  #otherVector = NO_VECTOR;
  #timerVector = NO_VECTOR;
  /** Throttling: milliseconds between two interrupts, and the next allowed. */
  readonly #interval = new Float64Array(VECTOR_COUNT);
  readonly #nextAllowed = new Float64Array(VECTOR_COUNT);
  /** Queue causes of the step that is under way, raised by {@linkcode flush}. */
  readonly #pending = new Int32Array(2);

  constructor(core: Core, fire: (vector: number) => void) {
    this.#core = core;
    this.#fire = fire;
    this.#bindCauses();
    this.#bindVectors();
  }

  /** Back to the state after a reset: all masked, nothing pending. */
  reset(): void {
    for (const words of [this.#cause, this.#mask, this.#requested]) {
      words.fill(0);
    }
    this.#pending.fill(0);
    this.#other = 0;
    this.#otherMask = 0;
    this.#otherVector = NO_VECTOR;
    this.#timerVector = NO_VECTOR;
    this.#rxVector.fill(NO_VECTOR);
    this.#txVector.fill(NO_VECTOR);
    this.#interval.fill(0);
    this.#nextAllowed.fill(0);
  }

  /** Whether any cause is unmasked. */
  get anyEnabled(): boolean {
    return (this.#mask[0] | this.#mask[1] | this.#otherMask) !== 0;
  }

  /** Whether the INTx line is held: an unmasked cause that no throttling keeps back, with MSI-X off. */
  get line(): boolean {
    if (this.#msix || (this.#requested[0] & (1 << ONLY_VECTOR)) !== 0) {
      return false;
    }
    const queues = this.#cause[0] & this.#mask[0] & EICR_QUEUE_MASK;
    return (queues | (this.#other & this.#otherMask)) !== 0;
  }

  /** A descriptor of receive queue `queue` was written back. */
  received(queue: number): void {
    this.#note(this.#rxVector[queue]);
  }

  /** A descriptor of transmit queue `queue` was written back. */
  transmitted(queue: number): void {
    this.#note(this.#txVector[queue]);
  }

  /** Raises what {@linkcode received} and {@linkcode transmitted} noted. */
  flush(): void {
    const low = this.#pending[0];
    const high = this.#pending[1];
    if ((low | high) === 0) return;
    this.#pending[0] = 0;
    this.#pending[1] = 0;
    this.#occur(low, high, 0);
  }

  /** One of the causes in the upper half of EICR occurred. */
  raise(other: number): void {
    this.#occur(0, 0, other);
  }

  /** Fires the vectors whose throttling interval is over. */
  run(): void {
    if ((this.#requested[0] | this.#requested[1]) === 0) return;
    for (let half = 0; half < 2; half++) {
      let waiting = this.#requested[half];
      while (waiting !== 0) {
        const bit = HALF - 1 - Math.clz32(waiting & -waiting);
        waiting &= waiting - 1;
        const vector = half * HALF + bit;
        if (this.#core.now >= this.#nextAllowed[vector]) this.#deliver(vector);
      }
    }
  }

  /** When the next throttled vector may fire; Infinity when none waits. */
  deadline(): number {
    let earliest = Infinity;
    if ((this.#requested[0] | this.#requested[1]) === 0) return earliest;
    for (let vector = 0; vector < VECTOR_COUNT; vector++) {
      if ((this.#requested[vector >> 5] & (1 << (vector & 31))) === 0) continue;
      earliest = Math.min(earliest, this.#nextAllowed[vector]);
    }
    return earliest;
  }

  #note(vector: number): void {
    if (vector !== NO_VECTOR) {
      this.#pending[vector >> 5] |= 1 << (vector & 31);
    }
  }

  #occur(low: number, high: number, other: number): void {
    this.#cause[0] |= low;
    this.#cause[1] |= high;
    this.#other |= other;
    this.#request(low, high, other);
    this.run();
  }

  /** Requests the vectors of those causes that are not masked. */
  #request(low: number, high: number, other: number): void {
    const wantedLow = low & this.#mask[0];
    const wantedHigh = high & this.#mask[1];
    const wantedOther = other & this.#otherMask;
    if (!this.#msix) {
      const legacy = (wantedLow & EICR_QUEUE_MASK) | wantedOther;
      if (legacy !== 0) this.#requested[0] |= 1 << ONLY_VECTOR;
      return;
    }
    this.#requested[0] |= wantedLow;
    this.#requested[1] |= wantedHigh;
    if ((wantedOther & EICR_TCP_TIMER) !== 0) {
      this.#requestVector(this.#timerVector);
    }
    if ((wantedOther & ~EICR_TCP_TIMER) !== 0) {
      this.#requestVector(this.#otherVector);
    }
  }

  #requestVector(vector: number): void {
    if (vector === NO_VECTOR) return;
    this.#requested[vector >> 5] |= 1 << (vector & 31);
  }

  #deliver(vector: number): void {
    const half = vector >> 5;
    const bit = 1 << (vector & 31);
    this.#requested[half] &= ~bit;
    this.#nextAllowed[vector] = this.#core.now + this.#interval[vector];
    if (this.#msix) {
      this.#autoClear(half, bit);
      this.#autoMask(vector, half, bit);
      if (vector === this.#timerVector) this.#clearTimer();
    }
    this.#fire(vector);
  }

  /** Section 7.3.1.4: EIAC covers 16 vectors; the rest always clear. */
  #autoClear(half: number, bit: number): void {
    const covered = (EICR_QUEUE_MASK & bit) !== 0 && half === 0;
    if (!covered || (this.#core.registers.get("EIAC") & bit) !== 0) {
      this.#cause[half] &= ~bit;
    }
  }

  /** EIAC has a bit for the TCP timer too. */
  #clearTimer(): void {
    this.#other &= ~(EICR_TCP_TIMER & this.#core.registers.get("EIAC"));
  }

  /** Section 8.2.3.5.6: with GPIE.EIAME the message masks its own causes. */
  #autoMask(vector: number, half: number, bit: number): void {
    const { registers } = this.#core;
    if ((registers.get("GPIE") & GPIE_EIAME) === 0) return;
    this.#mask[half] &= ~(bit & registers.get("EIAM_EX", half));
    if (vector === this.#otherVector) {
      this.#otherMask &= ~(registers.get("EIAM") & this.#other);
    }
  }

  get #msix(): boolean {
    return (this.#core.registers.get("GPIE") & GPIE_MSIX_MODE) !== 0;
  }

  #bindCauses(): void {
    const { registers } = this.#core;
    registers.onRead("EICR", () => this.#readCauses());
    registers.onWrite("EICR", (_n, value) => {
      this.#cause[0] &= ~(value & EICR_QUEUE_MASK);
      this.#other &= ~value;
      this.#maskByHand();
    });
    // Reading EICS shows the causes and clears none; see the README.
    registers.onRead(
      "EICS",
      () => (this.#cause[0] & EICR_QUEUE_MASK) | this.#other,
    );
    registers.onWrite("EICS", (_n, value) => {
      this.#occur(value & EICR_QUEUE_MASK, 0, value & EICR_OTHER_MASK);
    });
    registers.onWrite("EIMS", (_n, value) => {
      this.#unmask(value & EICR_QUEUE_MASK, 0, value & EICR_OTHER_MASK);
    });
    const readMask = () => (this.#mask[0] & EICR_QUEUE_MASK) | this.#otherMask;
    registers.onRead("EIMS", readMask);
    registers.onRead("EIMC", readMask);
    registers.onWrite("EIMC", (_n, value) => {
      this.#mask[0] &= ~(value & EICR_QUEUE_MASK);
      this.#otherMask &= ~value;
      this.#withdraw();
    });
    registers.onWrite("EIAM", (_n, value) => {
      const kept = registers.get("EIAM_EX", 0) & ~EICR_QUEUE_MASK;
      registers.set("EIAM_EX", 0, kept | (value & EICR_QUEUE_MASK));
    });
    registers.onRead("EICS_EX", (n) => this.#cause[n]);
    registers.onWrite("EICS_EX", (n, value) => {
      this.#occur(n === 0 ? value : 0, n === 1 ? value : 0, 0);
    });
    registers.onRead("EIMS_EX", (n) => this.#mask[n]);
    registers.onWrite("EIMS_EX", (n, value) => {
      this.#unmask(n === 0 ? value : 0, n === 1 ? value : 0, 0);
    });
    registers.onRead("EIMC_EX", (n) => this.#mask[n]);
    registers.onWrite("EIMC_EX", (n, value) => {
      this.#mask[n] &= ~value;
      this.#withdraw();
    });
  }

  /** Reading EICR clears it, all of it or (GPIE.OCD) the upper causes. */
  #readCauses(): number {
    const value = (this.#cause[0] & EICR_QUEUE_MASK) | this.#other;
    if ((this.#core.registers.get("GPIE") & GPIE_OCD) !== 0) {
      this.#other &= ~EICR_OTHER_CLEAR_DISABLE_MASK;
    } else {
      this.#cause[0] &= ~EICR_QUEUE_MASK;
      this.#other = 0;
    }
    this.#maskByHand();
    return value;
  }

  /** Without GPIE.EIAME, EIAM masks when software reads or writes EICR. */
  #maskByHand(): void {
    const { registers } = this.#core;
    if ((registers.get("GPIE") & GPIE_EIAME) !== 0 || this.#msix) return;
    this.#mask[0] &= ~(registers.get("EIAM") & EICR_QUEUE_MASK);
    this.#otherMask &= ~registers.get("EIAM");
    this.#withdraw();
  }

  #unmask(low: number, high: number, other: number): void {
    this.#mask[0] |= low;
    this.#mask[1] |= high;
    this.#otherMask |= other;
    this.#request(
      low & this.#cause[0],
      high & this.#cause[1],
      other & this.#other,
    );
    this.run();
  }

  /** Takes back the requests that no unmasked cause stands behind any more. */
  #withdraw(): void {
    const low = this.#requested[0];
    const high = this.#requested[1];
    if ((low | high) === 0) return;
    this.#requested.fill(0);
    this.#request(this.#cause[0], this.#cause[1], this.#other);
    this.#requested[0] &= low;
    this.#requested[1] &= high;
  }

  #bindVectors(): void {
    const { registers } = this.#core;
    registers.onWrite("IVAR", (n, value) => {
      // Bytes of IVAR[n]: rx queue 2n, tx 2n, rx 2n + 1, tx 2n + 1.
      this.#rxVector[n * 2] = this.#allocation("IVAR", n, value, 0);
      this.#txVector[n * 2] = this.#allocation("IVAR", n, value, 1);
      this.#rxVector[n * 2 + 1] = this.#allocation("IVAR", n, value, 2);
      this.#txVector[n * 2 + 1] = this.#allocation("IVAR", n, value, 3);
    });
    registers.onWrite("IVAR_MISC", (n, value) => {
      for (let byte = 0; byte < IVAR_BYTES; byte++) {
        const vector = this.#allocation("IVAR_MISC", n, value, byte);
        if (byte === IVAR_MISC_OTHER) this.#otherVector = vector;
        if (byte === IVAR_MISC_TCP_TIMER) this.#timerVector = vector;
      }
    });
    registers.onWrite("EITR", (n, value) => {
      if (n >= VECTOR_COUNT) return;
      const units = (value & EITR_INTERVAL_MASK) >>> EITR_INTERVAL_SHIFT;
      this.#interval[n] = units * EITR_UNIT_MS;
      // Without CNT_WDIS the write also sets the counter: zero fires at once.
      const keepCounter = (value & EITR_COUNTER_WRITE_DISABLE) !== 0;
      if (!keepCounter) this.#nextAllowed[n] = 0;
      registers.set("EITR", n, value & ~EITR_COUNTER_WRITE_DISABLE);
      this.run();
    });
  }

  #allocation(name: string, n: number, value: number, byte: number): number {
    const entry = (value >>> (byte * 8)) & 0xff;
    if ((entry & IVAR_RESERVED) !== 0) {
      this.#core.violations.record(
        "register",
        `${name}[${n}] byte ${byte} = 0x${entry.toString(16)}: bit 6 is ` +
          `reserved, vectors run from 0 to ${VECTOR_COUNT - 1} (8.2.3.5.16)`,
      );
    }
    return (entry & IVAR_VALID) !== 0 ? entry & IVAR_VECTOR_MASK : NO_VECTOR;
  }
}
