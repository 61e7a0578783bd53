/**
 * What the program `console.ts` can do with a card.
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
import { openQueueBus } from "../../../src/bus/attach.ts";
import { PoolSet } from "../../../src/dma/pool_set.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { accepts } from "../../../src/drivers/virtio/features.ts";
import {
  DESCRIPTOR_BYTES,
  DescriptorFlag,
  Packed,
  Split,
} from "../../../src/drivers/virtio/virtqueue/layout.ts";
import { HEADROOM } from "../../../src/memory/mempool.ts";

/** A card, as the first line has it. */
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

/** A queue's pool. */
export interface PoolReport {
  readonly inUse: number;
  readonly capacity: number;
  /** Where the card finds the first packet, and how far behind it the next. */
  readonly iova: number;
  readonly stride: number;
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

/** Above everything that is mapped in a guest: addresses are given from the lowest on. */
const UNMAPPED_IOVA = 0xc000_0000;
/** Where the line of all processors in /proc/stat has the idle time. */
const IDLE_FIELD = 3;

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 0));
/** No method gives up control while it works with it. */
const batch = new Batch(64);

/** A card under command. */
export class CardConsole {
  readonly #address: string;
  #device!: Device;
  #queues: QueuePair[] = [];
  #links: LinkState[] = [];
  #echoing = false;
  #echoed: Promise<void> = Promise.resolve();
  #running: Run | undefined;

  /** Does nothing yet. */
  constructor(address: string) {
    this.#address = address;
  }

