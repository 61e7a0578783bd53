/**
 * What one more queue brings: a worker for each, from one to as many as there are cores.
 *
 * Twice: as users have it, forwarding between two software cards, whose own worker takes a core and is the limit as
 * soon as the forwarders are faster; and each worker with a ring pair in memory of its own, where nothing is left that
 * workers could share but the memory itself. There the rate is that of a worker while it has its core, the 90th
 * percentile of slices of a few milliseconds.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { openDevice, run } from "../../mod.ts";
import { describeMachine } from "../support/machine.ts";
import { linePlot, savePlot } from "../support/plot.ts";
import type { ScaleReport, ScaleStart } from "./scale_worker.ts";

const FORWARDER = new URL("../../examples/forward.ts", import.meta.url);
const RING_WORKER = new URL("./scale_worker.ts", import.meta.url);
const BATCH = 64;
const FLOWS = 256;
const ROUNDS = 5;
const WARM_UP_MS = 1000;
const ROUND_MS = 1000;

/** A point of the result. */
export interface ScalePoint {
  /** What the queues are on: "software card" or "rings in memory". */
  readonly on: string;
  /** Queues, and as many workers. */
  readonly queues: number;
  /** Million packets a second in all, the median of the rounds. */
  readonly mpps: number;
  /** Of each queue, in the median round. */
  readonly perQueue: readonly number[];
  /** Rate of a queue divided by that of a queue alone. */
  readonly efficiency: number;
}

/** Million packets a second, for each queue. */
type Round = readonly number[];

async function onCards(queues: number): Promise<Round[]> {
  const config = { queues, promiscuous: true, irqTimeoutMs: 0 };
  const address = `sim:generator?flows=${FLOWS}`;
  await using from = await openDevice({ ...config, address });
  await using to = await openDevice({
    ...config,
    address: `sim:sink?flows=${FLOWS}`,
  });
  await using running = await run([from, to], {
    worker: FORWARDER,
    args: { batch: BATCH },
  });
  const sent = () => running.stats().map(({ ports: [, tx] }) => tx.txPackets);
  await pause(WARM_UP_MS);
  const rounds: Round[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const before = sent();
    const start = performance.now();
    await pause(ROUND_MS);
    const elapsed = performance.now() - start;
    rounds.push(
      sent().map((count, queue) => (count - before[queue]) / elapsed / 1000),
    );
  }
  return rounds;
}

async function onRings(queues: number): Promise<Round[]> {
  const workers = Array.from(
    { length: queues },
    () => new Worker(RING_WORKER, { type: "module" }),
  );
  const start: ScaleStart = {
    batch: BATCH,
    warmUpMs: WARM_UP_MS,
    rounds: ROUNDS,
    roundMs: ROUND_MS,
    // A barrier: nobody begins before all are there.
    arrived: new SharedArrayBuffer(4),
    workers: queues,
  };
  const reports = await Promise.all(workers.map((worker) => {
    const { promise, resolve, reject } = Promise.withResolvers<ScaleReport>();
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(start);
    return promise;
  }));
  for (const worker of workers) worker.terminate();
  return Array.from(
    { length: ROUNDS },
    (_, round) => reports.map(({ mpps }) => mpps[round]),
  );
}

const sum = (round: Round) => round.reduce((total, mpps) => total + mpps, 0);

async function measure(
  on: string,
  rounds: (queues: number) => Promise<Round[]>,
): Promise<ScalePoint[]> {
  const points: ScalePoint[] = [];
  let alone = NaN;
  for (let queues = 1; queues <= navigator.hardwareConcurrency; queues++) {
    const sorted = (await rounds(queues)).toSorted((a, b) => sum(a) - sum(b));
    const median = sorted[ROUNDS >> 1];
    const mpps = sum(median);
    if (queues === 1) alone = mpps;
    points.push({
      on,
      queues,
      mpps: round(mpps),
      perQueue: median.map(round),
      efficiency: round(mpps / queues / alone),
    });
  }
  return points;
}

function plot(points: readonly ScalePoint[]): string {
  return linePlot({
    title: "rate of a queue among several, divided by that of one alone",
    subtitle: describeMachine(),
    x: "queues",
    y: "1: nothing lost",
    reference: 1,
    lines: Object.entries(Object.groupBy(points, ({ on }) => on)).map((
      [name, line = []],
    ) => ({
      name,
      points: line.map(({ queues, efficiency }) =>
        [queues, efficiency] as const
      ),
    })),
  });
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"] });
  const points = [
    ...await measure("software card", onCards),
    ...await measure("rings in memory", onRings),
  ];
  console.log(`million packets a second; ${describeMachine()}`);
  console.table(points.map(({ perQueue, ...point }) => ({
    ...point,
    "each queue": perQueue.join(", "),
  })));
  savePlot("scale", plot(points));
  if (json) console.log(JSON.stringify({ name: "scale", points }));
}
