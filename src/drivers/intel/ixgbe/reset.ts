/**
 * Bringing the chip into a known state (82599 sections 4.6.3, 4.2.1.6 and 5.2.5.3.2).
 *
 * @module
 */
import { waitForBits } from "../register_wait.ts";
import { delay, until } from "../../../wait.ts";
import { type Chip, MAX_QUEUES } from "./chip.ts";
import { disableInterrupts } from "./interrupts.ts";
import { readLink } from "./link.ts";
import {
  CTRL,
  CTRL_EXT,
  EEC,
  RDRXCTL,
  RXCTRL,
  RXDCTL,
  STATUS,
  TXDCTL,
} from "./registers.ts";
import { whileHolding } from "./semaphore.ts";

const GIO_TIMEOUT_MS = 100;
const RESET_TIMEOUT_MS = 100;
const READY_TIMEOUT_MS = 1000;
/** Between the end of a queue and whatever happens to its memory (4.6.7.1.2). */
const QUEUE_STOP_WAIT_MS = 1;

/** Resets the chip and waits until it can be programmed. */
export async function resetChip(chip: Chip): Promise<void> {
  chip.step("disable interrupts (4.6.3.1)");
  disableInterrupts(chip);
  await stopDma(chip);
  await globalReset(chip);
  chip.step("disable interrupts again, as the reset enabled them (4.6.3.1)");
  disableInterrupts(chip);
  await waitUntilReady(chip);
  announceDriver(chip);
}

/** Stops receiving, sending and, where it answers in time, all requests on the PCIe link (5.2.5.3.2). */
export async function stopDma(chip: Chip): Promise<void> {
  const { registers } = chip;
  chip.step("stop the queues");
  registers.clear(RXCTRL, RXCTRL.bits.RXEN);
  for (let queue = 0; queue < MAX_QUEUES; queue++) {
    for (const control of [RXDCTL, TXDCTL]) {
      if ((registers.read(control, queue) & control.bits.ENABLE) === 0) {
        continue;
      }
      registers.clear(control, control.bits.ENABLE, queue);
    }
  }
  await delay(QUEUE_STOP_WAIT_MS);
  await disableGio(chip);
}

/** Requests on the PCIe link that are still open when the chip is reset make a second reset necessary. */
async function disableGio(chip: Chip): Promise<void> {
  const { registers } = chip;
  chip.step("GIO primary disable (5.2.5.3.2)");
  registers.set(CTRL, CTRL.bits.GIO_DIS);
  const quiet = await until(
    () => (registers.read(STATUS) & STATUS.bits.GIO_STATUS) === 0,
    GIO_TIMEOUT_MS,
  );
  if (!quiet) chip.step("PCIe requests are still open");
}

async function globalReset(chip: Chip): Promise<void> {
  const { registers, model } = chip;
  const quiet = (registers.read(STATUS) & STATUS.bits.GIO_STATUS) === 0;
  for (let resets = quiet ? 1 : 2; resets > 0; resets--) {
    await whileHolding(chip, "phy", () => resetOnce(chip));
    chip.step(`wait ${model.resetWaitMs} ms`);
    await delay(model.resetWaitMs);
  }
}

/**
 * A link that is up may be in use by the management controller, so it is reset only while it is down (4.2.1.6.2,
 * 4.2.1.6.3).
 */
async function resetOnce(chip: Chip): Promise<void> {
  const { registers } = chip;
  const { RST, LRST } = CTRL.bits;
  const bits = readLink(chip).up ? RST : RST | LRST;
  chip.step(bits === RST ? "software reset" : "link and software reset");
  registers.set(CTRL, bits);
  await delay(1);
  await waitForBits(registers, {
    register: CTRL,
    mask: RST | LRST,
    bit: "RST and LRST",
    set: false,
    timeoutMs: RESET_TIMEOUT_MS,
  });
}

/** The third and fourth step of 4.6.3. */
async function waitUntilReady(chip: Chip): Promise<void> {
  const { registers } = chip;
  chip.step("wait for the EEPROM to be read (4.6.3)");
  await waitForBits(registers, {
    register: EEC,
    mask: EEC.bits.AUTO_RD,
    bit: "AUTO_RD",
    set: true,
    timeoutMs: READY_TIMEOUT_MS,
  });
  chip.step("wait for the DMA units (4.6.3)");
  await waitForBits(registers, {
    register: RDRXCTL,
    mask: RDRXCTL.bits.DMAIDONE,
    bit: "DMAIDONE",
    set: true,
    timeoutMs: READY_TIMEOUT_MS,
  });
}

/** Tells the firmware of the driver, and forbids "no snoop" requests, which bypass the processor's caches. */
function announceDriver(chip: Chip): void {
  chip.registers.set(
    CTRL_EXT,
    CTRL_EXT.bits.NS_DIS | CTRL_EXT.bits.DRV_LOAD,
  );
}

/** Tells the firmware that the driver has gone (8.2.3.1.3). */
export function withdrawDriver(chip: Chip): void {
  chip.registers.clear(CTRL_EXT, CTRL_EXT.bits.DRV_LOAD);
}
