/**
 * Runs in the guest: opens a card through the public API and does what it is told, one JSON object a line.
 *
 *     console.ts ADDRESS OPTIONS
 *
 * The first line it prints is the card; then each line of standard input is a {@linkcode Command}, and each is
 * answered by a line with its id. Ends with its input.
 *
 * @module
 */
import {
  Batch,
  type Device,
  type DeviceOptions,
  type DeviceStats,
  type LinkState,
  Mempool,
  openDevice,
  Packet,
  type QueuePair,
  type Run,
  run,
} from "@ixl/deno";
import { swapMacs } from "@ixl/deno/net";

/** What a test can ask for. */
export interface Command {
  readonly id: number;
  readonly name: keyof typeof COMMANDS;
  readonly args: readonly unknown[];
}

/** What it gets. */
export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { name: string; message: string } };

/** The card, as the first line has it. */
export interface CardReport {
  readonly driver: string;
  readonly model: string;
  readonly macAddress: string;
  readonly linkSpeed: number;
  readonly queues: number;
  readonly features: Device["features"];
}

/** A received packet. */
export interface PacketReport {
  readonly queue: number;
  /** All its bytes, in hexadecimal. */
  readonly hex: string;
  /** Descriptors that it took. */
  readonly segments: number;
  readonly flags: number;
  readonly rssHash: number;
  readonly vlanTag: number;
}

/** What one call of receive() took. */
export interface ReceiveReport {
  readonly packets: number;
  /** Milliseconds that it lasted. */
  readonly elapsed: number;
  /** Milliseconds of processor time that the process used meanwhile. */
  readonly cpu: number;
  /** The share of the time that the guest's processors had nothing to do, 0 to 1. */
  readonly idle: number;
  readonly irqs: number;
}

/** Below everything that is ever mapped. */
const UNMAPPED_IOVA = 0x1000;
/** Where the line of all processors in /proc/stat has the idle time. */
const IDLE_FIELD = 3;

const [address, firstOptions = "{}"] = Deno.args;
const batch = new Batch(64);
let device: Device;
let queues: QueuePair[];
let links: LinkState[];
let echoing = false;
let echoed: Promise<void> = Promise.resolve();
let running: Run | undefined;

async function open(options: DeviceOptions): Promise<CardReport> {
  device = await openDevice({ hugepages: "never", ...options, address });
  queues = Array.from(
    { length: device.rxQueueCount },
    (_, index) => device.queue(index),
  );
  links = [];
  return {
    driver: device.driver,
    model: device.model,
    macAddress: device.macAddress,
    linkSpeed: device.linkSpeed,
    queues: device.rxQueueCount,
    features: device.features,
  };
}

async function close(): Promise<void> {
  await COMMANDS.stopEcho();
  await running?.stop();
  running = undefined;
  await device.close();
}

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

/** Takes packets of all queues until `count` have come. */
async function receive(
  count: number,
  timeoutMs: number,
): Promise<PacketReport[]> {
  const reports: PacketReport[] = [];
  const end = performance.now() + timeoutMs;
  while (reports.length < count && performance.now() < end) {
    for (const [queue, { rx }] of queues.entries()) {
      rx.receive(batch);
      for (const handle of batch.handles.subarray(0, batch.length)) {
        reports.push(describe(queue, handle));
        Mempool.freeChain(handle);
      }
    }
    await pause();
  }
  return reports;
}

function describe(queue: number, handle: number): PacketReport {
  const packet = new Packet().at(handle);
  const { flags, rssHash, vlanTag } = packet;
  let hex = "";
  let segments = 0;
  for (let next = handle; next !== 0; next = packet.nextSegment) {
    hex += packet.at(next).bytes().toHex();
    segments++;
  }
  return { queue, hex, segments, flags, rssHash, vlanTag };
}

/** Sends frames from queue `queue`'s pool; one that is longer than an entry goes as a chain. */
function send(queue: number, frames: readonly string[]): number {
  const { rx: { pool }, tx } = queues[queue];
  const sending = new Batch(frames.length);
  for (const hex of frames) sending.push(write(pool, Uint8Array.fromHex(hex)));
  return tx.send(sending);
}

function write(pool: Mempool, bytes: Uint8Array): number {
  const packet = new Packet();
  let head = 0;
  let last = 0;
  for (let at = 0; at < bytes.length; at += pool.entrySize) {
    const handle = pool.allocate();
    packet.at(handle).write(bytes.subarray(at, at + pool.entrySize));
    if (last !== 0) packet.at(last).nextSegment = handle;
    head ||= handle;
    last = handle;
  }
  return head;
}

/** Sends back what comes, its addresses swapped, until it is told to stop. */
async function echo(): Promise<void> {
  while (echoing) {
    for (const pair of queues) echoBatch(pair);
    await pause();
  }
}

