/**
 * Which frames the card keeps: section 7.1.1.
 *
 * @module
 */

import {
  FCTRL_BAM,
  FCTRL_MPE,
  FCTRL_UPE,
  MCSTCTRL_MFE,
  MCSTCTRL_MO_MASK,
  MFLCN_PMCF,
  RAH_ADDRESS_MASK,
  RAH_AV,
  VLNCTRL_CFI,
  VLNCTRL_CFIEN,
  VLNCTRL_VFE,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";
import type { Frame } from "../frame.ts";
import { BROADCAST, MULTICAST, UNICAST } from "../host/statistics.ts";

const ADDRESSES = 128;
const ALL_ONES = 0xffffffff;
const HALF_ONES = 0xffff;
const GROUP_BIT = 1;
const MAC_CONTROL_TYPE = 0x0888; // 0x8808 as the frame's word holds it
const MAC_CONTROL_LOW = 0x00c28001;
const MAC_CONTROL_HIGH = 0x0100;
/** How far each MCSTCTRL.MO setting shifts the last two address bytes. */
const HASH_SHIFT = [4, 3, 2, 0];
const HASH_MASK = 0xfff;
const VLAN_ID_MASK = 0xfff;
const TAG_CFI = 1 << 12;

/** The outcome for a frame that does not pass. */
export const REJECTED = -1;

/** The MAC address, multicast and VLAN filters of one card. */
export class Filters {
  readonly #core: Core;
  /** The valid receive addresses as low and high words. */
  readonly #low = new Uint32Array(ADDRESSES);
  readonly #high = new Uint32Array(ADDRESSES);
  #count = 0;
  #fctrl = 0;
  #vlnctrl = 0;
  #mcstctrl = 0;
  /** The latest frame passed by its hash alone: the descriptor's PIF bit. */
  inexact = false;

  constructor(core: Core) {
    this.#core = core;
    const { registers } = core;
    for (const name of ["RAL", "RAH"] as const) {
      registers.onWrite(name, () => this.configure());
    }
    for (const name of ["FCTRL", "VLNCTRL", "MCSTCTRL"] as const) {
      registers.onWrite(name, () => this.configure());
    }
  }

  /** Takes over the registers that it depends on. */
  configure(): void {
    const { registers } = this.#core;
    this.#fctrl = registers.get("FCTRL");
    this.#vlnctrl = registers.get("VLNCTRL");
    this.#mcstctrl = registers.get("MCSTCTRL");
    this.#count = 0;
    for (let n = 0; n < ADDRESSES; n++) {
      const high = registers.get("RAH", n);
      if ((high & RAH_AV) === 0) continue;
      this.#low[this.#count] = registers.get("RAL", n);
      this.#high[this.#count] = high & RAH_ADDRESS_MASK;
      this.#count++;
    }
  }

  /** How the frame is addressed, or {@linkcode REJECTED}. */
  judge(frame: Frame, vlan: number): number {
    const low = frame.u32[0];
    const high = frame.u32[1] & HALF_ONES;
    this.inexact = false;
    let addressed = UNICAST;
    if ((low & GROUP_BIT) === 0) {
      if (!this.#exact(low, high) && (this.#fctrl & FCTRL_UPE) === 0) {
        return REJECTED;
      }
    } else if (low === ALL_ONES && high === HALF_ONES) {
      if ((this.#fctrl & FCTRL_BAM) === 0) return REJECTED;
      addressed = BROADCAST;
    } else {
      if (!this.#multicast(frame, low, high)) return REJECTED;
      addressed = MULTICAST;
    }
    return vlan >= 0 && !this.#vlanPasses(vlan) ? REJECTED : addressed;
  }

  /** A MAC control frame (pause); the MAC keeps these unless MFLCN.PMCF. */
  isMacControl(frame: Frame): boolean {
    return frame.u32[0] === MAC_CONTROL_LOW &&
      (frame.u32[1] & HALF_ONES) === MAC_CONTROL_HIGH &&
      (frame.u32[3] & HALF_ONES) === MAC_CONTROL_TYPE &&
      (this.#core.registers.get("MFLCN") & MFLCN_PMCF) === 0;
  }

  #exact(low: number, high: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#low[i] === low && this.#high[i] === high) return true;
    }
    return false;
  }

  #multicast(frame: Frame, low: number, high: number): boolean {
    if ((this.#fctrl & FCTRL_MPE) !== 0 || this.#exact(low, high)) return true;
    if ((this.#mcstctrl & MCSTCTRL_MFE) === 0) return false;
    const pair = frame.u8[4] | (frame.u8[5] << 8);
    const shift = HASH_SHIFT[this.#mcstctrl & MCSTCTRL_MO_MASK];
    const bit = (pair >>> shift) & HASH_MASK;
    const word = this.#core.registers.get("MTA", bit >>> 5);
    this.inexact = (word & (1 << (bit & 31))) !== 0;
    return this.inexact;
  }

  /** Section 7.1.1.2. */
  #vlanPasses(vlan: number): boolean {
    const control = this.#vlnctrl;
    if ((control & VLNCTRL_VFE) === 0) return true;
    const id = vlan & VLAN_ID_MASK;
    const word = this.#core.registers.get("VFTA", id >>> 5);
    if ((word & (1 << (id & 31))) === 0) return false;
    if ((control & VLNCTRL_CFIEN) === 0) return true;
    return ((vlan & TAG_CFI) !== 0) === ((control & VLNCTRL_CFI) !== 0);
  }
}
