/**
 * The virtio driver beside DPDK's own, `net_virtio_user`, on the same vhost-user backend: DPDK's testpmd, which sends
 * each packet back with its MAC addresses swapped.
 *
 * Both do the same: some packets are sent first, then everything that is received is sent, untouched. Backend and
 * front end have a core each. What is counted is what the backend received, by its own clock, in both cases. The backend
 * copies each packet in and out, so it may well be the limit: the share of our polls that found nothing tells.
 *
 * This file is both the benchmark and, by its default export, the module of its queue worker.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch, openDevice, type QueueContext, run } from "../../mod.ts";
import { reserveHugepages } from "../../tests/support/host/hugepages.ts";
import { whyMissing } from "../../tests/support/runner/requirements.ts";
import { Testpmd } from "../../tests/support/vhost/testpmd.ts";
import { describeMachine } from "../support/machine.ts";
import { barPlot, savePlot } from "../support/plot.ts";

const RUNS = 7;
const SECONDS = 2;
const WARM_UP_MS = 1000;
const RING = 1024;
const BATCH = 32;
const IN_FLIGHT = 256;
/** What testpmd sends first. */
const FRAME_BYTES = 64;
const FRONT_CPU = 0;
const BACKEND_CPU = 1;
/** For two testpmds and our own pool. */
const HUGEPAGES = 96;

/** What both front ends are told to use; each ring has its own code in each of them. */
const LAYOUTS = {
  split: { packed: false },
  packed: { packed: true },
} as const;

type Layout = keyof typeof LAYOUTS;

/** Packets a second, medians of the runs. */
export interface VirtioPoint {
  /** Which ring. */
  readonly layout: Layout;
  /** This driver. */
  readonly ours: number;
  /** DPDK's. */
  readonly dpdk: number;
  /** Ours divided by DPDK's. */
  readonly ratio: number;
  /** Each pair of runs, ours first. */
  readonly runs: readonly (readonly [ours: number, dpdk: number])[];
  /** Share of our polls that found nothing: near 1 the backend is the limit, near 0 we are. */
  readonly emptyPolls: number;
}

/** Sends some packets, then all that it receives: runs in the queue worker. */
export default function circulate(queue: QueueContext): void {
  const { rx, tx, pool } = queue;
  const batch = new Batch(BATCH);
  for (let made = 0; made < IN_FLIGHT; made += BATCH) {
    while (batch.length < BATCH) {
      const handle = pool.allocate();
      pool.u8.fill(
        0xff,
        pool.offset(handle),
        pool.offset(handle) + FRAME_BYTES,
      );
      pool.lengths[pool.index(handle)] = FRAME_BYTES;
      batch.push(handle);
    }
    queue.sendAll(tx, batch);
  }
  while (!queue.stopped) {
    if (rx.receive(batch) === 0) continue;
    rx.counters.add("user", 1);
    queue.sendAll(tx, batch);
  }
}

const pause = (milliseconds: number) =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What the backend receives in a second, now. */
async function rate(backend: Testpmd): Promise<number> {
  // It says what came since it was asked last.
  const ask = () => backend.command("show port stats 0");
  await pause(WARM_UP_MS);
  await ask();
  await pause(SECONDS * 1000);
  const packets = Number(/Rx-pps:\s+(\d+)/.exec(await ask())?.[1]);
  if (packets > 0) return packets;
  throw new Error("the backend receives nothing");
}

/** The feature bits that a backend has agreed on, but for VIRTIO_NET_F_MQ, which changes nothing with one queue. */
function agreed(backend: Testpmd): bigint {
  const bits = /negotiated Virtio features: (0x\w+)/.exec(backend.output)?.[1];
  return BigInt(bits ?? 0) & ~(1n << 22n);
}

/** A benchmark of one layout. */
class Comparison {
  readonly #socket = `${Deno.makeTempDirSync()}/virtio.sock`;
  /** What the last backend has agreed on with our front end. */
  #features = 0n;

  constructor(readonly layout: Layout, readonly hugepages: boolean) {}

  /** Runs both in turn. */
  async run(pairs: number): Promise<VirtioPoint> {
    const runs: [number, number][] = [];
    const empty: number[] = [];
    for (let i = 0; i < pairs; i++) {
      const ours = await this.#ours();
      runs.push([ours.rate, await this.#dpdk()]);
      empty.push(ours.emptyPolls);
    }
    const ours = median(runs.map(([ours]) => ours));
    const dpdk = median(runs.map(([, dpdk]) => dpdk));
    const ratio = round(ours / dpdk);
    const emptyPolls = round(median(empty));
    return { layout: this.layout, ours, dpdk, ratio, runs, emptyPolls };
  }

  /** A fresh one each time: what a front end leaves behind is not the next one's. */
  #backend(): Promise<Testpmd> {
    const { hugepages } = this;
    return Testpmd.backend({
      socket: this.#socket,
      hugepages,
      cpu: BACKEND_CPU,
    });
  }

  /** Each time anew: others may have taken some. */
  #reserve(): Disposable {
    return reserveHugepages(this.hugepages ? HUGEPAGES : 0);
  }

