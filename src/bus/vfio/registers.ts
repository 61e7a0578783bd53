/**
 * A card's registers, mapped over shared memory so that every isolate of the process reaches them.
 *
 * @module
 */
import { addressOf, mapFile, mapPlain, PAGE_SIZE } from "../../ffi/mapping.ts";
import type { QueueBus, VfioBusDescription } from "../bus.ts";
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

/** BAR 0 of a real card, in any isolate. */
export class MappedRegisters implements QueueBus {
  readonly #words: Uint32Array;
  readonly #deviceFd: number;
  readonly #intx: boolean;

  /** @param description Where it is mapped. */
  constructor(description: VfioBusDescription) {
    const { buffer, byteOffset, byteLength } = description;
    this.#words = new Uint32Array(buffer, byteOffset, byteLength / 4);
    this.#deviceFd = description.deviceFd;
    this.#intx = description.intx;
  }

  read32(offset: number): number {
    return this.#words[offset >>> 2];
  }

  write32(offset: number, value: number): void {
    this.#words[offset >>> 2] = value;
  }

  unmaskInterrupt(): void {
    if (this.#intx) unmaskIntx(this.#deviceFd);
  }
}
