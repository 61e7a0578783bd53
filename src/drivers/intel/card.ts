/**
 * An Intel card as a device: what is the same for all families. {@linkcode IntelFamily} has what differs.
 *
 * @module
 */
import type { PciBusDevice } from "../../bus/bus.ts";
import type { DeviceConfig } from "../../config.ts";
import type { DeviceFeatures, LinkState } from "../../device_api.ts";
import { ConfigError, NotSupportedError } from "../../errors.ts";
import { DEFAULT_ENTRY_SIZE } from "../../memory/mempool.ts";
import type { DeviceStats } from "../../stats.ts";
import { BaseDevice } from "../device/base_device.ts";
import type { LocalQueue } from "../queue/rx_queue.ts";
import type { IntelChip, IntelFamily, IntelPair } from "./family.ts";
import { FilteredCount } from "./filtered_count.ts";
import { MacFilter } from "./mac_filter.ts";
import { ReceiveMode } from "./receive_mode.ts";
import { RegisterBlock } from "./register.ts";
import { DESCRIPTOR_BYTES } from "./ring/descriptors.ts";

/** A card of one of the Intel families. */
export class IntelCard<Chip extends IntelChip>
  extends BaseDevice<PciBusDevice> {
  override readonly driver: string;
  override readonly model: string;
  override readonly features: DeviceFeatures;
  protected override readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly #family: IntelFamily<Chip>;
  readonly #chip: Chip;
  /** Unicast addresses besides the card's own. */
  readonly #filter: MacFilter;
  /** Promiscuous, multicast, VLANs. */
  readonly #mode: ReceiveMode;

  /**
   * @param bus The device on its bus.
   * @param config How it is to be used.
   * @param family The steps of its family.
   * @param model Which chip it is.
   */
  constructor(
    bus: PciBusDevice,
    config: DeviceConfig,
    family: IntelFamily<Chip>,
    model: Chip["model"],
  ) {
    super(bus, config);
    this.driver = family.driver;
    this.model = model.name;
    this.#family = family;
    const common = {
      registers: new RegisterBlock(bus.registers),
      filtered: new FilteredCount(),
      config,
      step: (message: string) => this.step(message),
    };
    const chip = this.#chip = family.makeChip(common, model, bus);
    this.#filter = new MacFilter(family.macSlots(chip));
    this.#mode = new ReceiveMode(config.promiscuous, {
      writeReceiveMode: (filters) => family.writeReceiveMode(chip, filters),
      writeVlanWord: (entry, word) => family.writeVlanWord(chip, entry, word),
    });
    this.features = family.features(chip);
  }

  override get sharedVector(): boolean {
    return this.#family.sharesVector?.(this.bus) ?? false;
  }

  override get linkVectorOnly(): boolean {
    return this.#family.pollsWithoutVectors === true &&
      pollsWithFewVectors(this.bus, this.config);
  }

  protected override bufferBytes(entrySize: number): number {
    return this.#family.bufferBytes(entrySize);
  }

  protected override checkConfig(): void {
    const { queues, maxFrameSize, entrySize, interruptIntervalUs } =
      this.config;
    const { features, model } = this;
    if (queues > features.maxQueues) {
      const kind = this.sharedVector
        ? ` with ${this.bus.interrupts.kind} interrupts`
        : "";
      throw new ConfigError(
        "queues",
        `${queues} is more than the ${features.maxQueues} of the ${model}${kind}`,
      );
    }
    if (maxFrameSize > features.maxFrameSize) {
      throw new ConfigError(
        "maxFrameSize",
        `${maxFrameSize} is more than the ${features.maxFrameSize} of the ${model}`,
      );
    }
    if (this.bufferBytes(entrySize || DEFAULT_ENTRY_SIZE) === 0) {
      throw new ConfigError(
        "entrySize",
        `${entrySize} is less than the 1024 that the ${model} receives into`,
      );
    }
    this.#family.interval(interruptIntervalUs);
  }

  protected override resetChip(): Promise<void> {
    return this.#family.reset(this.#chip);
  }

  protected override async configureChip(): Promise<void> {
    this.station = await this.#family.configure(this.#chip, {
      writeReceiveMode: () => this.#mode.write(),
      startQueues: async () => {
        for (let i = 0; i < this.config.queues; i++) await this.startRings(i);
      },
      entrySize: this.queue(0).rx.pool.entrySize,
    });
  }

  protected override startRings(index: number): Promise<void> {
    return this.#family.startRings(
      this.#chip,
      index,
      this.ringAddresses(index),
      this.queue(index),
    );
  }

  protected override stopRings(index: number): Promise<void> {
    return this.#family.stopRings(this.#chip, index);
  }

  protected override stopDma(): Promise<void> {
    return this.#family.stopDma(this.#chip);
  }

  protected override enableInterrupts(): void {
    this.#family.enableInterrupts(this.#chip);
  }

  protected override disableInterrupts(): void {
    this.#family.disableInterrupts(this.#chip);
  }

  protected override maskQueue(index: number): void {
    this.#family.maskQueue(this.#chip, index);
  }

  protected override acknowledgeLink(): void {
    // A queue that may sleep on a shared vector clears the cause itself.
    if (this.sharedVector && this.config.irqTimeoutMs !== 0) return;
    this.#family.acknowledgeLink(this.#chip, this.bus);
  }

  protected override createPair(queue: LocalQueue): IntelPair {
    const { registers, interrupts } = this.bus;
    return this.#family.makePair(
      queue,
      registers,
      () => interrupts.unmask(),
    );
  }

  override queue(index: number): IntelPair {
    return super.queue(index) as IntelPair;
  }

  protected override collectStatistics(into: DeviceStats): void {
    this.#family.collectStatistics(this.#chip, into);
  }

  protected override programStation(mac: Uint8Array): void {
    this.#family.writeStation(this.#chip, mac);
  }

  protected override programFilter(mac: Uint8Array, wanted: boolean): void {
    if (wanted) this.#filter.add(mac);
    else this.#filter.remove(mac);
  }

  override link(): LinkState {
    this.assertOpen();
    return this.#family.readLink(this.#chip);
  }

  override setPromiscuous(enabled: boolean): void {
    this.assertOpen();
    this.#mode.setPromiscuous(enabled);
  }

  override setAllMulticast(enabled: boolean): void {
    this.assertOpen();
    this.#mode.setAllMulticast(enabled);
  }

  override addVlanFilter(vlan: number): void {
    this.assertOpen();
    this.#mode.setVlan(vlan, true);
  }

  override removeVlanFilter(vlan: number): void {
    this.assertOpen();
    this.#mode.setVlan(vlan, false);
  }

  override setRssKey(key: Uint8Array): void {
    this.assertOpen();
    this.#assertRss();
    this.#family.writeKey(this.#chip, key);
  }

  override setRssTable(table: readonly number[]): void {
    this.assertOpen();
    this.#assertRss();
    this.#family.writeTable(this.#chip, table);
  }

  #assertRss(): void {
    if (this.features.rssQueues > 0) return;
    throw new NotSupportedError(
      `the ${this.model} has one queue and does not hash what it receives`,
    );
  }
}

/** Whether all queues poll, on a card with too few vectors to give each queue one besides the link's. */
export function pollsWithFewVectors(
  { interrupts }: PciBusDevice,
  { irqTimeoutMs, queues }: DeviceConfig,
): boolean {
  return irqTimeoutMs === 0 && interrupts.count <= queues;
}
