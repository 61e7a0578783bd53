/**
 * The demo on one device whose other side gives every frame back: a loopback plug, or a software switch.
 *
 * A worker per queue sends numbered frames and checks each byte of what returns.
 *
 * @module
 */
import {
  type Account,
  account,
  lastLine,
  received,
  sent,
  sumOf,
  type Undelivered,
} from "../../examples/_accounts.ts";
import { type Device, openDevice } from "../device.ts";
import { type QueueSnapshot, type Run, run } from "../runtime/run.ts";
import { stopOnSignals } from "../runtime/signals.ts";
import type { TrafficOptions } from "../sim/wires/traffic.ts";
import {
  WIRE_COUNTER_BYTES,
  WIRE_SLOT,
  wireCounters,
} from "../sim/wires/wire.ts";
import type { EchoArgs } from "./echo_worker.ts";
import { type Column, type Display, formatTable, LiveTable } from "./table.ts";

const WORKER = new URL("./echo_worker.ts", import.meta.url);
const TICK_MS = 1000;
const CHECK_MS = 10;
/** Time without any progress after which frames that are still on their way count as lost. */
const DRAIN_TIMEOUT_MS = 3000;

/** How the demo runs on a device. */
export interface DeviceDemoOptions {
  /** Which device. */
  readonly address: string;
  /** Queue pairs, a worker each. */
  readonly queues: number;
  /** How long to generate. */
  readonly seconds: number;
  /** What to generate. */
  readonly traffic: TrafficOptions;
  /** Packets in a batch. */
  readonly batch: number;
  /** As in `DeviceConfig`. */
  readonly irqTimeoutMs: number;
  /** Where its table goes. */
  readonly display: Display;
}

/** What the demo found: the output with `--json`. */
export interface DeviceDemoResult {
  /** Driver of the device. */
  readonly driver: string;
  /** What the device is. */
  readonly device: string;
  /** Queue pairs. */
  readonly queues: number;
  /** Queue workers. */
  readonly workers: number;
  /** How long frames were generated, in seconds. */
  readonly seconds: number;
  /** Frames that the workers made. */
  readonly generated: number;
  /** Frames received on all queues, including those of other senders. */
  readonly received: number;
  /** Frames of ours that did not come back. */
  readonly lost: number;
  /** The same by reason, as far as the device tells; the rest is `unaccounted`: it was lost on the other side. */
  readonly undelivered: Undelivered;
  /** Frames of these that were on their way out when the other side went away, and were given up. */
  readonly abandoned: number;
  /** Frames that came back with wrong bytes. */
  readonly corrupted: number;
  /** Frames that we have not made. */
  readonly foreign: number;
  /** Frames that came back on another queue than the one they were sent on. */
  readonly elsewhere: number;
  /** Frames behind a later one of their flow. */
  readonly reordered: number;
  /** Frames that came back twice. */
  readonly duplicated: number;
  /** Million frames a second, there and back. */
  readonly mpps: number;
  /** Each queue. */
  readonly perQueue: readonly {
    readonly queue: number;
    readonly received: number;
    readonly sent: number;
    readonly irqs: number;
    readonly polls: number;
    readonly modeSwitches: number;
  }[];
}

/** Runs the demo on a device, and shows it. */
export async function demoDevice(
  options: DeviceDemoOptions,
): Promise<{ result: DeviceDemoResult; good: boolean }> {
  const { queues, irqTimeoutMs, address } = options;
  await using device = await openDevice({
    address,
    queues,
    irqTimeoutMs,
    promiscuous: true,
  });
  const counters = Array.from(
    { length: queues },
    () => new SharedArrayBuffer(WIRE_COUNTER_BYTES),
  );
  const elsewhere = counters.map(() =>
    counters.map(() => new SharedArrayBuffer(WIRE_COUNTER_BYTES))
  );
  const args: EchoArgs = {
    traffic: options.traffic,
    counters,
    elsewhere,
    batch: options.batch,
    window: Math.min(device.rxQueueDepth, device.txQueueDepth) / 2,
  };
  await using running = await run(device, { worker: WORKER, args });
  const echo = new Echo(
    device,
    running,
    counters,
    elsewhere.flat(),
    options.display,
  );
  const seconds = await echo.generate(options.seconds);
  await echo.drain();
  await running.stop();
  const result = echo.result(seconds);
  const { lost, corrupted, reordered, duplicated } = result;
  const good = lost === 0 && corrupted === 0 && reordered === 0 &&
    duplicated === 0 && running.failures.length === 0;
  return { result, good };
}

