/**
 * The semaphores between drivers and firmware: SWSM and SW_FW_SYNC, section
 * 8.2.3.4 and 10.5.4; on the X540 a bit of SW_FW_SYNC guards the register.
 *
 * @module
 */

import {
  SW_FW_SYNC_REGSMP,
  SWSM_SMBI,
  SWSM_SWESMBI,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

/** Makes the two registers of `core` behave as semaphores. */
export function bindSemaphores(core: Core): void {
  const { registers, violations, model } = core;
  registers.onRead("SWSM", () => {
    // Reading SMBI sets it. The reader that finds it clear owns the semaphore.
    const value = registers.get("SWSM");
    registers.set("SWSM", 0, value | SWSM_SMBI);
    return value;
  });
  registers.onWrite("SWSM", (_n, value) => {
    registers.set("SWSM", 0, value & (SWSM_SMBI | SWSM_SWESMBI));
  });
  registers.onRead("SW_FW_SYNC", () => {
    const value = registers.get("SW_FW_SYNC");
    if (model === "x540") {
      registers.set("SW_FW_SYNC", 0, value | SW_FW_SYNC_REGSMP);
    }
    return value;
  });
  registers.onWrite("SW_FW_SYNC", (_n, value) => {
    const owned = model === "x540"
      ? (registers.get("SW_FW_SYNC") & SW_FW_SYNC_REGSMP) !== 0
      : (registers.get("SWSM") & SWSM_SWESMBI) !== 0;
    if (!owned) {
      violations.record(
        "order",
        model === "x540"
          ? "SW_FW_SYNC written without REGSMP, taken by reading it (11.7.5)"
          : "SW_FW_SYNC written without SWSM.SWESMBI (10.5.4)",
      );
    }
    registers.set("SW_FW_SYNC", 0, value);
  });
}
