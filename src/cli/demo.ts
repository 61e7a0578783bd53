/**
 * The demo: two software cards, and every frame accounted for.
 *
 * A generator plays many flows into card A, RSS spreads them over its queues, a worker per queue forwards them to
 * card B with the MAC addresses swapped, and the sink behind B checks each byte.
 *
 * @module
 */
import { type Device, openDevice, simControls } from "../device.ts";
import { type QueueSnapshot, type Run, run } from "../runtime/run.ts";
import { stopOnSignals } from "../runtime/signals.ts";
import {
  type Account,
  joined,
  lastLine,
  received,
  sent,
  sumOf,
  total as totalOf,
  type Undelivered,
} from "../../examples/_accounts.ts";
import {
  type Command,
  defineCommand,
  type Given,
  UsageError,
} from "./command.ts";
import { comparePcaps } from "./compare_pcaps.ts";
import { demoDevice, reportDevice } from "./demo_device.ts";
import {
  type Column,
  type Display,
  display,
  formatTable,
  LiveTable,
} from "./table.ts";

const FORWARDER = new URL("../../examples/forward.ts", import.meta.url);
const FLOWS = 256;
/** Queue pairs where the user does not say. */
const CARD_QUEUES = 2;
const DEVICE_QUEUES = 1;
/** The 82599's limit, without the frame check sequence. */
const LONGEST_FRAME = 15868;
const TICK_MS = 1000;
const CHECK_MS = 10;
/** Time without any progress after which frames that are still on their way count as lost. */
const DRAIN_TIMEOUT_MS = 3000;

/** Flags of the demo. */
export const demoCommand: Command = defineCommand({
  name: "demo",
  summary:
    "Two software cards and a forwarder on each queue, every frame checked",
  options: [
    {
      name: "device",
      value: "ADDRESS",
      help: "one device instead, whose other side gives every frame back",
    },
    {
      name: "queues",
      value: "N",
      default: 0,
      range: [0, 16],
      help: "queue pairs, a worker each; 0 for 2, or for 1 with --device",
    },
    {
      name: "seconds",
      value: "N",
      default: 5,
      range: [0.1, 86400],
      fraction: true,
      help: "how long to generate",
    },
    {
      name: "rate",
      value: "PPS",
      default: 0,
      range: [0, 1e9],
      help: "frames a second; 0 for as fast as the card takes them",
    },
    {
      name: "size",
      value: "BYTES",
      default: 60,
      range: [0, 1514],
      help: "frame size without the frame check sequence; 0 for a mix",
    },
    {
      name: "batch",
      value: "N",
      default: 64,
      range: [1, 4096],
      help: "packets in a batch",
    },
    {
      name: "irq-timeout",
      value: "MS",
      default: 100,
      range: [-2147483648, 2147483647],
      help: "0 polls, negative sleeps without limit, positive sleeps that long",
    },
    {
      name: "pcap-in",
      value: "FILE",
      help: "play this capture to its end instead of generating",
    },
    {
      name: "pcap-out",
      value: "FILE",
      help: "write what card B sends",
    },
    {
      name: "json",
      help: "print one JSON object; tables go to standard error",
    },
  ],
  notes: `missed: what the overloaded card A dropped and counted.
lost: what vanished without a counter, with --device what did not come back; 0, or the demo fails.
abandoned: of these, what was on its way to a backend that went away.
At the end, every counter of frames that were not delivered is named; with
--json they are in "undelivered".`,
  run: demo,
});

/** What the demo found: the output with `--json`. */
export interface DemoResult {
  /** Driver of both cards. */
  readonly driver: string;
  /** Chip of both cards. */
  readonly device: string;
  /** Queue pairs. */
  readonly queues: number;
  /** Queue workers. */
  readonly workers: number;
  /** How long frames were generated, in seconds. */
  readonly seconds: number;
  /** Frames that the wire gave to card A. */
  readonly generated: number;
  /** Frames that the workers received. */
  readonly received: number;
  /** Frames that the workers sent, and the sink got. */
  readonly sent: number;
  /** Frames that vanished without a counter, or that are stuck on their way. */
  readonly lost: number;
  /** Frames that the sink did not get, by reason: with `sent` they make `generated`. */
  readonly undelivered: Undelivered;
  /** Frames of a capture that are longer than any card receives: they were not played. */
  readonly skipped: number;
  /** Frames that the generator gave up because card A did not look in time: they were not sent. */
  readonly late: number;
  /** Frames whose bytes were wrong. */
  readonly corrupted: number;
  /** Frames behind a later one of their flow. */
  readonly reordered: number;
  /** Frames that card A dropped and counted because they were not fetched in time. */
  readonly missed: number;
  /** Frames that a worker gave up because card B's ring was full. */
  readonly dropped: number;
  /** Million frames a second, end to end. */
  readonly mpps: number;
  /** Breaches of the datasheet, and DMA to unmapped memory, that the software cards recorded. */
  readonly violations: number;
  /** Each queue. */
  readonly perQueue: readonly {
    readonly queue: number;
    readonly received: number;
    readonly sent: number;
    readonly dropped: number;
    readonly irqs: number;
    readonly polls: number;
    readonly modeSwitches: number;
  }[];
}

