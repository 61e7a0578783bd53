/**
 * A virtio network device, whatever carries it: which step follows which, and how it comes back.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { BusDevice, VirtioQueueBus } from "../../bus/bus.ts";
import type { VirtioTransport } from "../../bus/virtio.ts";
import type { DeviceConfig } from "../../config.ts";
import type {
  DeviceFeatures,
  LinkState,
  QueueDescription,
  VirtioQueueDescription,
} from "../../device_api.ts";
import { NotSupportedError } from "../../errors.ts";
import { log } from "../../log.ts";
import { type DeviceStats, emptyStats } from "../../stats.ts";
import { BaseDevice, type LocalPair } from "../base_device.ts";
import type { LocalQueue } from "../base_rx_queue.ts";
import type { MemorySizes } from "../device_memory.ts";
import { Word } from "../queue_control.ts";
import { delay, until } from "../wait.ts";
import {
  ControlQueue,
  controlQueueBytes,
  controlQueueDepth,
} from "./control_queue.ts";
import { accepts, featureNames } from "./features.ts";
import { DESCRIPTOR_BYTES, ringBytes, virtqueueAddresses } from "./layout.ts";
import { agree, type Agreement, configFor } from "./negotiation.ts";
import { type NetStatus, readNetStatus } from "./net_config.ts";
import { createRxQueue, createTxQueue, renewPair } from "./queues.ts";
import type { VirtioRxQueue } from "./rx.ts";
import { RSS_TABLE_SIZE, Settings } from "./settings.ts";
import type { VirtioTxQueue } from "./tx.ts";

/** The name of this driver. */
export const DRIVER = "virtio";
const MODEL = "virtio-net";

/** Mbit/s where the device does not say. */
const UNKNOWN_SPEED = 10_000;
/** How soon it is seen that the device needs a reset, or wants something. */
const WATCH_INTERVAL_MS = 100;
/** How long the users of queues may take to start their rings afresh before the others go on without them. */
const RENEWAL_TIMEOUT_MS = 2000;
/** Between two attempts to get a device back. */
const RETRY_INTERVAL_MS = 500;

/** A virtio network device. */
export class VirtioDevice extends BaseDevice<BusDevice> {
  override readonly driver = DRIVER;
  override readonly model = MODEL;
  protected override readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly #transport: VirtioTransport;
  /** Where queues in this isolate notify the device: not before it is live (3.1.1). */
  readonly #queueBus: VirtioQueueBus;
  readonly #settings: Settings;
  #agreement: Agreement | undefined;
  #control: ControlQueue | undefined;
  /** True from DRIVER_OK until the device is reset or gone. */
  #live = false;
  /** Queue pairs that the device uses. */
  readonly #enabled = new Set<number>();
  /** Queue pairs that stand still until they are restarted. */
  readonly #halted = new Set<number>();
  /** Queue pairs that another isolate may use. */
  readonly #described = new Set<number>();
  /** One change of the rings after the other. */
  #turn: Promise<void> = Promise.resolve();
  #recovering = false;
  /** True when the device was reset and did not come up again. */
  #failed = false;
  #watch: ReturnType<typeof setInterval> | undefined;
  #announcements = 0;
  #counted: DeviceStats = emptyStats();

  /**
   * @param bus The device on its bus.
   * @param config How it is to be used.
   * @param transport The virtio device that the bus carries.
   */
  constructor(
    bus: BusDevice,
    config: DeviceConfig,
    transport: VirtioTransport,
  ) {
    super(bus, config);
    this.#transport = transport;
    this.#settings = new Settings(config);
    this.#queueBus = {
      notify: (virtqueue) => {
        if (this.#live) transport.notify(virtqueue);
      },
      unmaskInterrupt: () => transport.unmaskInterrupt(),
    };
  }

  override get features(): DeviceFeatures {
    const { bits, features, maxQueues, maxFrameSize } = this.#agreed;
    const rss = accepts(features, "rss");
    return {
      maxQueues,
      rssQueues: rss ? maxQueues : 0,
      retaSize: rss ? RSS_TABLE_SIZE : 0,
      macFilters: this.#settings.macFilters,
      maxFrameSize,
      rxChecksum: accepts(features, "guest-checksum"),
      vlanStrip: false,
      queueInterrupts: !this.sharedVector,
      txChecksum: accepts(features, "checksum"),
      segmentation: accepts(features, "tso4") || accepts(features, "tso6"),
      vlanFilter: accepts(features, "vlan-filter"),
      virtio: featureNames(bits),
    };
  }

  get #agreed(): Agreement {
    if (this.#agreement !== undefined) return this.#agreement;
    throw new NotSupportedError(
      `${this.address} has not said yet what it offers`,
    );
  }

  protected override get sharedVector(): boolean {
    return this.bus.interrupts.kind === "intx";
  }

