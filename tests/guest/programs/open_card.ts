/**
 * Runs in the guest: opens a card, has a worker for each queue answer what arrives, and does to the device what
 * lines on standard input say. Ends with its input.
 *
 *     deno run -P=demo tests/guest/programs/open_card.ts 0000:00:04.0 '{"queues":2,"role":"echo"}'
 *
 * A line is `{"id":1,"call":"setPromiscuous","args":[true]}`: a method or a property of the device, or one of
 * {@linkcode COMMANDS}. The answer is `= 1 {"value":…}` or `= 1 {"error":{"name":…,"message":…}}`. Changes of the
 * link are told without being asked: `link {"up":true,"speed":1000}`.
 *
 * @module
 */
import process from "node:process";
import {
  type Device,
  type DeviceOptions,
  openDevice,
  type Run,
  run,
} from "@ixl/deno";
import type { Role } from "./card_worker.ts";

/** What the argument after the address says. */
export interface CardOptions extends Omit<DeviceOptions, "rss"> {
  /** What the workers do. Default: "echo". */
  readonly role?: Role;
  /** RSS, the key as an array. */
  readonly rss?: { key?: number[]; ports?: boolean; table?: number[] };
}

/** A line on standard input. */
export interface CardRequest {
  /** Comes back with the answer. */
  readonly id: number;
  /** What to do. */
  readonly call: string;
  /** How. */
  readonly args: readonly unknown[];
}

interface Card {
  readonly device: Device;
  readonly running: Run;
}

/** Milliseconds of processor time that the program has used so far, in all threads. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** What a line can ask for besides what a device has. */
const COMMANDS: Record<string, (card: Card, ...args: never[]) => unknown> = {
  /** The counters of all queues. */
  counters: ({ running }) => running.stats().map(({ ports }) => ports[0]),
  /** Packets in use and capacity of each pool. */
  pools: ({ running }) =>
    running.stats().map(({ poolInUse, poolCapacity }) => ({
      poolInUse,
      poolCapacity,
    })),
  /** Stops the worker of a queue and starts another on fresh rings. */
  restartWorker: ({ running }, queue: number) => running.restart(queue),
  /** Hands a queue to another worker, packets and ring positions as they are. */
  moveWorker: ({ running }, queue: number) => running.move(queue),
  /** What workers threw. */
  failures: ({ running }) => running.failures,
  cpuMs,
  /** As the device's, with the key as an array. */
  setRssKey: ({ device }, key: number[]) =>
    device.setRssKey(Uint8Array.from(key)),
};

async function obey(card: Card, { call, args }: CardRequest): Promise<unknown> {
  const command = COMMANDS[call];
  if (command !== undefined) return await command(card, ...args as never[]);
  const member = card.device[call as keyof Device] as unknown;
  return typeof member === "function"
    ? await member.apply(card.device, args)
    : member;
}

async function answer(card: Card, line: string): Promise<void> {
  const request: CardRequest = JSON.parse(line);
  const outcome = await obey(card, request).then(
    (value) => ({ value: value ?? null }),
    ({ name, message }) => ({ error: { name, message } }),
  );
  console.log(`= ${request.id} ${JSON.stringify(outcome)}`);
}

async function tellLink(device: Device): Promise<void> {
  for await (const state of device.linkChanges()) {
    console.log(`link ${JSON.stringify(state)}`);
  }
}

async function* lines(): AsyncGenerator<string> {
  let rest = "";
  for await (
    const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  ) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}

const [address, json = "{}"] = Deno.args;
const { role = "echo", rss, ...options }: CardOptions = JSON.parse(json);
const { key, ...spread } = rss ?? {};
await using device = await openDevice({
  ...options,
  address,
  rss: { ...spread, ...(key ? { key: Uint8Array.from(key) } : {}) },
});
const watch = tellLink(device);
{
  const worker = new URL("./card_worker.ts", import.meta.url);
  await using running = await run(device, { worker, args: { role } });
  console.log("ready");
  for await (const line of lines()) await answer({ device, running }, line);
}
await device.close();
await watch;
console.log("closed");
