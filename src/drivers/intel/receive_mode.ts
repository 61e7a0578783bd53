/**
 * Which frames a card receives besides those for its unicast addresses: promiscuous, multicast, VLANs.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

const HIGHEST_VLAN = 4094;
/** The table has a bit for each VLAN: 128 words of 32 (82599 8.2.3.7.11, 317453 13.5.4). */
const VLANS_PER_WORD = 32;
const VLAN_WORDS = 128;

/** What a chip shall let through. */
export interface ReceiveFilters {
  /** Frames for any address. */
  readonly promiscuous: boolean;
  /** All multicast frames. */
  readonly allMulticast: boolean;
  /** Of tagged frames only those whose VLAN is in the table. */
  readonly vlanFilter: boolean;
}

/** What a chip does about it. */
export interface ReceiveModeChip {
  /** Lets through what it is told. */
  writeReceiveMode(filters: ReceiveFilters): void;
  /** Writes a word of the VLAN table: bit i of word n is for VLAN 32·n + i. */
  writeVlanWord(entry: number, word: number): void;
}

/** Remembers what was asked for, and tells the chip. */
export class ReceiveMode {
  readonly #chip: ReceiveModeChip;
  readonly #vlanTable = new Uint32Array(VLAN_WORDS);
  #vlans = 0;
  #promiscuous: boolean;
  #allMulticast = false;

  /**
   * @param promiscuous What to begin with.
   * @param chip Its VLAN table is empty.
   */
  constructor(promiscuous: boolean, chip: ReceiveModeChip) {
    this.#promiscuous = promiscuous;
    this.#chip = chip;
  }

  /** Tells the chip, which may have forgotten. */
  write(): void {
    this.#chip.writeReceiveMode({
      promiscuous: this.#promiscuous,
      allMulticast: this.#promiscuous || this.#allMulticast,
      vlanFilter: this.#vlans > 0 && !this.#promiscuous,
    });
  }

  /** Receives frames for any address and of any VLAN, or only those for the filters. */
  setPromiscuous(enabled: boolean): void {
    this.#promiscuous = enabled;
    this.write();
  }

  /** Receives all multicast frames, or none but those of the filters. */
  setAllMulticast(enabled: boolean): void {
    this.#allMulticast = enabled;
    this.write();
  }

  /** Puts a VLAN into the table or takes it out. The first one turns the filter on, without any it is off. */
  setVlan(vlan: number, wanted: boolean): void {
    if (!Number.isInteger(vlan) || vlan < 0 || vlan > HIGHEST_VLAN) {
      throw new ConfigError(
        "vlan",
        `${vlan} is not within 0 to ${HIGHEST_VLAN}`,
      );
    }
    const entry = Math.floor(vlan / VLANS_PER_WORD);
    const bit = 1 << vlan % VLANS_PER_WORD;
    const before = this.#vlanTable[entry];
    this.#vlanTable[entry] = wanted ? before | bit : before & ~bit;
    const word = this.#vlanTable[entry];
    if (word === before) return;
    this.#vlans += wanted ? 1 : -1;
    this.#chip.writeVlanWord(entry, word);
    this.write();
  }
}