/** The running demo: its clock, its table, and its books. */
class Echo {
  readonly #device: Device;
  readonly #running: Run;
  readonly #wires: readonly Float64Array[];
  /** What came back on other queues than its own. */
  readonly #elsewhere: readonly Float64Array[];
  readonly #display: Display;
  #stopped = false;

  constructor(
    device: Device,
    running: Run,
    counters: readonly SharedArrayBuffer[],
    elsewhere: readonly SharedArrayBuffer[],
    display: Display,
  ) {
    this.#display = display;
    this.#device = device;
    this.#running = running;
    this.#wires = counters.map(wireCounters);
    this.#elsewhere = elsewhere.map(wireCounters);
  }

  /** Lets the workers generate for so many seconds, or until a signal. Returns the seconds it took. */
  async generate(seconds: number): Promise<number> {
    using _signals = stopOnSignals(() => this.#stopped = true);
    const table = new LiveTable(COLUMNS, this.#display.live);
    const start = performance.now();
    const until = start + seconds * 1000;
    let last = this.#running.stats();
    let lastTime = start;
    const show = (now: number) => {
      const stats = this.#running.stats();
      table.update(rows(stats, last, now - lastTime, now - start));
      [last, lastTime] = [stats, now];
    };
    for (;;) {
      const now = performance.now();
      if (now >= until || this.#stopped || this.#running.workers === 0) break;
      if (now - lastTime >= TICK_MS) show(now);
      await pause(Math.min(CHECK_MS, until - now));
    }
    for (const wire of this.#wires) wire[WIRE_SLOT.stop] = 1;
    const now = performance.now();
    show(now);
    table.done();
    return (now - start) / 1000;
  }

  /** Waits until every frame is back, or nothing moves any more. */
  async drain(): Promise<void> {
    let missing = this.#lost();
    let deadline = performance.now() + DRAIN_TIMEOUT_MS;
    while (missing > 0 && performance.now() < deadline) {
      await pause(CHECK_MS);
      const now = this.#lost();
      // Counters of others move while they are read: only less than ever before is progress.
      if (now >= missing) continue;
      deadline = performance.now() + DRAIN_TIMEOUT_MS;
      missing = now;
    }
  }

  /** The final account. */
  result(seconds: number): DeviceDemoResult {
    const stats = this.#running.stats();
    const books = this.#books();
    const arrived = this.#total("received");
    return {
      driver: this.#device.driver,
      device: this.#device.model,
      queues: stats.length,
      workers: stats.length,
      seconds: round(seconds),
      generated: this.#total("generated"),
      received: arrived,
      lost: this.#lost(),
      undelivered: books.undelivered,
      abandoned: books.undelivered.abandoned ?? 0,
      corrupted: this.#total("corrupted"),
      foreign: this.#total("foreign"),
      elsewhere: sumAt(this.#elsewhere, "received"),
      reordered: this.#total("reordered"),
      duplicated: this.#total("duplicated"),
      mpps: round(arrived / seconds / 1e6),
      perQueue: stats.map(({ queue, ports: [counters] }) => ({
        queue,
        received: counters.rxPackets,
        sent: counters.txPackets,
        irqs: counters.irqs,
        polls: counters.polls,
        modeSwitches: counters.modeSwitches,
      })),
    };
  }

  #lost(): number {
    return this.#total("generated") - this.#returned();
  }

  /** Frames of ours that came back, right or wrong, each once. */
  #returned(): number {
    return this.#total("received") - this.#total("foreign") -
      this.#total("duplicated");
  }

  /** Where the frames went that did not come back, as far as the device tells. */
  #books(): Account {
    const counters = sumOf(
      this.#running.stats().map(({ ports: [port] }) => port),
    );
    const out = sent(this.#device, counters).undelivered;
    // If others send frames too, it is unknown whose frames were missed or filtered.
    const back = this.#total("foreign") === 0
      ? received(this.#device, counters).undelivered
      : {};
    const { dropped } = counters;
    return account(this.#total("generated"), this.#returned(), {
      ...{ ...out, ...back, dropped },
    });
  }

  #total(name: keyof typeof WIRE_SLOT): number {
    return sumAt(this.#wires, name) + sumAt(this.#elsewhere, name);
  }
}

function sumAt(
  wires: readonly Float64Array[],
  name: keyof typeof WIRE_SLOT,
): number {
  return wires.reduce((sum, wire) => sum + wire[WIRE_SLOT[name]], 0);
}

const COLUMNS: readonly Column[] = [
  { title: "time", align: "right" },
  { title: "queue", align: "right" },
  { title: "sent", align: "right" },
  { title: "received", align: "right" },
  { title: "Mpps", align: "right" },
  { title: "mode" },
  { title: "pool in use", align: "right" },
];

function rows(
  now: readonly QueueSnapshot[],
  last: readonly QueueSnapshot[],
  elapsedMs: number,
  sinceStartMs: number,
): (string | number)[][] {
  return now.map(({ queue, ports: [counters], poolInUse, poolCapacity }, i) => {
    const moved = counters.rxPackets - last[i].ports[0].rxPackets;
    return [
      `${(sinceStartMs / 1000).toFixed(0)} s`,
      queue,
      counters.txPackets,
      counters.rxPackets,
      (moved / elapsedMs / 1000).toFixed(3),
      counters.polling ? "poll" : "IRQ",
      `${poolInUse} of ${poolCapacity}`,
    ];
  });
}

/** Shows the result, and on standard error what may have gone wrong. */
export function reportDevice(
  result: DeviceDemoResult,
  { say }: Display,
): void {
  const figures: (keyof DeviceDemoResult)[] = [
    "generated",
    "received",
    "lost",
    "abandoned",
    "corrupted",
    "foreign",
    "elsewhere",
    "reordered",
    "duplicated",
  ];
  say(
    `\n${result.device} (${result.driver}), ${result.queues} queues, ${result.seconds} s: ${result.mpps} million frames a second, there and back`,
  );
  say(formatTable(
    figures.map((title) => ({ title, align: "right" as const })),
    [figures.map((name) => result[name] as number)],
  ));
  const { generated: seen, lost, undelivered } = result;
  say(lastLine({ seen, delivered: seen - lost, undelivered }));
  const hint = hintFor(result);
  if (hint !== undefined) console.error(`ixl: ${hint}`);
}

/** Where frames are lost: what the user may want to look at. */
function hintFor(
  result: DeviceDemoResult,
): string | undefined {
  const { lost, abandoned, queues, perQueue, received, elsewhere, foreign } =
    result;
  if (elsewhere > 0) {
    return `${elsewhere} answers came on another queue than their frames went out on: the other side spreads them by a rule of its own, or serves fewer than ${queues} queues`;
  }
  if (foreign > 0 && foreign === received) {
    return "all frames that came are from others: does the other side give frames back, as testpmd does with --forward-mode=macswap?";
  }
  if (lost === 0) return undefined;
  if (abandoned > 0) {
    return "the other side went away while frames were on their way to it";
  }
  const silent = perQueue.filter((queue) => queue.received === 0);
  if (silent.length === 0) return undefined;
  if (received === 0) {
    return "nothing came back at all: does the other side give frames back, as testpmd does with --forward-mode=macswap?";
  }
  const names = silent.map(({ queue }) => queue).join(", ");
  return `nothing came back on queue ${names}: the other side may serve fewer than ${queues} queues; for testpmd that takes queues=${queues} in --vdev, --rxq=${queues} and --txq=${queues}`;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
