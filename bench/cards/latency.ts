/**
 * How long a packet takes from the device's write of its descriptor to user code: polling, asleep on the interrupt, and
 * changing between the two.
 *
 * The driver's own receive path stands on one side, in this thread; on the other a thread that writes descriptors in
 * time and raises an eventfd, as VFIO does for MSI-X. Each has its own clock: their difference is measured before,
 * over many round trips of which the shortest counts, and half of that trip is the error. Neither PCIe nor a card's
 * interrupt moderation is in the figures; what else runs on the machine is.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch } from "../../src/memory/batch.ts";
import type { RegisterQueueBus } from "../../src/bus/bus.ts";
import type { DeviceConfig } from "../../src/config.ts";
import { RDT } from "../../src/drivers/intel/ixgbe/registers.ts";
import { offsetOf } from "../../src/drivers/intel/register.ts";
import { readSmallFile } from "../../src/ffi/files.ts";
import { IrqLine } from "../../src/irq/line.ts";
import { collectionsBetweenMarks } from "../support/gc_trace.ts";
import { INTEL_MODELS, IntelRings } from "../rings/intel_rings.ts";
import { type LatencyStart, raiseInterrupt, Shared } from "./latency_shared.ts";
import { describeMachine } from "../support/machine.ts";
import { linePlot, savePlot } from "../support/plot.ts";

const RING = 512;
const FRAME_BYTES = 60;
const BATCH = 32;
const RATES = [1000, 50_000];
/** What is measured at each point, and what goes before. */
const LEAST_PACKETS = 20_000;
const SECONDS = 4;
const WARM_UP_SECONDS = 1;
/** After the collection that marks the beginning: what it held up is not counted. */
const SETTLE_SECONDS = 0.3;
const ROUND_TRIPS = 20_000;
const PERCENTILES = [50, 90, 99, 99.9, 99.99];

const MODES: Readonly<Record<string, Partial<DeviceConfig>>> = {
  polling: { irqTimeoutMs: 0 },
  interrupt: {
    irqTimeoutMs: 100,
    adaptive: { pollAbove: Infinity, sleepBelow: 0, windowMs: 50 },
  },
  adaptive: { irqTimeoutMs: 100 },
};

/** With `--expose-gc`. */
declare const gc: () => void;

/** A point of the result; times in microseconds. */
export interface LatencyPoint {
  /** How the queue waits. */
  readonly mode: string;
  /** Packets a second. */
  readonly rate: number;
  /** How many were measured. */
  readonly packets: number;
  /** The 50th, 90th, 99th, 99.9th and 99.99th percentile. */
  readonly percentiles: readonly number[];
  /** The longest. */
  readonly max: number;
  /** The share of a core that the receiving thread used, in percent. */
  readonly core: number;
  /** How far the two clocks may be apart. */
  readonly clockError: number;
  /** Garbage collections in the receiving isolate meanwhile. */
  readonly collections: number;
}

type Measured = Omit<LatencyPoint, "collections">;

/** The two registers that receiving writes. */
class DeviceRegisters implements RegisterQueueBus {
  /** The queue's interrupt, once there is one. */
  line: IrqLine | undefined;
  readonly #words: Int32Array;
  readonly #tail = offsetOf(RDT, 0);

  constructor(words: Int32Array) {
    this.#words = words;
  }

  read32(): number {
    return 0;
  }

