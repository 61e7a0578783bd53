/**
 * The flow director's registers, section 8.2.3.21: its table is initialised
 * and its commands complete, and no filter ever matches.
 *
 * @module
 */

import {
  FDIRCMD_COMMAND_MASK,
  FDIRCMD_FILTER_VALID,
  FDIRCTRL_ALLOCATION_MASK,
  FDIRCTRL_INIT_DONE,
} from "./bits.ts";
import type { Core } from "./core.ts";

/** Makes the control and command registers of `core` answer. */
export function bindFlowDirector({ registers }: Core): void {
  registers.onRead("FDIRCTRL", () => {
    const value = registers.get("FDIRCTRL") & ~FDIRCTRL_INIT_DONE;
    const allocated = (value & FDIRCTRL_ALLOCATION_MASK) !== 0;
    return allocated ? value | FDIRCTRL_INIT_DONE : value;
  });
  // A query finds nothing; whatever was asked for is over at the first poll.
  const over = ~(FDIRCMD_COMMAND_MASK | FDIRCMD_FILTER_VALID);
  registers.onRead("FDIRCMD", () => registers.get("FDIRCMD") & over);
}
