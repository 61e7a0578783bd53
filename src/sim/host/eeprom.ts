/**
 * The EEPROM: its contents, the auto-read after a reset that loads the MAC
 * address (section 4.2.3, 8.2.3.2), and word reads through EERD.
 *
 * @module
 */

import {
  EEC_AUTO_READ_DONE,
  EEC_GRANT,
  EEC_PRESENT,
  EEC_REQUEST,
  EEC_SIZE_16K_WORDS,
  EERD_ADDRESS_MASK,
  EERD_ADDRESS_SHIFT,
  EERD_DATA_SHIFT,
  EERD_DONE,
  EERD_START,
  RAH_AV,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

const WORDS = 0x400;
/** The bit of the last octet in which the SAN address differs from the LAN address. */
const SAN_MAC_DIFFERS = 0x8000;
const NO_POINTER = 0xffff;
/** Word offsets, chapter 6. */
const WORD = {
  firstPointer: 0x03,
  core0Pointer: 0x09,
  lastPointer: 0x0e,
  firmwarePointer: 0x0f,
  assemblyMark: 0x15,
  assemblyPointer: 0x16,
  version: 0x18,
  sanMacPointer: 0x28,
  modulePointer: 0x2b,
  deviceCaps: 0x2c,
  mapVersion: 0x2d,
  mapVersionHigh: 0x2e,
  checksum: 0x3f,
};
/** Where the sections are that the words above point to. */
const SECTION = {
  core0: 0x80,
  sanMac: 0x90,
  assembly: 0xa0,
  modules: 0xb0,
  moduleData: 0xc0,
  firmware: 0xd0,
  passThrough: 0xe0,
};
/** Says that the board's part number is a string elsewhere (6.2.6). */
const ASSEMBLY_IS_STRING = 0xfafa;
const ASSEMBLY_NUMBER = "IXLSIM-001";
/**
 * Device capabilities (6.4.1.11): any SFP+ module may be used, and there is
 * no FCoE offload.
 */
const CAPABILITIES = (1 << 0) | (1 << 1);
/** SFP+ modules that the board initialises, by the number drivers know. */
const MODULE_SHORT_OR_LONG_RANGE = 5;
const MODULE_COPPER = 3;
/** Words of the firmware section: pointers of which one is there. */
const FIRMWARE_WORDS = 8;
const FIRMWARE_PASS_THROUGH = 4;
const PASS_THROUGH_WORDS = 8;
const PASS_THROUGH_VERSION = 7;
/** 0.6 is the first version that SFP+ boards shipped with. */
const FIRMWARE_VERSION = 6;
const CHECKSUM_TOTAL = 0xbaba;
const EEPROM_VERSION = 0x2020;
const MAC_WORDS = 3;
/** How many polls of EEC, or ms, the auto-read takes after a reset. */
const AUTO_READ_POLLS = 3;
const AUTO_READ_MS = 1;

/** The address as six bytes. */
export function parseMacAddress(text: string): number[] {
  const bytes = text.split(":").map((part) => parseInt(part, 16));
  if (bytes.length !== 6 || bytes.some((b) => !(b >= 0 && b <= 255))) {
    throw new TypeError(`not a MAC address: ${text}`);
  }
  return bytes;
}

/** The EEPROM of one card. */
export class Eeprom {
  readonly #core: Core;
  readonly #loaded: () => void;
  readonly #words = new Uint16Array(WORDS);
  readonly #mac: number[];
  #pollsLeft = 0;
  #doneAt = 0;
  #done = true;
  /** Software has seen EEC.ARD set since the last reset. */
  autoReadSeen = false;

  /** `loaded` is called when the auto-read has set the receive address. */
  constructor(core: Core, macAddress: string, loaded: () => void) {
    this.#core = core;
    this.#loaded = loaded;
    this.#mac = parseMacAddress(macAddress);
    this.#fill();
    const { registers } = core;
    registers.onRead("EEC", () => this.#readControl());
    registers.onWrite("EEC", (_n, value, before) => {
      registers.set("EEC", 0, (value & EEC_REQUEST) | (before & ~EEC_REQUEST));
    });
    registers.onWrite("EERD", (_n, value) => {
      registers.set("EERD", 0, value & ~EERD_DONE);
    });
    registers.onRead("EERD", () => this.#readWord());
    registers.onWrite("EEWR", (_n, value) => {
      registers.set("EEWR", 0, value & ~EERD_DONE);
    });
    registers.onRead("EEWR", () => this.#writeWord());
  }

  /** Starts the auto-read that follows every reset. */
  reset(): void {
    this.#pollsLeft = AUTO_READ_POLLS;
    this.#doneAt = this.#core.now + AUTO_READ_MS;
    this.#done = false;
    this.autoReadSeen = false;
  }

  /** Ends the auto-read when its time is over. */
  run(): void {
    if (!this.#done && this.#core.now >= this.#doneAt) this.#finish();
  }

  /** When {@linkcode run} has something to do. */
  deadline(): number {
    return this.#done ? Infinity : this.#doneAt;
  }

  /** Loads what the auto-read loads: the first receive address. */
  #finish(): void {
    const { registers } = this.#core;
    const [a, b, c, d, e, f] = this.#mac;
    this.#done = true;
    registers.set("RAL", 0, (a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
    registers.set("RAH", 0, (RAH_AV | e | (f << 8)) >>> 0);
    this.#loaded();
  }

  #readControl(): number {
    if (!this.#done && --this.#pollsLeft <= 0) this.#finish();
    const request = this.#core.registers.get("EEC") & EEC_REQUEST;
    const grant = request !== 0 ? EEC_GRANT : 0;
    const done = this.#done ? EEC_AUTO_READ_DONE : 0;
    if (this.#done) this.autoReadSeen = true;
    return EEC_PRESENT | EEC_SIZE_16K_WORDS | request | grant | done;
  }

  /** The read that follows a start finds it under way, the next one done. */
  #readWord(): number {
    const { registers } = this.#core;
    const value = registers.get("EERD");
    if ((value & EERD_START) !== 0) {
      const address = (value >>> EERD_ADDRESS_SHIFT) & EERD_ADDRESS_MASK;
      const word = address < WORDS ? this.#words[address] : NO_POINTER;
      const place = value & (EERD_ADDRESS_MASK << EERD_ADDRESS_SHIFT);
      registers.set("EERD", 0, (word << EERD_DATA_SHIFT) | place | EERD_DONE);
    }
    return value;
  }

  /** X540: writes go to the shadow RAM, until the next power-on. */
  #writeWord(): number {
    const { registers } = this.#core;
    const value = registers.get("EEWR");
    if ((value & EERD_START) !== 0) {
      const address = (value >>> EERD_ADDRESS_SHIFT) & EERD_ADDRESS_MASK;
      if (address < WORDS) this.#words[address] = value >>> EERD_DATA_SHIFT;
      registers.set("EEWR", 0, (value & ~EERD_START) | EERD_DONE);
    }
    return value;
  }

  #fill(): void {
    const words = this.#words;
    words.fill(NO_POINTER);
    words[WORD.version] = EEPROM_VERSION;
    words[WORD.mapVersion] = EEPROM_VERSION;
    words[WORD.mapVersionHigh] = 0;
    words[WORD.deviceCaps] = CAPABILITIES;
    words[WORD.core0Pointer] = SECTION.core0;
    words[SECTION.core0] = MAC_WORDS;
    words[WORD.sanMacPointer] = SECTION.sanMac;
    for (let i = 0; i < MAC_WORDS; i++) {
      const pair = this.#mac[i * 2] | (this.#mac[i * 2 + 1] << 8);
      words[SECTION.core0 + 1 + i] = pair;
      // Boards have an address of its own for storage traffic.
      const isLast = i === MAC_WORDS - 1;
      words[SECTION.sanMac + i] = isLast ? pair ^ SAN_MAC_DIFFERS : pair;
    }
    this.#fillAssembly();
    if (this.#core.model === "82599") {
      this.#fillModules();
      this.#fillFirmware();
    }
    words[WORD.checksum] = this.#checksum();
  }

  /** The board's part number: its length in words, then two characters each. */
  #fillAssembly(): void {
    const words = this.#words;
    const characters = ASSEMBLY_NUMBER.length / 2;
    words[WORD.assemblyMark] = ASSEMBLY_IS_STRING;
    words[WORD.assemblyPointer] = SECTION.assembly;
    words[SECTION.assembly] = characters + 1;
    for (let i = 0; i < characters; i++) {
      words[SECTION.assembly + 1 + i] =
        (ASSEMBLY_NUMBER.charCodeAt(i * 2) << 8) |
        ASSEMBLY_NUMBER.charCodeAt(i * 2 + 1);
    }
  }

  /** Per kind of module, what software writes to CORECTL: here nothing. */
  #fillModules(): void {
    const kinds = [MODULE_COPPER, MODULE_SHORT_OR_LONG_RANGE];
    const words = this.#words;
    words[WORD.modulePointer] = SECTION.modules;
    words[SECTION.modules] = kinds.length * 2 + 1;
    kinds.forEach((kind, i) => {
      words[SECTION.modules + 1 + i * 2] = kind;
      words[SECTION.modules + 2 + i * 2] = SECTION.moduleData;
    });
    words[SECTION.moduleData] = 0;
  }

  /** What tells drivers that the firmware is a released one. */
  #fillFirmware(): void {
    const words = this.#words;
    words[WORD.firmwarePointer] = SECTION.firmware;
    words[SECTION.firmware] = FIRMWARE_WORDS;
    words[SECTION.firmware + FIRMWARE_PASS_THROUGH] = SECTION.passThrough;
    words[SECTION.passThrough] = PASS_THROUGH_WORDS;
    words[SECTION.passThrough + PASS_THROUGH_VERSION] = FIRMWARE_VERSION;
  }

  /** Section 6.3.2.10: the words and the sections pointed to sum to 0xBABA. */
  #checksum(): number {
    const words = this.#words;
    let sum = 0;
    for (let i = 0; i < WORD.checksum; i++) sum += words[i];
    for (let i = WORD.firstPointer; i <= WORD.lastPointer; i++) {
      const pointer = words[i];
      if (pointer === NO_POINTER || pointer === 0) continue;
      const length = words[pointer];
      for (let k = 1; k <= length; k++) sum += words[pointer + k];
    }
    return (CHECKSUM_TOTAL - sum) & 0xffff;
  }
}