async function demo(given: Given): Promise<number> {
  const address = given.text("device");
  const json = given.flag("json");
  assertTogether(given);
  if (address !== undefined) return await onDevice(address, given);
  const { result, failures, incomplete } = await onSoftwareCards(given);
  const pcapIn = given.text("pcap-in");
  const pcapOut = given.text("pcap-out");
  // The devices are closed: the capture is complete.
  const compared = pcapIn && pcapOut && incomplete === undefined
    ? { ...result, ...comparePcaps(pcapIn, pcapOut) }
    : result;
  report(compared, display(json));
  if (json) console.log(JSON.stringify(compared));
  if (incomplete !== undefined) throw incomplete;
  return succeeded(compared) && failures.length === 0 ? 0 : 1;
}

/** What two software cards left. */
interface Outcome {
  readonly result: DemoResult;
  readonly failures: Run["failures"];
  /** Why the capture that card B was to write lacks frames. */
  readonly incomplete?: unknown;
}

/** Forwards between two software cards. */
async function onSoftwareCards(given: Given): Promise<Outcome> {
  const isCapture = given.has("pcap-in");
  const config = {
    queues: given.number("queues") || CARD_QUEUES,
    irqTimeoutMs: given.number("irq-timeout"),
    promiscuous: true,
    // A capture may hold anything that fits a packet chain.
    ...(isCapture ? { maxFrameSize: LONGEST_FRAME } : {}),
  };
  let outcome: Outcome | undefined;
  try {
    await using a = await openDevice({ ...config, address: source(given) });
    // Nothing is to wait for the workers to start.
    simControls(a).wire.pause();
    await using b = await openDevice({ ...config, address: sink(given) });
    await using running = await run([a, b], {
      worker: FORWARDER,
      args: { batch: given.number("batch") },
    });
    const demoRun = new DemoRun(a, b, running, display(given.flag("json")));
    // A capture is played to its end.
    const limit = isCapture ? Infinity : given.number("seconds");
    const seconds = await demoRun.generate(limit);
    await demoRun.drain();
    await running.stop();
    outcome = { result: demoRun.result(seconds), failures: running.failures };
  } catch (error) {
    if (outcome === undefined) throw error;
    // Closing writes out what is left of the capture.
    outcome = { ...outcome, incomplete: error };
  }
  return outcome;
}

/** Refuses options that would have no effect. */
function assertTogether(given: Given): void {
  const refuse = (names: readonly string[], why: string) => {
    const wrong = names.find((name) => given.has(name));
    if (wrong !== undefined) throw new UsageError(`--${wrong} ${why}`);
  };
  if (given.has("pcap-in")) {
    refuse(
      ["rate", "size", "seconds"],
      "does not go with --pcap-in: a capture has its own frames, and is played to its end",
    );
  }
  if (given.has("device")) {
    refuse(["pcap-in", "pcap-out", "rate"], "is for the software cards");
  }
}

/** The demo with `--device`. */
async function onDevice(address: string, given: Given): Promise<number> {
  const json = given.flag("json");
  const { result, good } = await demoDevice({
    address,
    queues: given.number("queues") || DEVICE_QUEUES,
    seconds: given.number("seconds"),
    traffic: { flows: FLOWS, size: given.number("size") || "imix" },
    batch: given.number("batch"),
    irqTimeoutMs: given.number("irq-timeout"),
    display: display(json),
  });
  reportDevice(result, display(json));
  if (json) console.log(JSON.stringify(result));
  return good ? 0 : 1;
}

function source(given: Given): string {
  const file = given.text("pcap-in");
  if (file) return `sim:pcap?in=${encodeURIComponent(file)}`;
  return `sim:generator?rate=${given.number("rate")}&${traffic(given)}`;
}

function sink(given: Given): string {
  const file = given.text("pcap-out");
  const out = file ? `&out=${encodeURIComponent(file)}` : "";
  // A capture has no sequence numbers for a sink to check: it is compared file with file.
  return given.text("pcap-in")
    ? `sim:pcap?${out}`
    : `sim:sink?${traffic(given)}${out}`;
}

/** What generator and sink must agree on. */
function traffic(given: Given): string {
  return `flows=${FLOWS}&size=${given.number("size")}`;
}

/** The running demo: its clock, its table, and its books. */
class DemoRun {
  readonly #a: Device;
  readonly #b: Device;
  readonly #running: Run;
  readonly #display: Display;
  #stopped = false;

  constructor(a: Device, b: Device, running: Run, display: Display) {
    this.#display = display;
    this.#a = a;
    this.#b = b;
    this.#running = running;
  }

