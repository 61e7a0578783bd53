/**
 * A virtio network device, whatever carries it: which step follows which.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { BusDescription } from "../../bus/description.ts";
import type { BusDevice } from "../../bus/bus.ts";
import type { VirtioQueueBus } from "../../bus/virtio/transport.ts";
import type {
  VirtioTransport,
  VirtqueueSetup,
} from "../../bus/virtio/transport.ts";
import type { DeviceConfig } from "../../config.ts";
import type {
  DeviceFeatures,
  LinkState,
  QueueDescription,
  VirtioQueueDescription,
} from "../../device_api.ts";
import { NotSupportedError } from "../../errors.ts";
import { log } from "../../log.ts";
import { type Handle, INDEX_MASK, Mempool } from "../../memory/mempool.ts";
import { type DeviceStats, emptyStats } from "../../stats.ts";
import { BaseDevice, type LocalPair } from "../device/base_device.ts";
import type { LocalQueue } from "../queue/rx_queue.ts";
import type { MemorySizes } from "../device/device_memory.ts";
import {
  ControlQueue,
  controlQueueBytes,
  controlQueueDepth,
} from "./control/queue.ts";
import { accepts, featureNames } from "./features.ts";
import {
  DESCRIPTOR_BYTES,
  ringBytes,
  virtqueueAddresses,
} from "./virtqueue/layout.ts";
import { Lifecycle, type Pairs } from "./lifecycle.ts";
import { agree, type Agreement, configFor } from "./negotiation.ts";
import { type NetStatus, readNetStatus } from "./net_config.ts";
import { createRxQueue, createTxQueue, renewPair } from "./virtqueue/pair.ts";
import type { VirtioRxQueue } from "./virtqueue/rx.ts";
import { RSS_TABLE_SIZE } from "../../rss_table.ts";
import { Settings } from "./control/settings.ts";
import {
  Fault,
  HANDLE_MASK,
  leave,
  recordFault,
  State,
} from "./virtqueue/state.ts";
import { MAX_SEGMENTS } from "../queue/packet_chain.ts";
import type { VirtioTxQueue } from "./virtqueue/tx.ts";

/** The name of this driver. */
export const DRIVER = "virtio";
const MODEL = "virtio-net";

/** Mbit/s where the device does not say. */
const UNKNOWN_SPEED = 10_000;