  protected override get linkVectorOnly(): boolean {
    const { irqTimeoutMs, queues } = this.config;
    return irqTimeoutMs === 0 && this.bus.interrupts.count <= queues;
  }

  protected override get memorySizes(): MemorySizes {
    const { rxDepth, txDepth } = this.config;
    const { features } = this.#agreed;
    const depth = this.#controlDepth;
    return {
      rxRing: ringBytes(features, rxDepth, "rx"),
      txRing: ringBytes(features, txDepth, "tx"),
      commands: depth === 0 ? 0 : controlQueueBytes(features, depth),
    };
  }

  /** Descriptors of the control queue; 0 where there is none. */
  get #controlDepth(): number {
    const { controlQueue } = this.#agreed;
    return controlQueue === undefined
      ? 0
      : controlQueueDepth(this.#transport.largestSize(controlQueue));
  }

  /** Section 3.1.1, steps 1 to 6. A driver that was killed left the device running: the reset stops it. */
  protected override async prepare(): Promise<void> {
    const transport = this.#transport;
    this.step("reset and features (3.1.1)");
    await transport.reset();
    const agreement = agree(transport, this.config);
    await transport.acceptFeatures(agreement.bits);
    this.#agreement = agreement;
    this.#settings.agree(agreement, transport.macAddress);
    this.station = this.#settings.station;
  }

  protected override checkConfig(): void {
    this.adopt(configFor(this.#transport, this.#agreed, this.config));
  }

  /** It was reset in {@linkcode prepare}. */
  protected override resetChip(): Promise<void> {
    return Promise.resolve();
  }

  /** Section 3.1.1, steps 7 and 8. */
  protected override async configureChip(): Promise<void> {
    if (this.#agreed.controlQueue !== undefined) {
      const { controlQueue, features } = this.#agreed;
      this.#control = new ControlQueue({
        memory: this.commandMemory,
        features,
        depth: this.#controlDepth,
        notify: () => this.#transport.notify(controlQueue),
      });
    }
    for (const index of this.#pairs()) this.#arm(index);
    await this.#inTurn(() => this.#bringUp());
    this.#watch = setInterval(() => this.#look(), WATCH_INTERVAL_MS);
    Deno.unrefTimer(this.#watch);
  }

  /** Nothing to do: vectors are set up with their queues, and each queue asks for its interrupts itself. */
  protected override enableInterrupts(): void {}

  /** Nothing to do: {@linkcode stopDma} stops all. */
  protected override disableInterrupts(): void {}

  protected override maskQueue(index: number): void {
    this.queue(index).rx.maskIrq();
  }

  protected override acknowledgeLink(): void {
    if (this.sharedVector && this.config.irqTimeoutMs !== 0) return;
    this.#transport.unmaskInterrupt();
  }

  /** All at once in {@linkcode stopDma} when the device closes. */
  protected override async stopRings(index: number): Promise<void> {
    if (this.closed) return;
    await this.#inTurn(async () => {
      this.#halted.add(index);
      if (this.#enabled.delete(index)) await this.#disable(index);
    });
  }

  /** Stops one pair, or all of them and starts the others anew where the device cannot do that. */
  async #disable(index: number): Promise<void> {
    const transport = this.#transport;
    // It comes back by itself, without this pair.
    if (transport.needsReset) return await transport.shutDown();
    if (!transport.queuesAlone) return await this.#restart();
    try {
      await transport.stop(2 * index);
      await transport.stop(2 * index + 1);
    } catch (error) {
      log("warn", this.address, `could not stop queue ${index}: ${error}`);
      await this.#restart();
    }
  }

  protected override async startRings(index: number): Promise<void> {
    await this.#inTurn(async () => {
      this.#arm(index);
      this.#halted.delete(index);
      // Otherwise it comes up with the device.
      if (!this.#live) return;
      if (this.#transport.queuesAlone) await this.#enableLate([index]);
      else await this.#restart(index);
    });
  }

