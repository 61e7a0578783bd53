/**
 * Which frames are received: addresses, promiscuous modes, tables (317453 sections 13.4.22 and 13.5; 82576 section
 * 7.1.1).
 *
 * @module
 */
import { DeviceFaultError } from "../../../errors.ts";
import { type MacSlots, STATION_SLOT } from "../mac_filter.ts";
import type { ReceiveFilters } from "../receive_mode.ts";
import type { GigabitChip } from "./chip.ts";
import { MTA, RAH, RAL, RCTL, VFTA } from "./registers.ts";

const MAC_BYTES = 6;
const GROUP_BIT = 1;

/** The address that the card brought along. Throws a DeviceFaultError when it is none. */
export function readStation(chip: GigabitChip): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const { registers } = chip;
  view.setUint32(0, registers.read(RAL, STATION_SLOT), true);
  view.setUint32(4, registers.read(RAH, STATION_SLOT), true);
  const mac = bytes.slice(0, MAC_BYTES);
  const empty = mac.every((octet) => octet === 0);
  if (!empty && (mac[0] & GROUP_BIT) === 0) return mac;
  throw new DeviceFaultError("the EEPROM holds no MAC address");
}

/** Changes the MAC address. */
export function writeStation(chip: GigabitChip, mac: Uint8Array): void {
  writeSlot(chip, STATION_SLOT, mac);
}

/** The high half makes the slot valid: it is written last, and cleared before the low half changes. */
function writeSlot(chip: GigabitChip, slot: number, mac: Uint8Array): void {
  const bytes = new Uint8Array(8);
  bytes.set(mac);
  const view = new DataView(bytes.buffer);
  const { registers } = chip;
  registers.write(RAH, 0, slot);
  registers.write(RAL, view.getUint32(0, true), slot);
  registers.write(RAH, view.getUint32(4, true) | RAH.bits.AV, slot);
}

function clearSlot({ registers }: GigabitChip, slot: number): void {
  registers.write(RAH, 0, slot);
  registers.write(RAL, 0, slot);
}

/** Only the station's address, no multicast, no VLAN filter: a reset leaves the tables undefined. */
export function configureFilters(chip: GigabitChip, station: Uint8Array): void {
  const { registers } = chip;
  chip.step("receive filters");
  writeStation(chip, station);
  for (let slot = STATION_SLOT + 1; slot < chip.macSlots; slot++) {
    clearSlot(chip, slot);
  }
  registers.fill(MTA, 0);
  for (let entry = 0; entry < VFTA.count; entry++) {
    writeVlanWord(chip, entry, 0);
  }
}

/** Writes a word of the VLAN table: as often as the chip's errata ask for. */
export function writeVlanWord(
  chip: GigabitChip,
  entry: number,
  word: number,
): void {
  for (let n = 0; n < chip.vlanTableWrites; n++) {
    chip.registers.write(VFTA, word, entry);
  }
}

/** Unicast, multicast and VLANs by the filters or all of it; broadcast always; damaged frames never. */
export function writeReceiveMode(
  chip: GigabitChip,
  { promiscuous, allMulticast, vlanFilter }: ReceiveFilters,
): void {
  const { BAM, UPE, MPE, SBP, VFE } = RCTL.bits;
  const bits = BAM | (promiscuous ? UPE : 0) | (allMulticast ? MPE : 0) |
    (vlanFilter ? VFE : 0);
  chip.registers.update(RCTL, BAM | UPE | MPE | SBP | VFE, bits);
}

/** The slots behind that of the MAC address, for a {@linkcode MacFilter}. */
export function macSlots(chip: GigabitChip): MacSlots {
  return {
    count: chip.macSlots,
    write: (slot, mac) => writeSlot(chip, slot, mac),
    clear: (slot) => clearSlot(chip, slot),
  };
}
