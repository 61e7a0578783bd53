/**
 * What differs between the chips of the family, and what the parts of the driver share.
 *
 * @module
 */
import type { FilteredCount } from "../filtered_count.ts";
import type { DeviceConfig } from "../../../config.ts";
import type { RegisterBlock } from "../register.ts";

/** One chip. */
export interface ChipModel {
  /** As the user knows it. */
  readonly name: "82599" | "X540" | "X550";
  /** "fibre": an SFP+ cage behind the MAC; "copper": a 10GBASE-T PHY behind MDIO. */
  readonly media: "fibre" | "copper";
  /** Receive packet buffer in KiB (82599 1.3, X540 1.3). */
  readonly rxBufferKiB: number;
  /** Transmit packet buffer in KiB. */
  readonly txBufferKiB: number;
  /** How long to leave the chip alone after a reset, in milliseconds. */
  readonly resetWaitMs: number;
  /** Entries of the redirection table. */
  readonly retaSize: 128 | 512;
  /** Whether software and firmware take turns on PHY, EEPROM and reset by the X540's semaphore. */
  readonly sharedWithFirmware: boolean;
  /** Whether EERD reads the EEPROM; on the X550 only the firmware can. */
  readonly eepromByEerd: boolean;
}

/** 82599: the datasheet asks for 10 ms after a reset; drivers in the field wait 50. */
export const CHIP_82599: ChipModel = {
  name: "82599",
  media: "fibre",
  rxBufferKiB: 512,
  txBufferKiB: 160,
  resetWaitMs: 50,
  retaSize: 128,
  sharedWithFirmware: false,
  eepromByEerd: true,
};

/** X540: the reset takes the PHY's part of the chip along. */
export const CHIP_X540: ChipModel = {
  name: "X540",
  media: "copper",
  rxBufferKiB: 384,
  txBufferKiB: 160,
  resetWaitMs: 100,
  retaSize: 128,
  sharedWithFirmware: true,
  eepromByEerd: true,
};

/** X550: as the X540, with a larger redirection table and no EERD. */
export const CHIP_X550: ChipModel = {
  ...CHIP_X540,
  name: "X550",
  retaSize: 512,
  eepromByEerd: false,
};

/** Most queues that RSS spreads over (7.1.2.8): a pair beyond it would never receive. */
export const MAX_QUEUES = 16;
/** Largest frame without its check sequence: 15.5 KiB with it (1.3). */
export const MAX_FRAME_SIZE = 15872 - 4;
/** Receive addresses: the station and 127 others (8.2.3.7.8). */
export const MAC_SLOTS = 128;

/** A chip in the hands of the driver. */
export interface Chip {
  /** Which one. */
  readonly model: ChipModel;
  /** Its registers. */
  readonly registers: RegisterBlock;
  /** What its filters kept out. */
  readonly filtered: FilteredCount;
  /** How it is to be used. */
  readonly config: DeviceConfig;
  /** Says in the log what is being done. */
  step(message: string): void;
}
