/**
 * Interrupts: one line for everything on the 8254x (317453 section 13.4.17), MSI-X with a vector for each queue and
 * the next one for all other causes on the 82574 (datasheet, chapter 7).
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import { CTRL_EXT, ICR, IMC, IMS } from "../gigabit/registers.ts";
import { insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import {
  CtrlExt82574,
  EIAC,
  EITR,
  IAM,
  ITR,
  IVAR,
  RADV,
  RDTR,
  RFCTL,
} from "./registers.ts";

/** The unit of ITR and EITR. */
const INTERVAL_UNIT_US = 0.256;
/** Longest time between two interrupts that the field holds. */
export const MAX_INTERVAL_US: number = Math.floor(65535 * INTERVAL_UNIT_US);

/** The cause of a queue that has a vector of its own, in ICR, IMS, IMC and EIAC. */
export const QUEUE_CAUSES: readonly [number, number] = [
  EIAC.bits.RXQ0,
  EIAC.bits.RXQ1,
];
/** The cause of the only queue where everything shares a vector. */
export const SHARED_QUEUE_CAUSE: number = ICR.bits.RXT0;

/** Routes causes to vectors, and sets how often they may fire. All stay masked. */
export function configureInterrupts(chip: Chip): void {
  const { registers, config } = chip;
  chip.step(`interrupts: ${chip.sharedVector ? "one for all" : "MSI-X"}`);
  registers.write(RDTR, 0);
  registers.write(RADV, 0);
  const least = interval(config.interruptIntervalUs);
  if (chip.sharedVector) {
    registers.write(ITR, least);
    return;
  }
  routeVectors(chip);
  for (let queue = 0; queue < config.queues; queue++) {
    registers.write(EITR, least, queue);
  }
}

/**
 * Vector q for what queue q received; it clears and masks its cause by itself, so that the driver need not read ICR, which
 * would take the other queue's cause along.
 */
function routeVectors({ registers, config }: Chip): void {
  const { bits } = IVAR;
  const { EIAME, IAME, PBA_SUPPORT } = CtrlExt82574;
  const second = config.queues > 1;
  registers.write(
    IVAR,
    insert(bits.RXQ0, 0) | bits.RXQ0_VALID |
      (second ? insert(bits.RXQ1, 1) | bits.RXQ1_VALID : 0) |
      insert(bits.OTHER, config.queues) | bits.OTHER_VALID,
  );
  registers.write(EIAC, EIAC.bits.RXQ0 | EIAC.bits.RXQ1);
  registers.write(IAM, EIAC.bits.RXQ0 | EIAC.bits.RXQ1);
  registers.update(CTRL_EXT, EIAME | IAME | PBA_SUPPORT, EIAME | PBA_SUPPORT);
  // Every TCP acknowledgement would raise the vector of the other causes (Linux, e1000e).
  registers.set(RFCTL, RFCTL.bits.ACK_DIS);
}

/** Lets the link's interrupt through, and those of queues that may sleep. */
export function enableInterrupts(chip: Chip): void {
  clearLink(chip);
  const polls = chip.config.irqTimeoutMs === 0;
  chip.registers.write(IMS, linkCauses(chip) | (polls ? 0 : queueCauses(chip)));
}

/** Masks one queue's interrupt. */
export function maskQueue(chip: Chip, queue: number): void {
  chip.registers.write(
    IMC,
    chip.sharedVector ? SHARED_QUEUE_CAUSE : QUEUE_CAUSES[queue],
  );
}

/** Clears the link's cause, and lets the next one through. */
export function acknowledgeLink(chip: Chip): void {
  clearLink(chip);
  chip.registers.write(IMS, linkCauses(chip));
}

/**
 * Reading takes the queues' causes along, which only matters where they have vectors of their own; there, a one that
 * is written clears that bit alone (82574, chapter 10).
 */
function clearLink(chip: Chip): void {
  const { registers } = chip;
  if (chip.sharedVector) registers.read(ICR);
  else registers.registers.write32(ICR.offset, linkCauses(chip));
}

function linkCauses(chip: Chip): number {
  return ICR.bits.LSC | (chip.sharedVector ? 0 : EIAC.bits.OTHER);
}

function queueCauses(chip: Chip): number {
  if (chip.sharedVector) return SHARED_QUEUE_CAUSE;
  return chip.config.queues > 1
    ? QUEUE_CAUSES[0] | QUEUE_CAUSES[1]
    : QUEUE_CAUSES[0];
}

/** ITR or EITR for a time: at least as long, 0 for no limit. */
export function interval(microseconds: number): number {
  if (microseconds > MAX_INTERVAL_US) {
    throw new ConfigError(
      "interruptIntervalUs",
      `${microseconds} is more than the ${MAX_INTERVAL_US} that this chip can wait`,
    );
  }
  return insert(
    ITR.bits.INTERVAL,
    Math.ceil(microseconds / INTERVAL_UNIT_US),
  );
}
