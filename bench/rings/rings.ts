/**
 * Every kind of queue on rings in memory, by name.
 *
 * @module
 */
import type { QueuePair } from "../../src/device_api.ts";
import type { Mempool } from "../../src/memory/mempool.ts";
import { INTEL_MODELS, IntelRings } from "./intel_rings.ts";
import { PackedRings, SplitRings } from "./virtio_rings.ts";

/** Descriptors in each ring, and bytes of a frame. */
export const RINGS_SHAPE: { readonly ring: number; readonly size: number } = {
  ring: 512,
  size: 60,
};

/** A queue pair without a device, and the card that plays its part. */
export interface Rings {
  /** Where packets lie. */
  readonly pool: Mempool;
  /** The driver's queue pair. */
  readonly pair: QueuePair;
  /** The card's side: fills `count` receive descriptors and sends what stands in the transmit ring. */
  step(count: number): void;
  /** Gives everything back. */
  close(): void;
}

const { ring, size } = RINGS_SHAPE;

const DRIVERS: Readonly<Record<string, () => Rings>> = {
  ...Object.fromEntries(
    INTEL_MODELS.map((
      chip,
    ) => [chip.driver, () => new IntelRings(chip, ring, size)]),
  ),
  "virtio split": () => new SplitRings(ring, []),
  "virtio split, mergeable, in order": () =>
    new SplitRings(ring, ["mergeable", "in-order"]),
  "virtio packed": () => new PackedRings(ring, ["packed"]),
  "virtio packed, mergeable, in order": () =>
    new PackedRings(ring, ["packed", "mergeable", "in-order"]),
};

/** The names that {@linkcode ringsOf} knows. */
export const RING_DRIVERS: readonly string[] = Object.keys(DRIVERS);

/** Fresh rings of one kind. */
export function ringsOf(driver: string): Rings {
  if (!(driver in DRIVERS)) throw new Error(`there is no driver ${driver}`);
  return DRIVERS[driver]();
}