function echoBatch({ rx, tx }: QueuePair): void {
  const received = rx.receive(batch);
  for (let i = 0; i < received; i++) {
    swapMacs(rx.pool.u8, rx.pool.offset(batch.handles[i]));
  }
  const sent = tx.send(batch);
  for (let i = sent; i < received; i++) Mempool.freeChain(batch.handles[i]);
}

/** One call of receive() on queue 0: how long it waits, and what that costs. */
function receiveOnce(): ReceiveReport {
  const { rx } = queues[0];
  const irqs = rx.counters.get("irqs");
  const cpuBefore = cpuMs();
  const before = processorTime();
  const start = performance.now();
  const packets = rx.receive(batch);
  const elapsed = performance.now() - start;
  const after = processorTime();
  batch.free();
  return {
    packets,
    elapsed,
    cpu: cpuMs() - cpuBefore,
    idle: (after.idle - before.idle) / (after.all - before.all),
    irqs: rx.counters.get("irqs") - irqs,
  };
}

/**
 * Receives on queue 0, and frees what comes, until it polls or sleeps as wanted. Returns whether it does in time.
 */
function receiveUntilPolling(wanted: boolean, timeoutMs: number): boolean {
  const { rx } = queues[0];
  const end = performance.now() + timeoutMs;
  while (rx.polling !== wanted) {
    if (performance.now() > end) return false;
    rx.receive(batch);
    batch.free();
  }
  return true;
}

/** Receives on queue 0 for a while, and frees what comes. Returns how many that were. */
async function drain(milliseconds: number): Promise<number> {
  const { rx } = queues[0];
  const end = performance.now() + milliseconds;
  let packets = 0;
  while (performance.now() < end) {
    packets += rx.receive(batch);
    for (const handle of batch.handles.subarray(0, batch.length)) {
      Mempool.freeChain(handle);
    }
    await pause();
  }
  return packets;
}

/** Sends a packet whose buffer nobody has mapped for the card. */
function sendUnmapped(): number {
  const { pool } = queues[0].rx;
  const mapped = pool.iovaLow;
  const move = (value: number) =>
    Object.defineProperty(pool, "iovaLow", { value, configurable: true });
  move(UNMAPPED_IOVA);
  try {
    return send(0, ["ff".repeat(60)]);
  } finally {
    move(mapped);
  }
}

/** Processor time of this process (proc(5): fields 14 and 15, in units of 10 ms). */
function cpuMs(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1];
  const [user, system] = fields.split(" ").slice(11, 13).map(Number);
  return (user + system) * 10;
}

/** Time of all processors, in ticks: all of it, and what was spent idle (proc(5), /proc/stat). */
function processorTime(): { all: number; idle: number } {
  const [all] = Deno.readTextFileSync("/proc/stat").split("\n");
  const ticks = all.trim().split(/ +/).slice(1).map(Number);
  return {
    all: ticks.reduce((sum, value) => sum + value),
    idle: ticks[IDLE_FIELD],
  };
}

const COMMANDS = {
  receive,
  send,
  receiveOnce,
  drain,
  receiveUntilPolling,
  sendUnmapped,
  /** Closes the card, and opens it again with other options. */
  async reopen(options: DeviceOptions): Promise<CardReport> {
    await close();
    return await open(options);
  },
  startEcho(): void {
    echoing = true;
    echoed = echo();
  },
  async stopEcho(): Promise<void> {
    echoing = false;
    await echoed;
  },
  /** Any method of the device. */
  // deno-lint-ignore no-explicit-any
  call: (method: keyof Device, ...args: any[]): unknown =>
    (device[method] as (...args: unknown[]) => unknown)(...args),
  setRssKey: (bytes: number[]): void =>
    device.setRssKey(Uint8Array.from(bytes)),
  stats: (): DeviceStats => device.readStats(),
  counters: (queue: number) => queues[queue].rx.counters.snapshot(),
  pool: (queue: number) => {
    const { inUse, capacity } = queues[queue].rx.pool;
    return { inUse, capacity };
  },
  watchLink(): void {
    (async () => {
      for await (const state of device.linkChanges()) links.push(state);
    })();
  },
  links: (): LinkState[] => links,
  linkState: (): LinkState => device.link(),
  async startWorkers(): Promise<void> {
    const worker = new URL("./echo_worker.ts", import.meta.url);
    running = await run(device, { worker });
  },
  restartWorker: (queue: number) => running!.restart(queue),
  async stopWorkers(): Promise<void> {
    await running!.stop();
    for (const [index] of queues.entries()) device.resumeQueue(index);
  },
  async close(): Promise<void> {
    await device.close();
  },
} as const;

function print(line: unknown): void {
  console.log(JSON.stringify(line));
}

async function obey({ id, name, args }: Command): Promise<void> {
  try {
    const command = COMMANDS[name] as (...args: unknown[]) => unknown;
    print({ id, result: await command(...args) ?? null });
  } catch (error) {
    const { name, message } = error as Error;
    print({ id, error: { name, message } });
  }
}

print(await open(JSON.parse(firstOptions)));
let rest = "";
for await (
  const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) await obey(JSON.parse(line));
}
await close();
