/**
 * The 82599, X540 and X550: their cards, and the steps that bring one up.
 *
 * @module
 */
import { DeviceFaultError } from "../../../errors.ts";
import { rxBufferKiB } from "../ring/rx_queue.ts";
import type { RingAddresses } from "../../device/base_device.ts";
import type { ConfigureSteps, IntelFamily, IntelPair } from "../family.ts";
import { disableFlowControl, divideReceiveBuffer } from "./buffers.ts";
import {
  type Chip,
  CHIP_82599,
  CHIP_X540,
  CHIP_X550,
  MAC_SLOTS,
  MAX_FRAME_SIZE,
  MAX_QUEUES,
} from "./chip.ts";
import { checkEeprom } from "./eeprom.ts";
import {
  configureFilters,
  macSlots,
  readStation,
  writeReceiveMode,
  writeStation,
  writeVlanWord,
} from "./filters.ts";
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
import { resetChip, stopDma, withdrawDriver } from "./reset.ts";
import { configureRss, writeKey, writeTable } from "./rss.ts";
import { IxgbeRxQueue, IxgbeTxQueue } from "./queues.ts";
import { collectStatistics, configureStatistics } from "./statistics.ts";
import {
  configureTransmit,
  configureTxRing,
  startTransmit,
  startTxRing,
  stopTransmit,
  stopTxRing,
} from "./tx_unit.ts";

/** Starts the rings of a queue afresh: 82599 sections 4.6.7 and 4.6.8. */
async function startRings(
  chip: Chip,
  queue: number,
  addresses: RingAddresses,
  { rx, tx }: IntelPair,
): Promise<void> {
  chip.step(`rings of queue ${queue} (4.6.7, 4.6.8)`);
  tx.resetRing();
  configureTxRing(chip, queue, addresses.tx);
  await startTxRing(chip, queue);
  const tail = rx.resetRing();
  configureRxRing(chip, queue, addresses.rx, rx.pool.entrySize);
  await startRxRing(chip, queue, tail);
}

/** The order of 82599 section 4.6.3, from the fifth step on; interrupts come last, in `enableInterrupts()`. */
async function configure(
  chip: Chip,
  steps: ConfigureSteps,
): Promise<Uint8Array> {
  await checkEeprom(chip);
  const station = readStation(chip);
  assertStation(station);
  disableFlowControl(chip);
  await setUpLink(chip);
  configureStatistics(chip);
  configureFilters(chip);
  steps.writeReceiveMode();
  divideReceiveBuffer(chip);
  configureReceive(chip);
  configureRss(chip);
  configureTransmit(chip);
  configureInterrupts(chip);
  startTransmit(chip);
  await steps.startQueues();
  startReceive(chip);
  return station;
}

/** Refuses an address that no EEPROM should hold. */
function assertStation(mac: Uint8Array): void {
  const empty = mac.every((octet) => octet === 0);
  if (!empty && (mac[0] & 1) === 0) return;
  throw new DeviceFaultError("the EEPROM holds no MAC address");
}

/** 82599, X540 and X550. */
export const IXGBE: IntelFamily<Chip> = {
  driver: "ixgbe",
  cards: [
    [0x10fb, "Intel 82599ES (X520, SFP+)", CHIP_82599],
    [0x1507, "Intel 82599ES (SFP+, extended)", CHIP_82599],
    [0x1529, "Intel 82599 (SFP+ FCoE)", CHIP_82599],
    [0x154a, "Intel 82599 (quad SFP+)", CHIP_82599],
    [0x154d, "Intel 82599ES (X520, SFP+)", CHIP_82599],
    [0x1557, "Intel 82599EN (X520-1, SFP+)", CHIP_82599],
    [0x1528, "Intel X540-T2 (10GBASE-T)", CHIP_X540],
    [0x1560, "Intel X540-T1 (10GBASE-T)", CHIP_X540],
    [0x1563, "Intel X550-T2 (10GBASE-T)", CHIP_X550],
    [0x15d1, "Intel X550-T1 (10GBASE-T)", CHIP_X550],
  ],
  makeChip: (common, model) => ({ ...common, model }),
  features: ({ model }) => ({
    maxQueues: MAX_QUEUES,
    rssQueues: MAX_QUEUES,
    retaSize: model.retaSize,
    macFilters: MAC_SLOTS - 1,
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
    stopTransmit(chip);
    withdrawDriver(chip);
    await stopDma(chip);
  },
  enableInterrupts,
  disableInterrupts,
  maskQueue,
  acknowledgeLink,
  makePair: (queue, registers) => ({
    rx: new IxgbeRxQueue(queue, registers),
    tx: new IxgbeTxQueue(queue, registers),
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