  protected override async stopDma(): Promise<void> {
    clearInterval(this.#watch);
    this.#live = false;
    await this.#inTurn(() => this.#transport.shutDown());
  }

  override queue(index: number): VirtioPair {
    return super.queue(index) as VirtioPair;
  }

  override describeQueue(index: number): QueueDescription {
    const description = super.describeQueue(index);
    this.#described.add(index);
    return description;
  }

  protected override createPair(queue: LocalQueue): VirtioPair {
    return {
      rx: createRxQueue(queue, this.#queueBus),
      tx: createTxQueue(queue, this.#queueBus),
    };
  }

  protected override virtioQueue(index: number): VirtioQueueDescription {
    const { rx, tx } = this.ringAddresses(index);
    return { features: this.#agreed.features, rxIova: rx, txIova: tx };
  }

  /** The device counts nothing: these are the counters of its queues. */
  protected override collectStatistics(into: DeviceStats): void {
    if (this.closed) return;
    const now = emptyStats();
    for (const index of this.#pairs()) {
      const counters = this.counters(index);
      now.rxPackets += counters.get("rxPackets");
      now.rxBytes += counters.get("rxBytes");
      now.txPackets += counters.get("txPackets");
      now.txBytes += counters.get("txBytes");
      now.rxErrors += counters.get("rxErrors");
    }
    for (const name of Object.keys(now) as (keyof DeviceStats)[]) {
      into[name] += now[name] - this.#counted[name];
    }
    this.#counted = now;
  }

  override link(): LinkState {
    const { up, speed = UNKNOWN_SPEED } = this.#status();
    return {
      up,
      speed: up ? speed : 0,
      ...(accepts(this.#agreed.features, "announce")
        ? { announcements: this.#announcements }
        : {}),
    };
  }

  #status(): NetStatus {
    if (!this.#live || this.#transport.needsReset) {
      return { up: false, speed: undefined, announce: false };
    }
    return readNetStatus(this.#transport, this.#agreed.features);
  }

  protected override programStation(mac: Uint8Array): void {
    this.#settings.setStation(mac, this.#commands);
  }

  protected override programFilter(mac: Uint8Array, wanted: boolean): void {
    this.#settings.setFilter(mac, wanted, this.#commands);
  }

  override addVlanFilter(vlan: number): void {
    this.#settings.setVlan(vlan, true, this.#commands);
  }

  override removeVlanFilter(vlan: number): void {
    this.#settings.setVlan(vlan, false, this.#commands);
  }

  override setPromiscuous(enabled: boolean): void {
    this.#settings.setPromiscuous(enabled, this.#commands);
  }

  override setAllMulticast(enabled: boolean): void {
    this.#settings.setAllMulticast(enabled, this.#commands);
  }

  override setRssKey(key: Uint8Array): void {
    this.#settings.setRssKey(key, this.#commands);
  }

  override setRssTable(table: readonly number[]): void {
    this.#settings.setRssTable(table, this.#commands);
  }

  /** The control queue while it can be used: what is set meanwhile is sent when the device comes back. */
  get #commands(): ControlQueue | undefined {
    return this.#live ? this.#control : undefined;
  }

  #pairs(): number[] {
    return Array.from({ length: this.config.queues }, (_, index) => index);
  }

  /** Fresh rings, where nobody uses the pair and its packets are at home. */
  #arm(index: number): void {
    const words = this.controlWords(index);
    const { rx, tx } = this.queue(index);
    tx.arm();
    rx.arm();
    Atomics.store(words, Word.Renewed, Atomics.load(words, Word.Epoch));
  }

  /** Section 3.1.1, steps 7 and 8, with the pairs whose rings are fresh. Features are accepted. */
  async #bringUp(): Promise<void> {
    const transport = this.#transport;
    this.#enabled.clear();
    const { queues } = this.config;
    await transport.routeConfig(this.linkVectorOnly ? 0 : queues);
    const ready = this.#pairs().filter((index) => this.#isFresh(index));
    for (const index of ready) await this.#enable(index);
    await this.#enableControl();
    await transport.start();
    this.#live = true;
    for (const index of ready) transport.notify(2 * index);
    this.#settings.send(this.#commands);
    this.raiseLink();
  }

  async #enable(index: number): Promise<void> {
    const { rx, tx } = this.ringAddresses(index);
    const { rxDepth, txDepth } = this.config;
    const { features } = this.#agreed;
    this.step(`virtqueues of pair ${index}`);
    const rings = [
      { size: rxDepth, iova: rx, vector: this.#vector(index) },
      { size: txDepth, iova: tx, vector: undefined },
    ];
    for (const [direction, { size, iova, vector }] of rings.entries()) {
      const virtqueue = 2 * index + direction;
      await this.#transport.setUp(virtqueue, {
        ...virtqueueAddresses(features, size, iova),
        size,
        vector,
      });
      await this.#transport.enable(virtqueue);
    }
    this.#enabled.add(index);
  }

