/**
 * A virtio network device in the isolate of the test: its cable is a loop, and it lies where the test wants it to.
 */
import type { InterruptVectors } from "../../../src/bus/bus.ts";
import type { VhostUserBusDescription } from "../../../src/bus/description.ts";
import type { VirtioBusDevice } from "../../../src/bus/virtio/transport.ts";
import type {
  VirtioTransport,
  VirtqueueSetup,
} from "../../../src/bus/virtio/transport.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../src/bus/virtio/feature_bits.ts";
import { featureNames } from "../../../src/drivers/virtio/features.ts";
import { NotSupportedError } from "../../../src/errors.ts";
import { IrqLine } from "../../../src/irq/line.ts";
import type { PciIds } from "../../../src/pci/ids.ts";
import { DmaTable } from "../../../src/sim/dma_table.ts";
import {
  type DeviceRing,
  deviceRing,
  memoryAt,
  readable,
  writable,
} from "./ring.ts";

const CONFIG_BYTES = 24;
const Offset = {
  status: 6,
  maxQueuePairs: 8,
  mtu: 10,
  speed: 12,
  rssKeyBytes: 17,
  rssTableSize: 18,
  hashTypes: 20,
} as const;
const ALL_HASH_TYPES = 0x1ff;

/** What the device is. */
export interface FakeOptions {
  /** What it offers, besides VERSION_1. */
  readonly offers: readonly VirtioFeatureName[];
  /** Queue pairs. Default 1. */
  readonly pairs?: number;
  /** Descriptors of each virtqueue. Default 256. */
  readonly size?: number;
  /** Interrupt vectors. Default: enough. */
  readonly vectors?: number;
  /** How interrupts reach the driver. Default: eventfds. */
  readonly interrupts?: "eventfd" | "intx";
  /** False for a device without configuration, such as a vhost-user backend. Default true. */
  readonly hasConfig?: boolean;
}

/** A command of the control queue: class, command, data. */
export type ReceivedCommand = readonly [
  group: number,
  command: number,
  data: Uint8Array,
];

/** What the device answers to a command. */
export interface Answer {
  /** The byte; undefined leaves it as it is. Default 0. */
  readonly ack?: number | undefined;
  /** How much it says that it wrote. Default 1. */
  readonly written?: number;
  /** Which buffer it says that it used. Default: the right one. */
  readonly id?: number;
  /** How often it says so. 0 for no answer. Default 1. */
  readonly times?: number;
}

interface Queue {
  readonly setup: VirtqueueSetup;
  readonly ring: DeviceRing;
  enabled: boolean;
}

/** A device that a test plays. */
export class FakeVirtio implements VirtioTransport {
  readonly name = "test";
  readonly macAddress: Uint8Array | undefined;
  readonly hasConfig: boolean;
  readonly table: DmaTable = new DmaTable();
  /** Device configuration (5.1.4). */
  readonly config: DataView<ArrayBuffer>;
  /** What the driver did, in order. */
  readonly calls: string[] = [];
  /** Commands of the control queue, in order. */
  readonly commands: ReceivedCommand[] = [];
  /** Virtqueues that were notified, in order. */
  readonly notified: number[] = [];
  /** How often the interrupt line was taken down. */
  unmasked = 0;
  /** What the device says to a command. */
  answer: (command: ReceivedCommand) => Answer = () => ({});
  /** Called with each read of configuration. */
  onRead: () => void = () => {};
  /** What it offers now. */
  offered: bigint;
  accepted = 0n;
  live = false;
  needsReset = false;
  configGeneration = 0;
  /** Fails what is named: "reset", "accept", "set up", "enable", "stop", "start", "shut down". */
  readonly failing: Set<string> = new Set();
  /** Which vector tells of changes of configuration. */
  configVector: number | undefined;
  virtqueueCount: number;
  largest: number;
  readonly #queues = new Map<number, Queue>();

  constructor(options: FakeOptions) {
    const { offers, pairs = 1, size = 256, hasConfig = true } = options;
    this.offered = featureBits([...offers, "version-1"]);
    this.hasConfig = hasConfig;
    this.macAddress = hasConfig ? undefined : Uint8Array.of(2, 0, 0, 0, 0, 9);
    this.largest = size;
    this.virtqueueCount = 2 * pairs +
      (offers.includes("control-queue") ? 1 : 0);
    this.config = new DataView(new ArrayBuffer(CONFIG_BYTES));
    [2, 0, 0, 0, 0, 7].forEach((octet, i) => this.config.setUint8(i, octet));
    this.config.setUint16(Offset.status, 1, true);
    this.config.setUint16(Offset.maxQueuePairs, pairs, true);
    this.config.setUint16(Offset.mtu, 1500, true);
    this.config.setUint32(Offset.speed, 25_000, true);
    this.config.setUint8(Offset.rssKeyBytes, 40);
    this.config.setUint16(Offset.rssTableSize, 128, true);
    this.config.setUint32(Offset.hashTypes, ALL_HASH_TYPES, true);
  }

