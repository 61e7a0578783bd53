/**
 * The part of a device that is the same for every chip: memory, queues, pools, statistics, the link, the end.
 *
 * @module
 */
import type { BusDescription } from "../../bus/description.ts";
import type { BusDevice } from "../../bus/bus.ts";
import type { DeviceConfig } from "../../config.ts";
import type {
  Device,
  DeviceFeatures,
  LinkState,
  QueueDescription,
  QueuePair,
  TxQueue,
  VirtioQueueDescription,
} from "../../device_api.ts";
import { ConfigError, DeviceTimeoutError, IxlError } from "../../errors.ts";
import { log, repeatedly } from "../../log.ts";
import {
  DEFAULT_ENTRY_SIZE,
  type Handle,
  INDEX_BITS,
  Mempool,
  openDevices,
  type PoolUser,
} from "../../memory/mempool.ts";
import { formatMac, parseMac } from "../../net/ethernet.ts";
import type { PciIds } from "../../pci/ids.ts";
import { type DeviceStats, emptyStats, QueueCounters } from "../../stats.ts";
import type { BaseRxQueue, LocalQueue } from "../queue/rx_queue.ts";
import {
  DeviceMemory,
  type MemoryPart,
  type MemorySizes,
  type QueueMemory,
} from "./device_memory.ts";
import { PoolResizer } from "./pool_resizer.ts";
import { type RemovalHandler, RemovalWatch } from "./removal_watch.ts";
import { checkVectors, vectorFds } from "./vectors.ts";
import { LinkWatch } from "./link_watch.ts";
import { Word } from "../queue/control_block.ts";
import { until } from "../../wait.ts";

/** Often enough that no 32-bit counter wraps between: at 14.88 million frames a second one takes 288 s. */
const STATISTICS_INTERVAL_MS = 60_000;
/** How long the packets of another device may stay in a transmit ring before the queue is stopped for their sake. */
const RECALL_TIMEOUT_MS = 1000;
/** Octets in front of a frame, or in it, that `maxFrameSize` does not count: a virtio header, a VLAN tag. */
const HEADER_ALLOWANCE = 16;
/** The handle in a slot, without the marks of a driver: handles stay below 2³⁰. */
const SLOT_HANDLE = 0x3fffffff;
const MULTICAST_BIT = 1;

type Timer = ReturnType<typeof setInterval>;

/** Where the rings of a queue lie for the device. */
export interface RingAddresses {
  /** The receive ring. */
  readonly rx: bigint;
  /** The transmit ring. */
  readonly tx: bigint;
}

/** The halves of a queue pair in this isolate. */
export interface LocalPair extends QueuePair {
  readonly rx: BaseRxQueue;
  readonly tx: TxQueue & {
    /** The device is closed: from now on `send()` and `reclaim()` say so. */
    close(): void;
  };
}

/**
 * What a driver completes: the hooks below, each about the chip alone. `start()` and `close()` call them in the
 * right order.
 */
