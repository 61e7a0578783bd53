/**
 * The link: over the copper PHY inside, or over SerDes to fibre or a backplane (82576 sections 3.5 and 4.5.7).
 *
 * @module
 */
import type { LinkState } from "../../device_api.ts";
import { readLink as readMacLink, setLinkUp } from "../intel_gigabit/link.ts";
import { restartNegotiation } from "../intel_gigabit/phy.ts";
import { CTRL, CTRL_EXT } from "../intel_gigabit/registers.ts";
import { extract, insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import { PCS_1000, PCS_CFG, PCS_LCTL, PCS_LSTS, PHPM } from "./registers.ts";
import { whileHoldingPhy } from "./semaphore.ts";

/** CTRL_EXT.LINK_MODE: the PHY inside. */
const LINK_MODE_COPPER = 0;
/** CTRL.SPEED: 1000 Mbit/s. */
const SPEED_1000 = 2;
/** Mbit/s by PCS_LSTS.SPEED. */
const SPEEDS: readonly number[] = [10, 100, 1000, 1000];

function isCopper({ registers }: Chip): boolean {
  const mode = extract(CTRL_EXT.bits.LINK_MODE, registers.read(CTRL_EXT));
  return mode === LINK_MODE_COPPER;
}

/** Starts whatever brings the link up; it takes seconds on copper. */
export async function setUpLink(chip: Chip): Promise<void> {
  const { registers, model } = chip;
  setLinkUp(chip);
  if (model.hasI350Registers) registers.clear(PHPM, PHPM.bits.GO_LINKD);
  if (isCopper(chip)) {
    chip.step("restart the auto-negotiation of the PHY (4.5.7.2)");
    await whileHoldingPhy(chip, () => restartNegotiation(chip));
  } else {
    setUpSerdes(chip);
  }
}

/** SerDes knows 1000 Mbit/s only; the MAC is told so, and the PCS negotiates the rest (4.5.7.3). */
function setUpSerdes(chip: Chip): void {
  const { registers } = chip;
  chip.step("set up SerDes (4.5.7.3)");
  const { SPEED, FRCSPD, FRCDPX, FD } = CTRL.bits;
  registers.set(PCS_CFG, PCS_CFG.bits.PCS_EN);
  registers.update(
    CTRL,
    SPEED | FRCSPD | FRCDPX | FD,
    insert(SPEED, SPEED_1000) | FRCSPD | FRCDPX | FD,
  );
  const { bits } = PCS_LCTL;
  registers.update(
    PCS_LCTL,
    bits.FLV | bits.FSV | bits.FDV | bits.FSD | bits.FORCE_LINK |
      bits.AN_ENABLE | bits.AN_RESTART,
    insert(bits.FSV, PCS_1000) | bits.FDV | bits.AN_ENABLE | bits.AN_RESTART,
  );
}

/** The link now. Over SerDes the PCS knows, and STATUS does not. */
export function readLink(chip: Chip): LinkState {
  if (isCopper(chip)) return readMacLink(chip);
  const status = chip.registers.read(PCS_LSTS);
  const up = (status & PCS_LSTS.bits.LINK_OK) !== 0;
  return { up, speed: up ? SPEEDS[extract(PCS_LSTS.bits.SPEED, status)] : 0 };
}