  get queuesAlone(): boolean {
    return (this.accepted & featureBits(["ring-reset"])) !== 0n;
  }

  /** Names of what was accepted. */
  get acceptedNames(): VirtioFeatureName[] {
    return featureNames(this.accepted);
  }

  /** How a virtqueue was set up; undefined where it was not. */
  setupOf(virtqueue: number): VirtqueueSetup | undefined {
    return this.#queues.get(virtqueue)?.setup;
  }

  /** Virtqueues that the device may use. */
  get enabled(): number[] {
    return [...this.#queues].filter(([, { enabled }]) => enabled)
      .map(([virtqueue]) => virtqueue).sort((a, b) => a - b);
  }

  reset(): Promise<void> {
    this.#note("reset");
    this.#forget();
    this.needsReset = false;
    return this.#outcome("reset");
  }

  acceptFeatures(features: bigint): Promise<void> {
    this.#note("accept");
    if (this.failing.has("accept") || (features & ~this.offered) !== 0n) {
      return Promise.reject(new NotSupportedError("FEATURES_OK is not set"));
    }
    this.accepted = features;
    return Promise.resolve();
  }

  giveUp(): Promise<void> {
    this.#note("give up");
    return Promise.resolve();
  }

  largestSize(virtqueue: number): number {
    return virtqueue < this.virtqueueCount ? this.largest : 0;
  }

  setUp(virtqueue: number, setup: VirtqueueSetup): Promise<void> {
    this.#note(`set up ${virtqueue}`);
    if (this.accepted === 0n) throw new Error("features are not accepted");
    if (this.#queues.get(virtqueue)?.enabled) {
      throw new Error(`virtqueue ${virtqueue} is in use`);
    }
    if (this.live && !this.queuesAlone) throw new Error("the device is live");
    const packed = (this.accepted & featureBits(["packed"])) !== 0n;
    this.#queues.set(virtqueue, {
      setup,
      ring: deviceRing(this.table, setup, packed),
      enabled: false,
    });
    return this.#outcome("set up");
  }

  routeConfig(vector: number | undefined): Promise<void> {
    this.configVector = vector;
    return Promise.resolve();
  }

  enable(virtqueue: number): Promise<void> {
    this.#note(`enable ${virtqueue}`);
    this.#queues.get(virtqueue)!.enabled = true;
    return this.#outcome("enable");
  }

  stop(virtqueue: number): Promise<void> {
    this.#note(`stop ${virtqueue}`);
    if (!this.queuesAlone) throw new Error("queues cannot be stopped alone");
    this.#queues.delete(virtqueue);
    return this.#outcome("stop");
  }

  start(): Promise<void> {
    this.#note("start");
    this.live = true;
    return this.#outcome("start");
  }

  shutDown(): Promise<void> {
    this.#note("shut down");
    this.#forget();
    return this.#outcome("shut down");
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    if (!this.hasConfig) throw new Error("there is no configuration");
    this.onRead();
    if (size === 1) return this.config.getUint8(offset);
    if (size === 2) return this.config.getUint16(offset, true);
    return this.config.getUint32(offset, true);
  }

  notify(virtqueue: number): void {
    if (!this.live || !this.#queues.get(virtqueue)?.enabled) {
      throw new Error(`virtqueue ${virtqueue} is not in use yet (3.1.1)`);
    }
    this.notified.push(virtqueue);
    if (virtqueue === this.#controlQueue) this.#serveControl();
  }

  unmaskInterrupt(): boolean {
    this.unmasked++;
    return false;
  }

  describe(): VhostUserBusDescription {
    return { kind: "vhost-user", kickFds: [] };
  }

  /** Changes configuration as a device does. */
  changeStatus(status: number): void {
    this.config.setUint16(Offset.status, status, true);
    this.configGeneration++;
  }

  /** Sends every frame back to the pair that it came from. Returns how many went round. */
  loop(): number {
    let count = 0;
    for (let pair = 0; 2 * pair + 1 < this.virtqueueCount; pair++) {
      const tx = this.#queues.get(2 * pair + 1);
      const rx = this.#queues.get(2 * pair);
      if (!this.live || !tx?.enabled || !rx?.enabled) continue;
      for (let sent = tx.ring.take(); sent; sent = tx.ring.take()) {
        this.#deliver(rx, readable(sent));
        tx.ring.use(sent, 0);
        count++;
      }
    }
    return count;
  }

  /** Takes frames from a transmit queue and keeps them: as a device that is slow, or dies. */
  swallow(pair: number): number {
    const { ring } = this.#queues.get(2 * pair + 1)!;
    let count = 0;
    while (ring.take() !== undefined) count++;
    return count;
  }

  /** Says that it used a receive buffer that it was not given. */
  lie(pair: number): void {
    const { ring } = this.#queues.get(2 * pair)!;
    const chain = ring.take()!;
    ring.use({ ...chain, id: 0x7fff }, 60);
  }

  /** What a virtqueue's driver writes for the device besides descriptors (2.7.6, 2.8.14). */
  driverArea(virtqueue: number): DataView {
    const { buffer, byteOffset } = memoryAt(
      this.table,
      this.setupOf(virtqueue)!.driver,
      4,
    );
    return new DataView(buffer, byteOffset, 4);
  }

  #deliver(rx: Queue, frame: Uint8Array): void {
    const chain = rx.ring.take();
    if (chain === undefined) return;
    // The header is the frame's own, for one buffer.
    const bytes = writable(chain);
    bytes.set(frame);
    new DataView(bytes.buffer, bytes.byteOffset).setUint16(10, 1, true);
    rx.ring.use(chain, frame.length);
  }

  get #controlQueue(): number {
    const accepted = this.acceptedNames;
    if (!accepted.includes("control-queue")) return -1;
    const many = accepted.includes("multiqueue") || accepted.includes("rss");
    return many ? 2 * this.config.getUint16(Offset.maxQueuePairs, true) : 2;
  }

  #serveControl(): void {
    const { ring } = this.#queues.get(this.#controlQueue)!;
    for (let chain = ring.take(); chain; chain = ring.take()) {
      const [group, command, ...data] = readable(chain);
      const received = [group, command, Uint8Array.from(data)] as const;
      this.commands.push(received);
      const { written = 1, id = chain.id, times = 1, ...given } = this.answer(
        received,
      );
      const ack = "ack" in given ? given.ack : 0;
      if (ack !== undefined && times > 0) writable(chain)[0] = ack;
      for (let i = 0; i < times; i++) ring.use({ ...chain, id }, written);
    }
  }

  #forget(): void {
    this.#queues.clear();
    this.accepted = 0n;
    this.live = false;
  }

  #note(call: string): void {
    this.calls.push(call);
  }

  #outcome(call: string): Promise<void> {
    if (!this.failing.has(call)) return Promise.resolve();
    return Promise.reject(new Error(`the device fails to ${call}`));
  }
}

