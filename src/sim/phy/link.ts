/**
 * The link: fibre with its laser on the 82599 (sections 3.7.4, 8.2.3.22), the
 * MDIO PHY of the X540, and the status that software reads.
 *
 * @module
 */

import {
  ANLP1_STATE_SHIFT,
  AUTOC_AN_RESTART,
  AUTOC_LMS_1G_AN,
  AUTOC_LMS_1G_NO_AN,
  AUTOC_LMS_MASK,
  AUTOC_LMS_SHIFT,
  EICR_LSC,
  EICR_SDP2,
  ESDP_SDP2_DATA,
  ESDP_SDP2_OUTPUT,
  ESDP_SDP3_DATA,
  ESDP_SDP3_OUTPUT,
  GPIE_SDP2_ENABLE,
  LINKS_SPEED_10G,
  LINKS_SPEED_1G,
  LINKS_UP,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";
import { I2cBus } from "./i2c.ts";
import type { Interrupts } from "../host/interrupts.ts";
import { Mdio } from "./mdio.ts";

/** Time from light, or the end of negotiation, to link; short for tests. */
const LINK_UP_MS = 10;

/** The state that ANLP1 shows once negotiation has been started. */
const STATE_STARTED = 1;

/** The state of the cable and what the MAC makes of it. */
export class Link {
  readonly #core: Core;
  readonly #interrupts: Interrupts;
  readonly #mdio: Mdio;
  readonly #i2c: I2cBus;
  #cable = true;
  #up = false;
  /** When the link comes up; Infinity when something holds it down. */
  #upAt = Infinity;
  /** LINKS shows a loss once, even when the link is back (8.2.3.22.20). */
  #lossLatched = false;
  /** Negotiation was started since the reset. */
  #negotiated = false;

  constructor(core: Core, interrupts: Interrupts) {
    this.#core = core;
    this.#interrupts = interrupts;
    this.#mdio = new Mdio(core, () => this.restart());
    this.#i2c = new I2cBus(core);
    const { registers } = core;
    registers.onWrite("AUTOC", (_n, value, before) => {
      registers.set("AUTOC", 0, value & ~AUTOC_AN_RESTART);
      const changed = (value ^ before) & ~AUTOC_AN_RESTART;
      if ((value & AUTOC_AN_RESTART) !== 0) this.#negotiated = true;
      if ((value & AUTOC_AN_RESTART) !== 0 || changed !== 0) this.restart();
    });
    registers.onRead("ANLP1", () => {
      return this.#negotiated ? STATE_STARTED << ANLP1_STATE_SHIFT : 0;
    });
    registers.onRead("ESDP", () => this.#readPins());
    registers.onWrite("ESDP", () => this.#check());
    registers.onRead("LINKS", () => this.#readStatus());
  }

  /** Whether frames pass. */
  get up(): boolean {
    return this.#up;
  }

  /** After a reset the link is lost and negotiated again, by a PHY that keeps its settings unless it is reset too. */
  reset(withPhy: boolean): void {
    if (withPhy) this.#mdio.reset();
    this.#mdio.linkUp = false;
    this.#i2c.reset();
    this.#negotiated = false;
    this.#up = false;
    this.#lossLatched = true;
    this.#upAt = Infinity;
    this.#check();
  }

  /** Puts the cable in or pulls it. */
  setCable(plugged: boolean): void {
    this.#cable = plugged;
    this.#check();
  }

  /** Puts the SFP+ module in or pulls it; the 82599 has an interrupt for it. */
  setModule(present: boolean): void {
    if (present === this.#i2c.present) return;
    this.#i2c.setPresent(present);
    const gpie = this.#core.registers.get("GPIE");
    if (present && (gpie & GPIE_SDP2_ENABLE) !== 0) {
      this.#interrupts.raise(EICR_SDP2);
    }
    this.#check();
  }

  /** Negotiates anew: the link drops and comes back. */
  restart(): void {
    this.#drop();
    this.#check();
  }

  /** Raises the link when its time has come. */
  run(): void {
    if (this.#core.now < this.#upAt) return;
    this.#upAt = Infinity;
    this.#up = true;
    this.#mdio.linkUp = true;
    this.#interrupts.raise(EICR_LSC);
  }

  /** When {@linkcode run} has something to do. */
  deadline(): number {
    return this.#upAt;
  }

  /** Starts or ends the link as cable and laser are now. */
  #check(): void {
    if (!this.#cable || !this.#laserOn || !this.#medium) this.#drop();
    else if (!this.#up && this.#upAt === Infinity) {
      this.#upAt = this.#core.now + LINK_UP_MS;
    }
  }

  #drop(): void {
    this.#upAt = Infinity;
    if (!this.#up) return;
    this.#up = false;
    this.#mdio.linkUp = false;
    this.#lossLatched = true;
    this.#interrupts.raise(EICR_LSC);
  }

  /** The X540 has a socket for a cable, the 82599 a cage for a module. */
  get #medium(): boolean {
    return this.#core.model !== "82599" || this.#i2c.present;
  }

  /** SDP3 driven high switches the transmit laser of an SFP+ module off. */
  get #laserOn(): boolean {
    if (this.#core.model !== "82599") return true;
    const off = ESDP_SDP3_DATA | ESDP_SDP3_OUTPUT;
    return (this.#core.registers.get("ESDP") & off) !== off;
  }

  /** Pins that are inputs read what the board drives. */
  #readPins(): number {
    const value = this.#core.registers.get("ESDP");
    const isInput = (value & ESDP_SDP2_OUTPUT) === 0;
    if (!isInput || this.#core.model !== "82599") return value;
    return this.#i2c.present ? value | ESDP_SDP2_DATA : value & ~ESDP_SDP2_DATA;
  }

  #readStatus(): number {
    if (!this.#up || this.#lossLatched) {
      this.#lossLatched = false;
      return 0;
    }
    return (LINKS_UP | this.speed) >>> 0;
  }

  /** The speed bits of LINKS. */
  get speed(): number {
    if (this.#core.model !== "82599") return this.#mdio.speed;
    const mode = (this.#core.registers.get("AUTOC") >>> AUTOC_LMS_SHIFT) &
      AUTOC_LMS_MASK;
    const slow = mode === AUTOC_LMS_1G_NO_AN || mode === AUTOC_LMS_1G_AN;
    return slow ? LINKS_SPEED_1G : LINKS_SPEED_10G;
  }
}
