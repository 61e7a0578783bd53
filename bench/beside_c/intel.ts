/**
 * Our drivers beside C: receive, touch a byte, send and reclaim on one ring pair in memory, in one thread, alternating
 * with a C program that does the same, in the classic way and with packets laid out as in our pools.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { fileURLToPath } from "node:url";
import { CLASSIC_ENTRY, CLoop, PADDED_ENTRY } from "./c_loop.ts";
import { INTEL_MODELS, type IntelModel } from "../rings/intel_rings.ts";
import type { IntelWork } from "./intel_loop.ts";
import { LineProgram } from "./line_program.ts";
import { describeMachine } from "../support/machine.ts";
import { linePlot, savePlot } from "../support/plot.ts";

const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const RINGS = [128, 512, 2048, 4096];
const SIZES = [60, 1514];
/** Pairs of rounds at each point. Short ones: most of them then pass without another program on this core. */
const ROUNDS = 31;
const PACKETS = 1 << 17;
/** Until V8 has compiled all of it for good, which it does on another thread. */
const WARM_UP_MS = 300;
/** Both run here: two cores of a shared machine are not alike. */
const CORE = 0;

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
  /** Nanoseconds a packet, of C in the classic way. */
  readonly cNs: number;
  /** C's time divided by ours: above 1 is faster than C. */
  readonly ratio: number;
  /** The quartiles of that over the pairs of rounds. */
  readonly spread: readonly [number, number];
  /** Nanoseconds a packet, ours without any V8 flag. */
  readonly plainNs: number;
  /** C's time in the classic way divided by that. */
  readonly plainRatio: number;
  /** Nanoseconds a packet, of C with packets laid out as in our pools. */
  readonly paddedNs: number;
  /** That time divided by ours. */
  readonly paddedRatio: number;
}

/**
 * With these V8 compiles `receive()` and `send()` into the loop that calls them. Both together are above what it allows
 * itself.
 */
export const INLINING =
  "--v8-flags=--max-inlined-bytecode-size=1000,--max-inlined-bytecode-size-cumulative=3000";

/** The driver's side of a point, in a process of its own. */
function startOurs(work: IntelWork, flags: readonly string[]): LineProgram {
  return new LineProgram(Deno.execPath(), [
    "run",
    "-q",
    "-P=bench",
    ...flags,
    fileURLToPath(new URL("./intel_loop.ts", import.meta.url)),
    JSON.stringify(work),
  ]);
}

/** Has it compiled for good. */
async function warmUp(program: LineProgram): Promise<void> {
  const until = performance.now() + WARM_UP_MS;
  while (performance.now() < until) await program.ask(`${PACKETS}`);
}

async function measure(
  chip: IntelModel,
  c: CLoop,
  [batch, ring, size]: readonly [number, number, number],
): Promise<IntelPoint> {
  const shape = { batch, ring, size };
  const work = { chip, core: CORE, ...shape };
  await using ours = startOurs(work, [INLINING]);
  await using plain = startOurs(work, []);
  await warmUp(ours);
  await warmUp(plain);
  const rounds: Round[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const point = { layout: chip.layout, ...shape, packets: PACKETS };
    rounds.push({
      ours: await ours.ask(`${PACKETS}`),
      classic: await c.measure({ ...point, entry: CLASSIC_ENTRY }),
      plain: await plain.ask(`${PACKETS}`),
      padded: await c.measure({ ...point, entry: PADDED_ENTRY }),
    });
  }
  const median = (value: (round: Round) => number) =>
    quantile(rounds.map(value), 0.5);
  const ns = median(({ ours }) => ours);
  const cNs = median(({ classic }) => classic);
  const plainNs = median(({ plain }) => plain);
  const paddedNs = median(({ padded }) => padded);
  const ratios = rounds.map(({ ours, classic }) => classic / ours);
  return {
    ...shape,
    ns: round(ns, 1),
    cNs: round(cNs, 1),
    ratio: round(cNs / ns, 2),
    spread: [
      round(quantile(ratios, 0.25), 2),
      round(quantile(ratios, 0.75), 2),
    ],
    plainNs: round(plainNs, 1),
    plainRatio: round(cNs / plainNs, 2),
    paddedNs: round(paddedNs, 1),
    paddedRatio: round(paddedNs / ns, 2),
  };
}

/** Nanoseconds a packet, of the four that take turns. */
interface Round {
  readonly ours: number;
  readonly plain: number;
  readonly classic: number;
  readonly padded: number;
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
    lines: [
      ...RINGS.flatMap((ring) =>
        SIZES.map((size) => ({
          name: `ring ${ring}, ${size} bytes`,
          points: at(ring, size).map(({ batch, ratio }) =>
            [batch, ratio] as const
          ),
        }))
      ),
      {
        name: "ring 512, 60 bytes, V8 without flags",
        points: at(512, 60).map(({ batch, plainRatio }) =>
          [batch, plainRatio] as const
        ),
      },
      {
        name: "ring 512, 60 bytes, C laid out like ours",
        points: at(512, 60).map(({ batch, paddedRatio }) =>
          [batch, paddedRatio] as const
        ),
      },
    ],
  });
}

if (import.meta.main) {
  const { json, driver } = parseArgs(Deno.args, {
    boolean: ["json"],
    string: ["driver"],
  });
  const chip = INTEL_MODELS.find((model) => model.driver === driver);
  if (chip === undefined) throw new Error(`there is no driver ${driver}`);
  await using c = await CLoop.start(CORE);
  const points: IntelPoint[] = [];
  for (const ring of RINGS) {
    for (const size of SIZES) {
      console.error(`${chip.driver}: rings of ${ring}, ${size} bytes`);
      for (const batch of BATCHES.filter((batch) => batch < ring)) {
        points.push(await measure(chip, c, [batch, ring, size]));
      }
    }
  }
  console.log(
    `${chip.driver} (${chip.model}): nanoseconds a packet on rings in memory; ratio: C's time divided by ours, with ${INLINING}; plain: ours without these flags; padded: C with packets laid out like ours`,
  );
  console.table(
    points.map(({ spread: [low, high], ...point }) => ({
      ...point,
      quartiles: `${low} – ${high}`,
    })),
  );
  savePlot(chip.driver, plot(chip.driver, points));
  if (json) console.log(JSON.stringify({ name: chip.driver, points }));
}
