/**
 * What the MAC counts (317453 section 13.7). Reading clears, so there is exactly one reader.
 *
 * @module
 */
import type { DeviceStats } from "../../stats.ts";
import type { Register, RegisterBlock } from "../register.ts";
import type { GigabitChip } from "./chip.ts";
import {
  ALGNERRC,
  CRCERRS,
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
  TPT,
} from "./registers.ts";

const TWO_TO_32 = 2 ** 32;
const FCS_BYTES = 4;
/** Frames that were thrown away as damaged. */
const DAMAGED: readonly Register[] = [
  ...[CRCERRS, ALGNERRC, RXERRC, RLEC, RUC, RFC, ROC, RJC],
];
const COUNTERS: readonly Register[] = [
  ...[...DAMAGED, MPC, GPRC, GORCL, GORCH, TPT, TOTL, TOTH],
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
  { registers }: GigabitChip,
  into: DeviceStats,
): void {
  const received = registers.read(GPRC);
  into.rxPackets += received;
  into.rxBytes += readPair(registers, GORCL, GORCH) - received * FCS_BYTES;
  const sent = registers.read(TPT);
  into.txPackets += sent;
  into.txBytes += readPair(registers, TOTL, TOTH) - sent * FCS_BYTES;
  into.rxMissed += registers.read(MPC);
  for (const counter of DAMAGED) into.rxErrors += registers.read(counter);
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
