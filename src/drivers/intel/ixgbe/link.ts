/**
 * The link: over an SFP+ cage on the 82599, over a 10GBASE-T PHY on the X540 (82599 sections 3.7 and 4.6.4).
 *
 * @module
 */
import type { LinkState } from "../../../device_api.ts";
import { DeviceFaultError } from "../../../errors.ts";
import { extract, insert } from "../register.ts";
import { waitForBits } from "../register_wait.ts";
import { delay } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  AUTOC,
  AUTOC2,
  ESDP,
  LINKS,
  LMS_10G_SERIAL,
  MDI_ADDRESS,
  MDI_READ,
  MDI_WRITE,
  MSCA,
  MSRWD,
  PMA_PMD_SFI,
} from "./registers.ts";
import { whileHolding } from "./semaphore.ts";

/** Mbit/s by LINKS.SPEED (8.2.3.22.20). */
const SPEEDS: readonly number[] = [0, 100, 1000, 10_000];
/** An SFP+ module may take this long to light up (SFF-8431, t_on is 1 ms; drivers in the field wait 100). */
const LASER_WAIT_MS = 100;
const MDIO_TIMEOUT_MS = 100;
const MDIO_ADDRESSES = 32;

/** Registers of the PHY: device within it, and address (IEEE 802.3 clause 45; X540 datasheet 331523, chapter 12). */
const Phy = {
  /** PMA/PMD device identifier, upper half. */
  identifier: [1, 2],
  /** PMA/PMD control 1. */
  pmaControl: [1, 0],
  /** Auto-negotiation control 1. */
  anControl: [7, 0],
  /** 10GBASE-T auto-negotiation control. */
  an10gControl: [7, 0x20],
} as const satisfies Record<string, readonly [number, number]>;
type PhyRegister = readonly [device: number, address: number];

const PMA_LOW_POWER = 1 << 11;
const AN_RESTART = 1 << 9;
const AN_ENABLE = 1 << 12;
const ADVERTISE_10G = 1 << 12;

/** Starts whatever brings the link up; it takes milliseconds on fibre and seconds on copper. */
export async function setUpLink(chip: Chip): Promise<void> {
  if (chip.model.media === "fibre") await setUpFibre(chip);
  else await whileHolding(chip, "phy", () => setUpCopper(chip));
}

/** The link now. The first read returns what was latched when the link went down (8.2.3.22.20). */
export function readLink(chip: Chip): LinkState {
  chip.registers.read(LINKS);
  const links = chip.registers.read(LINKS);
  const up = (links & LINKS.bits.UP) !== 0;
  return { up, speed: up ? SPEEDS[extract(LINKS.bits.SPEED, links)] : 0 };
}

/** SFI at 10 Gbit/s (4.6.4.2), which has no auto-negotiation: the restart just starts the MAC's link again. */
async function setUpFibre(chip: Chip): Promise<void> {
  const { registers } = chip;
  chip.step("turn the laser on (8.2.3.1.4)");
  registers.clear(ESDP, ESDP.bits.SDP3_DATA);
  await delay(LASER_WAIT_MS);
  chip.step("set up the link: SFI at 10 Gbit/s (4.6.4)");
  registers.update(
    AUTOC2,
    AUTOC2.bits.PMA_PMD_10G_SERIAL,
    insert(AUTOC2.bits.PMA_PMD_10G_SERIAL, PMA_PMD_SFI),
  );
  registers.update(
    AUTOC,
    AUTOC.bits.LMS | AUTOC.bits.FLU | AUTOC.bits.RESTART_AN,
    insert(AUTOC.bits.LMS, LMS_10G_SERIAL) | AUTOC.bits.RESTART_AN,
  );
}

/** Wakes the PHY, offers 10 Gbit/s and negotiates again. */
async function setUpCopper(chip: Chip): Promise<void> {
  chip.step("set up the link: look for the PHY (4.6.4)");
  const phy = await findPhy(chip);
  chip.step(`restart the auto-negotiation of PHY ${phy}`);
  const control = await readPhy(chip, phy, Phy.pmaControl);
  if ((control & PMA_LOW_POWER) !== 0) {
    await writePhy(chip, phy, Phy.pmaControl, control & ~PMA_LOW_POWER);
  }
  const offer = await readPhy(chip, phy, Phy.an10gControl);
  await writePhy(chip, phy, Phy.an10gControl, offer | ADVERTISE_10G);
  const negotiation = await readPhy(chip, phy, Phy.anControl);
  await writePhy(
    chip,
    phy,
    Phy.anControl,
    negotiation | AN_ENABLE | AN_RESTART,
  );
}

/** A bus without a PHY at an address reads as all ones. */
async function findPhy(chip: Chip): Promise<number> {
  for (let phy = 0; phy < MDIO_ADDRESSES; phy++) {
    const identifier = await readPhy(chip, phy, Phy.identifier);
    if (identifier !== 0 && identifier !== MSRWD.bits.WRITE_DATA) return phy;
  }
  throw new DeviceFaultError("no PHY answers on the MDIO bus of the card");
}

async function readPhy(
  chip: Chip,
  phy: number,
  register: PhyRegister,
): Promise<number> {
  await mdi(chip, phy, register, MDI_ADDRESS);
  await mdi(chip, phy, register, MDI_READ);
  return extract(MSRWD.bits.READ_DATA, chip.registers.read(MSRWD));
}

async function writePhy(
  chip: Chip,
  phy: number,
  register: PhyRegister,
  value: number,
): Promise<void> {
  chip.registers.update(
    MSRWD,
    MSRWD.bits.WRITE_DATA,
    insert(MSRWD.bits.WRITE_DATA, value),
  );
  await mdi(chip, phy, register, MDI_ADDRESS);
  await mdi(chip, phy, register, MDI_WRITE);
}

/** One frame on the MDIO bus (3.7.2.2, 8.2.3.22.11). */
async function mdi(
  chip: Chip,
  phy: number,
  [device, address]: PhyRegister,
  opcode: number,
): Promise<void> {
  const { bits } = MSCA;
  chip.registers.write(
    MSCA,
    insert(bits.MDIADD, address) | insert(bits.DEVADD, device) |
      insert(bits.PHYADD, phy) | insert(bits.OPCODE, opcode) | bits.MDICMD,
  );
  await waitForBits(chip.registers, {
    register: MSCA,
    mask: bits.MDICMD,
    bit: "MDICMD",
    set: false,
    timeoutMs: MDIO_TIMEOUT_MS,
  });
}
