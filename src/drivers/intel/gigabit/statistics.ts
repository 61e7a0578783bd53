/**
 * What the MAC counts (317453 section 13.7). Reading clears, so there is exactly one reader.
 *
 * @module
 */
import type { DeviceStats } from "../../../stats.ts";
import type { Register, RegisterBlock } from "../register.ts";
import type { GigabitChip } from "./chip.ts";
import {
  ALGNERRC,
  CRCERRS,
  FCRUC,
  GORCH,
  GORCL,
  GPRC,
  MPC,
  RFC,
  RJC,
  RLEC,
  ROC,
  RUC,
  RXERRC,
  TOTH,
  TOTL,
  TPR,
  TPT,
  XOFFRXC,
  XONRXC,
} from "./registers.ts";

const TWO_TO_32 = 2 ** 32;
const FCS_BYTES = 4;
/** Frames that were thrown away as damaged. */
const DAMAGED: readonly Register[] = [
  ...[CRCERRS, ALGNERRC, RXERRC, RLEC],
];
const TOO_SHORT: readonly Register[] = [RUC, RFC];
const TOO_LONG: readonly Register[] = [ROC, RJC];
const CONTROL: readonly Register[] = [XONRXC, XOFFRXC, FCRUC];
const COUNTERS: readonly Register[] = [
  ...[...DAMAGED, ...TOO_SHORT, ...TOO_LONG, ...CONTROL],
  ...[MPC, TPR, GPRC, GORCL, GORCH, TPT, TOTL, TOTH],
];

/** Forgets what was counted before. */
export function clearStatistics({ registers }: GigabitChip): void {
  for (const counter of COUNTERS) registers.read(counter);
}

/**
 * Adds what was counted since the last call, without the check sequences.
 *
 * Sent frames are those of TPT and TOT, "total": in full duplex and without flow control they are the good ones, and
 * some of QEMU's models copy them over GPTC and GOTC with every frame, whatever was read there before.
 */
export function collectStatistics(
  { registers, filtered }: GigabitChip,
  into: DeviceStats,
): void {
  const came = registers.read(TPR);
  const received = registers.read(GPRC);
  into.rxPackets += received;
  into.rxBytes += readPair(registers, GORCL, GORCH) - received * FCS_BYTES;
  const sent = registers.read(TPT);
  into.txPackets += sent;
  into.txBytes += readPair(registers, TOTL, TOTH) - sent * FCS_BYTES;
  const missed = registers.read(MPC);
  into.rxMissed += missed;
  into.rxControl += sum(registers, CONTROL);
  const short = sum(registers, TOO_SHORT);
  const long = sum(registers, TOO_LONG);
  const errors = short + long + sum(registers, DAMAGED);
  into.rxTooShort += short;
  into.rxTooLong += long;
  into.rxErrors += errors;
  into.rxFiltered += filtered.add(came - received - missed - errors);
}

function sum(registers: RegisterBlock, counters: readonly Register[]): number {
  return counters.reduce((total, one) => total + registers.read(one), 0);
}

/** A counter in two halves: the low one first, because reading the high one clears both. */
function readPair(
  registers: RegisterBlock,
  low: Register,
  high: Register,
): number {
  const lower = registers.read(low);
  return registers.read(high) * TWO_TO_32 + lower;
}
