/**
 * What it takes to begin: from opening a card to its first packet, to start a queue worker, and memory for each queue.
 *
 * On the software card, whose own worker must start before the first of them can be opened. Without hugepages, which
 * the process's resident set does not count.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch, type Device, openDevice, run } from "../../mod.ts";
import { describeMachine } from "../support/machine.ts";
import { barPlot, savePlot } from "../support/plot.ts";

const ROUNDS = 9;
const WORKER = new URL("../../src/cli/drop_worker.ts", import.meta.url);
/** Workers whose memory is compared with that of one. */
const QUEUES = 8;
const MIB = 1 << 20;

/** What was found: medians and worst cases in milliseconds, memory in MiB. */
export interface BringupResult {
  /** From `openDevice()` to the first packet, in a process that had no software card. */
  readonly firstOpenMs: number;
  /** The same for further cards: the median and the longest. */
  readonly openMs: readonly [median: number, longest: number];
  /** Until a queue worker is in the user's function: the median and the longest. */
  readonly workerMs: readonly [median: number, longest: number];
  /** Memory of a queue pair by its sizes: rings, pool and what belongs to them. */
  readonly queueMiB: number;
  /** Memory that becomes resident with a queue's worker. */
  readonly workerMiB: number;
}

function open(queues: number): Promise<Device> {
  return openDevice({
    address: "sim:generator",
    queues,
    promiscuous: true,
    hugepages: "never",
  });
}

/** Milliseconds from opening a card to its first packet. */
async function firstPacket(): Promise<number> {
  const start = performance.now();
  await using device = await open(1);
  const batch = new Batch(32);
  const { rx } = device.queue(0);
  while (rx.receive(batch) === 0);
  const elapsed = performance.now() - start;
  batch.free();
  return elapsed;
}

/** Milliseconds until a worker runs. */
async function startWorker(): Promise<number> {
  await using device = await open(1);
  const start = performance.now();
  await using _running = await run(device, { worker: WORKER });
  return performance.now() - start;
}

/** MiB that a queue pair has: its rings, its packets, and what is known of them. */
async function queueMemory(): Promise<number> {
  await using device = await open(1);
  const { rings, pool, counters, control } = device.describeQueue(0);
  const { capacity, stride } = device.queue(0).rx.pool;
  const shared = [rings.buffer, pool.control, counters, control];
  return shared.reduce(
    (sum, { byteLength }) => sum + byteLength,
    capacity * stride,
  ) / MIB;
}

/** MiB that become resident with each worker that runs: its isolate, and the packets that it goes through. */
async function workerMemory(): Promise<number> {
  return (await residentWithWorkers(QUEUES) - await residentWithWorkers(1)) /
    (QUEUES - 1);
}

async function residentWithWorkers(queues: number): Promise<number> {
  await using device = await open(queues);
  const opened = Deno.memoryUsage().rss;
  await using _running = await run(device, { worker: WORKER });
  return (Deno.memoryUsage().rss - opened) / MIB;
}

/** The median and the largest of several runs. */
async function repeat(
  action: () => Promise<number>,
): Promise<[number, number]> {
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) times.push(await action());
  times.sort((a, b) => a - b);
  return [round(times[ROUNDS >> 1]), round(times[ROUNDS - 1])];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"] });
  const firstOpenMs = round(await firstPacket());
  const result: BringupResult = {
    firstOpenMs,
    openMs: await repeat(firstPacket),
    workerMs: await repeat(startWorker),
    queueMiB: round(await queueMemory()),
    workerMiB: round(await workerMemory()),
  };
  console.log(`bring-up of a software card; ${describeMachine()}`);
  console.table({
    "first card: open to first packet, ms": { median: firstOpenMs },
    "further cards: open to first packet, ms": row(result.openMs),
    "start of a queue worker, ms": row(result.workerMs),
    "memory of a queue pair, MiB": { median: result.queueMiB },
    "resident memory of its worker, MiB": { median: result.workerMiB },
  });
  savePlot("bringup", plot(result));
  if (json) console.log(JSON.stringify({ name: "bringup", ...result }));
}

function plot(result: BringupResult): string {
  const bar = (
    name: string,
    [value, longest]: readonly [number, number?],
  ) => ({
    name,
    value,
    ...(longest === undefined ? {} : { range: [value, longest] as const }),
  });
  return barPlot({
    title: "bring-up of a software card",
    subtitle: describeMachine(),
    groups: [
      {
        name: "milliseconds, the median and the longest",
        bars: [
          bar("first card", [result.firstOpenMs]),
          bar("further cards", result.openMs),
          bar("a queue worker", result.workerMs),
        ],
      },
      {
        name: "MiB",
        bars: [
          bar("a queue pair", [result.queueMiB]),
          bar("its worker", [result.workerMiB]),
        ],
      },
    ],
  });
}

function row([median, longest]: readonly [number, number]) {
  return { median, longest };
}
