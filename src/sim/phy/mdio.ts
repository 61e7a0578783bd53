/**
 * The MDIO port (MSCA, MSRWD, section 8.2.3.22) and, on the X540, the
 * registers of its 10GBASE-T PHY that a driver needs (331523, chapter 10;
 * IEEE 802.3 clause 45).
 *
 * @module
 */

import {
  LINKS_SPEED_100M,
  LINKS_SPEED_10G,
  LINKS_SPEED_1G,
  MSCA_ADDRESS_MASK,
  MSCA_COMMAND,
  MSCA_DEVICE_MASK,
  MSCA_DEVICE_SHIFT,
  MSCA_OPCODE_ADDRESS,
  MSCA_OPCODE_MASK,
  MSCA_OPCODE_READ_INCREMENT,
  MSCA_OPCODE_SHIFT,
  MSCA_OPCODE_WRITE,
  MSCA_PHY_MASK,
  MSCA_PHY_SHIFT,
  MSRWD_READ_SHIFT,
  SW_FW_SYNC_PHY_MASK,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

const DEVICE_PMA = 1;
const DEVICE_PCS = 3;
const DEVICE_XS = 4;
const DEVICE_AUTONEGOTIATION = 7;
const DEVICE_VENDOR = 30;
const DEVICE_SHIFT = 16;
const CONTROL = 0;
const STATUS = 1;
const ID_HIGH = 2;
const ID_LOW = 3;
const SPEEDS = 4;
const PACKAGE = 5;
const PACKAGE_HIGH = 6;
const STATUS_2 = 8;
const PMA_ABILITY = 11;
const AN_ADVERTISE = 0x10;
const AN_10G_CONTROL = 0x20;
const CONTROL_RESTART = 1 << 9;
const CONTROL_ENABLE = 1 << 12;
const CONTROL_RESET = 1 << 15;
/** IEEE 802.3, 45.2.1.7: a device is there. */
const STATUS_2_PRESENT = 1 << 15;
/** 45.2.1.10: 10GBASE-T, 1000BASE-T and 100BASE-TX. */
const ABILITY_10G_1G_100M = (1 << 2) | (1 << 5) | (1 << 7);
const STATUS_LINK = 1 << 2;
const STATUS_AN_COMPLETE = 1 << 5;
const X540_ID_HIGH = 0x0154;
const X540_ID_LOW = 0x0200;
const SPEEDS_10G_1G_100M = (1 << 0) | (1 << 4) | (1 << 5);
const ADVERTISE_10GBASE_T = 1 << 12;
/** The PHY's address on the bus (331523, 3.7). */
const PHY_ADDRESS = 0;
/** The speeds that software may offer besides 10 Gbit/s. */
const AN_VENDOR_PROVISION = 0xc400;
const OFFERS_1G = 1 << 15;
const NOTHING_THERE = 0xffff;

const DEVICES = [
  DEVICE_PMA,
  DEVICE_PCS,
  DEVICE_XS,
  DEVICE_AUTONEGOTIATION,
  DEVICE_VENDOR,
];
const LOW_HALF = 0xffff;

/** The MDIO bus with what answers on it. */
export class Mdio {
  readonly #core: Core;
  readonly #restart: () => void;
  /** PHY registers by device and address. */
  readonly #phy = new Map<number, number>();
  #address = 0;
  /** Whether the PHY has link; set by the link's state machine. */
  linkUp = false;

  constructor(core: Core, restart: () => void) {
    this.#core = core;
    this.#restart = restart;
    core.registers.onRead("MSCA", () => {
      // The first poll finds the command under way, the next one done.
      const value = core.registers.get("MSCA");
      core.registers.set("MSCA", 0, value & ~MSCA_COMMAND);
      return value;
    });
    core.registers.onWrite("MSCA", (_n, value) => {
      core.registers.set("MSCA", 0, value);
      if ((value & MSCA_COMMAND) !== 0) this.#execute(value);
    });
    core.registers.onWrite("MSRWD", (_n, value, before) => {
      const read = before & ~MSCA_ADDRESS_MASK;
      core.registers.set("MSRWD", 0, read | (value & MSCA_ADDRESS_MASK));
    });
    this.reset();
  }

  /** The PHY's registers as after its own reset. */
  reset(): void {
    this.linkUp = false;
    this.#phy.clear();
    if (this.#core.model !== "x540") return;
    const present = DEVICES.reduce((bits, device) => bits | (1 << device), 0);
    for (const device of DEVICES) {
      this.#store(device, CONTROL, 0);
      this.#store(device, STATUS, 0);
      this.#store(device, ID_HIGH, X540_ID_HIGH);
      this.#store(device, ID_LOW, X540_ID_LOW);
      this.#store(device, PACKAGE, present & LOW_HALF);
      this.#store(device, PACKAGE_HIGH, present >>> 16);
      this.#store(device, STATUS_2, STATUS_2_PRESENT);
    }
    this.#store(DEVICE_PMA, PMA_ABILITY, ABILITY_10G_1G_100M);
    this.#store(DEVICE_AUTONEGOTIATION, AN_VENDOR_PROVISION, OFFERS_1G);
    this.#store(DEVICE_PMA, SPEEDS, SPEEDS_10G_1G_100M);
    this.#store(DEVICE_AUTONEGOTIATION, CONTROL, CONTROL_ENABLE);
    this.#store(DEVICE_AUTONEGOTIATION, AN_ADVERTISE, 1);
    this.#store(DEVICE_AUTONEGOTIATION, AN_10G_CONTROL, ADVERTISE_10GBASE_T);
  }

  /** The best speed that software offers, as bits of LINKS; the partner can all. */
  get speed(): number {
    const offers = (address: number, bit: number) =>
      ((this.#phy.get((DEVICE_AUTONEGOTIATION << DEVICE_SHIFT) | address) ??
        0) & bit) !== 0;
    if (offers(AN_10G_CONTROL, ADVERTISE_10GBASE_T)) return LINKS_SPEED_10G;
    return offers(AN_VENDOR_PROVISION, OFFERS_1G)
      ? LINKS_SPEED_1G
      : LINKS_SPEED_100M;
  }

  #store(device: number, address: number, value: number): void {
    this.#phy.set((device << DEVICE_SHIFT) | address, value);
  }

  #execute(command: number): void {
    const { registers, violations } = this.#core;
    if ((registers.get("SW_FW_SYNC") & SW_FW_SYNC_PHY_MASK) === 0) {
      violations.record(
        "order",
        "MSCA command without the PHY semaphore in SW_FW_SYNC: firmware " +
          "shares the MDIO port (10.5.4, 11.7.5 of 331523)",
      );
    }
    const device = (command >>> MSCA_DEVICE_SHIFT) & MSCA_DEVICE_MASK;
    const phy = (command >>> MSCA_PHY_SHIFT) & MSCA_PHY_MASK;
    const answers = phy === PHY_ADDRESS && this.#core.model === "x540";
    const opcode = (command >>> MSCA_OPCODE_SHIFT) & MSCA_OPCODE_MASK;
    if (opcode === MSCA_OPCODE_ADDRESS) {
      this.#address = command & MSCA_ADDRESS_MASK;
      return;
    }
    if (opcode === MSCA_OPCODE_WRITE) {
      const data = registers.get("MSRWD") & MSCA_ADDRESS_MASK;
      if (answers) this.#write(device, data);
      return;
    }
    const data = answers ? this.#read(device) : NOTHING_THERE;
    const low = registers.get("MSRWD") & MSCA_ADDRESS_MASK;
    registers.set("MSRWD", 0, (data << MSRWD_READ_SHIFT) | low);
    if (opcode === MSCA_OPCODE_READ_INCREMENT) this.#address++;
  }

  #read(device: number): number {
    const value = this.#phy.get((device << DEVICE_SHIFT) | this.#address);
    if (value === undefined) return 0;
    if (this.#address !== STATUS || !this.linkUp) return value;
    return value | STATUS_LINK |
      (device === DEVICE_AUTONEGOTIATION ? STATUS_AN_COMPLETE : 0);
  }

  #write(device: number, value: number): void {
    this.#store(device, this.#address, value & ~CONTROL_RESTART);
    if (this.#address !== CONTROL) return;
    const restart = device === DEVICE_AUTONEGOTIATION &&
      (value & CONTROL_RESTART) !== 0;
    if ((value & CONTROL_RESET) !== 0) this.reset();
    if (restart || (value & CONTROL_RESET) !== 0) this.#restart();
  }
}
