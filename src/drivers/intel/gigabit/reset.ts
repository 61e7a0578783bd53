/**
 * The steps of a reset that gigabit parts share (317453 section 14.3; 82576 sections 4.3 and 4.5.3).
 *
 * @module
 */
import { until } from "../../../wait.ts";
import type { GigabitChip } from "./chip.ts";
import { CTRL, CTRL_EXT, EECD, ICR, IMC, STATUS } from "./registers.ts";

const GIO_TIMEOUT_MS = 100;
const AUTO_READ_TIMEOUT_MS = 10;

/** Masks every cause of the classic interrupt block and forgets what is pending. */
export function disableClassicInterrupts({ registers }: GigabitChip): void {
  registers.write(IMC, IMC.bits.ALL);
  registers.read(ICR);
}

/**
 * PCIe parts: no new requests, and waits for those that are open; a reset in the midst of one can hang the bus.
 * Says in the log when they do not end in time.
 */
export async function disablePcieRequests(chip: GigabitChip): Promise<void> {
  const { registers } = chip;
  chip.step("GIO primary disable");
  registers.set(CTRL, CTRL.bits.GIO_DIS);
  const quiet = await until(
    () => (registers.read(STATUS) & STATUS.bits.GIO_ENABLED) === 0,
    GIO_TIMEOUT_MS,
  );
  if (!quiet) chip.step("PCIe requests are still open");
}

/** Starts a software reset. The caller waits as long as its chip needs. */
export function softwareReset(chip: GigabitChip): void {
  chip.step("software reset");
  chip.registers.set(CTRL, CTRL.bits.RST);
}

/** Waits until the chip has read its EEPROM. Returns false when it does not say so in time. */
export function waitForEeprom(chip: GigabitChip): Promise<boolean> {
  chip.step("wait for the EEPROM to be read");
  return until(
    () => (chip.registers.read(EECD) & EECD.bits.AUTO_RD) !== 0,
    AUTO_READ_TIMEOUT_MS,
  );
}

/** Tells the firmware that a driver is there, or has gone; what it does to the PHY depends on it. */
export function announceDriver(chip: GigabitChip, present: boolean): void {
  const { DRV_LOAD } = CTRL_EXT.bits;
  chip.registers.update(CTRL_EXT, DRV_LOAD, present ? DRV_LOAD : 0);
}