/** A virtio network device. */
export class VirtioDevice extends BaseDevice<BusDevice> {
  override readonly driver = DRIVER;
  override readonly model = MODEL;
  protected override readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly #transport: VirtioTransport;
  /** Where queues in this isolate notify the device: not before it uses them (3.1.1). */
  readonly #queueBus: VirtioQueueBus;
  readonly #settings: Settings;
  #agreement: Agreement | undefined;
  #control: ControlQueue | undefined;
  #lifecycle: Lifecycle | undefined;
  /** Queue pairs that another isolate may use. */
  readonly #described = new Set<number>();
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
        if (this.#lifecycle?.uses(virtqueue >> 1)) transport.notify(virtqueue);
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
      countsFiltered: false,
      virtio: featureNames(bits),
    };
  }

  get #live(): boolean {
    return this.#lifecycle?.live ?? false;
  }

  get #agreed(): Agreement {
    if (this.#agreement !== undefined) return this.#agreement;
    throw new NotSupportedError(
      `${this.address} has not said yet what it offers`,
    );
  }

  protected override get userWords(): readonly number[] {
    return [State.RxUser, State.TxUser];
  }

  override get sharedVector(): boolean {
    return this.bus.interrupts.kind === "intx";
  }

  override get linkVectorOnly(): boolean {
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
    const { controlQueue, features } = this.#agreed;
    return controlQueue === undefined ? 0 : controlQueueDepth(
      features,
      this.#transport.largestSize(controlQueue),
    );
  }

  /** Section 3.1.1, steps 1 to 6. A driver that was killed left the device running: the reset stops it. */
  protected override async prepare(): Promise<void> {
    const transport = this.#transport;
    this.step("reset and features (3.1.1)");
    await transport.reset();
    const agreement = await this.#agree().catch(async (error) => {
      await transport.giveUp();
      throw error;
    });
    this.#agreement = agreement;
    this.#settings.agree(agreement, transport);
    this.station = this.#settings.station;
  }

  async #agree(): Promise<Agreement> {
    const transport = this.#transport;
    const agreement = agree(transport, this.config);
    await transport.acceptFeatures(agreement.bits);
    return agreement;
  }

  protected override checkConfig(): void {
    try {
      this.adopt(configFor(this.#transport, this.#agreed, this.config));
    } catch (error) {
      void this.#transport.giveUp();
      throw error;
    }
  }

  protected override describeBus(): BusDescription {
    return this.#transport.describe();
  }

  /** It was reset in {@linkcode prepare}. */
  protected override resetChip(): Promise<void> {
    return Promise.resolve();
  }

  /** Section 3.1.1, steps 7 and 8. */
  protected override async configureChip(): Promise<void> {
    const { bits, controlQueue, features } = this.#agreed;
    const transport = this.#transport;
    if (controlQueue !== undefined) {
      this.#control = new ControlQueue({
        memory: this.commandMemory,
        features,
        depth: this.#controlDepth,
        notify: () => transport.notify(controlQueue),
      });
    }
    this.#lifecycle = new Lifecycle({
      transport,
      bits,
      pairs: this.#queuePairs(),
      configVector: this.linkVectorOnly ? 0 : this.config.queues,
      address: this.address,
      enableOthers: () => this.#enableControl(),
      onChange: (live) => this.#changed(live),
      onWatch: () => this.#lookForAnnouncement(),
      isClosed: () => this.closed,
    });
    await this.#lifecycle.start();
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
  protected override txHandles(index: number): Handle[] {
    const handles: Handle[] = [];
    for (const slot of this.txSlots(index)) {
      let handle = slot & HANDLE_MASK;
      // No more than a packet has, should another isolate change it meanwhile.
      for (let n = 0; n < MAX_SEGMENTS && Mempool.knows(handle); n++) {
        handles.push(handle);
        const { nextSegments } = Mempool.of(handle);
        handle = nextSegments[handle & INDEX_MASK];
      }
    }
    return handles;
  }

  protected override async stopRings(index: number): Promise<void> {
    if (!this.closed) await this.#lifecycle?.halt(index);
  }

  protected override async startRings(index: number): Promise<void> {
    await this.#lifecycle?.resume(index);
  }

  protected override async stopDma(): Promise<void> {
    await (this.#lifecycle?.end() ?? this.#transport.shutDown());
  }

  override queue(index: number): VirtioPair {
    return super.queue(index) as VirtioPair;
  }

  override describeQueue(index: number): QueueDescription {
    const description = super.describeQueue(index);
    this.#described.add(index);
    leave(this.controlWords(index));
    return description;
  }

  protected override markClosed(words: Int32Array): void {
    super.markClosed(words);
    recordFault(words, Fault.Closed, 0, 0, 0);
  }

  protected override createPair(queue: LocalQueue): VirtioPair {
    return {
      rx: createRxQueue(queue, this.#queueBus),
      tx: createTxQueue(queue, this.#queueBus),
    };
  }

  protected override virtioQueue(index: number): VirtioQueueDescription {
    const { rx, tx } = this.ringAddresses(index);
    const { features, maxFrameSize: maxFrame } = this.#agreed;
    return { features, rxIova: rx, txIova: tx, maxFrame };
  }

  /** The device counts nothing: these are the counters of its queues. */
  protected override collectStatistics(into: DeviceStats): void {
    if (this.closed) return;
    const now = emptyStats();
    for (let index = 0; index < this.config.queues; index++) {
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
    this.assertOpen();
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
    this.assertOpen();
    this.#settings.setVlan(vlan, true, this.#commands);
  }

  override removeVlanFilter(vlan: number): void {
    this.assertOpen();
    this.#settings.setVlan(vlan, false, this.#commands);
  }

  override setPromiscuous(enabled: boolean): void {
    this.assertOpen();
    this.#settings.setPromiscuous(enabled, this.#commands);
  }

  override setAllMulticast(enabled: boolean): void {
    this.assertOpen();
    this.#settings.setAllMulticast(enabled, this.#commands);
  }

  override setRssKey(key: Uint8Array): void {
    this.assertOpen();
    this.#settings.setRssKey(key, this.#commands);
  }

  override setRssTable(table: readonly number[]): void {
    this.assertOpen();
    this.#settings.setRssTable(table, this.#commands);
  }

  /** The control queue while it can be used: what is set meanwhile is sent when the device comes back. */
  get #commands(): ControlQueue | undefined {
    return this.#live ? this.#control : undefined;
  }

  /** The pairs of this device, for its lifecycle. */
  #queuePairs(): Pairs {
    return {
      count: this.config.queues,
      words: (index) => this.controlWords(index),
      setups: (index) => this.#setups(index),
      resetRings: (index) => this.#resetRings(index),
      renew: (index) => renewPair(this.localQueue(index)),
      isShared: (index) => this.#described.has(index),
      wake: (index) => this.wakeUser(index),
    };
  }

  #setups(index: number): VirtqueueSetup[] {
    const { rx, tx } = this.ringAddresses(index);
    const { rxDepth, txDepth } = this.config;
    const { features } = this.#agreed;
    this.step(`virtqueues of pair ${index}`);
    return [
      {
        ...virtqueueAddresses(features, rxDepth, rx),
        size: rxDepth,
        vector: this.linkVectorOnly ? undefined : index,
      },
      {
        ...virtqueueAddresses(features, txDepth, tx),
        size: txDepth,
        vector: undefined,
      },
    ];
  }

  #resetRings(index: number): void {
    const words = this.controlWords(index);
    const { rx, tx } = this.queue(index);
    tx.resetRing();
    rx.resetRing();
    const epoch = Atomics.load(words, State.Epoch);
    for (const word of [State.RxRenewed, State.TxRenewed]) {
      Atomics.store(words, word, epoch);
    }
    for (const user of [State.RxUser, State.TxUser]) {
      Atomics.store(words, user, 0);
    }
  }

  async #enableControl(): Promise<void> {
    const { controlQueue } = this.#agreed;
    const control = this.#control;
    if (controlQueue === undefined || control === undefined) return;
    control.resetRing();
    await this.#transport.setUp(controlQueue, {
      ...control.addresses,
      size: control.depth,
      vector: undefined,
    });
    await this.#transport.enable(controlQueue);
  }

  #changed(live: boolean): void {
    if (live) this.#settings.send(this.#commands);
    this.raiseLink();
  }

  /** The device was moved: switches must learn where it is now (5.1.6.5.4). */
  #lookForAnnouncement(): void {
    if (!accepts(this.#agreed.features, "announce")) return;
    try {
      if (!this.#status().announce) return;
      this.#settings.acknowledgeAnnouncement(this.#commands);
      this.#announcements++;
      this.raiseLink();
    } catch (error) {
      log("warn", this.address, `could not answer an announcement: ${error}`);
    }
  }
}

/** The halves of a queue pair of this driver. */
export interface VirtioPair extends LocalPair {
  readonly rx: VirtioRxQueue;
  readonly tx: VirtioTxQueue;
}