  /** Lets the generator run for `seconds`, a capture to its end, or until a signal. Returns the seconds it took. */
  async generate(seconds: number): Promise<number> {
    using _signals = stopOnSignals(() => this.#stopped = true);
    const { wire } = simControls(this.#a);
    const table = new LiveTable(COLUMNS, this.#display.live);
    wire.pause(false);
    const start = performance.now();
    const until = start + seconds * 1000;
    let last = this.#running.stats();
    let lastTime = start;
    while (!this.#stopped && !wire.finished && this.#running.workers > 0) {
      const now = performance.now();
      if (now >= until) break;
      if (now - lastTime >= TICK_MS) {
        const stats = this.#running.stats();
        table.update(rows(stats, last, now - lastTime, now - start));
        [last, lastTime] = [stats, now];
      }
      await pause(Math.min(CHECK_MS, until - now));
    }
    wire.pause();
    const now = performance.now();
    const stats = this.#running.stats();
    table.update(rows(stats, last, now - lastTime, now - start));
    table.done();
    return (now - start) / 1000;
  }

  /** Waits until every generated frame is accounted for, or nothing moves any more. */
  async drain(): Promise<void> {
    let missing = this.#unaccounted();
    let deadline = performance.now() + DRAIN_TIMEOUT_MS;
    while (missing > 0 && performance.now() < deadline) {
      await pause(CHECK_MS);
      const now = this.#unaccounted();
      // Counters of others move while they are read: only less than ever before is progress.
      if (now >= missing) continue;
      deadline = performance.now() + DRAIN_TIMEOUT_MS;
      missing = now;
    }
  }

  /** Where every frame went that was generated. */
  #books(): Account {
    const queues = this.#running.stats();
    const [a, b] = [0, 1].map((port) =>
      sumOf(queues.map(({ ports }) => ports[port]))
    );
    return joined(received(this.#a, a), sent(this.#b, b), a.dropped);
  }

  /** Frames that were generated and neither arrived nor were counted as not delivered. */
  #unaccounted(): number {
    return lostIn(this.#books());
  }

  /** The final account. */
  result(seconds: number): DemoResult {
    const books = this.#books();
    const { wire } = simControls(this.#a);
    const sinkWire = simControls(this.#b).wire;
    const stats = this.#running.stats();
    const sent = sinkWire.get("received");
    return {
      driver: this.#a.driver,
      device: this.#a.model,
      queues: stats.length,
      workers: stats.length,
      seconds: round(seconds),
      generated: books.seen,
      received: total(stats, (queue) => queue.ports[0].rxPackets),
      sent,
      lost: lostIn(books),
      undelivered: books.undelivered,
      skipped: wire.get("skipped"),
      late: wire.get("late"),
      corrupted: sinkWire.get("corrupted"),
      reordered: sinkWire.get("reordered"),
      missed: books.undelivered.missed ?? 0,
      dropped: books.undelivered.dropped ?? 0,
      mpps: round(sent / seconds / 1e6),
      violations: simControls(this.#a).violations().length +
        simControls(this.#b).violations().length,
      perQueue: stats.map(({ queue, ports: [rx, tx] }) => ({
        queue,
        received: rx.rxPackets,
        sent: tx.txPackets,
        dropped: rx.dropped,
        irqs: rx.irqs,
        polls: rx.polls,
        modeSwitches: rx.modeSwitches,
      })),
    };
  }
}

const COLUMNS: readonly Column[] = [
  { title: "time", align: "right" },
  { title: "queue", align: "right" },
  { title: "received", align: "right" },
  { title: "sent", align: "right" },
  { title: "dropped", align: "right" },
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
  return now.map(({ queue, ports: [rx, tx], poolInUse, poolCapacity }, i) => {
    const moved = tx.txPackets - last[i].ports[1].txPackets;
    return [
      `${(sinceStartMs / 1000).toFixed(0)} s`,
      queue,
      rx.rxPackets,
      tx.txPackets,
      rx.dropped,
      (moved / elapsedMs / 1000).toFixed(3),
      rx.polling ? "poll" : "IRQ",
      `${poolInUse} of ${poolCapacity}`,
    ];
  });
}

function report(result: DemoResult, { say }: Display): void {
  const figures: (keyof DemoResult)[] = [
    "generated",
    "received",
    "sent",
    "missed",
    "dropped",
    "lost",
    "corrupted",
    "reordered",
    "violations",
  ];
  say(
    `\n${result.device} (${result.driver}), ${result.queues} queues, ${result.seconds} s: ${result.mpps} million frames a second`,
  );
  say(formatTable(
    figures.map((title) => ({ title, align: "right" as const })),
    [figures.map((name) => result[name] as number)],
  ));
  const { generated: seen, sent: delivered, undelivered, skipped } = result;
  if (skipped > 0) {
    say(`${skipped} frames of the capture are too long for any card`);
  }
  say(lastLine({ seen, delivered, undelivered }));
}

/** What vanished without a counter, or is stuck on its way: in a card, in a ring. */
function lostIn({ undelivered }: Account): number {
  const { unaccounted = 0, inCard = 0, inRing = 0, unsent = 0 } = undelivered;
  return totalOf({ unaccounted, inCard, inRing, unsent });
}

function succeeded(result: DemoResult): boolean {
  const { lost, corrupted, reordered, violations } = result;
  return lost === 0 && corrupted === 0 && reordered === 0 && violations === 0;
}

function total(
  stats: readonly QueueSnapshot[],
  of: (queue: QueueSnapshot) => number,
): number {
  return stats.reduce((sum, queue) => sum + of(queue), 0);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
