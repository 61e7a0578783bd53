/**
 * I/O ports of a device under VFIO: there is nothing to map, each access is a call of the kernel.
 *
 * @module
 */
import { libc } from "../../ffi/libc.ts";
import type { PortsDescription } from "../description.ts";
import type { RegisterWindow } from "../bus.ts";

/** Bytes of an access as the calls take them: a BigInt for each of them would be garbage. */
const SIZES = { 1: 1n, 2: 2n, 4: 4n } as const;
const ONES = 0xff;

/** A base address register of I/O ports, in any isolate. Not for use after the device's file is closed. */
export class PortWindow implements RegisterWindow {
  readonly #description: PortsDescription;
  /** Where each port is in the device's file, once it was used. */
  readonly #places: bigint[] = [];
  readonly #bytes = new Uint8Array(4);
  readonly #view = new DataView(this.#bytes.buffer);
  #closed = false;

  /** @param description Where they are. */
  constructor(description: PortsDescription) {
    this.#description = description;
  }

  read8(offset: number): number {
    this.#read(offset, 1);
    return this.#bytes[0];
  }

  write8(offset: number, value: number): void {
    this.#bytes[0] = value;
    this.#write(offset, 1);
  }

  read16(offset: number): number {
    this.#read(offset, 2);
    return this.#view.getUint16(0, true);
  }

  write16(offset: number, value: number): void {
    this.#view.setUint16(0, value, true);
    this.#write(offset, 2);
  }

  read32(offset: number): number {
    this.#read(offset, 4);
    return this.#view.getUint32(0, true);
  }

  write32(offset: number, value: number): void {
    this.#view.setUint32(0, value, true);
    this.#write(offset, 4);
  }

  /** From now on nothing is read or written: the file's number may soon be another's. */
  close(): void {
    this.#closed = true;
  }

  /** What cannot be read is all ones, as on a bus where no device answers. */
  #read(offset: number, size: 1 | 2 | 4): void {
    this.#bytes.fill(ONES);
    if (this.#closed) return;
    const { deviceFd } = this.#description;
    libc().pread(deviceFd, this.#bytes, SIZES[size], this.#place(offset));
  }

  #write(offset: number, size: 1 | 2 | 4): void {
    if (this.#closed) return;
    const { deviceFd } = this.#description;
    libc().pwrite(deviceFd, this.#bytes, SIZES[size], this.#place(offset));
  }

  #place(offset: number): bigint {
    const { fileOffset } = this.#description;
    return this.#places[offset] ??= BigInt(fileOffset) + BigInt(offset);
  }
}
