/**
 * What the shared parts need to know of a gigabit chip.
 *
 * @module
 */
import type { FilteredCount } from "../filtered_count.ts";
import type { RegisterBlock } from "../register.ts";

/** A gigabit chip in the hands of its driver, which adds what it needs besides. */
export interface GigabitChip {
  /** Its registers. */
  readonly registers: RegisterBlock;
  /** What its filters kept out. */
  readonly filtered: FilteredCount;
  /** Receive addresses that its filter has, the station's among them. */
  readonly macSlots: number;
  /** How often a VLAN table entry is written; more than once where the datasheet's errata ask for it. */
  readonly vlanTableWrites: number;
  /** Says in the log what is being done. */
  step(message: string): void;
}