  async #ours(): Promise<{ rate: number; emptyPolls: number }> {
    using _pages = this.#reserve();
    await using backend = await this.#backend();
    await using device = await openDevice({
      address: `vhost-user:${this.#socket}`,
      rxDepth: RING,
      txDepth: RING,
      irqTimeoutMs: 0,
      hugepages: this.hugepages ? "require" : "never",
      virtio: {
        // What DPDK's front end does not use, or is told not to.
        without: [
          "checksum",
          "event-index",
          "mergeable",
          ...(LAYOUTS[this.layout].packed ? [] : ["packed"] as const),
        ],
      },
    });
    await using running = await run(device, {
      worker: import.meta.url,
      cpus: [FRONT_CPU],
    });
    const packets = await rate(backend);
    this.#features = agreed(backend);
    const [{ ports: [{ polls, user }] }] = running.stats();
    return { rate: packets, emptyPolls: 1 - user / polls };
  }

  async #dpdk(): Promise<number> {
    using _pages = this.#reserve();
    await using backend = await this.#backend();
    const packed = Number(LAYOUTS[this.layout].packed);
    await using front = await Testpmd.start({
      name: "virtio_user",
      vdev:
        `net_virtio_user0,path=${this.#socket},queues=1,queue_size=${RING},mrg_rxbuf=0,packed_vq=${packed}`,
      mode: "io",
      cpu: FRONT_CPU,
      hugepages: this.hugepages,
      autoStart: false,
      more: [`--burst=${BATCH}`],
    });
    if (agreed(backend) !== this.#features) {
      throw new Error("the two front ends use different features");
    }
    await front.command(`start tx_first ${IN_FLIGHT / BATCH}`);
    return await rate(backend);
  }
}

/** Says whether there can be enough hugepages. */
function canReserve(): boolean {
  using reserved = reserveHugepages(HUGEPAGES);
  return reserved.available;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : (sorted[middle - 1] + sorted[middle]) / 2;
}

const round = (value: number) => Math.round(value * 1000) / 1000;

const millions = (packets: number) => Math.round(packets / 1e4) / 100;

function plot(points: readonly VirtioPoint[]): string {
  const bar = (name: string, rates: readonly number[]) => ({
    name,
    value: millions(median(rates)),
    range: [
      millions(Math.min(...rates)),
      millions(Math.max(...rates)),
    ] as const,
  });
  return barPlot({
    title: "there and back through testpmd over vhost-user, 64 bytes",
    subtitle: describeMachine(),
    groups: points.map(({ layout, runs }) => ({
      name:
        `${layout} rings: million packets a second, median and range of ${runs.length} runs`,
      bars: [
        bar("ours", runs.map(([ours]) => ours)),
        bar("DPDK's front end", runs.map(([, dpdk]) => dpdk)),
      ],
    })),
  });
}

if (import.meta.main) {
  const { json, layout, runs } = parseArgs(Deno.args, {
    boolean: ["json"],
    string: ["layout", "runs"],
  });
  if (layout !== undefined && !Object.hasOwn(LAYOUTS, layout)) {
    console.error(`--layout is ${Object.keys(LAYOUTS).join(" or ")}`);
    Deno.exit(2);
  }
  const missing = whyMissing("testpmd");
  if (missing !== undefined) {
    console.error(missing);
    Deno.exit(1);
  }
  const hugepages = canReserve();
  const points: VirtioPoint[] = [];
  for (const name of Object.keys(LAYOUTS) as Layout[]) {
    if (layout !== undefined && layout !== name) continue;
    const comparison = new Comparison(name, hugepages);
    points.push(await comparison.run(Number(runs ?? RUNS)));
  }
  console.log(
    `Million packets a second, there and back; ${FRAME_BYTES} bytes, batches of ${BATCH}, rings of ${RING}, ${IN_FLIGHT} packets on their way, memory in ${
      hugepages ? "hugepages" : "pages of 4 KiB"
    }`,
  );
  console.table(
    points.flatMap(({ layout, runs, ours, dpdk, ratio, emptyPolls }) => [
      ...runs.map(([ours, dpdk], i) => ({
        layout,
        run: String(i + 1),
        ours: millions(ours),
        dpdk: millions(dpdk),
        ratio: round(ours / dpdk),
      })),
      {
        layout,
        run: "median",
        ours: millions(ours),
        dpdk: millions(dpdk),
        ratio,
        "our polls that found nothing": emptyPolls,
      },
    ]),
  );
  // A picture of one of both would pass for the whole.
  if (layout === undefined) savePlot("virtio", plot(points));
  const [{ layout: _, ...first }, ...others] = points;
  const rest = others.map(({ layout, ...point }) => [layout, point]);
  if (json) {
    console.log(JSON.stringify({ ...first, ...Object.fromEntries(rest) }));
  }
}