export abstract class BaseDevice<Bus extends BusDevice = BusDevice>
  implements Device, PoolUser {
  abstract readonly driver: string;
  abstract readonly model: string;
  abstract readonly features: DeviceFeatures;
  /** The MAC address: six octets. Known once the chip is configured. */
  protected station: Uint8Array = new Uint8Array(6);
  /** The device on its bus. */
  protected readonly bus: Bus;
  #config: DeviceConfig;
  #memory: DeviceMemory | undefined;
  #linkWatch: LinkWatch | undefined;
  readonly #pairs: (LocalPair | undefined)[] = [];
  /** Queues that other isolates may use. */
  readonly #lent = new Set<number>();
  readonly #resizer: PoolResizer;
  #counted: DeviceStats = emptyStats();
  /** What readStats() has told already. */
  readonly #told: DeviceStats = emptyStats();
  #statisticsTimer: Timer | undefined;
  #started = false;
  #closing: Promise<void> | undefined;
  readonly #removal: RemovalWatch;
  /** Pools of other devices that this one reaches. */
  readonly #foreignPools = new Set<Mempool>();
  /** Resolved when a device that closes does no DMA any more. */
  readonly #stopped = Promise.withResolvers<void>();

  /**
   * @param bus The device on its bus, which belongs to this object from then on.
   * @param config How it is to be used.
   */
  constructor(bus: Bus, config: DeviceConfig) {
    this.bus = bus;
    this.#config = config;
    this.#resizer = new PoolResizer(this);
    this.#removal = new RemovalWatch(bus, (handlers) => this.#lose(handlers));
  }

  /** Bytes of one descriptor. */
  protected abstract readonly descriptorBytes: number;
  /** Throws a ConfigError for what the chip cannot do. */
  protected abstract checkConfig(): void;
  /** Brings the chip into a known state: no DMA, no interrupts. */
  protected abstract resetChip(): Promise<void>;
  /** Sets up everything but interrupts, starts the rings, and fills {@linkcode station}. Bus mastering is on. */
  protected abstract configureChip(): Promise<void>;
  /**
   * Lets interrupts through: vector q for queue q, the next one for the link, or vector 0 for everything where
   * {@linkcode sharedVector}. They are routed.
   */
  protected abstract enableInterrupts(): void;
  /** Masks all interrupts. */
  protected abstract disableInterrupts(): void;
  /** Masks the interrupt of one queue. */
  protected abstract maskQueue(index: number): void;
  /**
   * Clears the cause of a link interrupt and lets the next one through. Where {@linkcode sharedVector}, and the queue
   * may sleep on it, the queue did so before it told of the link.
   */
  protected abstract acknowledgeLink(): void;
  /** Stops the rings of a queue in hardware, letting pending packets out if they go soon. */
  protected abstract stopRings(index: number): Promise<void>;
  /** Starts the rings of a queue afresh, the receive ring full of packets. */
  protected abstract startRings(index: number): Promise<void>;
  /** Stops all DMA of the chip. */
  protected abstract stopDma(): Promise<void>;
  /** Makes the queue pair for this isolate. */
  protected abstract createPair(queue: LocalQueue): LocalPair;
  /** Adds what the chip counted since the last call. */
  protected abstract collectStatistics(into: DeviceStats): void;
  /** Programs the MAC address. */
  protected abstract programStation(mac: Uint8Array): void;
  /** Adds an address to the filter, or takes it out. */
  protected abstract programFilter(mac: Uint8Array, wanted: boolean): void;

  /** Finds out what the device can do, before anything is checked and allocated. Default: there is nothing to ask. */
  protected prepare(): Promise<void> {
    return Promise.resolve();
  }

  abstract link(): LinkState;
  abstract setPromiscuous(enabled: boolean): void;
  abstract setAllMulticast(enabled: boolean): void;
  abstract addVlanFilter(vlan: number): void;
  abstract removeVlanFilter(vlan: number): void;
  abstract setRssKey(key: Uint8Array): void;
  abstract setRssTable(table: readonly number[]): void;

  get address(): string {
    return this.bus.address;
  }

  get ids(): PciIds {
    return this.bus.ids;
  }

  get config(): DeviceConfig {
    return this.#config;
  }

  get rxQueueCount(): number {
    return this.config.queues;
  }

  get txQueueCount(): number {
    return this.config.queues;
  }

  get rxQueueDepth(): number {
    return this.config.rxDepth;
  }

  get txQueueDepth(): number {
    return this.config.txDepth;
  }

  get maxFrameSize(): number {
    return this.config.maxFrameSize;
  }

  get macAddress(): string {
    return formatMac(this.station);
  }

  get linkSpeed(): number {
    return this.link().speed;
  }

  /** True when one vector serves the only queue and everything else: a chip that can say so overrides it. */
  get sharedVector(): boolean {
    return false;
  }

  /**
   * True when vector 0 is the link's and no queue has one, because all of them poll: a driver that knows how, on a
   * card with too few vectors for its queues, overrides it.
   */
  get linkVectorOnly(): boolean {
    return false;
  }

  /** Words of the driver's own that say who uses a queue. Default: there are none. */
  protected get userWords(): readonly number[] {
    return [];
  }

  /** What memory is needed besides packets. Default: {@linkcode descriptorBytes} for each descriptor. */
  protected get memorySizes(): MemorySizes {
    const { rxDepth, txDepth } = this.config;
    const { descriptorBytes } = this;
    return {
      rxRing: rxDepth * descriptorBytes,
      txRing: txDepth * descriptorBytes,
      commands: 0,
    };
  }

  /** What the device writes into one packet buffer of this size. */
  protected bufferBytes(entrySize: number): number {
    return entrySize;
  }

  /** Enough to receive a frame while the program has the one before it; a card keeps one buffer in reserve. */
  #checkPool(): void {
    const { poolEntries, maxFrameSize } = this.config;
    if (poolEntries === 0) return;
    const entrySize = this.config.entrySize || DEFAULT_ENTRY_SIZE;
    const longest = maxFrameSize + HEADER_ALLOWANCE;
    const each = Math.ceil(longest / this.bufferBytes(entrySize));
    const least = 2 * each + 1;
    if (poolEntries >= least) return;
    throw new ConfigError(
      "poolEntries",
      `a pool of ${poolEntries} is too small to receive: frames of ${maxFrameSize} bytes need at least ${least} buffers of ${entrySize}`,
    );
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Brings the device up. When it fails, `close()` undoes what was done. */
  async start(): Promise<void> {
    await this.prepare();
    this.checkConfig();
    checkVectors(this.bus, this.config, this);
    this.#checkPool();
    this.step("allocating memory");
    const { bus, config } = this;
    const memory = DeviceMemory.allocate(bus, config, this.memorySizes);
    this.#memory = memory;
    this.#started = true;
    openDevices.add(this);
    await this.resetChip();
    bus.setBusMaster(true);
    this.step("routing interrupts");
    bus.interrupts.route(vectorFds(memory, config, this));
    await this.configureChip();
    this.enableInterrupts();
    this.#linkWatch = new LinkWatch(memory.link, {
      link: () => this.link(),
      acknowledgeLink: () => this.acknowledgeLink(),
    });
    this.#statisticsTimer = repeatedly(
      this.address,
      () => this.collectStatistics(this.#counted),
      STATISTICS_INTERVAL_MS,
    );
    this.#removal.start();
    if (config.linkTimeoutMs > 0) await this.waitForLink(config.linkTimeoutMs);
    this.step(`up at ${this.linkSpeed} Mbit/s`);
  }

  queue(index: number): LocalPair {
    this.assertOpen();
    return this.#pairs[index] ??= this.createPair(this.localQueue(index));
  }

  describeQueue(index: number): QueueDescription {
    this.lendQueue(index);
    return { ...this.localQueue(index), bus: this.describeBus() };
  }

  setMacAddress(mac: string): void {
    this.assertOpen();
    const octets = unicast(mac);
    this.programStation(octets);
    this.station = octets;
  }

  addMacFilter(mac: string): void {
    this.assertOpen();
    this.programFilter(unicast(mac), true);
  }

  removeMacFilter(mac: string): void {
    this.assertOpen();
    this.programFilter(unicast(mac), false);
  }

  async waitForLink(timeoutMs: number): Promise<void> {
    this.assertOpen();
    if (await until(() => this.link().up, timeoutMs)) return;
    throw new DeviceTimeoutError(
      `the link of ${this.address} coming up`,
      timeoutMs,
      "check that the cable is plugged in and the other end is up",
    );
  }

  linkChanges(): AsyncIterable<LinkState> {
    const watch = this.#linkWatch;
    if (watch === undefined || this.closed) throw this.#isClosed();
    return watch.changes();
  }

  readStats(into: DeviceStats = emptyStats()): DeviceStats {
    this.#collect();
    addStats(into, this.#counted);
    addStats(this.#told, this.#counted);
    this.#counted = emptyStats();
    return into;
  }

  totalStats(): DeviceStats {
    this.#collect();
    const total = { ...this.#told };
    addStats(total, this.#counted);
    return total;
  }

  resetStats(): void {
    this.readStats();
  }

  /** A closed device has been asked for the last time when it closed. */
  #collect(): void {
    if (!this.closed) this.collectStatistics(this.#counted);
  }

  attachMempool(pool: Mempool): void {
    const { pools } = this.#openMemory();
    if (pools.includes(pool)) return;
    try {
      pool.attachTo(this.bus.dma, this);
    } catch (error) {
      if (!(error instanceof IxlError) || error.code !== "pool-unreachable") {
        throw error;
      }
      throw new IxlError(
        "pool-unreachable",
        `${this.address} cannot reach pool ${pool.id}: ${error.message}`,
        { cause: error },
      );
    }
    this.#foreignPools.add(pool);
  }

  createMempool(entries: number): Mempool {
    assertCount(entries);
    return this.#openMemory().addPool(this.bus, this.config, entries);
  }

  /** For the pool of another device, which closes: waits until no transmit ring here has packets of it. */
  async giveBack(pool: Mempool): Promise<void> {
    if (this.closed) {
      const mayHaveSome = this.#foreignPools.has(pool) ||
        [...this.packetsInRings()].some((handle) => isOf(pool, handle));
      return mayHaveSome ? await this.#stopped.promise : undefined;
    }
    const { queues } = this.#openMemory();
    await Promise.all(queues.map((_, index) => this.#giveBack(index, pool)));
    this.#detach(pool);
  }

  *packetsInRings(except?: number): Iterable<Handle> {
    for (const [index, { control }] of this.#memory?.queues.entries() ?? []) {
      // What another isolate uses changes under the eyes of this one.
      const isQuiet = this.#pairs[index] !== undefined ||
        control.words[Word.Stop] !== 0;
      if (index !== except && isQuiet) yield* this.txHandles(index);
    }
  }

  takeHome(pools: ReadonlySet<Mempool>): void {
    if (this.closed) return;
    for (const [index, queue] of this.#memory?.queues.entries() ?? []) {
      if (pools.has(queue.pool)) this.#resizer.sync(index, queue);
    }
  }

  async #giveBack(index: number, pool: Mempool): Promise<void> {
    const { control: { words } } = this.#queue(index);
    const holdsSome = () =>
      this.txHandles(index).some((handle) => isOf(pool, handle));
    const isGivenBack = () => {
      // A worker that uses the queue takes them back itself.
      const isMine = this.#pairs[index] !== undefined || words[Word.Stop] !== 0;
      if (isMine && holdsSome() && !this.closed) this.queue(index).tx.reclaim();
      return !holdsSome();
    };
    try {
      if (await until(isGivenBack, RECALL_TIMEOUT_MS)) return;
    } catch (error) {
      // A queue that has failed, or that a worker uses, is stopped like one that sends nothing.
      log("debug", this.address, `queue ${index}: ${error}`);
    }
    log(
      "warn",
      this.address,
      `queue ${index} is stopped: it has packets of another device, which is closed`,
    );
    this.stopQueue(index);
    await this.stopRings(index);
  }

  #detach(pool: Mempool): void {
    this.#foreignPools.delete(pool);
    pool.detachFrom(this.bus.dma, this);
  }

  rxMempool(queue: number): Mempool {
    return this.#queue(queue).pool;
  }

  extendRxMempool(queue: number, entries: number): Promise<void> {
    assertCount(entries);
    return this.#resizer.resize(queue, entries);
  }

  shrinkRxMempool(queue: number, entries: number): Promise<void> {
    assertCount(entries);
    return this.#resizer.resize(queue, -entries);
  }

  rxIrq(queue: number): number {
    return this.#queue(queue).irq.fd;
  }

  checkRxIrq(queue: number): boolean {
    const { irq } = this.#queue(queue);
    if (!irq.clear()) return false;
    this.maskQueue(queue);
    return true;
  }

  ackRxIrq(queue: number): void {
    this.queue(queue).rx.ackIrq();
  }

  rebindRxIrq(queue: number): void {
    this.queue(queue).rx.rebindIrq();
  }

  onRemoval(handler: () => void | Promise<void>): Disposable {
    return this.#removal.add(handler);
  }

  stopQueue(index: number): void {
    const { control, wake } = this.#queue(index);
    control.ask(Word.Stop, 1);
    wake.raise();
  }

  lendQueue(index: number): void {
    this.#queue(index);
    this.#lent.add(index);
  }

  takeBackQueue(index: number): void {
    this.#lent.delete(index);
  }

  resumeQueue(index: number): void {
    this.takeBackQueue(index);
    const { control, wake } = this.#queue(index);
    wake.clear();
    const { Owner, Wanted, Ready, Stop } = Word;
    // Its user has stopped. `Stop` is cleared last.
    for (const word of [Owner, Wanted, ...this.userWords, Ready, Stop]) {
      Atomics.store(control.words, word, 0);
    }
  }

  async haltQueue(index: number): Promise<void> {
    this.stopQueue(index);
    await this.stopRings(index);
  }

  async restartQueue(index: number): Promise<void> {
    const { pool, irq, control } = this.#queue(index);
    await this.haltQueue(index);
    const sending = this.txHandles(index);
    const elsewhere = [...openDevices].flatMap((device) => [
      ...device.packetsInRings(device === this ? index : undefined),
    ]);
    pool.reclaimAll([...control.rxSlots, ...sending], elsewhere);
    for (const handle of sending) {
      // A pool may be gone by now, where the queue was stopped for its sake.
      if (!Mempool.knows(handle)) continue;
      if (Mempool.of(handle) !== pool) Mempool.returnHome(handle);
    }
    const owners = new Set(sending.filter(Mempool.knows).map(Mempool.of));
    for (const device of openDevices) device.takeHome(owners);
    await this.startRings(index);
    irq.clear();
    this.resumeQueue(index);
    this.ackRxIrq(index);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What another isolate needs to reach the device. */
  protected describeBus(): BusDescription {
    return this.bus.describe();
  }

  /** Where the rings of a queue lie for the chip. */
  protected ringAddresses(index: number): RingAddresses {
    const { rxIova, txIova } = this.#queue(index);
    return { rx: rxIova, tx: txIova };
  }

  /** Memory for commands to the device, as many bytes as {@linkcode memorySizes} says. */
  protected get commandMemory(): MemoryPart {
    return this.#openMemory().commands;
  }

  /** Ring positions and words that a queue's users share. */
  protected controlWords(index: number): Int32Array {
    return this.#queue(index).control.words;
  }

  /** Live counters of a queue. */
  protected counters(index: number): QueueCounters {
    return new QueueCounters(this.#queue(index).counters);
  }

  /** The packets in a transmit ring, each segment by itself. Default: what lies between the two positions of the ring. */
  protected txHandles(index: number): Handle[] {
    const { words, txSlots } = this.#memory!.queues[index].control;
    const handles: Handle[] = [];
    for (let at = words[Word.TxClean]; at !== words[Word.TxNext];) {
      handles.push(txSlots[at] & SLOT_HANDLE);
      if (++at === txSlots.length) at = 0;
    }
    return handles;
  }

  /** The slots of a transmit ring. */
  protected txSlots(index: number): Uint32Array {
    return this.#memory!.queues[index].control.txSlots;
  }

  /** What a queue has that only virtio's have. */
  protected virtioQueue(_index: number): VirtioQueueDescription | undefined {
    return undefined;
  }

  /** From {@linkcode prepare} only: uses less than was asked for. */
  protected adopt(config: DeviceConfig): void {
    this.#config = config;
  }

  /** What this isolate needs to use a queue pair. */
  protected localQueue(index: number): LocalQueue {
    const queue = this.#queue(index);
    const virtio = this.virtioQueue(index);
    return {
      driver: this.driver,
      model: this.model,
      index,
      rings: queue.rings,
      pool: queue.pool.description,
      reachable: this.bus.dma.pools.buffer,
      counters: queue.counters,
      control: queue.control.buffer,
      irqFd: queue.irq.fd,
      wakeFd: queue.wake.fd,
      ...(this.sharedVector ? { linkFd: this.#memory!.link.fd } : {}),
      config: this.config,
      ...(virtio ? { virtio } : {}),
    };
  }

  /** Wakes the user of a queue, to look at what it is asked for. */
  protected wakeUser(index: number): void {
    this.#queue(index).wake.raise();
  }

  /** Wakes those who wait for changes of the link. */
  protected raiseLink(): void {
    this.#memory?.link.raise();
  }

  /** Says in the log what is being done; silent unless `IXL_LOG=debug`. */
  protected step(message: string): void {
    log("debug", this.address, message);
  }

  #openMemory(): DeviceMemory {
    if (this.closed || this.#memory === undefined) throw this.#isClosed();
    return this.#memory;
  }

  /** For the device's own parts: whether this isolate receives on a queue. */
  receivesHere(index: number): boolean {
    return this.#pairs[index]?.rx.holding ?? false;
  }

  /** For the device's own parts: memory of a queue. */
  queueMemory(index: number): QueueMemory {
    return this.#queue(index);
  }

  #queue(index: number): QueueMemory {
    const queue = this.#openMemory().queues[index];
    if (queue !== undefined) return queue;
    throw new ConfigError(
      "queue",
      `there is no queue ${index}: this device has ${this.config.queues}`,
    );
  }

  /** Lets all users of a queue know that the device is closed. */
  protected markClosed(words: Int32Array): void {
    Atomics.store(words, Word.Closed, 1);
  }

  /** Throws when the device is closed, before a chip that is not there is asked. */
  protected assertOpen(): void {
    if (this.closed) throw this.#isClosed();
  }

  #isClosed(): IxlError {
    return new IxlError(
      "device-gone",
      `${this.address} ${this.#removal.lost ?? "is closed"}`,
    );
  }

  /** The device is lost: all its users stop, then everything is given back. */
  #lose(handlers: readonly RemovalHandler[]): void {
    const stopped = handlers.map((handler) =>
      this.#attempt("stop for the removal", handler)
    );
    void Promise.all(stopped).then(() => this.close());
  }

  async #close(): Promise<void> {
    const memory = this.#memory;
    this.#resizer.stop();
    clearInterval(this.#statisticsTimer);
    this.#removal.stop();
    for (const { control, wake } of memory?.queues ?? []) {
      control.ask(Word.Stop, 1);
      wake.raise();
    }
    await this.#attempt(
      "stop watching the link",
      () => this.#linkWatch?.stop(),
    );
    if (this.#started) {
      await this.#attempt(
        "read the statistics",
        () => this.collectStatistics(this.#counted),
      );
      await this.#stopHardware();
    }
    openDevices.delete(this);
    this.#stopped.resolve();
    await this.#attempt("leave the pools of other devices", () => {
      for (const pool of this.#foreignPools) this.#detach(pool);
    });
    for (const pool of memory?.pools ?? []) {
      await this.#attempt("get packets back", () => pool.recall());
    }
    for (const { control: { words } } of memory?.queues ?? []) {
      this.markClosed(words);
    }
    for (const { rx, tx } of this.#pairs.filter((pair) => pair !== undefined)) {
      rx.close();
      tx.close();
    }
    const inUse = this.#lent.size > 0;
    if (inUse) {
      this.step(`queues ${[...this.#lent]} may be in use by other isolates`);
    }
    await this.#attempt("free the memory", () => memory?.free(inUse));
    await this.bus.close(inUse);
  }

  /** Each step is tried even when one before it failed: a card that is gone must not keep memory and eventfds. */
  async #stopHardware(): Promise<void> {
    const { bus } = this;
    const queues = Array.from({ length: this.config.queues }, (_, i) => i);
    await Promise.all(
      queues.map((index) =>
        this.#attempt(`stop queue ${index}`, () => this.stopRings(index))
      ),
    );
    await this.#attempt("mask interrupts", () => this.disableInterrupts());
    await this.#attempt("take interrupts away", () => bus.interrupts.route([]));
    await this.#attempt("stop DMA", () => this.stopDma());
    await this.#attempt("stop bus mastering", () => bus.setBusMaster(false));
  }

  async #attempt(
    what: string,
    action: () => void | Promise<void> | undefined,
  ): Promise<void> {
    try {
      this.step(what);
      await action();
    } catch (error) {
      log("warn", this.address, `could not ${what}: ${error}`);
    }
  }
}

function isOf({ id }: Mempool, handle: Handle): boolean {
  return handle >>> INDEX_BITS === id;
}

function addStats(into: DeviceStats, more: DeviceStats): void {
  for (const [name, value] of Object.entries(more)) {
    into[name as keyof DeviceStats] += value;
  }
}

function unicast(mac: string): Uint8Array {
  const octets = parseMac(mac);
  const zero = octets.every((octet) => octet === 0);
  if (!zero && (octets[0] & MULTICAST_BIT) === 0) return octets;
  throw new TypeError(`${mac} is no unicast address`);
}

function assertCount(entries: number): void {
  if (Number.isInteger(entries) && entries > 0) return;
  throw new ConfigError("entries", `${entries} is not a positive integer`);
}
