/**
 * What the card counts (82599 section 8.2.3.23). Reading clears, so there is exactly one reader.
 *
 * @module
 */
import type { DeviceStats } from "../../../stats.ts";
import type { Register, RegisterBlock } from "../register.ts";
import { type Chip, MAX_QUEUES } from "./chip.ts";
import {
  COUNTERS,
  CRCERRS,
  ERRBC,
  GOTCH,
  GOTCL,
  GPRC,
  GPTC,
  ILLERRC,
  LXOFFRXCNT,
  LXONRXCNT,
  QBRC_H,
  QBRC_L,
  QPRC,
  QPRDC,
  RFC,
  RJC,
  RLEC,
  ROC,
  RQSMR,
  RUC,
  RXMPC,
  RXNFGPC,
  TQSM,
} from "./registers.ts";

const TWO_TO_32 = 2 ** 32;
const FCS_BYTES = 4;
const QUEUES_PER_REGISTER = 4;
const DAMAGED: readonly Register[] = [
  ...[CRCERRS, ILLERRC, ERRBC, RLEC],
];
const TOO_SHORT: readonly Register[] = [RUC, RFC];
const TOO_LONG: readonly Register[] = [ROC, RJC];
const CONTROL: readonly Register[] = [LXONRXCNT, LXOFFRXCNT];

/** Gives every queue a counter of its own, and forgets what was counted before (4.6.5). */
export function configureStatistics(chip: Chip): void {
  const { registers } = chip;
  chip.step("statistics (4.6.5)");
  for (let queue = 0; queue < MAX_QUEUES; queue += QUEUES_PER_REGISTER) {
    let map = 0;
    for (let i = 0; i < QUEUES_PER_REGISTER; i++) map |= queue + i << 8 * i;
    registers.write(RQSMR, map, queue / QUEUES_PER_REGISTER);
    registers.write(TQSM, map, queue / QUEUES_PER_REGISTER);
  }
  for (const counter of COUNTERS) sum(registers, counter);
}

/**
 * Adds what was counted since the last call.
 *
 * Received frames are those of the queues: GPRC counts missed ones too (specification update). The byte counters
 * of the queues are behind the CRC strip; those of the transmit side include the check sequence.
 */
export function collectStatistics(chip: Chip, into: DeviceStats): void {
  const { registers, config, filtered } = chip;
  const came = registers.read(RXNFGPC);
  const passed = registers.read(GPRC);
  const control = sumAll(registers, CONTROL);
  into.rxControl += control;
  into.rxFiltered += filtered.add(came - passed - control);
  for (let queue = 0; queue < config.queues; queue++) {
    into.rxPackets += registers.read(QPRC, queue);
    into.rxBytes += readPair(registers, QBRC_L, QBRC_H, queue);
    into.rxMissed += registers.read(QPRDC, queue);
  }
  into.rxMissed += sum(registers, RXMPC);
  const sent = registers.read(GPTC);
  into.txPackets += sent;
  into.txBytes += readPair(registers, GOTCL, GOTCH) - sent * FCS_BYTES;
  const short = sumAll(registers, TOO_SHORT);
  const long = sumAll(registers, TOO_LONG);
  into.rxTooShort += short;
  into.rxTooLong += long;
  into.rxErrors += short + long + sumAll(registers, DAMAGED);
}

/** A counter in two halves: the low one first, because reading the high one clears both. */
function readPair(
  registers: RegisterBlock,
  low: Register,
  high: Register,
  index = 0,
): number {
  const lower = registers.read(low, index);
  return registers.read(high, index) * TWO_TO_32 + lower;
}

function sumAll(
  registers: RegisterBlock,
  counters: readonly Register[],
): number {
  return counters.reduce((total, one) => total + sum(registers, one), 0);
}

function sum(registers: RegisterBlock, counter: Register): number {
  let total = 0;
  for (let i = 0; i < counter.count; i++) total += registers.read(counter, i);
  return total;
}
