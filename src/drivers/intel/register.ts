/**
 * Registers as data, and access to them by name.
 *
 * @module
 */
import type { Registers } from "../../bus/bus.ts";

/**
 * How software may touch a register, in the datasheets' terms.
 *
 * - `rw`: reads back what was written
 * - `ro`: read only
 * - `wo`: reading it means nothing
 * - `rc`: a counter that reading clears
 * - `w1s`, `w1c`: writing a one sets or clears that bit, a zero leaves it
 */
export type Access = "rw" | "ro" | "wo" | "rc" | "w1s" | "w1c";

/** Named bits or masks of a register. */
export type Bits = Readonly<Record<string, number>>;

/** One register, or an array of equal ones. */
export interface Register<B extends Bits = Bits> {
  /** The datasheet's name. */
  readonly name: string;
  /** Byte offset of the first. */
  readonly offset: number;
  /** What may be done with it. */
  readonly access: Access;
  /** Section of the datasheet that the file head names. */
  readonly section: string;
  /** Its bits and fields: masks within the register. */
  readonly bits: B;
  /** How many there are. */
  readonly count: number;
  /** Bytes from one to the next. */
  readonly stride: number;
  /** Where the array goes on: entries from `from` on start at `offset`. */
  readonly rest?: { readonly from: number; readonly offset: number };
}

/** Where an array of registers lies beyond its first entry. */
export interface Layout {
  /** How many there are. */
  readonly count: number;
  /** Bytes from one to the next. */
  readonly stride: number;
  /** Where the array goes on. */
  readonly rest?: { readonly from: number; readonly offset: number };
}

const ONE: Layout = { count: 1, stride: 0 };

/** Declares a register. */
export function register<const B extends Bits = Record<never, never>>(
  name: string,
  offset: number,
  access: Access,
  section: string,
  bits: B = {} as B,
  layout: Layout = ONE,
): Register<B> {
  return { name, offset, access, section, bits, ...layout };
}

/** The mask of one bit. */
export function bit(position: number): number {
  return (1 << position) >>> 0;
}

/** The mask of the bits `high` to `low`, as datasheets write `31:16`. */
export function field(high: number, low: number): number {
  return (0xffffffff >>> (31 - high + low) << low) >>> 0;
}

/** Moves a value into the place that `mask` marks. Throws a RangeError when it does not fit. */
export function insert(mask: number, value: number): number {
  const shift = lowestBit(mask);
  if (value < 0 || value > mask >>> shift) {
    throw new RangeError(
      `${value} does not fit the field 0x${mask.toString(16)}`,
    );
  }
  return (value << shift) >>> 0;
}

/** Takes a value out of the place that `mask` marks. */
export function extract(mask: number, word: number): number {
  return (word & mask) >>> lowestBit(mask);
}

function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

/** Byte offset of entry `index` of a register. Throws a RangeError beyond its end. */
export function offsetOf(register: Register, index = 0): number {
  const { count, stride, rest } = register;
  if (!(index >= 0 && index < count)) {
    throw new RangeError(
      `${register.name} has ${count} entries, there is no ${index}`,
    );
  }
  return rest !== undefined && index >= rest.from
    ? rest.offset + (index - rest.from) * stride
    : register.offset + index * stride;
}

/** How messages name a register: `RXDCTL[3]`. */
export function nameOf(register: Register, index = 0): string {
  return register.count > 1 ? `${register.name}[${index}]` : register.name;
}

/**
 * A device's registers by name, for everything but the data path, which keeps byte offsets of its own.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bit, register, RegisterBlock } from "./register.ts";
 *
 * const words = new Map<number, number>();
 * const block = new RegisterBlock({
 *   read32: (offset) => words.get(offset) ?? 0,
 *   write32: (offset, value) => void words.set(offset, value),
 * });
 * const CTRL = register("CTRL", 0, "rw", "8.2.3.1.1", { RST: bit(26) });
 * block.set(CTRL, CTRL.bits.RST);
 * assertEquals(block.read(CTRL), 0x04000000);
 * ```
 */
export class RegisterBlock {
  /** @param registers The device's base address register 0. */
  constructor(readonly registers: Registers) {}

  /** Reads entry `index` of a register, as an unsigned number. */
  read(register: Register, index = 0): number {
    if (register.access === "wo") {
      throw new TypeError(`${register.name} cannot be read`);
    }
    return this.registers.read32(offsetOf(register, index)) >>> 0;
  }

  /** Writes entry `index` of a register. */
  write(register: Register, value: number, index = 0): void {
    if (register.access === "ro" || register.access === "rc") {
      throw new TypeError(`${register.name} cannot be written`);
    }
    this.registers.write32(offsetOf(register, index), value >>> 0);
  }

  /** Replaces the bits of `mask` by those of `value`, and leaves the others. */
  update(register: Register, mask: number, value: number, index = 0): void {
    const kept = this.read(register, index) & ~mask;
    this.write(register, kept | (value & mask), index);
  }

  /** Sets bits, and leaves the others. */
  set(register: Register, bits: number, index = 0): void {
    this.update(register, bits, bits, index);
  }

  /** Clears bits, and leaves the others. */
  clear(register: Register, bits: number, index = 0): void {
    this.update(register, bits, 0, index);
  }

  /** Writes the same value to every entry. */
  fill(register: Register, value: number, from = 0): void {
    for (let i = from; i < register.count; i++) this.write(register, value, i);
  }
}
