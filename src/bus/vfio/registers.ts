/**
 * A card's registers, mapped over shared memory so that every isolate of the process reaches them.
 *
 * @module
 */
import { addressOf, mapFile, mapPlain, PAGE_SIZE } from "../../ffi/mapping.ts";
import type { RegisterQueueBus, RegisterWindow } from "../bus.ts";
import type { VfioBusDescription } from "../description.ts";
import { unmaskIntx } from "./ioctl.ts";

/** A BAR laid over a SharedArrayBuffer. Plain loads and stores of 32 bits are single accesses on the bus. */
export class MappedRegion {
  /** The buffer to share. */
  readonly buffer: SharedArrayBuffer;
  /** Where the BAR begins in it. */
  readonly byteOffset: number;
  readonly #address: bigint;
  readonly #length: number;

  /**
   * Maps a region.
   *
   * @param fd The device's file.
   * @param offset Where the region is in it.
   * @param size Its bytes.
   */
  constructor(fd: number, offset: number, size: number) {
    this.#length = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    this.buffer = new SharedArrayBuffer(this.#length + PAGE_SIZE);
    const start = addressOf(this.buffer);
    const page = BigInt(PAGE_SIZE);
    this.#address = (start + page - 1n) & ~(page - 1n);
    this.byteOffset = Number(this.#address - start);
    mapFile(this.#address, this.#length, fd, offset);
  }

  /** Puts plain memory in its place: a stray access is harmless then. */
  unmap(): void {
    mapPlain(this.#address, this.#length);
  }
}

/** A BAR of a real card, in any isolate. */
export class MappedRegisters implements RegisterQueueBus, RegisterWindow {
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #bytes: Uint8Array;
  readonly #deviceFd: number;
  readonly #intx: boolean;

  /** @param description Where it is mapped. */
  constructor(description: Omit<VfioBusDescription, "kind">) {
    const { buffer, byteOffset, byteLength } = description;
    this.#words = new Uint32Array(buffer, byteOffset, byteLength / 4);
    this.#halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
    this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.#deviceFd = description.deviceFd;
    this.#intx = description.intx;
  }

  read32(offset: number): number {
    return this.#words[offset >>> 2];
  }

  write32(offset: number, value: number): void {
    this.#words[offset >>> 2] = value;
  }

  read16(offset: number): number {
    return this.#halves[offset >>> 1];
  }

  write16(offset: number, value: number): void {
    this.#halves[offset >>> 1] = value;
  }

  read8(offset: number): number {
    return this.#bytes[offset];
  }

  write8(offset: number, value: number): void {
    this.#bytes[offset] = value;
  }

  unmaskInterrupt(): void {
    if (this.#intx) unmaskIntx(this.#deviceFd);
  }
}
