/**
 * Bringing the chip into a known state (317453 sections 13.4.1 and 14.3; 82574 datasheet, chapter 4).
 *
 * @module
 */
import { DeviceTimeoutError } from "../../../errors.ts";
import { CTRL, CTRL_EXT, EECD, MANC, RCTL } from "../gigabit/registers.ts";
import {
  announceDriver,
  disableClassicInterrupts,
  disablePcieRequests,
  softwareReset,
  waitForEeprom,
} from "../gigabit/reset.ts";
import { insert } from "../register.ts";
import { CHIP_ADVICE, waitForBits } from "../register_wait.ts";
import { delay } from "../../../wait.ts";
import { type Chip, MAX_QUEUES } from "./chip.ts";
import {
  CTRL_CLEAR_ALWAYS_82574,
  CtrlExt82574,
  EECD_FLASH_82574,
  EXTCNF_CTRL,
  GCR,
  GCR2,
  PBA,
  RDLEN,
  TARC,
  TCTL,
  TDLEN,
} from "./registers.ts";

/** Requests on the bus that were under way when the units stopped (drivers in the field wait 10 ms). */
export const QUIET_WAIT_MS = 10;
/** The 8254x reads its EEPROM meanwhile and has no bit that says when it is done. */
const RESET_WAIT_8254X_MS = 5;
/** The 82574's PHY reads its part of the EEPROM after the MAC's. */
const PHY_WAIT_82574_MS = 25;
const EEPROM_TIMEOUT_MS = 10;
const MDIO_TIMEOUT_MS = 64;
/** Larger frames want more of the packet buffer for sending. */
const LARGE_FRAME = 8192;

/** Resets the chip and waits until it can be programmed. */
export async function resetChip(chip: Chip): Promise<void> {
  chip.step("disable interrupts");
  disableClassicInterrupts(chip);
  await stopDma(chip);
  if (chip.model.generation === "82574") await reset82574(chip);
  else await reset8254x(chip);
  chip.step("disable interrupts again, as the reset enabled them");
  disableClassicInterrupts(chip);
  forgetRings(chip);
  divideBuffer(chip);
}

/** Stops receiving, sending and, on PCIe, all requests. */
export async function stopDma(chip: Chip): Promise<void> {
  const { registers } = chip;
  chip.step("stop the units");
  registers.clear(RCTL, RCTL.bits.EN);
  registers.clear(TCTL, TCTL.bits.EN);
  await delay(QUIET_WAIT_MS);
  if (chip.model.generation === "82574") await disablePcieRequests(chip);
}

async function reset8254x(chip: Chip): Promise<void> {
  chip.registers.write(RCTL, 0);
  chip.registers.write(TCTL, TCTL.bits.PSP);
  softwareReset(chip);
  await delay(RESET_WAIT_8254X_MS);
  chip.registers.clear(MANC, MANC.bits.ARP_EN);
}

async function reset82574(chip: Chip): Promise<void> {
  const { registers } = chip;
  registers.write(RCTL, 0);
  registers.write(TCTL, TCTL.bits.PSP);
  await whileOwningMdio(chip, () => {
    softwareReset(chip);
    return Promise.resolve();
  });
  await waitForBits(registers, {
    register: CTRL,
    mask: CTRL.bits.RST,
    bit: "RST",
    set: false,
    timeoutMs: EEPROM_TIMEOUT_MS,
  });
  readFlashAgain(chip);
  if (!await waitForEeprom(chip)) {
    throw new DeviceTimeoutError(
      "EECD.AUTO_RD becoming 1: the EEPROM",
      EEPROM_TIMEOUT_MS,
      CHIP_ADVICE,
    );
  }
  await delay(PHY_WAIT_82574_MS);
  applyErrata82574(chip);
  announceDriver(chip, true);
}

/** A reset does not make the chip read its defaults from flash memory (Linux and DPDK). */
function readFlashAgain({ registers }: Chip): void {
  const flash = (registers.read(EECD) & EECD_FLASH_82574) === EECD_FLASH_82574;
  if (flash) registers.set(CTRL_EXT, CtrlExt82574.EE_RST);
}

/** Bits that the datasheet calls reserved and that Linux and DPDK set by the errata. */
function applyErrata82574({ registers }: Chip): void {
  const { SET_ALWAYS, CLEAR_ALWAYS } = CtrlExt82574;
  registers.clear(CTRL, CTRL_CLEAR_ALWAYS_82574 | CTRL.bits.GIO_DIS);
  registers.update(CTRL_EXT, SET_ALWAYS | CLEAR_ALWAYS, SET_ALWAYS);
  registers.set(GCR, GCR.bits.COMPLETION_FIX | GCR.bits.L1_ACT_WITHOUT_L0S_RX);
  registers.set(GCR2, GCR2.bits.COMPLETION_FIX);
  const { bits } = TARC;
  registers.update(TARC, bits.SET_ALWAYS | bits.CLEAR_ALWAYS, bits.SET_ALWAYS);
}

/**
 * Takes turns with the firmware on the MDIO bus of the 82574; ownership is the firmware's again after a reset. The
 * 8254x has nobody to share it with.
 */
export async function whileOwningMdio(
  chip: Chip,
  action: () => Promise<void>,
): Promise<void> {
  if (chip.model.generation !== "82574") return await action();
  const { registers } = chip;
  const { MDIO_SW_OWNERSHIP } = EXTCNF_CTRL.bits;
  registers.set(EXTCNF_CTRL, MDIO_SW_OWNERSHIP);
  await waitForBits(registers, {
    register: EXTCNF_CTRL,
    mask: MDIO_SW_OWNERSHIP,
    bit: "MDIO_SW_OWNERSHIP",
    set: true,
    timeoutMs: MDIO_TIMEOUT_MS,
  });
  try {
    await action();
  } finally {
    registers.clear(EXTCNF_CTRL, MDIO_SW_OWNERSHIP);
  }
}

/** No ring of a driver that was here before: some models keep them through a reset. */
function forgetRings({ registers, model }: Chip): void {
  const queues = model.generation === "82574" ? MAX_QUEUES : 1;
  for (let queue = 0; queue < queues; queue++) {
    registers.write(RDLEN, 0, queue);
    registers.write(TDLEN, 0, queue);
  }
}

/** How much of the packet buffer is for receiving; the rest is for sending (317453 section 13.4.16). */
function divideBuffer({ registers, model, config }: Chip): void {
  const large = config.maxFrameSize > LARGE_FRAME;
  const { standard, jumbo } = model.rxBufferKiB;
  registers.write(PBA, insert(PBA.bits.RXA, large ? jumbo : standard));
}
