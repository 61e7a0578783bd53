/**
 * Where the parts of a virtqueue lie in its memory, and what their words mean.
 *
 * A split ring (2.7) has its descriptor table, then the available and the used ring; a packed ring (2.8) its descriptor
 * ring, then what the driver and the device say of events. Parts that different sides write begin on cache lines of
 * their own; by the legacy interface the used ring begins on a page of its own instead (2.7.2). After them a transmit queue has a table of indirect descriptors for each of its descriptors.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { VirtqueueAddresses } from "../../../bus/virtio/transport.ts";
import { type AcceptedFeatures, accepts, isLegacy } from "../features.ts";

/** 32-bit words of a descriptor: address low and high, length, and the last by kind of ring. */
export const DESCRIPTOR_WORDS = 4;
/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 16;
/** Descriptors of an indirect table: packets in more parts become chains of descriptors in the ring. */
export const TABLE_DESCRIPTORS = 16;

/** Flags of a descriptor (2.7.5, 2.8.1 to 2.8.7). */
export const DescriptorFlag = {
  /** Another descriptor follows. */
  NEXT: 1,
  /** The device writes the buffer. */
  WRITE: 2,
  /** The buffer is a table of descriptors. */
  INDIRECT: 4,
  /** Packed: equals the driver's wrap counter in an available descriptor. */
  AVAIL: 1 << 7,
  /** Packed: equals the device's wrap counter in a used descriptor. */
  USED: 1 << 15,
} as const;

/** A split ring's fields in its last word of a descriptor, and in the rings as 16-bit words (2.7.5 to 2.7.8). */
export const Split = {
  /** Where `next` is in the last word of a descriptor; the flags are in its lower half. */
  NEXT_SHIFT: 16,
  /** `flags` of the available and the used ring. */
  FLAGS: 0,
  /** `idx` of the available and the used ring. */
  INDEX: 1,
  /** Where the entries of the available ring begin. */
  AVAIL_RING: 2,
  /** Bytes before the entries of the used ring. */
  USED_RING_BYTES: 4,
  /** 32-bit words of an entry of the used ring: id and length. */
  USED_WORDS: 2,
  /** In the available ring's flags: used buffers need no interrupt. */
  NO_INTERRUPT: 1,
  /** In the used ring's flags: available buffers need no notification. */
  NO_NOTIFY: 1,
} as const;

/** Where a used ring of `depth` entries has `avail_event`, in 16-bit words (2.7.8). */
export function availEventWord(depth: number): number {
  return 2 + depth * 4;
}

/** A packed ring's fields (2.8.13, 2.8.14). */
export const Packed = {
  /** Where the flags are in the last word of a descriptor; the buffer's id is in its lower half. */
  FLAGS_SHIFT: 16,
  /** The id in the last word of a descriptor. */
  ID: 0xffff,
  /** The AVAIL flag in the last word of a descriptor. */
  AVAIL_BIT: DescriptorFlag.AVAIL << 16,
  /** The USED flag in the last word of a descriptor. */
  USED_BIT: DescriptorFlag.USED << 16,
  /** 16-bit word of an event structure with offset and wrap counter. */
  EVENT_PLACE: 0,
  /** 16-bit word of an event structure with the flags. */
  EVENT_FLAGS: 1,
  /** The wrap counter's bit in the first word of an event structure. */
  EVENT_WRAP: 1 << 15,
  /** The bits of the event flags. */
  EVENT_MASK: 3,
  /** Event flags: all events. */
  EVENTS_ON: 0,
  /** Event flags: none. */
  EVENTS_OFF: 1,
  /** Event flags: when the descriptor that is named is reached. */
  EVENTS_AT: 2,
} as const;

/** AVAIL and USED in the last word of a packed descriptor: all that the wrap counters are about. */
export const WRAP_BITS: number = Packed.AVAIL_BIT | Packed.USED_BIT;

/** What says in the last word of a used descriptor that it is one, and of which buffer. */
export const USED_WORD: number = WRAP_BITS | Packed.ID;

