/**
 * The ring of a control virtqueue: one command in it at a time, in two descriptors.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { storeBarrier } from "../../../dma/barrier.ts";
import type { MemoryPart } from "../../device/device_memory.ts";
import { type AcceptedFeatures, isLegacy } from "../features.ts";
import {
  DESCRIPTOR_WORDS,
  DescriptorFlag,
  Packed,
  Split,
  virtqueueLayout,
} from "../virtqueue/layout.ts";

/** Which descriptors a command takes. */
const DESCRIPTORS = 2;
/** The id of every command: there is never another one. */
const ID = 0;
/** What the device writes. */
const ANSWER_BYTES = 1;

/** One command in a ring. */
export interface ControlRing {
  /** Empties it for both sides. */
  clear(): void;
  /** Gives the device `bytes` from `command` on to read, and a byte at `answer` to write. */
  push(command: bigint, bytes: number, answer: bigint): void;
  /** True when the device has used something. */
  readonly answered: boolean;
  /** Takes what was used; says what is wrong with it, if anything is. */
  take(): string | undefined;
}

/** Views of the memory that both kinds of ring have. */
class Views {
  readonly descriptors: Uint32Array;
  readonly driver: Uint16Array;
  readonly device: Uint16Array;
  readonly used: Uint32Array;

  constructor(memory: MemoryPart, features: AcceptedFeatures, depth: number) {
    const { buffer, byteOffset } = memory;
    const { driver, device, tables } = virtqueueLayout(features, depth, "rx");
    const used = device + Split.USED_RING_BYTES;
    this.descriptors = new Uint32Array(buffer, byteOffset, driver / 4);
    this.driver = new Uint16Array(
      buffer,
      byteOffset + driver,
      (device - driver) / 2,
    );
    this.device = new Uint16Array(
      buffer,
      byteOffset + device,
      (tables - device) / 2,
    );
    this.used = new Uint32Array(buffer, byteOffset + used, (tables - used) / 4);
  }

  clear(): void {
    this.descriptors.fill(0);
    this.driver.fill(0);
    this.device.fill(0);
  }

  /** Writes a descriptor, its last word last. */
  describe(index: number, iova: bigint, bytes: number, last: number): void {
    const at = index * DESCRIPTOR_WORDS;
    this.descriptors[at] = Number(iova & 0xffffffffn);
    this.descriptors[at + 1] = Number(iova >> 32n);
    this.descriptors[at + 2] = bytes;
    storeBarrier();
    this.descriptors[at + 3] = last;
  }
}

/** A split ring (2.7): always the same two descriptors. */
export class SplitControlRing implements ControlRing {
  readonly #views: Views;
  readonly #depth: number;
  /** Legacy devices may say anything of how much they wrote (2.7.8.1). */
  readonly #countsBytes: boolean;
  #index = 0;

  /** Lays it over memory. */
  constructor(memory: MemoryPart, features: AcceptedFeatures, depth: number) {
    this.#countsBytes = !isLegacy(features);
    this.#views = new Views(memory, features, depth);
    this.#depth = depth;
  }

  clear(): void {
    this.#views.clear();
    this.#views.driver[Split.FLAGS] = Split.NO_INTERRUPT;
    this.#index = 0;
  }

  push(command: bigint, bytes: number, answer: bigint): void {
    const { driver } = this.#views;
    const next = ID + 1;
    this.#views.describe(
      ID,
      command,
      bytes,
      next << Split.NEXT_SHIFT | DescriptorFlag.NEXT,
    );
    this.#views.describe(next, answer, ANSWER_BYTES, DescriptorFlag.WRITE);
    driver[Split.AVAIL_RING + this.#index % this.#depth] = ID;
    storeBarrier();
    driver[Split.INDEX] = this.#index + 1;
  }

  get answered(): boolean {
    return this.#views.device[Split.INDEX] !== (this.#index & 0xffff);
  }

  take(): string | undefined {
    const { device, used } = this.#views;
    const at = this.#index % this.#depth * Split.USED_WORDS;
    const index = device[Split.INDEX];
    this.#index = (this.#index + 1) & 0xffff;
    if (index !== this.#index) return `the used index ${index}`;
    return judge(used[at], this.#countsBytes ? used[at + 1] : ANSWER_BYTES);
  }
}

/** A packed ring (2.8): a command is always in an even place, so it never wraps. */
export class PackedControlRing implements ControlRing {
  readonly #views: Views;
  readonly #depth: number;
  #next = 0;
  /** The flags that make a descriptor available in this round. */
  #available: number = DescriptorFlag.AVAIL;

  /** Lays it over memory. */
  constructor(memory: MemoryPart, features: AcceptedFeatures, depth: number) {
    this.#views = new Views(memory, features, depth);
    this.#depth = depth;
  }

  clear(): void {
    this.#views.clear();
    this.#views.driver[Packed.EVENT_FLAGS] = Packed.EVENTS_OFF;
    this.#next = 0;
    this.#available = DescriptorFlag.AVAIL;
  }

  push(command: bigint, bytes: number, answer: bigint): void {
    const flags = this.#available;
    // The first descriptor shows the device all of them (2.8.6).
    this.#views.describe(
      this.#next + 1,
      answer,
      ANSWER_BYTES,
      (flags | DescriptorFlag.WRITE) << Packed.FLAGS_SHIFT | ID,
    );
    this.#views.describe(
      this.#next,
      command,
      bytes,
      (flags | DescriptorFlag.NEXT) << Packed.FLAGS_SHIFT | ID,
    );
  }

  get answered(): boolean {
    const last = this.#views.descriptors[this.#next * DESCRIPTOR_WORDS + 3];
    const flags = last >>> Packed.FLAGS_SHIFT;
    const wrap = this.#available === DescriptorFlag.AVAIL;
    return (flags & DescriptorFlag.AVAIL) !== 0 === wrap &&
      (flags & DescriptorFlag.USED) !== 0 === wrap;
  }

  take(): string | undefined {
    const { descriptors } = this.#views;
    const at = this.#next * DESCRIPTOR_WORDS;
    this.#next += DESCRIPTORS;
    if (this.#next >= this.#depth) {
      this.#next = 0;
      this.#available ^= DescriptorFlag.AVAIL | DescriptorFlag.USED;
    }
    return judge(descriptors[at + 3] & Packed.ID, descriptors[at + 2]);
  }
}

/** What is wrong with a used element, if anything is. */
function judge(id: number, length: number): string | undefined {
  if (id !== ID) return `the id ${id}`;
  if (length > ANSWER_BYTES) return `${length} bytes`;
  return undefined;
}