  #vector(index: number): number | undefined {
    return this.linkVectorOnly ? undefined : index;
  }

  async #enableControl(): Promise<void> {
    const { controlQueue } = this.#agreed;
    const control = this.#control;
    if (controlQueue === undefined || control === undefined) return;
    control.arm();
    await this.#transport.setUp(controlQueue, {
      ...control.addresses,
      size: control.depth,
      vector: undefined,
    });
    await this.#transport.enable(controlQueue);
  }

  /** True for a pair that the device may use: not halted, and nobody is asked to start its rings afresh. */
  #isFresh(index: number): boolean {
    const words = this.controlWords(index);
    return !this.#halted.has(index) &&
      Atomics.load(words, Word.Renewed) === Atomics.load(words, Word.Epoch);
  }

  /** Starts pairs while others run. */
  async #enableLate(pairs: readonly number[]): Promise<void> {
    for (const index of pairs) {
      await this.#enable(index);
      this.#transport.notify(2 * index);
    }
  }

  /**
   * Resets the device and brings it up again: what it had of other pairs is lost to them.
   * @param idle A pair that nobody uses yet.
   */
  async #restart(idle?: number): Promise<void> {
    this.#live = false;
    try {
      await this.#transport.reset();
      await this.#renew(idle);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /** After a reset: fresh rings in every pair, then everything as it was. */
  async #renew(idle?: number): Promise<void> {
    const { bits } = this.#agreed;
    const missing = bits & ~this.#transport.offered;
    if (missing !== 0n) {
      throw new NotSupportedError(
        `${this.address} came back without ${
          featureNames(missing).join(", ")
        }, which its queues use: open it anew`,
      );
    }
    await this.#transport.acceptFeatures(bits);
    if (idle !== undefined) this.#arm(idle);
    const others = this.#pairs().filter((index) =>
      index !== idle && !this.#halted.has(index)
    );
    await this.#renewPairs(others);
    if (!this.closed) await this.#bringUp();
  }

  /** Makes the rings of pairs fresh where this isolate alone uses them, and asks their users where not. */
  async #renewPairs(pairs: readonly number[]): Promise<void> {
    for (const index of pairs) {
      Atomics.add(this.controlWords(index), Word.Epoch, 1);
      if (this.#described.has(index)) continue;
      renewPair(this.localQueue(index));
      this.#arm(index);
    }
    // Nobody may be there to follow where a stop was asked for: the next user does.
    const active = pairs.filter((index) =>
      this.controlWords(index)[Word.Stop] === 0
    );
    const followed = (index: number) => {
      if (this.#isFresh(index)) return true;
      this.wakeUser(index);
      return false;
    };
    const all = () => this.closed || active.every(followed);
    if (await until(all, RENEWAL_TIMEOUT_MS)) return;
    const late = active.filter((index) => !this.#isFresh(index));
    log(
      "warn",
      this.address,
      `goes on without queue ${
        late.join(", ")
      }, whose user does not call receive() or send(): it is started when it does`,
    );
  }

  /** Looks at what changes by itself. */
  #look(): void {
    if (this.closed || this.#recovering) return;
    if (this.#transport.needsReset || this.#failed) {
      void this.#recover();
      return;
    }
    if (!this.#live) return;
    this.#lookForAnnouncement();
    if (this.#late().length > 0) void this.#attempt(() => this.#startLate());
  }

  /** Pairs whose rings were made fresh after the device had gone on without them. */
  #late(): number[] {
    return this.#pairs().filter((index) =>
      !this.#enabled.has(index) && this.#isFresh(index)
    );
  }

  async #startLate(): Promise<void> {
    const late = this.#late();
    if (late.length === 0 || !this.#live) return;
    if (this.#transport.queuesAlone) await this.#enableLate(late);
    else await this.#restart();
  }

  /** The device was moved: switches must learn where it is now (5.1.6.5.4). */
  #lookForAnnouncement(): void {
    try {
      if (!this.#status().announce) return;
      this.#settings.acknowledgeAnnouncement(this.#commands);
      this.#announcements++;
      this.raiseLink();
    } catch (error) {
      log("warn", this.address, `could not answer an announcement: ${error}`);
    }
  }

  /** The device needs a reset, or its backend has gone: gets it back, however long that takes. */
  async #recover(): Promise<void> {
    this.#recovering = true;
    this.#failed = this.#live = false;
    this.#enabled.clear();
    this.raiseLink();
    log("warn", this.address, "needs a reset: its queues stand still");
    await this.#attempt(() => this.#transport.shutDown());
    while (!this.closed && !await this.#comeBack()) {
      await delay(RETRY_INTERVAL_MS);
    }
    this.#recovering = false;
  }

  /** One attempt. The wait for a backend holds nobody up. */
  async #comeBack(): Promise<boolean> {
    try {
      await this.#transport.reset();
      if (this.closed) return false;
      await this.#inTurn(() => this.#renew());
      log("warn", this.address, "is back");
      return true;
    } catch (error) {
      this.#live = false;
      if (!this.closed) log("warn", this.address, `is not back: ${error}`);
      return false;
    }
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #attempt(action: () => Promise<void>): Promise<void> {
    try {
      await this.#inTurn(action);
    } catch (error) {
      log("warn", this.address, String(error));
    }
  }
}

/** The halves of a queue pair of this driver. */
export interface VirtioPair extends LocalPair {
  readonly rx: VirtioRxQueue;
  readonly tx: VirtioTxQueue;
}
