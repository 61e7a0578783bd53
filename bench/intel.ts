/**
 * Our drivers beside C: receive, touch a byte, send and reclaim on one ring pair in memory, in one thread, alternating
 * with a C program that does the same in the classic way.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch } from "../src/batch.ts";
import { INDEX_MASK } from "../src/mempool.ts";
import { CLoop } from "./c_loop.ts";
import { INTEL_MODELS, type IntelModel, IntelRings } from "./intel_rings.ts";
import { describeMachine } from "./machine.ts";
import { linePlot } from "./plot.ts";

const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const RINGS = [128, 512, 2048, 4096];
const SIZES = [60, 1514];
/** Pairs of rounds at each point. Short ones: most of them then pass without another program on this core. */
const ROUNDS = 21;
const PACKETS = 1 << 17;
const RESULTS = new URL("./results/", import.meta.url);

/** A point of the result. */
export interface IntelPoint {
  /** Packets at once. */
  readonly batch: number;
  /** Descriptors of each ring. */
  readonly ring: number;
  /** Bytes of a frame. */
  readonly size: number;
  /** Nanoseconds a packet, ours. */
  readonly ns: number;
  /** Nanoseconds a packet, C's. */
  readonly cNs: number;
  /** C's time divided by ours: above 1 is faster than C. */
  readonly ratio: number;
  /** The quartiles of that over the pairs of rounds. */
  readonly spread: readonly [number, number];
}

/** Forwards packets; returns nanoseconds a packet. */
function forward(rings: IntelRings, batch: Batch, packets: number): number {
  const { pool: { u8, stride }, pair: { rx, tx } } = rings;
  const { handles, capacity } = batch;
  const start = performance.now();
  for (let done = 0; done < packets; done += capacity) {
    rings.step(capacity);
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) {
      u8[(handles[i] & INDEX_MASK) * stride] ^= 1;
    }
    if (tx.send(batch) !== capacity) throw new Error("a packet is gone");
  }
  return (performance.now() - start) * 1e6 / packets;
}

async function measure(
  chip: IntelModel,
  c: CLoop,
  [batch, ring, size]: readonly [number, number, number],
): Promise<IntelPoint> {
  const rings = new IntelRings(chip, ring, size);
  const packets = new Batch(batch);
  const pairs: [number, number][] = [];
  forward(rings, packets, PACKETS);
  for (let i = 0; i < ROUNDS; i++) {
    const ours = forward(rings, packets, PACKETS);
    const point = { ...chip, ring, batch, size, packets: PACKETS };
    pairs.push([ours, await c.measure(point)]);
  }
  rings.close();
  const ns = quantile(pairs.map(([ours]) => ours), 0.5);
  const cNs = quantile(pairs.map(([, c]) => c), 0.5);
  const ratios = pairs.map(([ours, c]) => c / ours);
  return {
    batch,
    ring,
    size,
    ns: round(ns, 1),
    cNs: round(cNs, 1),
    ratio: round(cNs / ns, 2),
    spread: [
      round(quantile(ratios, 0.25), 2),
      round(quantile(ratios, 0.75), 2),
    ],
  };
}

/** Of sorted values, the one at a share of the way. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function plot(driver: string, points: readonly IntelPoint[]): string {
  const at = (ring: number, size: number) =>
    points.filter((point) => point.ring === ring && point.size === size);
  return linePlot({
    title: `${driver}: time of the C loop divided by ours, by batch`,
    subtitle: describeMachine(),
    x: "packets in a batch",
    y: "above 1: faster than C",
    reference: 1,
    lines: RINGS.flatMap((ring) =>
      SIZES.map((size) => ({
        name: `ring ${ring}, ${size} bytes`,
        points: at(ring, size).map(({ batch, ratio }) =>
          [batch, ratio] as const
        ),
      }))
    ),
  });
}

if (import.meta.main) {
  const { json, driver } = parseArgs(Deno.args, {
    boolean: ["json"],
    string: ["driver"],
  });
  const chip = INTEL_MODELS.find((model) => model.driver === driver);
  if (chip === undefined) throw new Error(`there is no driver ${driver}`);
  await using c = await CLoop.start();
  const points: IntelPoint[] = [];
  for (const ring of RINGS) {
    for (const size of SIZES) {
      for (const batch of BATCHES.filter((batch) => batch < ring)) {
        points.push(await measure(chip, c, [batch, ring, size]));
      }
    }
  }
  console.log(
    `${chip.driver} (${chip.model}): nanoseconds a packet on rings in memory; ratio: C's time divided by ours`,
  );
  console.table(
    points.map(({ spread: [low, high], ...point }) => ({
      ...point,
      quartiles: `${low} – ${high}`,
    })),
  );
  const file = new URL(`${chip.driver}.svg`, RESULTS);
  Deno.mkdirSync(RESULTS, { recursive: true });
  Deno.writeTextFileSync(file, plot(chip.driver, points));
  console.log(`plot: bench/results/${chip.driver}.svg`);
  if (json) console.log(JSON.stringify({ name: chip.driver, points }));
}
