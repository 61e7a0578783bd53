/**
 * The MAC's side of the link (317453 section 13.4.1; 82576 section 4.5.7).
 *
 * @module
 */
import type { LinkState } from "../../../device_api.ts";
import { extract } from "../register.ts";
import type { GigabitChip } from "./chip.ts";
import {
  CTRL,
  FCAH,
  FCAL,
  FCRTH,
  FCRTL,
  FCT,
  FCTTV,
  STATUS,
} from "./registers.ts";

/** Mbit/s by STATUS.SPEED; both of the last mean 1000. */
const SPEEDS: readonly number[] = [10, 100, 1000, 1000];

/** The link now. */
export function readLink({ registers }: GigabitChip): LinkState {
  const status = registers.read(STATUS);
  const up = (status & STATUS.bits.LU) !== 0;
  return { up, speed: up ? SPEEDS[extract(STATUS.bits.SPEED, status)] : 0 };
}

/** Lets the link come up at whatever speed and duplex the PHY negotiates. */
export function setLinkUp(chip: GigabitChip): void {
  const { SLU, FRCSPD, FRCDPX, LRST } = CTRL.bits;
  chip.step("set link up");
  chip.registers.update(CTRL, SLU | FRCSPD | FRCDPX | LRST, SLU);
}

/** Neither sends nor obeys pause frames: a queue that is not emptied drops its own frames only. */
export function disableFlowControl(chip: GigabitChip): void {
  const { registers } = chip;
  chip.step("flow control off");
  registers.clear(CTRL, CTRL.bits.RFCE | CTRL.bits.TFCE);
  for (const register of [FCAL, FCAH, FCT, FCTTV, FCRTL, FCRTH]) {
    registers.write(register, 0);
  }
}