  /** Opens the card. */
  async open(options: DeviceOptions): Promise<CardReport> {
    const device = await openDevice({ ...options, address: this.#address });
    this.#device = device;
    this.#queues = Array.from(
      { length: device.rxQueueCount },
      (_, index) => device.queue(index),
    );
    this.#links = [];
    return {
      driver: device.driver,
      model: device.model,
      macAddress: device.macAddress,
      linkSpeed: device.linkSpeed,
      queues: device.rxQueueCount,
      features: device.features,
    };
  }

  /** Closes the card. */
  async close(): Promise<void> {
    await this.stopEcho();
    await this.#running?.stop();
    this.#running = undefined;
    await this.#device.close();
  }

  /** Closes the card, and opens it again with other options. */
  async reopen(options: DeviceOptions): Promise<CardReport> {
    await this.close();
    return await this.open(options);
  }

  /** Any method of the device. */
  // deno-lint-ignore no-explicit-any
  call(method: keyof Device, ...args: any[]): unknown {
    const device = this.#device;
    return (device[method] as (...args: unknown[]) => unknown)
      .apply(device, args);
  }

  /** Replaces the RSS key. */
  setRssKey(bytes: number[]): void {
    this.#device.setRssKey(Uint8Array.from(bytes));
  }

  /** What the device has counted since the last time. */
  stats(): DeviceStats {
    return this.#device.readStats();
  }

  /** What a queue has counted. */
  counters(queue: number): Record<string, number> {
    return this.#queues[queue].rx.counters.snapshot();
  }

  /** A queue's pool. */
  pool(queue: number): PoolReport {
    const { inUse, capacity, iovaLow, stride } = this.#queues[queue].rx.pool;
    return { inUse, capacity, iova: iovaLow, stride };
  }

  /** Notes changes of the link from now on. */
  watchLink(): void {
    const links = this.#links;
    (async () => {
      for await (const state of this.#device.linkChanges()) links.push(state);
    })();
  }

  /** The changes that were noted. */
  links(): LinkState[] {
    return this.#links;
  }

  /** The first, second, … of them: waits for it. */
  async linkChange(number: number): Promise<LinkState> {
    while (this.#links.length < number) await pause();
    return this.#links[number - 1];
  }

  /** The link now. */
  linkState(): LinkState {
    return this.#device.link();
  }

  /** Takes packets of all queues until `count` have come. */
  async receive(count: number, timeoutMs: number): Promise<PacketReport[]> {
    const reports: PacketReport[] = [];
    const end = performance.now() + timeoutMs;
    while (reports.length < count && performance.now() < end) {
      for (const [queue, { rx }] of this.#queues.entries()) {
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

  /** Sends frames from queue `queue`'s pool; one that is longer than an entry goes as a chain. */
  send(queue: number, frames: readonly string[]): number {
    const { rx: { pool }, tx } = this.#queues[queue];
    const sending = new Batch(frames.length);
    for (const hex of frames) {
      sending.push(write(pool, Uint8Array.fromHex(hex)));
    }
    return tx.send(sending);
  }

  /** Sends a packet whose buffer nobody has mapped for the card. */
  sendUnmapped(): number {
    return this.sendFrom(UNMAPPED_IOVA);
  }

  /** Sends 60 bytes that the card shall look for at an address, whether there is something or not. */
  sendFrom(iova: number): number {
    const pool = Mempool.create(
      { entries: 1 },
      elsewhere(iova, new PoolSet(this.#device.describeQueue(0).reachable)),
    );
    const sending = new Batch(1);
    sending.push(write(pool, new Uint8Array(60)));
    return this.#queues[0].tx.send(sending);
  }

  /**
   * Writes a descriptor that no driver writes where a virtio device looks for the next packet to send, and has it look.
   */
  confuse(): void {
    const { rings, bus, config, virtio } = this.#device.describeQueue(0);
    const packed = accepts(virtio!.features, "packed");
    if (packed) {
      // Available, but without bytes (2.8.1).
      new Uint32Array(rings.buffer, rings.txOffset, 4)[3] =
        DescriptorFlag.AVAIL << Packed.FLAGS_SHIFT;
    } else {
      // More packets than there are descriptors (2.7.13.1).
      const available = rings.txOffset + config.txDepth * DESCRIPTOR_BYTES;
      new Uint16Array(rings.buffer, available)[Split.INDEX] = config.txDepth +
        1;
    }
    const opened = openQueueBus(bus);
    if (opened.kind === "virtio") opened.bus.notify(1);
  }

  /** Sends back what comes, its addresses swapped. */
  startEcho(): void {
    this.#echoing = true;
    this.#echoed = this.#echo();
  }

  /** Ends that. */
  async stopEcho(): Promise<void> {
    this.#echoing = false;
    await this.#echoed;
  }

  /** Has a worker for each queue do that. */
  async startWorkers(): Promise<void> {
    const worker = new URL("./echo_worker.ts", import.meta.url);
    this.#running = await run(this.#device, { worker });
  }

  /** Stops the worker of a queue and starts another on fresh rings. */
  restartWorker(queue: number): Promise<void> {
    return this.#running!.restart(queue);
  }

  /** Hands a queue to another worker, packets and ring positions as they are. */
  moveWorker(queue: number): Promise<void> {
    return this.#running!.move(queue);
  }

  /** Stops the workers, and returns what they threw. */
  async stopWorkers(): Promise<Run["failures"]> {
    const running = this.#running!;
    await running.stop();
    for (const [index] of this.#queues.entries()) {
      this.#device.resumeQueue(index);
    }
    return running.failures;
  }

  /** One call of receive() on queue 0: how long it waits, and what that costs. */
  receiveOnce(): ReceiveReport {
    const { rx } = this.#queues[0];
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
  receiveUntilPolling(wanted: boolean, timeoutMs: number): boolean {
    const { rx } = this.#queues[0];
    const end = performance.now() + timeoutMs;
    while (rx.polling !== wanted) {
      if (performance.now() > end) return false;
      rx.receive(batch);
      batch.free();
    }
    return true;
  }

  /** Receives on queue 0 for a while, and frees what comes. Returns how many that were. */
  async drain(milliseconds: number): Promise<number> {
    const { rx } = this.#queues[0];
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

  async #echo(): Promise<void> {
    while (this.#echoing) {
      for (const pair of this.#queues) echoBatch(pair);
      await pause();
    }
  }
}

/** Has a pool believe that cards find its first packet at an address, and maps nothing. */
const elsewhere = (iova: number, pools: PoolSet): DmaDomain => ({
  pools,
  attach: () => BigInt(iova - HEADROOM),
  grow: () => {},
  shrink: (_memory, bytes) => bytes,
  detach: () => {},
});

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

function echoBatch({ rx, tx }: QueuePair): void {
  const received = rx.receive(batch);
  for (let i = 0; i < received; i++) {
    swapMacs(rx.pool.u8, rx.pool.offset(batch.handles[i]));
  }
  const sent = tx.send(batch);
  for (let i = sent; i < received; i++) Mempool.freeChain(batch.handles[i]);
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
