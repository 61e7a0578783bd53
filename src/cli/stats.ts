/**
 * `ixl stats ADDRESS`: the counters of a card and its queues, live.
 *
 * @module
 */
import { openDevice } from "../device.ts";
import { type QueueSnapshot, type Run, run } from "../runtime/run.ts";
import { stopOnSignals } from "../runtime/signals.ts";
import { type DeviceStats, emptyStats } from "../stats.ts";
import {
  cardOptions,
  type Command,
  defineCommand,
  type Given,
  UNSAFE_NO_IOMMU,
  VIRTIO_WITH,
} from "./command.ts";
import { type Cell, type Column, LiveTable } from "./table.ts";

const right = (title: string): Column => ({ title, align: "right" });

const COLUMNS: readonly Column[] = [
  { title: "" },
  right("received"),
  right("per second"),
  right("bytes"),
  right("missed"),
  right("errors"),
  right("no buffer"),
  right("IRQs"),
  right("switches"),
  { title: "mode" },
  right("pool in use"),
];

/** Receives on every queue, drops the packets, and shows what is counted meanwhile. */
export const statsCommand: Command = defineCommand({
  name: "stats",
  summary: "Receives on a card, drops everything, and shows its counters",
  args: ["ADDRESS"],
  options: [
    {
      name: "queues",
      value: "N",
      default: 1,
      range: [1, 128],
      help: "queue pairs to receive on",
    },
    {
      name: "interval",
      value: "S",
      default: 1,
      range: [0.05, 3600],
      fraction: true,
      help: "seconds between two looks",
    },
    {
      name: "seconds",
      value: "S",
      default: 0,
      range: [0, 1e6],
      fraction: true,
      help: "when to end; 0 for on a signal",
    },
    UNSAFE_NO_IOMMU,
    VIRTIO_WITH,
    { name: "json", help: "print one object a line" },
  ],
  run: watch,
});

async function watch(given: Given): Promise<number> {
  const [address] = given.args;
  const queues = given.number("queues");
  await using device = await openDevice({
    address,
    queues,
    promiscuous: true,
    ...cardOptions(given),
  });
  const worker = new URL("./drop_worker.ts", import.meta.url);
  await using running = await run(device, { worker });
  using _signals = stopOnSignals(() => running.stop());
  const show = given.flag("json") ? printJson : tablePrinter();
  const card = emptyStats();
  const begin = performance.now();
  const look = () => {
    const seconds = (performance.now() - begin) / 1000;
    device.readStats(card);
    show({ seconds, card: { ...card }, queues: running.stats() });
  };
  const timer = setInterval(look, given.number("interval") * 1000);
  await endOf(running, given.number("seconds"));
  clearInterval(timer);
  look();
  return running.failures.length === 0 ? 0 : 1;
}

/** Waits until the workers were stopped by a signal, or for so many seconds. */
async function endOf(running: Run, seconds: number): Promise<void> {
  const timer = seconds > 0
    ? setTimeout(() => running.stop(), seconds * 1000)
    : undefined;
  await running.done;
  clearTimeout(timer);
}

/** What is seen at one moment. */
interface Sample {
  readonly seconds: number;
  readonly card: DeviceStats;
  readonly queues: readonly QueueSnapshot[];
}

function printJson({ seconds, card, queues }: Sample): void {
  const perQueue = queues.map(({ ports: [counters], ...rest }) => ({
    ...rest,
    ...counters,
  }));
  console.log(JSON.stringify({ seconds, card, queues: perQueue }));
}

function tablePrinter(): (sample: Sample) => void {
  const table = new LiveTable(COLUMNS);
  let last: Sample | undefined;
  return (sample) => {
    table.update(rowsOf(sample, last));
    last = sample;
  };
}

function rowsOf(sample: Sample, last: Sample | undefined): Cell[][] {
  const { card, queues, seconds } = sample;
  const perSecond = (now: number, before = 0) =>
    Math.round((now - before) / (seconds - (last?.seconds ?? 0)));
  const before = last?.queues;
  return [
    [
      "card",
      card.rxPackets,
      perSecond(card.rxPackets, last?.card.rxPackets),
      card.rxBytes,
      card.rxMissed,
      card.rxErrors,
    ],
    ...queues.map(({ queue, ports: [port], poolInUse, poolCapacity }) => [
      `queue ${queue}`,
      port.rxPackets,
      perSecond(port.rxPackets, before?.[queue].ports[0].rxPackets),
      port.rxBytes,
      "",
      port.rxErrors,
      port.rxNoBuffer,
      port.irqs,
      port.modeSwitches,
      port.polling ? "poll" : "IRQ",
      `${poolInUse}/${poolCapacity}`,
    ]),
  ];
}
