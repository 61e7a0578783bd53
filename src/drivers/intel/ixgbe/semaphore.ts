/**
 * Taking turns with the firmware of an X540 (datasheet 331523, sections 11.7.4 and 11.7.5).
 *
 * @module
 */
import { DeviceTimeoutError } from "../../../errors.ts";
import { LOCK_ADVICE } from "../register_wait.ts";
import { delay, until } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import { STATUS, SW_FW_SYNC, SWSM } from "./registers.ts";
import { extract, type Register } from "../register.ts";

/** What both sides use. */
export type Shared = "eeprom" | "phy" | "mac";

const BITS = SW_FW_SYNC.bits;
const TIMEOUT_MS = 500;
const RETRY_MS = 5;

/** Runs `action` while the firmware keeps its hands off; at once on chips where the two share nothing. */
export async function whileHolding<T>(
  chip: Chip,
  what: Shared,
  action: () => Promise<T>,
): Promise<T> {
  if (!chip.model.sharedWithFirmware) return await action();
  const { ours, theirs } = bitsOf(chip, what);
  await acquire(chip, what, ours, theirs);
  try {
    return await action();
  } finally {
    await underLock(chip, () => chip.registers.clear(SW_FW_SYNC, ours));
  }
}

async function acquire(
  chip: Chip,
  what: Shared,
  ours: number,
  theirs: number,
): Promise<void> {
  const { registers } = chip;
  const busy = () => registers.read(SW_FW_SYNC) & (ours | theirs);
  const end = performance.now() + TIMEOUT_MS;
  for (;;) {
    const left = await underLock(chip, () => {
      const now = busy();
      // Ours alone after so long: a driver died holding it.
      const stale = now === ours && performance.now() > end;
      if (now === 0 || stale) registers.set(SW_FW_SYNC, ours);
      return stale ? 0 : now;
    });
    if (left === 0) return;
    if (performance.now() > end + RETRY_MS) break;
    await delay(RETRY_MS);
  }
  throw new DeviceTimeoutError(
    `SW_FW_SYNC: the firmware giving the ${what} free`,
    TIMEOUT_MS,
    LOCK_ADVICE,
  );
}

/** Both locks are taken by the read that finds them clear, which sets them (331523, 11.7.4). */
async function underLock<T>(chip: Chip, action: () => T): Promise<T> {
  const { registers } = chip;
  await lock(chip, SWSM, SWSM.bits.SMBI);
  try {
    await lock(chip, SW_FW_SYNC, BITS.REGSMP);
    try {
      return action();
    } finally {
      registers.clear(SW_FW_SYNC, BITS.REGSMP);
    }
  } finally {
    registers.clear(SWSM, SWSM.bits.SMBI);
  }
}

/** Locks are held for microseconds: one that stays taken belongs to a driver that died, and is taken over. */
async function lock(
  chip: Chip,
  register: Register,
  mask: number,
): Promise<void> {
  const free = () => (chip.registers.read(register) & mask) === 0;
  if (await until(free, TIMEOUT_MS)) return;
  chip.step(`${register.name} was left locked: taking it over`);
}

function bitsOf(chip: Chip, what: Shared): { ours: number; theirs: number } {
  if (what === "eeprom") return { ours: BITS.SW_EEP, theirs: BITS.FW_EEP };
  if (what === "mac") return { ours: BITS.SW_MAC_CSR, theirs: BITS.FW_MAC_CSR };
  const port = extract(STATUS.bits.LAN_ID, chip.registers.read(STATUS));
  return port === 0
    ? { ours: BITS.SW_PHY0, theirs: BITS.FW_PHY0 }
    : { ours: BITS.SW_PHY1, theirs: BITS.FW_PHY1 };
}
