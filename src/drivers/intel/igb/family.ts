/**
 * The 82576 and the I350: their cards, and the steps that bring one up.
 *
 * @module
 */
import { rxBufferKiB } from "../ring/rx_queue.ts";
import type { RingAddresses } from "../../device/base_device.ts";
import type { ConfigureSteps, IntelFamily, IntelPair } from "../family.ts";
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
import { RSS_TABLE_SIZE } from "../../../rss_table.ts";
import { type Chip, CHIP_82576, CHIP_I350, MAX_FRAME_SIZE } from "./chip.ts";
import { pollsWithFewVectors } from "../card.ts";
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

/** Starts the rings of a queue afresh: 82576 sections 4.5.9 and 4.5.10. */
async function startRings(
  chip: Chip,
  queue: number,
  addresses: RingAddresses,
  { rx, tx }: IntelPair,
): Promise<void> {
  chip.step(`rings of queue ${queue} (4.5.9, 4.5.10)`);
  tx.resetRing();
  configureTxRing(chip, queue, addresses.tx);
  await startTxRing(chip, queue);
  const tail = rx.resetRing();
  configureRxRing(chip, queue, addresses.rx, rx.pool.entrySize);
  await startRxRing(chip, queue, tail);
}

/** The order of 82576 section 4.5; interrupts come last, in `enableInterrupts()`. */
async function configure(
  chip: Chip,
  steps: ConfigureSteps,
): Promise<Uint8Array> {
  const station = readStation(chip);
  disableFlowControl(chip);
  await setUpLink(chip);
  configureStatistics(chip);
  configureFilters(chip, station);
  steps.writeReceiveMode();
  configureReceive(chip);
  configureRss(chip);
  configureInterrupts(chip);
  startTransmit(chip);
  await steps.startQueues();
  startReceive(chip);
  return station;
}

/** 82576 and I350. */
export const IGB: IntelFamily<Chip> = {
  driver: "igb",
  cards: [
    [0x10c9, "Intel 82576 (ET)", CHIP_82576],
    [0x10e6, "Intel 82576 (EF, fibre)", CHIP_82576],
    [0x10e7, "Intel 82576 (SerDes)", CHIP_82576],
    [0x10e8, "Intel 82576 (ET, quad)", CHIP_82576],
    [0x150a, "Intel 82576NS", CHIP_82576],
    [0x1518, "Intel 82576NS (SerDes)", CHIP_82576],
    [0x150d, "Intel 82576 (SerDes, quad)", CHIP_82576],
    [0x1526, "Intel 82576 (ET2, quad)", CHIP_82576],
    [0x1521, "Intel I350 (copper)", CHIP_I350],
    [0x1522, "Intel I350 (fibre)", CHIP_I350],
    [0x1523, "Intel I350 (SerDes)", CHIP_I350],
    [0x1524, "Intel I350 (SGMII)", CHIP_I350],
    [0x1546, "Intel I350 (device 1546)", CHIP_I350],
  ],
  pollsWithoutVectors: true,
  makeChip: (common, model, bus) => ({
    ...common,
    model,
    macSlots: model.macSlots,
    vlanTableWrites: model.vlanTableWrites,
    queueVectors: pollsWithFewVectors(bus, common.config)
      ? 0
      : common.config.queues,
  }),
  features: ({ model }) => ({
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
  }),
  bufferBytes: (entrySize) => rxBufferKiB(entrySize) * 1024,
  interval,
  reset: resetChip,
  configure,
  startRings,
  stopRings: async (chip, queue) => {
    await stopRxRing(chip, queue);
    await stopTxRing(chip, queue);
  },
  stopDma: async (chip) => {
    announceDriver(chip, false);
    await stopDma(chip);
  },
  enableInterrupts,
  disableInterrupts,
  maskQueue,
  acknowledgeLink,
  makePair: (queue, registers) => ({
    rx: new IgbRxQueue(queue, registers),
    tx: new IgbTxQueue(queue, registers),
  }),
  collectStatistics,
  readLink,
  writeStation,
  macSlots,
  writeReceiveMode,
  writeVlanWord,
  writeKey,
  writeTable,
};
