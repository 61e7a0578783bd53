/**
 * Which frames are received (82599 section 7.1.1).
 *
 * @module
 */
import { type MacSlots, STATION_SLOT } from "../mac_filter.ts";
import type { ReceiveFilters } from "../receive_mode.ts";
import { type Chip, MAC_SLOTS } from "./chip.ts";
import { whileReceiverPaused } from "./rx_unit.ts";
import {
  FCTRL,
  FTQF,
  MCSTCTRL,
  MPSAR,
  MTA,
  PFUTA,
  PFVLVF,
  PFVLVFB,
  RAH,
  RAL,
  VFTA,
  VLNCTRL,
} from "./registers.ts";

const MAC_BYTES = 6;
/** MPSAR: pool 0, the only one without virtualization. */
const POOL_0 = 1;

/** The address in a slot of the filter (8.2.3.7.8, 8.2.3.7.9). */
function readSlot(chip: Chip, slot: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, chip.registers.read(RAL, slot), true);
  view.setUint32(4, chip.registers.read(RAH, slot) & RAH.bits.ADDRESS, true);
  return bytes.slice(0, MAC_BYTES);
}

/** The low half first: the high half makes the slot valid. */
function writeSlot(chip: Chip, slot: number, mac: Uint8Array): void {
  const bytes = new Uint8Array(8);
  bytes.set(mac);
  const view = new DataView(bytes.buffer);
  chip.registers.write(RAH, 0, slot);
  chip.registers.write(RAL, view.getUint32(0, true), slot);
  chip.registers.write(MPSAR, POOL_0, 2 * slot);
  chip.registers.write(MPSAR, 0, 2 * slot + 1);
  chip.registers.write(RAH, view.getUint32(4, true) | RAH.bits.AV, slot);
}

function clearSlot(chip: Chip, slot: number): void {
  chip.registers.write(RAH, 0, slot);
  chip.registers.write(RAL, 0, slot);
  chip.registers.write(MPSAR, 0, 2 * slot);
  chip.registers.write(MPSAR, 0, 2 * slot + 1);
}

/** The address that the card brought along. */
export function readStation(chip: Chip): Uint8Array {
  return readSlot(chip, STATION_SLOT);
}

/** Changes the MAC address. */
export function writeStation(chip: Chip, mac: Uint8Array): void {
  writeSlot(chip, STATION_SLOT, mac);
}

/** The tables that must be in a known state before receiving starts (4.6.7). */
export function configureFilters(chip: Chip): void {
  const { registers } = chip;
  chip.step("receive filters (4.6.7)");
  writeStation(chip, readStation(chip));
  for (let slot = STATION_SLOT + 1; slot < MAC_SLOTS; slot++) {
    clearSlot(chip, slot);
  }
  registers.fill(MTA, 0);
  registers.fill(VFTA, 0);
  registers.fill(PFUTA, 0);
  registers.fill(PFVLVF, 0);
  registers.fill(PFVLVFB, 0);
  registers.fill(FTQF, 0);
  registers.clear(MCSTCTRL, MCSTCTRL.bits.MFE);
}

/** The slots behind that of the MAC address, for a {@linkcode MacFilter}. */
export function macSlots(chip: Chip): MacSlots {
  return {
    count: MAC_SLOTS,
    write: (slot, mac) => writeSlot(chip, slot, mac),
    clear: (slot) => clearSlot(chip, slot),
  };
}

/** Writes a word of the VLAN table (8.2.3.7.11). */
export function writeVlanWord(chip: Chip, entry: number, word: number): void {
  chip.registers.write(VFTA, word, entry);
}

/**
 * Unicast, multicast and VLANs by the filters or all of it; broadcast always; damaged frames never (8.2.3.7.1,
 * 8.2.3.7.2).
 */
export function writeReceiveMode(
  chip: Chip,
  { promiscuous, allMulticast, vlanFilter }: ReceiveFilters,
): void {
  const { BAM, UPE, MPE, SBP } = FCTRL.bits;
  const { VFE } = VLNCTRL.bits;
  const bits = BAM | (promiscuous ? UPE : 0) | (allMulticast ? MPE : 0);
  whileReceiverPaused(chip, () => {
    chip.registers.update(FCTRL, BAM | UPE | MPE | SBP, bits);
    chip.registers.update(VLNCTRL, VFE, vlanFilter ? VFE : 0);
  });
}
