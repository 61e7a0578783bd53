/**
 * What a virtio device of a test can reach: I/O virtual addresses of pools and rings, checked at each access.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";

interface Region {
  readonly start: number;
  readonly bytes: number;
  readonly view: DataView;
}

/** Above 4 GiB, so that a forgotten upper half of an address is seen. */
const IOVAS = [{ start: 0x3_0000_0000n, end: 0x20_0000_0000n }];
const RINGS_START = 0x2_8000_0000;

/** Memory by I/O virtual address. */
export class DeviceMemory {
  readonly #regions: Region[] = [];
  #ringsEnd = RINGS_START;

  /** Where pools are attached. */
  readonly domain: DmaDomain = new MappedDomain({
    map: (memory, offset, length, iova) =>
      this.#add(
        Number(iova),
        memory.buffer,
        memory.byteOffset + offset,
        length,
      ),
    unmap: (iova) => this.#remove(Number(iova)),
  }, IOVAS);

  /** Lets the device reach a buffer of rings; returns where. */
  addRings(buffer: SharedArrayBuffer): bigint {
    const start = this.#ringsEnd;
    this.#add(start, buffer, 0, buffer.byteLength);
    this.#ringsEnd += (buffer.byteLength + 4095) & ~4095;
    return BigInt(start);
  }

  /** The bytes at an address; fails where a device would fault. */
  at(address: number, bytes: number): DataView {
    for (const { start, bytes: size, view } of this.#regions) {
      if (address < start || address >= start + size) continue;
      assert(
        address + bytes <= start + size,
        `${bytes} bytes at 0x${address.toString(16)} end beyond the memory`,
      );
      const offset = view.byteOffset + address - start;
      return new DataView(view.buffer, offset, bytes);
    }
    throw new Error(`nothing is at 0x${address.toString(16)}`);
  }

  /** The same as {@linkcode at}, as bytes. */
  bytes(address: number, bytes: number): Uint8Array<SharedArrayBuffer> {
    const view = this.at(address, bytes);
    return new Uint8Array(
      view.buffer as unknown as SharedArrayBuffer,
      view.byteOffset,
      bytes,
    );
  }

  #add(
    start: number,
    buffer: SharedArrayBuffer,
    offset: number,
    bytes: number,
  ): void {
    const view = new DataView(buffer, offset, bytes);
    this.#regions.push({ start, bytes, view });
  }

  #remove(start: number): void {
    const index = this.#regions.findIndex((region) => region.start === start);
    assert(index >= 0, "only what was mapped is unmapped");
    this.#regions.splice(index, 1);
  }
}
