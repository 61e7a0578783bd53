/**
 * What the driver itself costs: receive, touch, transmit and reclaim on one ring pair in memory, in one thread.
 *
 * The card is a few lines here: it marks receive descriptors as filled and transmit descriptors as sent, and costs
 * about a nanosecond a packet, which is in the figures.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch } from "../src/batch.ts";
import type { QueuePair } from "../src/device_api.ts";
import type { Mempool } from "../src/mempool.ts";
import { INTEL_MODELS, IntelRings } from "./intel_rings.ts";
import { PackedRings, SplitRings } from "./virtio_rings.ts";

const RING = 512;
const FRAME_BYTES = 60;
const BATCHES = [1, 4, 32, 256];
const ROUNDS = 7;
const PACKETS_PER_ROUND = 2_000_000;

/** A queue pair without a device, and the card that plays its part. */
interface Rings {
  readonly pool: Mempool;
  readonly pair: QueuePair;
  /** The card's side: fills `count` receive descriptors and sends what stands in the transmit ring. */
  step(count: number): void;
  close(): void;
}

/** One line of the result. */
export interface RingPoint {
  /** Which driver. */
  readonly driver: string;
  /** Packets in a batch. */
  readonly batch: number;
  /** Descriptors in each ring. */
  readonly ring: number;
  /** Bytes of a frame. */
  readonly size: number;
  /** Nanoseconds a packet, the median of the rounds. */
  readonly ns: number;
  /** The best and the worst round. */
  readonly spread: readonly [number, number];
}

const DRIVERS: Readonly<Record<string, () => Rings>> = {
  "ixgbe": () => new IntelRings(INTEL_MODELS[0], RING, FRAME_BYTES),
  "virtio split": () => new SplitRings(RING, []),
  "virtio split, mergeable, in order": () =>
    new SplitRings(RING, ["mergeable", "in-order"]),
  "virtio packed": () => new PackedRings(RING, ["packed"]),
  "virtio packed, mergeable, in order": () =>
    new PackedRings(RING, ["packed", "mergeable", "in-order"]),
};

/** Forwards `packets` packets; returns nanoseconds a packet. */
function round(rings: Rings, batch: Batch, packets: number): number {
  const { pool, pair: { rx, tx } } = rings;
  const start = performance.now();
  for (let done = 0; done < packets; done += batch.capacity) {
    rings.step(batch.capacity);
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) {
      pool.u8[pool.offset(batch.handles[i])] ^= 1;
    }
    if (tx.send(batch) !== batch.capacity) throw new Error("a packet is gone");
  }
  return (performance.now() - start) * 1e6 / packets;
}

function measure(driver: string, size: number): RingPoint {
  const rings = DRIVERS[driver]();
  const batch = new Batch(size);
  round(rings, batch, PACKETS_PER_ROUND);
  const times = Array.from(
    { length: ROUNDS },
    () => round(rings, batch, PACKETS_PER_ROUND),
  ).sort((a, b) => a - b).map((ns) => Math.round(ns * 10) / 10);
  rings.close();
  return {
    driver,
    batch: size,
    ring: RING,
    size: FRAME_BYTES,
    ns: times[ROUNDS >> 1],
    spread: [times[0], times[ROUNDS - 1]],
  };
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"] });
  const points = BATCHES.flatMap((size) =>
    Object.keys(DRIVERS).map((driver) => measure(driver, size))
  );
  console.table(
    points.map(({ spread: [best, worst], ...point }) => ({
      ...point,
      best,
      worst,
    })),
  );
  if (json) console.log(JSON.stringify({ name: "ring", points }));
}
