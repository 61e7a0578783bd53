/**
 * The order of initialisation that the datasheet asks for, section 4.6, and
 * what must not be touched while something runs. A queue switches on only
 * when it may.
 *
 * @module
 */

import {
  DMATXCTL_TE,
  HLREG0_JUMBOEN,
  HLREG0_RXCRCSTRP,
  MAXFRS_SHIFT,
  PBSIZE_SHIFT,
  RDRXCTL_CRC_STRIP,
  RDRXCTL_DMAIDONE,
  RTTDCS_ARBDIS,
  RXCTRL_RXEN,
  RXDCTL_ENABLE,
  SECRXCTRL_RX_DIS,
  SECRXSTAT_OFFLOAD_DISABLED,
  SECRXSTAT_READY,
  SRRCTL_BSIZEPACKET_MASK,
  SRRCTL_BSIZEPACKET_MAX,
  SRRCTL_DESCTYPE_ADVANCED_ONE_BUFFER,
  SRRCTL_DESCTYPE_LEGACY,
  SRRCTL_DESCTYPE_MASK,
  SRRCTL_DESCTYPE_SHIFT,
  SRRCTL_LAYOUT_MASK,
  SW_FW_SYNC_PHY_MASK,
  TXDCTL_ENABLE,
} from "./registers/bits.ts";
import type { Core } from "./core.ts";
import type { Eeprom } from "./host/eeprom.ts";
import type { Interrupts } from "./host/interrupts.ts";
import type { RxQueue } from "./rx/receive.ts";
import type { RegisterName } from "./registers/registers.ts";
import type { Ring } from "./ring.ts";
import type { TxQueue } from "./tx/transmit.ts";

const RING_ALIGNMENT = 128;
/** What the 15.5 KB of section 1.3 are, FCS included. */
const LONGEST_FRAME = 15872;
/** 8192 descriptors, what RDLEN and TDLEN are validated for (8.2.3.8.3). */
const LONGEST_RING = 128 * 1024;
const PACKET_BUFFERS = 8;
const RX_BUFFER_KB = { "82599": 512, x540: 384 };
const TX_BUFFER_KB = 160;
/** Reads of RDRXCTL after a reset that still show the DMA initialising. */
const DMA_INIT_POLLS = 2;
/** Who waits so long after a reset need not ask whether it is over (4.6.3.2). */
const SETTLED_MS = 10;

/** Watches the driver's steps. Register it before those who obey them. */
export class InitOrder {
  readonly #core: Core;
  readonly #rx: readonly RxQueue[];
  readonly #tx: readonly TxQueue[];
  readonly #eeprom: Eeprom;
  readonly #interrupts: Interrupts;
  #resetAt = 0;
  #dmaInitSeen = false;
  #dmaInitPolls = 0;
  #securityReadySeen = false;
  #gioDisableSeen = false;

  constructor(
    core: Core,
    rx: readonly RxQueue[],
    tx: readonly TxQueue[],
    eeprom: Eeprom,
    interrupts: Interrupts,
  ) {
    this.#core = core;
    this.#rx = rx;
    this.#tx = tx;
    this.#eeprom = eeprom;
    this.#interrupts = interrupts;
    this.#bindStatus();
    this.#bindGlobals();
    this.#bindBuffers();
    this.#bindReceiveQueues();
    this.#bindTransmitQueues();
  }

  /** Everything has to be done again. */
  reset(): void {
    this.#resetAt = this.#core.now;
    this.#dmaInitSeen = false;
    this.#dmaInitPolls = DMA_INIT_POLLS;
    this.#securityReadySeen = false;
    this.#gioDisableSeen = false;
  }

  /** Software has read STATUS with the GIO bit clear. */
  gioDisableWasSeen(): void {
    this.#gioDisableSeen = true;
  }

  /** Time passed: the DMA unit has initialised. */
  timePassed(): void {
    this.#dmaInitPolls = 0;
  }

