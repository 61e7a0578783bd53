/**
 * The 8254x and the 82574: their cards, and the steps that bring one up.
 *
 * @module
 */
import type { PciBusDevice } from "../../../bus/bus.ts";
import type { DeviceFeatures } from "../../../device_api.ts";
import type { ConfigureSteps, IntelFamily } from "../family.ts";
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
import { RSS_TABLE_SIZE } from "../../../rss_table.ts";
import {
  type Chip,
  CHIP_82540EM,
  CHIP_82545EM,
  CHIP_82574L,
  CHIP_82583V,
  maxFrameSize,
} from "./chip.ts";
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

/** A chip, and the switch of its rings. */
interface E1000Chip extends Chip {
  readonly rings: Rings;
}

/** The order of 317453 sections 14.3 to 14.5; interrupts come last, in `enableInterrupts()`. */
async function configure(
  chip: Chip,
  steps: ConfigureSteps,
): Promise<Uint8Array> {
  if (chip.model.generation === "8254x") {
    writeStation(chip, await readFactoryStation(chip));
  }
  const station = readStation(chip);
  disableFlowControl(chip);
  setLinkUp(chip);
  await whileOwningMdio(chip, () => restartNegotiation(chip));
  clearStatistics(chip);
  configureFilters(chip, station);
  steps.writeReceiveMode();
  configureReceive(chip, steps.entrySize);
  if (featuresOf(chip).rssQueues > 0) configureRss(chip);
  configureTransmit(chip);
  configureInterrupts(chip);
  await steps.startQueues();
  return station;
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

/** 82540EM, 82545EM, 82574L and 82583V. */
export const E1000: IntelFamily<E1000Chip> = {
  driver: "e1000",
  cards: [
    [0x100e, "Intel 82540EM (PRO/1000 MT)", CHIP_82540EM],
    [0x100f, "Intel 82545EM (PRO/1000 MT)", CHIP_82545EM],
    [0x10d3, "Intel 82574L (Gigabit CT)", CHIP_82574L],
    [0x10f6, "Intel 82574LA", CHIP_82574L],
    [0x150c, "Intel 82583V", CHIP_82583V],
  ],
  makeChip: (common, model, bus) => {
    const chip = {
      ...common,
      model,
      sharedVector: sharesVector(bus),
      macSlots: model.macSlots,
      vlanTableWrites: 1,
    };
    return { ...chip, rings: new Rings(chip) };
  },
  features: featuresOf,
  bufferBytes: rxBufferBytes,
  interval,
  sharesVector,
  reset: resetChip,
  configure,
  startRings: ({ rings, step }, queue, addresses, { rx, tx }) => {
    step(`rings of queue ${queue}`);
    return rings.start(queue, () => {
      tx.resetRing();
      return { ...addresses, tail: rx.resetRing() };
    });
  },
  stopRings: ({ rings }, queue) => rings.stop(queue),
  stopDma: async (chip) => {
    if (chip.model.generation === "82574") announceDriver(chip, false);
    await stopDma(chip);
  },
  enableInterrupts,
  disableInterrupts: disableClassicInterrupts,
  maskQueue,
  acknowledgeLink: (chip, { interrupts }) => {
    acknowledgeLink(chip);
    interrupts.unmask();
  },
  makePair: (queue, registers, unmaskInterrupt) => ({
    rx: new E1000RxQueue(queue, registers, unmaskInterrupt),
    tx: new E1000TxQueue(queue, registers),
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

/** Without MSI-X there is one interrupt for everything. */
function sharesVector({ interrupts }: PciBusDevice): boolean {
  return interrupts.kind !== "msix";
}
