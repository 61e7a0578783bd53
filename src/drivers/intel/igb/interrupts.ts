/**
 * Interrupts: MSI-X, a vector for each queue pair and the next one for all other causes (82576 section 7.3).
 *
 * The EEPROM says how many vectors the card shows, ten on many of them. With more queues than that all must poll, and
 * the only vector in use is the link's.
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import { ICR, IMS } from "../gigabit/registers.ts";
import { disableClassicInterrupts } from "../gigabit/reset.ts";
import { insert } from "../register.ts";
import type { Chip, ChipModel } from "./chip.ts";
import {
  EIAC,
  EIAM,
  EICR,
  EIMC,
  EIMS,
  EITR,
  GPIE,
  IVAR,
  IVAR_MISC,
} from "./registers.ts";

/** An entry of IVAR is in use. */
const VALID = 0x80;
const ENTRY_BITS = 8;
const ENTRY_MASK = 0xff;
/** Longest time between two interrupts that EITR holds, in microseconds (8.8.12). */
const MAX_INTERVAL_US = 8191;

/** Masks every cause, those behind EICR and those behind ICR (4.5.4). */
export function disableInterrupts(chip: Chip): void {
  chip.registers.write(EIMC, EIMC.bits.ALL);
  disableClassicInterrupts(chip);
}

/**
 * Vector q for what queue q received; it clears and masks its cause by itself, so that the driver need not read EICR,
 * which would take the other queues' causes along (7.3.3, 7.3.4).
 */
export function configureInterrupts(chip: Chip): void {
  const { registers, config, model, queueVectors } = chip;
  const { bits } = GPIE;
  chip.step("interrupts: MSI-X, auto-clear and auto-mask (7.3.3)");
  registers.write(
    GPIE,
    bits.NSICR | bits.MULTIPLE_MSIX | bits.EIAME | bits.PBA_SUPPORT,
  );
  registers.write(EIAC, queueBits(chip) | linkBit(chip));
  registers.write(EIAM, queueBits(chip) | linkBit(chip));
  registers.fill(IVAR, 0);
  for (let queue = 0; queue < queueVectors; queue++) {
    const { index, shift } = rxEntry(model, queue);
    registers.update(
      IVAR,
      (ENTRY_MASK << shift) >>> 0,
      ((queue | VALID) << shift) >>> 0,
      index,
    );
    registers.write(
      EITR,
      interval(config.interruptIntervalUs) | EITR.bits.CNT_IGNR,
      queue,
    );
  }
  registers.write(EITR, EITR.bits.CNT_IGNR, queueVectors);
  registers.write(
    IVAR_MISC,
    insert(IVAR_MISC.bits.OTHER, queueVectors) | IVAR_MISC.bits.OTHER_VALID,
  );
}

/** Lets the link's interrupt through, and those of queues that may sleep. */
export function enableInterrupts(chip: Chip): void {
  const { registers, config } = chip;
  const polls = config.irqTimeoutMs === 0;
  registers.write(EICR, EICR.bits.ALL);
  acknowledgeLink(chip);
  if (!polls) registers.write(EIMS, queueBits(chip));
}

/** Masks one queue's vector. */
export function maskQueue(chip: Chip, queue: number): void {
  chip.registers.write(EIMC, 1 << queue);
}

/** Takes the causes behind ICR, of which only the link's is let through, and unmasks their vector. */
export function acknowledgeLink(chip: Chip): void {
  const { registers } = chip;
  registers.read(ICR);
  registers.write(IMS, ICR.bits.LSC);
  registers.write(EIMS, linkBit(chip));
}

/**
 * Where IVAR has the entry of what a queue received (82576: 8.8.13; I350: the same section of 333171).
 *
 * The 82576 has queue q and q + 8 in register q; the I350 has queues 2n and 2n + 1 in register n. What was sent is
 * the entry above, and stays unused: it is found by the next send.
 */
export function rxEntry(
  model: Pick<ChipModel, "vectorOrder">,
  queue: number,
): { index: number; shift: number } {
  const [index, half] = model.vectorOrder === "82576"
    ? [queue & 7, queue >> 3]
    : [queue >> 1, queue & 1];
  return { index, shift: half * 2 * ENTRY_BITS };
}

/** EITR.INTERVAL for a time, 0 for no limit. */
export function interval(microseconds: number): number {
  if (microseconds > MAX_INTERVAL_US) {
    throw new ConfigError(
      "interruptIntervalUs",
      `${microseconds} is more than the ${MAX_INTERVAL_US} that this chip can wait`,
    );
  }
  return insert(EITR.bits.INTERVAL, microseconds);
}

function queueBits({ queueVectors }: Chip): number {
  return (1 << queueVectors) - 1;
}

function linkBit({ queueVectors }: Chip): number {
  return 1 << queueVectors;
}
