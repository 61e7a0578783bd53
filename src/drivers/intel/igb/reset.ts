/**
 * Bringing the chip into a known state (82576 sections 4.3.1, 4.5.3 and 5.2.3.3).
 *
 * @module
 */
import { CTRL, CTRL_EXT, RCTL } from "../gigabit/registers.ts";
import {
  announceDriver,
  disablePcieRequests,
  softwareReset,
  waitForEeprom,
} from "../gigabit/reset.ts";
import { waitForBits } from "../register_wait.ts";
import { delay } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import { disableInterrupts } from "./interrupts.ts";
import { MDICNFG, RESET_STATUS, RXDCTL, TCTL, TXDCTL } from "./registers.ts";

const RESET_TIMEOUT_MS = 100;
/** Between the end of the units and the reset: what is on its way must have arrived. */
const DMA_STOP_WAIT_MS = 10;

/** Resets the chip and waits until it can be programmed. */
export async function resetChip(chip: Chip): Promise<void> {
  const { registers, model } = chip;
  chip.step("disable interrupts (4.5.4)");
  disableInterrupts(chip);
  await stopDma(chip);
  const phyPlace = model.hasI350Registers ? registers.read(MDICNFG) : 0;
  softwareReset(chip);
  await delay(model.resetWaitMs);
  await waitForBits(registers, {
    register: CTRL,
    mask: CTRL.bits.RST,
    bit: "RST",
    set: false,
    timeoutMs: RESET_TIMEOUT_MS,
  });
  // A card without an EEPROM never says that it was read, and works nevertheless.
  if (!await waitForEeprom(chip)) chip.step("EECD.AUTO_RD stays 0");
  if (model.hasI350Registers) {
    registers.write(RESET_STATUS, RESET_STATUS.bits.DEV_RST_SET);
    registers.write(MDICNFG, phyPlace);
  }
  chip.step("disable interrupts again, as the reset enabled them (4.5.4)");
  disableInterrupts(chip);
  registers.clear(CTRL, CTRL.bits.GIO_DIS);
  registers.set(CTRL_EXT, CTRL_EXT.bits.NS_DIS);
  announceDriver(chip, true);
}

/** Stops receiving, sending and, where it answers in time, all requests on the PCIe link (5.2.3.3). */
export async function stopDma(chip: Chip): Promise<void> {
  const { registers, model } = chip;
  chip.step("stop the units and the queues");
  registers.clear(RCTL, RCTL.bits.EN);
  registers.clear(TCTL, TCTL.bits.EN);
  for (let queue = 0; queue < model.maxQueues; queue++) {
    for (const control of [RXDCTL, TXDCTL]) {
      if ((registers.read(control, queue) & control.bits.ENABLE) === 0) {
        continue;
      }
      registers.clear(control, control.bits.ENABLE, queue);
    }
  }
  await delay(DMA_STOP_WAIT_MS);
  await disablePcieRequests(chip);
}
