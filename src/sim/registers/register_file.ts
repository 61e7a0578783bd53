/**
 * The storage behind BAR 0: finds a register by its offset, keeps its value,
 * applies its access mode and calls the subject that gives it a meaning.
 *
 * @module
 */

import {
  BAR0_SIZE,
  type Register,
  type RegisterName,
  REGISTERS,
} from "./registers.ts";
import type { ViolationLog } from "../violations.ts";

/** Answers a read; `n` is the index in an array of registers. */
export type ReadHandler = (n: number) => number;

/**
 * Acts on a write that has been stored already: `value` is what is kept of
 * what was `written`.
 */
export type WriteHandler = (
  n: number,
  value: number,
  before: number,
  written: number,
) => void;

const NO_SLOT = -1;
const names = Object.keys(REGISTERS) as RegisterName[];

/** Each register of each array gets one slot, however many offsets it has. */
class Layout {
  readonly firstSlot = new Map<RegisterName, number>();
  readonly slotOfWord = new Int32Array(BAR0_SIZE / 4).fill(NO_SLOT);
  readonly nameOfSlot: RegisterName[] = [];
  readonly elementOfSlot: number[] = [];

  constructor() {
    for (const name of names) this.#place(name, REGISTERS[name]);
  }

  #place(name: RegisterName, register: Register): void {
    const first = this.nameOfSlot.length;
    this.firstSlot.set(name, first);
    for (const span of register.spans) {
      for (let i = 0; i < span.count; i++) {
        const element = span.first + i;
        this.nameOfSlot[first + element] = name;
        this.elementOfSlot[first + element] = element;
        const word = (span.at + i * span.stride) / 4;
        // Where two registers share an offset, the first one named has it:
        // the queue block of queue 16 holds QPRDC in place of its QPRC.
        if (this.slotOfWord[word] === NO_SLOT) {
          this.slotOfWord[word] = first + element;
        }
      }
    }
  }
}

const layout = new Layout();

/** How many register slots there are; statistics counters run parallel. */
export const SLOT_COUNT: number = layout.nameOfSlot.length;

/** The slot of register `name`, or of its `n`-th where there are several. */
export function slotOf(name: RegisterName, n = 0): number {
  return layout.firstSlot.get(name)! + n;
}

/** The values of all registers, and who answers for them. */
export class RegisterFile {
  readonly #values = new Uint32Array(SLOT_COUNT);
  readonly #readers = new Map<RegisterName, ReadHandler>();
  readonly #writers = new Map<RegisterName, WriteHandler[]>();
  readonly #violations: ViolationLog;

  /** Makes a file whose registers hold their reset values. */
  constructor(violations: ViolationLog) {
    this.#violations = violations;
    this.reset();
  }

  /** Puts the datasheet's initial value into every register. */
  reset(): void {
    for (const name of names) {
      const register: Register = REGISTERS[name];
      const first = slotOf(name);
      for (let slot = first; layout.nameOfSlot[slot] === name; slot++) {
        this.#values[slot] = register.reset;
      }
      if (register.resetFirst !== undefined) {
        this.#values[first] = register.resetFirst;
      }
    }
  }

  /** The value that is stored, with no effect of a read. */
  get(name: RegisterName, n = 0): number {
    return this.#values[slotOf(name, n)];
  }

  /** Stores a value with no effect of a write. */
  set(name: RegisterName, n: number, value: number): void {
    this.#values[slotOf(name, n)] = value;
  }

  /** Lets `handler` answer reads of `name` by software. */
  onRead(name: RegisterName, handler: ReadHandler): void {
    this.#readers.set(name, handler);
  }

  /** Lets `handler` act on writes to `name`, after those before it. */
  onWrite(name: RegisterName, handler: WriteHandler): void {
    const handlers = this.#writers.get(name);
    if (handlers === undefined) this.#writers.set(name, [handler]);
    else handlers.push(handler);
  }

  /** A 32-bit read by software at a byte offset that 4 divides. */
  read(offset: number): number {
    const slot = this.#slotAt(offset, "read");
    if (slot === NO_SLOT) return 0;
    const name = layout.nameOfSlot[slot];
    const reader = this.#readers.get(name);
    if (reader !== undefined) return reader(layout.elementOfSlot[slot]) >>> 0;
    return REGISTERS[name].mode === "wo" ? 0 : this.#values[slot];
  }

  /** A 32-bit write by software at a byte offset that 4 divides. */
  write(offset: number, value: number): void {
    const slot = this.#slotAt(offset, "write");
    if (slot === NO_SLOT) return;
    const name = layout.nameOfSlot[slot];
    const n = layout.elementOfSlot[slot];
    const register: Register = REGISTERS[name];
    if (register.mode === "ro" || register.mode === "rc") {
      this.#report(name, n, value, "is read-only");
      return;
    }
    const before = this.#values[slot];
    const { writable, ignored } = register;
    const fixed = ~(writable | ignored);
    if (((value ^ before) & fixed) !== 0 && register.mode === "rw") {
      this.#report(
        name,
        n,
        value,
        "has reserved bits that must keep their value",
      );
    }
    if (register.mode === "unmodelled" && value !== register.reset) {
      this.#report(
        name,
        n,
        value,
        "is a feature that this model does not have",
      );
    }
    const kept = ((before & ~writable) | (value & writable)) >>> 0;
    if (register.mode !== "w1") this.#values[slot] = kept;
    const writers = this.#writers.get(name);
    if (writers === undefined) return;
    const seen = register.mode === "w1" ? value : kept;
    for (const writer of writers) writer(n, seen, before, value);
  }

  #slotAt(offset: number, what: string): number {
    const slot = offset >= 0 && offset < BAR0_SIZE
      ? layout.slotOfWord[offset >>> 2]
      : NO_SLOT;
    if (slot === NO_SLOT) {
      this.#violations.record(
        "register",
        `${what} at offset 0x${offset.toString(16)}: no register is there ` +
          `(8.2.2: reserved offsets must not be accessed)`,
      );
    }
    return slot;
  }

  #report(
    name: RegisterName,
    n: number,
    value: number,
    problem: string,
  ): void {
    this.#violations.record(
      "register",
      `write of 0x${value.toString(16)} to ${name}[${n}]: it ${problem} ` +
        `(${REGISTERS[name].section})`,
    );
  }
}