/** The bus that carries it. */
export class FakeVirtioBus implements VirtioBusDevice {
  readonly kind = "virtio" as const;
  readonly address: string = "test:virtio";
  readonly numaNode: number = -1;
  readonly removal = undefined;
  readonly ids: PciIds = {
    ...{ vendor: 0x1af4, device: 0x1041, revision: 1 },
    ...{ subsystemVendor: 0x1af4, subsystemDevice: 1 },
  };
  readonly virtio: FakeVirtio;
  readonly dma: DmaDomain;
  readonly interrupts: InterruptVectors;
  /** Bytes that the device can reach now. */
  mapped = 0;
  busMaster = false;
  closed = 0;
  routed: readonly number[] = [];

  constructor(options: FakeOptions) {
    const { pairs = 1, vectors = pairs + 1, interrupts = "eventfd" } = options;
    this.virtio = new FakeVirtio(options);
    const { table } = this.virtio;
    this.dma = new MappedDomain({
      map: (memory, offset, length, iova) => {
        table.map(iova, memory.buffer, memory.byteOffset + offset, length);
        this.mapped += length;
      },
      unmap: (iova, length) => {
        table.unmap(iova, length);
        this.mapped -= length;
      },
    });
    this.interrupts = {
      kind: interrupts,
      count: vectors,
      route: (fds) => void (this.routed = fds),
      unmask: () => {},
    };
  }

  /** Raises the interrupt for changes of configuration. */
  raiseConfig(): void {
    const { configVector } = this.virtio;
    if (configVector === undefined) return;
    new IrqLine(this.routed[configVector]).raise();
  }

  setBusMaster(enabled: boolean): void {
    this.busMaster = enabled;
  }

  reset(): boolean {
    return false;
  }

  describe(): VhostUserBusDescription {
    return this.virtio.describe();
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }
}
