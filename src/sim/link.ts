/**
 * The link: fibre with its laser on the 82599 (sections 3.7.4, 8.2.3.22), the
 * MDIO PHY of the X540, and the status that software reads.
 *
 * @module
 */

import {
  AUTOC_AN_RESTART,
  AUTOC_LMS_1G_AN,
  AUTOC_LMS_1G_NO_AN,
  AUTOC_LMS_MASK,
  AUTOC_LMS_SHIFT,
  EICR_LSC,
  ESDP_SDP3_DATA,
  ESDP_SDP3_OUTPUT,
  LINKS_SPEED_10G,
  LINKS_SPEED_1G,
  LINKS_UP,
} from "./bits.ts";
import type { Core } from "./core.ts";
import type { Interrupts } from "./interrupts.ts";
import { Mdio } from "./mdio.ts";

/** Time from light, or the end of negotiation, to link; short for tests. */
const LINK_UP_MS = 10;

/** The state of the cable and what the MAC makes of it. */
export class Link {
  readonly #core: Core;
  readonly #interrupts: Interrupts;
  readonly #mdio: Mdio;
  #cable = true;
  #up = false;
  /** When the link comes up; Infinity when something holds it down. */
  #upAt = Infinity;
  /** LINKS shows a loss once, even when the link is back (8.2.3.22.20). */
  #lossLatched = false;

  constructor(core: Core, interrupts: Interrupts) {
    this.#core = core;
    this.#interrupts = interrupts;
    this.#mdio = new Mdio(core, () => this.restart());
    const { registers } = core;
    registers.onWrite("AUTOC", (_n, value, before) => {
      registers.set("AUTOC", 0, value & ~AUTOC_AN_RESTART);
      const changed = (value ^ before) & ~AUTOC_AN_RESTART;
      if ((value & AUTOC_AN_RESTART) !== 0 || changed !== 0) this.restart();
    });
    registers.onWrite("ESDP", () => this.#check());
    registers.onRead("LINKS", () => this.#readStatus());
  }

  /** Whether frames pass. */
  get up(): boolean {
    return this.#up;
  }

  /** After a reset the link is lost and negotiated again. */
  reset(): void {
    this.#mdio.reset();
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
    if (!this.#cable || !this.#laserOn) this.#drop();
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

  /** SDP3 driven high switches the transmit laser of an SFP+ module off. */
  get #laserOn(): boolean {
    if (this.#core.model !== "82599") return true;
    const off = ESDP_SDP3_DATA | ESDP_SDP3_OUTPUT;
    return (this.#core.registers.get("ESDP") & off) !== off;
  }

  #readStatus(): number {
    if (!this.#up || this.#lossLatched) {
      this.#lossLatched = false;
      return 0;
    }
    return (LINKS_UP | this.#speed) >>> 0;
  }

  get #speed(): number {
    if (this.#core.model !== "82599") return LINKS_SPEED_10G;
    const mode = (this.#core.registers.get("AUTOC") >>> AUTOC_LMS_SHIFT) &
      AUTOC_LMS_MASK;
    const slow = mode === AUTOC_LMS_1G_NO_AN || mode === AUTOC_LMS_1G_AN;
    return slow ? LINKS_SPEED_1G : LINKS_SPEED_10G;
  }
}
