/**
 * The 8254x and the 82574 as a device: which step follows which.
 *
 * @module
 */
import type { PciBusDevice, RegisterQueueBus } from "../../../bus/bus.ts";
import type { DeviceConfig } from "../../../config.ts";
import type { DeviceFeatures, LinkState } from "../../../device_api.ts";
import { ConfigError, NotSupportedError } from "../../../errors.ts";
import type { DeviceStats } from "../../../stats.ts";
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import type { LocalPair } from "../../device/base_device.ts";
import { IntelDevice } from "../card.ts";
import { FilteredCount } from "../filtered_count.ts";
import { MacFilter } from "../mac_filter.ts";
import { ReceiveMode } from "../receive_mode.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import {
  configureFilters,
  macSlots,
  readStation,
  writeReceiveMode,
  writeStation,
  writeVlanWord,
} from "../gigabit/filters.ts";
import { disableFlowControl, readLink, setLinkUp } from "../gigabit/link.ts";
import { restartNegotiation } from "../gigabit/phy.ts";
import { announceDriver, disableClassicInterrupts } from "../gigabit/reset.ts";
import { clearStatistics, collectStatistics } from "../gigabit/statistics.ts";
import { RegisterBlock } from "../register.ts";
import { RSS_TABLE_SIZE } from "../../../rss_table.ts";
import { type Chip, type ChipModel, maxFrameSize } from "./chip.ts";
import { readFactoryStation } from "./eeprom.ts";
import {
  acknowledgeLink,
  configureInterrupts,
  enableInterrupts,
  interval,
  maskQueue,
} from "./interrupts.ts";
import { configureReceive, rxBufferBytes } from "./rx_unit.ts";
import { resetChip, stopDma, whileOwningMdio } from "./reset.ts";
import { Rings } from "./ring_switch.ts";
import { configureRss, writeKey, writeTable } from "./rss.ts";
import { E1000RxQueue, E1000TxQueue } from "./queues.ts";
import { configureTransmit } from "./tx_unit.ts";

/** The name of this driver. */
export const DRIVER = "e1000";

/** An 82540EM, 82545EM, 82574L or 82583V. */
export class E1000Device extends IntelDevice<E1000Pair> {
  override readonly driver = DRIVER;
  override readonly model: string;
  override readonly features: DeviceFeatures;
  protected override readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly #chip: Chip;
  readonly #rings: Rings;
  protected override readonly filter: MacFilter;
  protected override readonly mode: ReceiveMode;

