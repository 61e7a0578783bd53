/**
 * What the driver itself costs: receive, touch, transmit and reclaim on one ring pair in memory, in one thread.
 *
 * The card is a few lines here: it marks receive descriptors as filled and transmit descriptors as sent, and costs
 * about a nanosecond a packet, which is in the figures.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch } from "../../src/memory/batch.ts";
import { RING_DRIVERS, type Rings, RINGS_SHAPE, ringsOf } from "./rings.ts";

const BATCHES = [1, 4, 32, 256];
const ROUNDS = 7;
const PACKETS_PER_ROUND = 2_000_000;

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
  const rings = ringsOf(driver);
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
    ...RINGS_SHAPE,
    ns: times[ROUNDS >> 1],
    spread: [times[0], times[ROUNDS - 1]],
  };
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"] });
  const points = BATCHES.flatMap((size) =>
    RING_DRIVERS.map((driver) => measure(driver, size))
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