/** AVAIL and USED of an available descriptor, where the driver's wrap counter is `wrap` (2.8.1). */
export function availableBits(wrap: number): number {
  return wrap === 0 ? Packed.USED_BIT : Packed.AVAIL_BIT;
}

/** AVAIL and USED of a used descriptor, where the device's wrap counter is `wrap` (2.8.1). */
export function usedBits(wrap: number): number {
  return wrap === 0 ? 0 : WRAP_BITS;
}

const CACHE_LINE = 64;
/** What the legacy interface aligns to (2.7.2, 4.1.5.1.3.1). */
const LEGACY_PAGE = 4096;
/** `flags`, `idx` and `used_event` around the entries of the available ring (2.7.6). */
const AVAIL_EXTRA_BYTES = 6;
const AVAIL_ENTRY_BYTES = 2;
/** `flags`, `idx` and `avail_event` around the entries of the used ring (2.7.8). */
const USED_EXTRA_BYTES = 6;
const USED_ENTRY_BYTES = 8;
/**
 * How far behind the start of a cache line a used ring begins, for its entries to be aligned to their size. No entry
 * lies in two memory then: QEMU 10.0 writes the rest of one that does into whatever page is next in RAM, where its IOMMU
 * has the memory apart.
 */
const USED_SHIFT_BYTES = 4;
/** An event structure (2.8.14). */
const EVENT_BYTES = 4;

/** Which way the packets of a virtqueue go. */
export type Direction = "rx" | "tx";

/** Byte offsets within the memory of a virtqueue, which begins on a cache line, or on a page of the legacy interface. */
export interface VirtqueueLayout {
  /** Descriptor table, or packed ring. */
  readonly descriptors: number;
  /** Available ring, or driver event structure. */
  readonly driver: number;
  /** Used ring, or device event structure. */
  readonly device: number;
  /** Indirect tables. */
  readonly tables: number;
  /** Bytes in all. */
  readonly bytes: number;
}

/** Where the parts of a virtqueue of `depth` descriptors lie. */
export function virtqueueLayout(
  features: AcceptedFeatures,
  depth: number,
  direction: Direction,
): VirtqueueLayout {
  const packed = accepts(features, "packed");
  const indirect = direction === "tx" && accepts(features, "indirect");
  const legacy = isLegacy(features);
  const end = depth * DESCRIPTOR_BYTES;
  // There, nothing lies between the descriptor table and the available ring.
  const driver = legacy ? end : roundUp(end, CACHE_LINE);
  const device = roundUp(
    driver +
      (packed ? EVENT_BYTES : AVAIL_EXTRA_BYTES + depth * AVAIL_ENTRY_BYTES),
    legacy ? LEGACY_PAGE : CACHE_LINE,
  ) + (packed || legacy ? 0 : USED_SHIFT_BYTES);
  const tables = roundUp(
    device +
      (packed ? EVENT_BYTES : USED_EXTRA_BYTES + depth * USED_ENTRY_BYTES),
    CACHE_LINE,
  );
  const bytes = tables +
    (indirect ? depth * TABLE_DESCRIPTORS * DESCRIPTOR_BYTES : 0);
  return {
    descriptors: 0,
    driver,
    device,
    tables,
    // The next virtqueue begins behind it.
    bytes: legacy ? roundUp(bytes, LEGACY_PAGE) : bytes,
  };
}

/** Bytes of memory for a virtqueue of `depth` descriptors: whole cache lines, or whole memory of the legacy interface. */
export function ringBytes(
  features: AcceptedFeatures,
  depth: number,
  direction: Direction,
): number {
  return virtqueueLayout(features, depth, direction).bytes;
}

/** Where the parts of a virtqueue lie for the device. */
export function virtqueueAddresses(
  features: AcceptedFeatures,
  depth: number,
  iova: bigint,
): VirtqueueAddresses {
  const { descriptors, driver, device } = virtqueueLayout(
    features,
    depth,
    "rx",
  );
  return {
    descriptors: iova + BigInt(descriptors),
    driver: iova + BigInt(driver),
    device: iova + BigInt(device),
  };
}

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