  /**
   * Software is about to reset the card by CTRL (4.2.1.6, 5.2.5.3.2).
   *
   * @param withLink Whether by CTRL.LRST, which takes the X540's PHY along; CTRL.RST does not.
   */
  beforeSoftwareReset(withLink: boolean): void {
    const { registers, model } = this.#core;
    if (this.#core.hasMovedData && !this.#gioDisableSeen) {
      this.#record(
        "CTRL.RST after DMA without GIO primary disable: set CTRL.GIO_DIS and " +
          "wait until STATUS.GIO reads 0 (5.2.5.3.2)",
      );
    }
    if (this.#interrupts.anyEnabled) {
      this.#record(
        "CTRL.RST with interrupts enabled: write EIMC first (4.6.3.1)",
      );
    }
    const owned = registers.get("SW_FW_SYNC") & SW_FW_SYNC_PHY_MASK;
    if (model === "x540" && withLink && owned === 0) {
      this.#record(
        "CTRL.LRST without the PHY semaphore in SW_FW_SYNC: it resets the " +
          "PHY, which firmware may be using (4.2.1.7, 4.2.1.8 of 333369)",
      );
    }
  }

  #record(message: string): void {
    this.#core.violations.record("order", message);
  }

  #bindStatus(): void {
    const { registers } = this.#core;
    registers.onRead("RDRXCTL", () => {
      const done = this.#dmaInitPolls <= 0;
      if (done) this.#dmaInitSeen = true;
      else this.#dmaInitPolls--;
      const value = registers.get("RDRXCTL") & ~RDRXCTL_DMAIDONE;
      return done ? value | RDRXCTL_DMAIDONE : value;
    });
    registers.onRead("SECRXSTAT", () => {
      if ((registers.get("SECRXCTRL") & SECRXCTRL_RX_DIS) === 0) {
        return SECRXSTAT_OFFLOAD_DISABLED;
      }
      this.#securityReadySeen = true;
      return SECRXSTAT_OFFLOAD_DISABLED | SECRXSTAT_READY;
    });
    registers.onWrite("SECRXCTRL", (_n, value) => {
      if ((value & SECRXCTRL_RX_DIS) === 0) this.#securityReadySeen = false;
    });
  }

  #bindGlobals(): void {
    const { registers } = this.#core;
    registers.onWrite("RXCTRL", (_n, value, before) => {
      if ((value & ~before & RXCTRL_RXEN) !== 0) this.#receiveEnabled();
    });
    registers.onWrite("DMATXCTL", (_n, value, before) => {
      if ((value & ~before & DMATXCTL_TE) === 0) return;
      this.#checkBufferSum("TXPBSIZE", TX_BUFFER_KB);
    });
    for (const name of ["DTXMXSZRQ", "MTQC"] as const) {
      registers.onWrite(name, () => {
        if ((registers.get("RTTDCS") & RTTDCS_ARBDIS) !== 0) return;
        this.#record(
          `${name} written with RTTDCS.ARBDIS clear: stop the transmit ` +
            `arbiter first (4.6.8, 4.6.11.3)`,
        );
      });
    }
    registers.onWrite("MRQC", (_n, value, before) => {
      if (value !== before) this.#mustNotReceive("MRQC");
    });
  }

  #bindBuffers(): void {
    const { registers, model } = this.#core;
    registers.onWrite("RXPBSIZE", (_n, value, before) => {
      if (value !== before) this.#mustNotReceive("RXPBSIZE");
      // Shrinking one buffer and then growing others passes through sums that
      // are too small, never through ones that are too large.
      this.#checkBufferSum("RXPBSIZE", RX_BUFFER_KB[model]);
    });
  }

  /** Section 4.6.7: "only after all other settings are done". */
  #receiveEnabled(): void {
    const { registers, model } = this.#core;
    // Traffic at this moment can hang the 82599's receive DMA, not the X540's.
    if (!this.#securityReadySeen && model === "82599") {
      this.#record(
        "RXCTRL.RXEN set without halting the security path: set " +
          "SECRXCTRL.RX_DIS and wait for SECRXSTAT.SECRX_RDY first (4.6.7)",
      );
    }
    if (!this.#rx.some((queue) => queue.enabled)) {
      this.#record(
        "RXCTRL.RXEN set while no receive queue is enabled: it comes after " +
          "all other receive settings (4.6.7)",
      );
    }
    const isJumbo = (registers.get("HLREG0") & HLREG0_JUMBOEN) !== 0;
    const longest = registers.get("MAXFRS") >>> MAXFRS_SHIFT;
    if (isJumbo && longest > LONGEST_FRAME) {
      this.#record(
        `RXCTRL.RXEN set with MAXFRS at ${longest} bytes: frames have up to ` +
          "15.5 KB with their FCS (1.3, 8.2.3.22.13)",
      );
    }
    const macStrips = (registers.get("HLREG0") & HLREG0_RXCRCSTRP) !== 0;
    const dmaStrips = (registers.get("RDRXCTL") & RDRXCTL_CRC_STRIP) !== 0;
    if (macStrips !== dmaStrips) {
      this.#record(
        "RXCTRL.RXEN set while HLREG0.RXCRCSTRP and RDRXCTL.CRCStrip differ " +
          "(8.2.3.8.8)",
      );
    }
  }

  #mustNotReceive(name: RegisterName): void {
    if ((this.#core.registers.get("RXCTRL") & RXCTRL_RXEN) === 0) return;
    this.#record(`${name} changed while RXCTRL.RXEN is set (4.6.7)`);
  }

  #checkBufferSum(name: "RXPBSIZE" | "TXPBSIZE", limit: number): void {
    let sum = 0;
    for (let n = 0; n < PACKET_BUFFERS; n++) {
      sum += this.#core.registers.get(name, n) >>> PBSIZE_SHIFT;
    }
    if (sum <= limit) return;
    this.#record(
      `${name} sums to ${sum} KB, there are ${limit} KB (8.2.3.8.9, 8.2.3.9.13)`,
    );
  }

  #bindReceiveQueues(): void {
    const { registers } = this.#core;
    for (const name of ["RDBAL", "RDBAH", "RDLEN", "RDH"] as const) {
      registers.onWrite(name, (n) => this.#mustBeOff(this.#rx[n], name));
    }
    registers.onWrite(
      "RDBAL",
      (n, _value, _before, written) => {
        this.#checkBase("RDBAL", n, written);
      },
    );
    registers.onWrite("RDLEN", (n, _value, _before, written) => {
      this.#checkLength("RDLEN", n, written);
    });
    registers.onWrite("RDT", (n, value) => {
      this.#checkTail(this.#rx[n], "RDT", "RXDCTL", value);
    });
    registers.onWrite("SRRCTL", (n, value, before) => {
      if (((value ^ before) & SRRCTL_LAYOUT_MASK) === 0) return;
      this.#mustBeOff(this.#rx[n], "SRRCTL");
    });
    registers.onWrite("RXDCTL", (n, value) => {
      const queue = this.#rx[n];
      const wanted = (value & RXDCTL_ENABLE) !== 0;
      if (wanted === queue.asked) return;
      if (!wanted || this.#mayReceive(queue)) queue.ask(wanted);
    });
  }

  #bindTransmitQueues(): void {
    const { registers } = this.#core;
    const names = [
      "TDBAL",
      "TDBAH",
      "TDLEN",
      "TDH",
      "TDWBAL",
      "TDWBAH",
    ] as const;
    for (const name of names) {
      registers.onWrite(name, (n) => this.#mustBeOff(this.#tx[n], name));
    }
    registers.onWrite(
      "TDBAL",
      (n, _value, _before, written) => {
        this.#checkBase("TDBAL", n, written);
      },
    );
    registers.onWrite("TDLEN", (n, _value, _before, written) => {
      this.#checkLength("TDLEN", n, written);
    });
    registers.onWrite("TDT", (n, value) => {
      this.#checkTail(this.#tx[n], "TDT", "TXDCTL", value);
    });
    registers.onWrite("TXDCTL", (n, value) => {
      const queue = this.#tx[n];
      const wanted = (value & TXDCTL_ENABLE) !== 0;
      if (wanted === queue.asked) return;
      if (!wanted || this.#mayTransmit(queue)) queue.ask(wanted);
    });
  }

  #mustBeOff(ring: Ring, name: RegisterName): void {
    if (!ring.enabled && !ring.asked) return;
    const control = ring.direction === "receive" ? "RXDCTL" : "TXDCTL";
    this.#record(
      `${name}[${ring.index}] written while the queue is enabled: clear ` +
        `${control}.ENABLE and wait until it reads 0 (4.6.7.1, 4.6.8.1)`,
    );
  }

  #checkBase(name: RegisterName, n: number, value: number): void {
    if (value % RING_ALIGNMENT === 0) return;
    this.#record(
      `${name}[${n}] = 0x${value.toString(16)} is not a multiple of ` +
        `${RING_ALIGNMENT} (8.2.3.8.1, 8.2.3.9.5)`,
    );
  }

  #checkLength(name: RegisterName, n: number, value: number): void {
    if (value % RING_ALIGNMENT === 0 && value <= LONGEST_RING) return;
    this.#record(
      `${name}[${n}] = ${value} is not a multiple of ${RING_ALIGNMENT} up to ` +
        `${LONGEST_RING} (8.2.3.8.3, 8.2.3.9.7)`,
    );
  }

  /** Sections 4.6.7, 4.6.8 and 7.1.9: the tail follows ENABLE, and the head. */
  #checkTail(
    ring: Ring,
    name: RegisterName,
    control: string,
    value: number,
  ): void {
    const place = `${name}[${ring.index}] = ${value}`;
    if (!ring.enabledSeen && value !== 0) {
      this.#record(
        `${place} before ${control}.ENABLE was read back set (4.6.7, 4.6.8)`,
      );
    }
    if (ring.count === 0 ? value === 0 : value < ring.count) {
      const advance = (value - ring.tail + ring.count) % ring.count;
      if (ring.count === 0 || ring.available + advance < ring.count) return;
      this.#record(
        `${place} passes the head at ${ring.head}: a ring of ${ring.count} ` +
          `holds one less, equal means empty (7.1.9, 7.2.3.3)`,
      );
      return;
    }
    this.#record(
      `${place} is beyond the ring of ${ring.count} (7.1.9, 7.2.3.3)`,
    );
  }

  /** What a receive queue needs before it may run, section 4.6.7. */
  #mayReceive(queue: RxQueue): boolean {
    const n = queue.index;
    const srrctl = this.#core.registers.get("SRRCTL", n);
    const type = (srrctl >>> SRRCTL_DESCTYPE_SHIFT) & SRRCTL_DESCTYPE_MASK;
    const kilobytes = srrctl & SRRCTL_BSIZEPACKET_MASK;
    let may = this.#mayRun(queue, "RXDCTL");
    if (
      type !== SRRCTL_DESCTYPE_LEGACY &&
      type !== SRRCTL_DESCTYPE_ADVANCED_ONE_BUFFER
    ) {
      may = false;
      this.#record(
        `RXDCTL[${n}].ENABLE with SRRCTL.DESCTYPE ${type}, which this model ` +
          `does not have (8.2.3.8.7)`,
      );
    }
    if (kilobytes < 1 || kilobytes > SRRCTL_BSIZEPACKET_MAX) {
      may = false;
      this.#record(
        `RXDCTL[${n}].ENABLE with SRRCTL.BSIZEPACKET ${kilobytes}, not ` +
          `1 to ${SRRCTL_BSIZEPACKET_MAX} KB (8.2.3.8.7)`,
      );
    }
    return may;
  }

  /** What a transmit queue needs before it may run, section 4.6.8. */
  #mayTransmit(queue: TxQueue): boolean {
    const { registers } = this.#core;
    const n = queue.index;
    let may = this.#mayRun(queue, "TXDCTL");
    if ((registers.get("DMATXCTL") & DMATXCTL_TE) === 0) {
      may = false;
      this.#record(
        `TXDCTL[${n}].ENABLE before DMATXCTL.TE: enable the path first (4.6.8)`,
      );
    }
    if ((registers.get("RTTDCS") & RTTDCS_ARBDIS) !== 0) {
      this.#record(
        `TXDCTL[${n}].ENABLE while RTTDCS.ARBDIS is still set (4.6.11.3)`,
      );
    }
    return may;
  }

  #mayRun(ring: Ring, control: string): boolean {
    const what = `${control}[${ring.index}].ENABLE`;
    const settled = this.#core.now - this.#resetAt >= SETTLED_MS;
    if (!settled && !this.#eeprom.autoReadSeen) {
      this.#record(`${what} before EEC.ARD was read set after reset (4.6.3)`);
    }
    if (!settled && !this.#dmaInitSeen) {
      this.#record(
        `${what} before RDRXCTL.DMAIDONE was read set after reset (4.6.3)`,
      );
    }
    const sound = ring.length > 0 && ring.length <= LONGEST_RING &&
      ring.length % RING_ALIGNMENT === 0 &&
      ring.baseLow % RING_ALIGNMENT === 0;
    if (!sound) {
      this.#record(
        `${what} without a sound ring (base and length, 4.6.7, 4.6.8): the ` +
          `queue stays off`,
      );
    }
    return sound;
  }
}
