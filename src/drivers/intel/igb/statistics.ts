/**
 * What the card counts (82576 section 8.18): the MAC's block, less what the queues dropped.
 *
 * @module
 */
import type { DeviceStats } from "../../../stats.ts";
import {
  clearStatistics,
  collectStatistics as collectMacStatistics,
} from "../gigabit/statistics.ts";
import { extract } from "../register.ts";
import type { Chip } from "./chip.ts";
import { RQDPC } from "./registers.ts";

/** Forgets what was counted before. */
export function configureStatistics(chip: Chip): void {
  chip.step("statistics (8.18)");
  clearStatistics(chip);
  readDropped(chip);
}

/** Adds what was counted since the last call. The MAC counts a frame as good before its queue drops it. */
export function collectStatistics(chip: Chip, into: DeviceStats): void {
  collectMacStatistics(chip, into);
  const dropped = readDropped(chip);
  into.rxPackets -= dropped;
  into.rxMissed += dropped;
}

function readDropped({ registers, model }: Chip): number {
  let dropped = 0;
  for (let queue = 0; queue < model.maxQueues; queue++) {
    dropped += extract(RQDPC.bits.COUNT, registers.read(RQDPC, queue));
  }
  return dropped;
}
