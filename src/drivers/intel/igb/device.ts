/**
 * The 82576 and the I350 as a device: which step follows which.
 *
 * @module
 */
import type { PciBusDevice } from "../../../bus/bus.ts";
import type { DeviceConfig } from "../../../config.ts";
import type { DeviceFeatures, LinkState } from "../../../device_api.ts";
import { ConfigError } from "../../../errors.ts";
import { DEFAULT_ENTRY_SIZE } from "../../../memory/mempool.ts";
import type { DeviceStats } from "../../../stats.ts";
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { rxBufferKiB } from "../ring/rx_queue.ts";
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
import { disableFlowControl } from "../gigabit/link.ts";
import { announceDriver } from "../gigabit/reset.ts";
import { RegisterBlock } from "../register.ts";
import { RSS_TABLE_SIZE } from "../../../rss_table.ts";
import { type Chip, type ChipModel, MAX_FRAME_SIZE } from "./chip.ts";
import {
  acknowledgeLink,
  configureInterrupts,
  disableInterrupts,
  enableInterrupts,
  interval,
  maskQueue,
} from "./interrupts.ts";
import { readLink, setUpLink } from "./link.ts";
import {
  configureReceive,
  configureRxRing,
  startReceive,
  startRxRing,
  stopRxRing,
} from "./rx_unit.ts";
import { resetChip, stopDma } from "./reset.ts";
import { configureRss, writeKey, writeTable } from "./rss.ts";
import { IgbRxQueue, IgbTxQueue } from "./queues.ts";
import { collectStatistics, configureStatistics } from "./statistics.ts";
import {
  configureTxRing,
  startTransmit,
  startTxRing,
  stopTxRing,
} from "./tx_unit.ts";

/** The name of this driver. */
export const DRIVER = "igb";

/** An 82576 or I350. */
export class IgbDevice extends IntelDevice<IgbPair> {
  override readonly driver = DRIVER;
  override readonly model: string;
  override readonly features: DeviceFeatures;
  protected override readonly descriptorBytes = DESCRIPTOR_BYTES;
  readonly #chip: Chip;
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
      registers: new RegisterBlock(bus.registers),
      filtered: new FilteredCount(),
      macSlots: model.macSlots,
      vlanTableWrites: model.vlanTableWrites,
      queueVectors: this.linkVectorOnly ? 0 : config.queues,
      step: (message) => this.step(message),
    };
    this.filter = new MacFilter(macSlots(this.#chip));
    this.mode = new ReceiveMode(config.promiscuous, {
      writeReceiveMode: (filters) => writeReceiveMode(this.#chip, filters),
      writeVlanWord: (entry, word) => writeVlanWord(this.#chip, entry, word),
    });
    this.features = {
      maxQueues: model.maxQueues,
      rssQueues: model.maxQueues,
      retaSize: RSS_TABLE_SIZE,
      macFilters: model.macSlots - 1,
      maxFrameSize: MAX_FRAME_SIZE,
      rxChecksum: true,
      vlanStrip: true,
      queueInterrupts: true,
      txChecksum: false,
      segmentation: false,
      vlanFilter: true,
      countsFiltered: true,
    };
  }

  protected override get linkVectorOnly(): boolean {
    const { irqTimeoutMs, queues } = this.config;
    return irqTimeoutMs === 0 && this.bus.interrupts.count <= queues;
  }

  protected override checkConfig(): void {
    const { queues, maxFrameSize, entrySize, interruptIntervalUs } =
      this.config;
    const { maxQueues } = this.features;
    if (queues > maxQueues) {
      throw new ConfigError(
        "queues",
        `${queues} is more than the ${maxQueues} of the ${this.model}`,
      );
    }
    if (maxFrameSize > MAX_FRAME_SIZE) {
      throw new ConfigError(
        "maxFrameSize",
        `${maxFrameSize} is more than the ${MAX_FRAME_SIZE} of the ${this.model}`,
      );
    }
    if (rxBufferKiB(entrySize || DEFAULT_ENTRY_SIZE) === 0) {
      throw new ConfigError(
        "entrySize",
        `${entrySize} is less than the 1024 that the ${this.model} receives into`,
      );
    }
    interval(interruptIntervalUs);
  }

  protected override resetChip(): Promise<void> {
    return resetChip(this.#chip);
  }

  /** The order of 82576 section 4.5; interrupts come last, in `enableInterrupts()`. */
  protected override async configureChip(): Promise<void> {
    const chip = this.#chip;
    this.station = readStation(chip);
    disableFlowControl(chip);
    await setUpLink(chip);
    configureStatistics(chip);
    configureFilters(chip, this.station);
    this.mode.write();
    configureReceive(chip);
    configureRss(chip);
    configureInterrupts(chip);
    startTransmit(chip);
    for (let i = 0; i < this.config.queues; i++) await this.startRings(i);
    startReceive(chip);
  }

  protected override async startRings(index: number): Promise<void> {
    const chip = this.#chip;
    const { rx, tx } = this.ringAddresses(index);
    const pair = this.queue(index);
    this.step(`rings of queue ${index} (4.5.9, 4.5.10)`);
    pair.tx.resetRing();
    configureTxRing(chip, index, tx);
    await startTxRing(chip, index);
    const tail = pair.rx.resetRing();
    configureRxRing(chip, index, rx, pair.rx.pool.entrySize);
    await startRxRing(chip, index, tail);
  }

  protected override async stopRings(index: number): Promise<void> {
    await stopRxRing(this.#chip, index);
    await stopTxRing(this.#chip, index);
  }

  protected override async stopDma(): Promise<void> {
    announceDriver(this.#chip, false);
    await stopDma(this.#chip);
  }

  protected override enableInterrupts(): void {
    enableInterrupts(this.#chip);
  }

  protected override disableInterrupts(): void {
    disableInterrupts(this.#chip);
  }

  protected override maskQueue(index: number): void {
    maskQueue(this.#chip, index);
  }

  protected override acknowledgeLink(): void {
    acknowledgeLink(this.#chip);
  }

  protected override createPair(queue: LocalQueue): IgbPair {
    const { registers } = this.bus;
    return {
      rx: new IgbRxQueue(queue, registers),
      tx: new IgbTxQueue(queue, registers),
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
    writeKey(this.#chip, key);
  }

  override setRssTable(table: readonly number[]): void {
    this.assertOpen();
    writeTable(this.#chip, table);
  }
}

/** The halves of a queue pair of this driver. */
export interface IgbPair extends LocalPair {
  readonly rx: IgbRxQueue;
  readonly tx: IgbTxQueue;
}
