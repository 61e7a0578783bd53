/**
 * What differs between the chips of the family, and what the parts of the driver share.
 *
 * @module
 */
import type { DeviceConfig } from "../../../config.ts";
import type { GigabitChip } from "../gigabit/chip.ts";

/** One chip. */
export interface ChipModel {
  /** As the user knows it. */
  readonly name: "82576" | "I350";
  /** Queue pairs, over all of which RSS spreads. */
  readonly maxQueues: 16 | 8;
  /** Receive addresses, the station's among them. */
  readonly macSlots: 24 | 32;
  /** How long to leave the chip alone after a reset, in milliseconds. */
  readonly resetWaitMs: number;
  /** How often an entry of the VLAN table is written. */
  readonly vlanTableWrites: number;
  /** How the entries lie in IVAR: the 82576 goes by rows, the I350 by columns, as the 82599. */
  readonly vectorOrder: "82576" | "I350";
  /** Whether MDICNFG, PHPM, DVMOLR and STATUS.DEV_RST_SET are there. */
  readonly hasI350Registers: boolean;
}

/** 82576: two ports, 16 queues each. */
export const CHIP_82576: ChipModel = {
  name: "82576",
  maxQueues: 16,
  macSlots: 24,
  resetWaitMs: 3,
  vlanTableWrites: 1,
  vectorOrder: "82576",
  hasI350Registers: false,
};

/** I350: up to four ports, 8 queues each. A write to the VLAN table can get lost, so drivers in the field write it ten times. */
export const CHIP_I350: ChipModel = {
  name: "I350",
  maxQueues: 8,
  macSlots: 32,
  resetWaitMs: 5,
  vlanTableWrites: 10,
  vectorOrder: "I350",
  hasI350Registers: true,
};

/** Largest frame without its check sequence: 9.5 KiB with it (82576 1.3). */
export const MAX_FRAME_SIZE = 9724;

/** A chip in the hands of the driver. */
export interface Chip extends GigabitChip {
  /** Which one. */
  readonly model: ChipModel;
  /** How it is to be used. */
  readonly config: DeviceConfig;
  /** Queues with an interrupt of their own: all of them, or none where all poll and vectors are few. */
  readonly queueVectors: number;
}
