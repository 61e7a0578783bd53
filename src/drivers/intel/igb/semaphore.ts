/**
 * Taking turns on the PHY with the firmware and the other ports (82576 sections 4.7 and 8.7).
 *
 * @module
 */
import { DeviceTimeoutError } from "../../../errors.ts";
import { STATUS } from "../gigabit/registers.ts";
import { extract } from "../register.ts";
import { LOCK_ADVICE } from "../register_wait.ts";
import { delay, until } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import { SW_FW_SYNC, SWSM } from "./registers.ts";

const TIMEOUT_MS = 500;
const RETRY_MS = 5;
const BITS = SW_FW_SYNC.bits;
/** By port. */
const OURS = [BITS.SW_PHY0, BITS.SW_PHY1, BITS.SW_PHY2, BITS.SW_PHY3];
const THEIRS = [BITS.FW_PHY0, BITS.FW_PHY1, BITS.FW_PHY2, BITS.FW_PHY3];

/** Runs `action` while it owns the PHY. */
export async function whileHoldingPhy<T>(
  chip: Chip,
  action: () => Promise<T>,
): Promise<T> {
  const { registers } = chip;
  const port = extract(STATUS.bits.LAN_ID, registers.read(STATUS));
  await acquire(chip, OURS[port], THEIRS[port]);
  try {
    return await action();
  } finally {
    await underLock(chip, () => registers.clear(SW_FW_SYNC, OURS[port]));
  }
}

async function acquire(
  chip: Chip,
  ours: number,
  theirs: number,
): Promise<void> {
  const { registers } = chip;
  const end = performance.now() + TIMEOUT_MS;
  for (;;) {
    const left = await underLock(chip, () => {
      const busy = registers.read(SW_FW_SYNC) & (ours | theirs);
      // Ours alone after so long: a driver died holding it.
      const stale = busy === ours && performance.now() > end;
      if (busy === 0 || stale) registers.set(SW_FW_SYNC, ours);
      return stale ? 0 : busy;
    });
    if (left === 0) return;
    if (performance.now() > end + RETRY_MS) break;
    await delay(RETRY_MS);
  }
  throw new DeviceTimeoutError(
    "SW_FW_SYNC (section 8.7.3): the firmware giving the PHY free",
    TIMEOUT_MS,
    LOCK_ADVICE,
  );
}

/** SMBI keeps other drivers away, SWESMBI the firmware (4.7.1). */
async function underLock<T>(chip: Chip, action: () => T): Promise<T> {
  const { registers } = chip;
  const { SMBI, SWESMBI } = SWSM.bits;
  await lock(chip, "SMBI", () => (registers.read(SWSM) & SMBI) === 0);
  try {
    await lock(chip, "SWESMBI", () => {
      registers.set(SWSM, SWESMBI);
      return (registers.read(SWSM) & SWESMBI) !== 0;
    });
    return action();
  } finally {
    registers.clear(SWSM, SMBI | SWESMBI);
  }
}

/** Locks are held for microseconds: one that stays taken belongs to a driver that died, and is taken over. */
async function lock(
  chip: Chip,
  name: string,
  take: () => boolean,
): Promise<void> {
  if (await until(take, TIMEOUT_MS)) return;
  chip.step(`SWSM.${name} was left locked: taking it over`);
}