  write32(offset: number, value: number): void {
    if (offset === this.#tail) {
      Atomics.store(this.#words, Shared.Tail, value);
      return;
    }
    Atomics.store(this.#words, Shared.Unmasked, 1);
    if (this.line) raiseInterrupt(this.#words, this.line);
  }

  unmaskInterrupt(): boolean {
    return false;
  }
}

/** The device's clock from here. */
interface Clock {
  /** Milliseconds to take from this isolate's clock. */
  readonly offset: number;
  /** How wrong that may be. */
  readonly error: number;
}

function compareClocks(words: Int32Array, stamps: Float64Array): Clock {
  let best: Clock = { offset: 0, error: Infinity };
  for (let i = 1; i <= ROUND_TRIPS; i++) {
    const before = performance.now();
    Atomics.store(words, Shared.Asked, i);
    while (Atomics.load(words, Shared.Answered) !== i);
    const after = performance.now();
    const error = (after - before) / 2;
    const offset = before + error - stamps[stamps.length - 1];
    if (error < best.error) best = { offset, error };
  }
  return best;
}

/** The receiving side of one point. */
function receive(mode: string, rate: number): Measured {
  const measured = Math.max(LEAST_PACKETS, rate * SECONDS);
  const warmUp = rate * WARM_UP_SECONDS;
  const first = warmUp + rate * SETTLE_SECONDS;
  const packets = first + measured;
  const stamps = new Float64Array(new SharedArrayBuffer(8 * (packets + 1)));
  const words = new Int32Array(new SharedArrayBuffer(4 * Shared.Words));
  const bus = new DeviceRegisters(words);
  const rings = new IntelRings(
    INTEL_MODELS[0],
    RING,
    FRAME_BYTES,
    bus,
    MODES[mode],
  );
  const { rx } = rings.pair;
  bus.line = new IrqLine(rx.irqFd);
  const start: LatencyStart = {
    ring: rings.buffer,
    depth: RING,
    words: words.buffer as SharedArrayBuffer,
    stamps: stamps.buffer as SharedArrayBuffer,
    packets,
    intervalMs: 1000 / rate,
    irqFd: rx.irqFd,
  };
  const device = new Worker(new URL("./latency_device.ts", import.meta.url), {
    type: "module",
  });
  device.postMessage(start);
  const clock = compareClocks(words, stamps);
  const batch = new Batch(BATCH);
  const times = new Float64Array(packets);
  let got = 0;
  const receiveUntil = (count: number) => {
    while (got < count) {
      const received = rx.receive(batch);
      const now = performance.now() - clock.offset;
      for (let i = 0; i < received; i++) times[got + i] = now - stamps[got + i];
      got += received;
      batch.free();
    }
  };
  Atomics.store(words, Shared.Begin, 1);
  receiveUntil(warmUp);
  gc();
  receiveUntil(first);
  const before = { used: processorMs(), at: performance.now() };
  receiveUntil(packets);
  const core = 100 * (processorMs() - before.used) /
    (performance.now() - before.at);
  gc();
  device.terminate();
  rings.close();
  return {
    ...summarize(mode, rate, times.subarray(first), clock.error),
    core: Math.round(core * 10) / 10,
  };
}

/** Milliseconds of processor time that this thread has used. */
function processorMs(): number {
  const nanoseconds = readSmallFile("/proc/thread-self/schedstat")?.split(" ");
  if (nanoseconds === undefined) throw new Error("no scheduler statistics");
  return Number(nanoseconds[0]) / 1e6;
}

function summarize(
  mode: string,
  rate: number,
  times: Float64Array,
  clockError: number,
): Omit<Measured, "core"> {
  const sorted = times.toSorted();
  const at = (index: number) => microseconds(sorted[index]);
  const last = sorted.length - 1;
  return {
    mode,
    rate,
    packets: sorted.length,
    percentiles: PERCENTILES.map((share) => at(Math.ceil(share * last / 100))),
    max: at(last),
    clockError: microseconds(clockError),
  };
}

function microseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1e5) / 100;
}

/** Runs all points in a child under `--trace-gc`. */
async function measure(): Promise<LatencyPoint[]> {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      "--v8-flags=--trace-gc,--expose-gc",
      new URL(import.meta.url).pathname,
      "--child",
    ],
  }).output();
  const [trace, said] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trim().split("\n")
  );
  if (code !== 0) throw new Error(said.join("\n"));
  const measured: Measured[] = said.filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const collections = collectionsBetweenMarks(trace);
  if (collections.length !== measured.length) {
    throw new Error("marks are missing from the trace");
  }
  return measured.map((point, i) => ({
    ...point,
    collections: collections[i],
  }));
}

function plot(points: readonly LatencyPoint[]): string {
  return linePlot({
    title: "from the device's write to user code",
    subtitle: describeMachine(),
    x: "one packet in so many takes longer",
    y: "microseconds",
    logarithmicY: true,
    lines: points.map(({ mode, rate, percentiles }) => ({
      name: `${mode}, ${rate}/s`,
      points: percentiles.map((time, i) => {
        const oneIn = Math.round(100 / (100 - PERCENTILES[i]));
        return [oneIn, Math.max(time, 0.1)] as const;
      }),
    })),
  });
}

if (import.meta.main) {
  const given = parseArgs(Deno.args, { boolean: ["child", "json"] });
  if (given.child) {
    for (const rate of RATES) {
      for (const mode of Object.keys(MODES)) {
        console.error(JSON.stringify(receive(mode, rate)));
      }
    }
  } else {
    const points = await measure();
    console.log("microseconds from the device's write to user code");
    console.table(points.map(({ percentiles, ...point }) => ({
      mode: point.mode,
      rate: point.rate,
      packets: point.packets,
      ...Object.fromEntries(
        percentiles.map((time, i) => [`${PERCENTILES[i]} %`, time]),
      ),
      max: point.max,
      "core %": point.core,
      collections: point.collections,
    })));
    savePlot("latency", plot(points));
    if (given.json) console.log(JSON.stringify({ name: "latency", points }));
  }
}
