/**
 * What the parts of the card share.
 *
 * @module
 */

import type { DmaTable } from "./dma_table.ts";
import { RegisterFile } from "./registers/register_file.ts";
import { ViolationLog } from "./violations.ts";

/** The controllers that the model can be. */
export type Model = "82599" | "x540";

/** The state that receive, transmit, interrupts and the rest have in common. */
export class Core {
  readonly violations: ViolationLog = new ViolationLog();
  readonly registers: RegisterFile;
  /** The time of the latest step, in milliseconds. */
  now = 0;
  /**
   * Whether the card may touch memory: bus mastering is on in the
   * configuration space and CTRL.GIO_DIS is off (section 5.2.5.3.2).
   */
  busMaster = false;
  gioDisabled = false;
  /** Grows when what {@linkcode Core.reach} may answer changes. */
  generation = 0;
  /** Some queue was told to start or stop and has not yet. */
  queuesSwitching = false;
  /** Until when the link partner wants no frames, by a pause frame. */
  pausedUntil = 0;
  /** Whether the card has touched memory since the last reset. */
  hasMovedData = false;

  constructor(readonly model: Model, readonly dma: DmaTable) {
    this.registers = new RegisterFile(this.violations);
  }

  /**
   * Translates for the card. A miss, and any access while bus mastering is
   * off, is recorded as an IOMMU fault.
   *
   * @returns whether `dma.u8`, `dma.u32` and `dma.offset` hold the range
   */
  reach(low: number, high: number, length: number, what: string): boolean {
    if (this.busMaster && this.dma.translate(low, high, length)) return true;
    this.#reportFault(
      low,
      high,
      length,
      what,
      this.busMaster
        ? "is not mapped"
        : "was reached for while bus mastering is off (PCI command, 9.3.3.3)",
    );
    return false;
  }

  /** The same for memory that the card is going to write. */
  reachToWrite(
    low: number,
    high: number,
    length: number,
    what: string,
  ): boolean {
    if (!this.reach(low, high, length, what)) return false;
    if (this.dma.writable) return true;
    this.#reportFault(low, high, length, what, "may only be read");
    return false;
  }

  #reportFault(
    low: number,
    high: number,
    length: number,
    what: string,
    why: string,
  ): void {
    const address = `0x${(high >>> 0).toString(16).padStart(8, "0")}` +
      (low >>> 0).toString(16).padStart(8, "0");
    this.violations.record(
      "dma-fault",
      `${what}: IOVA ${address}, ${length} bytes, ${why}`,
    );
  }
}
