/**
 * The link: over the copper PHY inside, or over the PCS to fibre, a backplane or a PHY outside (82576 sections 3.5
 * and 4.5.7).
 *
 * @module
 */
import type { LinkState } from "../../../device_api.ts";
import { readLink as readMacLink, setLinkUp } from "../gigabit/link.ts";
import { restartNegotiation } from "../gigabit/phy.ts";
import { CTRL, CTRL_EXT } from "../gigabit/registers.ts";
import { extract, insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import { PCS_1000, PCS_CFG, PCS_LCTL, PCS_LSTS, PHPM } from "./registers.ts";
import { whileHoldingPhy } from "./semaphore.ts";

/** CTRL_EXT.LINK_MODE. */
const LinkMode = {
  /** The PHY inside. */
  Copper: 0,
  /** A PHY outside, which tells the PCS what it negotiated. */
  Sgmii: 2,
} as const;
/** CTRL.SPEED: 1000 Mbit/s. */
const SPEED_1000 = 2;
/** Mbit/s by PCS_LSTS.SPEED. */
const SPEEDS: readonly number[] = [10, 100, 1000, 1000];

function linkMode({ registers }: Chip): number {
  return extract(CTRL_EXT.bits.LINK_MODE, registers.read(CTRL_EXT));
}

/** Starts whatever brings the link up; it takes seconds on copper. */
export async function setUpLink(chip: Chip): Promise<void> {
  const { registers, model } = chip;
  setLinkUp(chip);
  if (model.hasI350Registers) registers.clear(PHPM, PHPM.bits.GO_LINKD);
  const mode = linkMode(chip);
  if (mode === LinkMode.Copper) {
    chip.step("restart the auto-negotiation of the PHY (4.5.7.2)");
    await whileHoldingPhy(chip, () => restartNegotiation(chip));
  } else {
    setUpPcs(chip, mode === LinkMode.Sgmii);
  }
}

/**
 * SerDes knows 1000 Mbit/s only: the MAC is told so, and the PCS negotiates the rest (4.5.7.3). Over SGMII the PHY
 * outside says which speed it is (4.5.7.4).
 */
function setUpPcs(chip: Chip, sgmii: boolean): void {
  const { registers } = chip;
  chip.step(`set up ${sgmii ? "SGMII" : "SerDes"} (4.5.7)`);
  registers.set(PCS_CFG, PCS_CFG.bits.PCS_EN);
  registers.clear(CTRL_EXT, CTRL_EXT.bits.SDP3_DATA);
  registers.set(CTRL, CTRL.bits.SWDPINS);
  if (!sgmii) forceGigabit(chip);
  const { bits } = PCS_LCTL;
  registers.update(
    PCS_LCTL,
    bits.FLV | bits.FSV | bits.FDV | bits.FSD | bits.FORCE_LINK |
      bits.AN_ENABLE | bits.AN_RESTART | bits.AN_TIMEOUT_EN,
    bits.AN_ENABLE | bits.AN_RESTART |
      (sgmii ? 0 : insert(bits.FSV, PCS_1000) | bits.FDV | bits.AN_TIMEOUT_EN),
  );
}

function forceGigabit({ registers }: Chip): void {
  const { SPEED, FRCSPD, FRCDPX, FD } = CTRL.bits;
  registers.update(
    CTRL,
    SPEED | FRCSPD | FRCDPX | FD,
    insert(SPEED, SPEED_1000) | FRCSPD | FRCDPX | FD,
  );
}

/** The link now. Without the PHY inside the PCS knows, and STATUS does not. */
export function readLink(chip: Chip): LinkState {
  if (linkMode(chip) === LinkMode.Copper) return readMacLink(chip);
  const status = chip.registers.read(PCS_LSTS);
  const up = (status & PCS_LSTS.bits.LINK_OK) !== 0;
  return { up, speed: up ? SPEEDS[extract(PCS_LSTS.bits.SPEED, status)] : 0 };
}
