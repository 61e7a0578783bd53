/**
 * The flow director's registers, section 8.2.3.21: its table is initialised
 * and its commands complete, and no filter ever matches.
 *
 * @module
 */

import {
  FDIRCMD_ADD_FILTER,
  FDIRCMD_COMMAND_MASK,
  FDIRCMD_FILTER_VALID,
  FDIRCTRL_ALLOCATION_MASK,
  FDIRCTRL_INIT_DONE,
  FDIRCTRL_PERFECT_MATCH,
} from "../registers/bits.ts";
import type { Core } from "../core.ts";

/** Makes the control and command registers of `core` answer. */
export function bindFlowDirector({ registers, violations }: Core): void {
  registers.onWrite("FDIRCMD", (_n, value) => {
    const isAdded = (value & FDIRCMD_COMMAND_MASK) === FDIRCMD_ADD_FILTER;
    const mustMatch = registers.get("FDIRCTRL") & FDIRCTRL_PERFECT_MATCH;
    // Signature filters are hints that drivers such as Linux's add by themselves; nothing is promised by them.
    if (!isAdded || mustMatch === 0) return;
    violations.record(
      "register",
      "FDIRCMD adds a perfect-match filter: flow filters are a feature that this model does not have, none will match (7.1.2.7)",
    );
  });
  registers.onRead("FDIRCTRL", () => {
    const value = registers.get("FDIRCTRL") & ~FDIRCTRL_INIT_DONE;
    const allocated = (value & FDIRCTRL_ALLOCATION_MASK) !== 0;
    return allocated ? value | FDIRCTRL_INIT_DONE : value;
  });
  // A query finds nothing; whatever was asked for is over at the first poll.
  const over = ~(FDIRCMD_COMMAND_MASK | FDIRCMD_FILTER_VALID);
  registers.onRead("FDIRCMD", () => registers.get("FDIRCMD") & over);
}
