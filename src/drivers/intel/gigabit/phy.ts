/**
 * The copper PHY behind MDIC: registers of IEEE 802.3 clause 22 (82576 section 8.2.4).
 *
 * Where firmware shares the PHY, the caller holds it.
 *
 * @module
 */
import { DeviceFaultError } from "../../../errors.ts";
import { extract, insert } from "../register.ts";
import { waitForBits } from "../register_wait.ts";
import type { GigabitChip } from "./chip.ts";
import { MDI_READ, MDI_WRITE, MDIC } from "./registers.ts";

/** Address of the PHY inside the chip; the I350 has it in MDICNFG and ignores this one. */
const PHY_ADDRESS = 1;
const MDIC_TIMEOUT_MS = 100;

/** Registers of the PHY. */
export const Phy = {
  /** Control. */
  CONTROL: 0,
  /** Status. */
  STATUS: 1,
  /** Auto-negotiation advertisement: 10 and 100 Mbit/s. */
  ADVERTISEMENT: 4,
  /** 1000BASE-T control. */
  GIGABIT_CONTROL: 9,
} as const;

/** Bits of the control register. */
const PhyControl = {
  /** Negotiate now. */
  RESTART: 1 << 9,
  /** Nothing works while it is set. */
  POWER_DOWN: 1 << 11,
  /** Negotiate at all. */
  NEGOTIATE: 1 << 12,
} as const;

/** Offered to the other side: 10 and 100 Mbit/s in half and full duplex. */
const OFFER_UP_TO_100 = 0xf << 5;
/** Pause in either direction. */
const OFFER_PAUSE = 3 << 10;
/** Offered to the other side: 1000BASE-T in full duplex. */
const OFFER_1000_FULL = 1 << 9;

/** Reads a register of the PHY. */
export async function readPhy(
  chip: GigabitChip,
  register: number,
): Promise<number> {
  await command(chip, register, MDI_READ, 0);
  return extract(MDIC.bits.DATA, chip.registers.read(MDIC));
}

/** Writes a register of the PHY. */
export async function writePhy(
  chip: GigabitChip,
  register: number,
  value: number,
): Promise<void> {
  await command(chip, register, MDI_WRITE, value);
}

/** Wakes the PHY, offers all speeds and no pause frames, and negotiates again; the link follows in seconds. */
export async function restartNegotiation(chip: GigabitChip): Promise<void> {
  const offer = await readPhy(chip, Phy.ADVERTISEMENT);
  await writePhy(
    chip,
    Phy.ADVERTISEMENT,
    (offer | OFFER_UP_TO_100) & ~OFFER_PAUSE,
  );
  const gigabit = await readPhy(chip, Phy.GIGABIT_CONTROL);
  await writePhy(chip, Phy.GIGABIT_CONTROL, gigabit | OFFER_1000_FULL);
  const control = await readPhy(chip, Phy.CONTROL);
  await writePhy(
    chip,
    Phy.CONTROL,
    (control & ~PhyControl.POWER_DOWN) | PhyControl.NEGOTIATE |
      PhyControl.RESTART,
  );
}

/** One frame on the MDIO bus. Throws a DeviceFaultError when the PHY does not answer. */
async function command(
  chip: GigabitChip,
  register: number,
  operation: number,
  data: number,
): Promise<void> {
  const { bits } = MDIC;
  const { registers } = chip;
  registers.write(
    MDIC,
    insert(bits.DATA, data) | insert(bits.REGADD, register) |
      insert(bits.PHYADD, PHY_ADDRESS) | insert(bits.OP, operation),
  );
  await waitForBits(registers, {
    register: MDIC,
    mask: bits.READY,
    bit: "READY",
    set: true,
    timeoutMs: MDIC_TIMEOUT_MS,
  });
  if ((registers.read(MDIC) & bits.ERROR) === 0) return;
  throw new DeviceFaultError(
    `the PHY reports an error on its register ${register}`,
  );
}