  /**
   * @param bus The device on its bus.
   * @param config How it is to be used.
   * @param model Which chip it is.
   */
  constructor(bus: PciBusDevice, config: DeviceConfig, model: ChipModel) {
    super(bus, config);
    this.model = model.name;
    this.#chip = {
      model,
      config,
      sharedVector: this.sharedVector,
      macSlots: model.macSlots,
      vlanTableWrites: 1,
      registers: new RegisterBlock(bus.registers),
      filtered: new FilteredCount(),
      step: (message) => this.step(message),
    };
    this.#rings = new Rings(this.#chip);
    this.filter = new MacFilter(macSlots(this.#chip));
    this.mode = new ReceiveMode(config.promiscuous, {
      writeReceiveMode: (filters) => writeReceiveMode(this.#chip, filters),
      writeVlanWord: (entry, word) => writeVlanWord(this.#chip, entry, word),
    });
    this.features = featuresOf(this.#chip);
  }

  /** Without MSI-X there is one interrupt for everything. */
  protected override get sharedVector(): boolean {
    return this.bus.interrupts.kind !== "msix";
  }

  protected override bufferBytes(entrySize: number): number {
    return rxBufferBytes(entrySize);
  }

  protected override checkConfig(): void {
    const { queues, interruptIntervalUs } = this.config;
    const { maxQueues } = this.features;
    if (queues > maxQueues) {
      throw new ConfigError(
        "queues",
        `${queues} is more than the ${maxQueues} of the ${this.model} with ${this.bus.interrupts.kind} interrupts`,
      );
    }
    const most = this.features.maxFrameSize;
    if (this.config.maxFrameSize > most) {
      throw new ConfigError(
        "maxFrameSize",
        `${this.config.maxFrameSize} is more than the ${most} of the ${this.model}`,
      );
    }
    interval(interruptIntervalUs);
  }

  protected override resetChip(): Promise<void> {
    return resetChip(this.#chip);
  }

  /** The order of 317453 sections 14.3 to 14.5; interrupts come last, in `enableInterrupts()`. */
  protected override async configureChip(): Promise<void> {
    const chip = this.#chip;
    if (chip.model.generation === "8254x") {
      writeStation(chip, await readFactoryStation(chip));
    }
    this.station = readStation(chip);
    disableFlowControl(chip);
    setLinkUp(chip);
    await whileOwningMdio(chip, () => restartNegotiation(chip));
    clearStatistics(chip);
    configureFilters(chip, this.station);
    this.mode.write();
    configureReceive(chip, this.queue(0).rx.pool.entrySize);
    if (this.features.rssQueues > 0) configureRss(chip);
    configureTransmit(chip);
    configureInterrupts(chip);
    for (let i = 0; i < this.config.queues; i++) await this.startRings(i);
  }

  protected override startRings(index: number): Promise<void> {
    this.step(`rings of queue ${index}`);
    const { rx, tx } = this.queue(index);
    return this.#rings.start(index, () => {
      tx.resetRing();
      return { ...this.ringAddresses(index), tail: rx.resetRing() };
    });
  }

  protected override stopRings(index: number): Promise<void> {
    return this.#rings.stop(index);
  }

  protected override async stopDma(): Promise<void> {
    if (this.#chip.model.generation === "82574") {
      announceDriver(this.#chip, false);
    }
    await stopDma(this.#chip);
  }

  protected override enableInterrupts(): void {
    enableInterrupts(this.#chip);
  }

  protected override disableInterrupts(): void {
    disableClassicInterrupts(this.#chip);
  }

  protected override maskQueue(index: number): void {
    maskQueue(this.#chip, index);
  }

  protected override acknowledgeLink(): void {
    if (this.sharedVector && this.config.irqTimeoutMs !== 0) return;
    acknowledgeLink(this.#chip);
    this.bus.interrupts.unmask();
  }

  protected override createPair(queue: LocalQueue): E1000Pair {
    const { registers, interrupts } = this.bus;
    const bus: RegisterQueueBus = {
      read32: (offset) => registers.read32(offset),
      write32: (offset, value) => registers.write32(offset, value),
      unmaskInterrupt: () => interrupts.unmask(),
    };
    return {
      rx: new E1000RxQueue(queue, bus),
      tx: new E1000TxQueue(queue, registers),
    };
  }

  protected override collectStatistics(into: DeviceStats): void {
    collectStatistics(this.#chip, into);
  }

  protected override programStation(mac: Uint8Array): void {
    writeStation(this.#chip, mac);
  }

  override link(): LinkState {
    this.assertOpen();
    return readLink(this.#chip);
  }

  override setRssKey(key: Uint8Array): void {
    this.assertOpen();
    this.#assertRss();
    writeKey(this.#chip, key);
  }

  override setRssTable(table: readonly number[]): void {
    this.assertOpen();
    this.#assertRss();
    writeTable(this.#chip, table);
  }

  #assertRss(): void {
    if (this.features.rssQueues > 0) return;
    throw new NotSupportedError(
      `the ${this.model} has one queue and does not hash what it receives`,
    );
  }
}

/** The halves of a queue pair of this driver. */
export interface E1000Pair extends LocalPair {
  readonly rx: E1000RxQueue;
  readonly tx: E1000TxQueue;
}

function featuresOf({ model, sharedVector }: Chip): DeviceFeatures {
  const queues = sharedVector ? 1 : model.maxQueues;
  const hashes = model.generation === "82574" && model.maxQueues > 1;
  return {
    maxQueues: queues,
    rssQueues: hashes ? queues : 0,
    retaSize: hashes ? RSS_TABLE_SIZE : 0,
    macFilters: model.macSlots - 1,
    maxFrameSize: maxFrameSize(model),
    rxChecksum: true,
    vlanStrip: true,
    queueInterrupts: !sharedVector,
    txChecksum: false,
    segmentation: false,
    vlanFilter: true,
    countsFiltered: true,
  };
}
