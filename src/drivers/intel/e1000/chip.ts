/**
 * What differs between the chips of the family, and what the parts of the driver share.
 *
 * @module
 */
import type { DeviceConfig } from "../../../config.ts";
import { NotSupportedError } from "../../../errors.ts";
import type { GigabitChip } from "../gigabit/chip.ts";

/** One chip. */
export interface ChipModel {
  /** As the user knows it. */
  readonly name: "82540EM" | "82545EM" | "82574L" | "82583V";
  /** "8254x": PCI, one queue, legacy descriptors. "82574": PCIe, extended receive descriptors, RSS hash. */
  readonly generation: "8254x" | "82574";
  /** Queue pairs where there is MSI-X; without it there is one. */
  readonly maxQueues: 1 | 2;
  /** Receive addresses, the station's among them. */
  readonly macSlots: number;
  /** Largest frame with its check sequence. */
  readonly maxWireFrame: number;
  /** What of the packet buffer is for receiving, in KiB. */
  readonly rxBufferKiB: { readonly standard: number; readonly jumbo: number };
}

/** 82540EM: 64 KiB of packet buffer; frames up to 16 KB (317453 section 13.4.22, RCTL.LPE). */
export const CHIP_82540EM: ChipModel = {
  name: "82540EM",
  generation: "8254x",
  maxQueues: 1,
  macSlots: 16,
  maxWireFrame: 16114,
  rxBufferKiB: { standard: 48, jumbo: 40 },
};

/** 82545EM: as the 82540EM, for 64-bit PCI-X. */
export const CHIP_82545EM: ChipModel = { ...CHIP_82540EM, name: "82545EM" };

/** 82574L: 40 KiB of packet buffer, MSI-X with five vectors, two queues. */
export const CHIP_82574L: ChipModel = {
  name: "82574L",
  generation: "82574",
  maxQueues: 2,
  macSlots: 16,
  maxWireFrame: 9234,
  rxBufferKiB: { standard: 20, jumbo: 20 },
};

/** 82583V: as the 82574L, without MSI-X and the second queue. */
export const CHIP_82583V: ChipModel = {
  ...CHIP_82574L,
  name: "82583V",
  maxQueues: 1,
};

const MODELS: readonly ChipModel[] = [
  ...[CHIP_82540EM, CHIP_82545EM, CHIP_82574L, CHIP_82583V],
];

/** The chip of this name, as a queue's description has it. */
export function chipNamed(name: string): ChipModel {
  const model = MODELS.find((model) => model.name === name);
  if (model !== undefined) return model;
  throw new NotSupportedError(`the e1000 driver knows no chip ${name}`);
}

/** Bytes of the frame check sequence, which the wire has and a packet has not. */
export const FCS_BYTES = 4;
/** Most queues that a chip here has. */
export const MAX_QUEUES = 2;

/** Largest frame without its check sequence. */
export function maxFrameSize(model: ChipModel): number {
  return model.maxWireFrame - FCS_BYTES;
}

/** A chip in the hands of the driver. */
export interface Chip extends GigabitChip {
  /** Which one. */
  readonly model: ChipModel;
  /** How it is to be used. */
  readonly config: DeviceConfig;
  /** Whether one interrupt serves the queue and everything else; else MSI-X has a vector for each. */
  readonly sharedVector: boolean;
}
