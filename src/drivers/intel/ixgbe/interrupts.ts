/**
 * Interrupts: MSI-X, a vector for each queue pair and the next one for all other causes (82599 section 7.3).
 *
 * @module
 */
import { ConfigError } from "../../../errors.ts";
import { insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import {
  EIAC,
  EIAM,
  EICR,
  EIMC,
  EIMC_EX,
  EIMS,
  EITR,
  GPIE,
  IVAR,
  IVAR_MISC,
} from "./registers.ts";

/** The unit of EITR.INTERVAL at 1 and 10 Gbit/s (8.2.3.5.12). */
const INTERVAL_UNIT_US = 2.048;
/** Longest time between two interrupts that the field holds. */
export const MAX_INTERVAL_US: number = Math.floor(511 * INTERVAL_UNIT_US);

/** Masks every cause (4.6.3.1). EIMS cannot do that: zeros written there leave the mask as it is. */
export function disableInterrupts(chip: Chip): void {
  chip.registers.write(EIMC, EIMC.bits.ALL);
  chip.registers.fill(EIMC_EX, EIMC_EX.bits.ALL);
}

/**
 * Vector q for what queue q received; it clears and masks its cause by itself, so that the driver need not read EICR,
 * which would take the other queues' causes along (7.3.1.4, 7.3.1.5).
 */
export function configureInterrupts(chip: Chip): void {
  const { registers, config } = chip;
  const { bits } = GPIE;
  const queues = queueBits(chip);
  chip.step("interrupts: MSI-X, auto-clear and auto-mask per queue (7.3.1)");
  registers.write(
    GPIE,
    bits.MULTIPLE_MSIX | bits.OCD | bits.EIAME | bits.PBA_SUPPORT,
  );
  registers.write(EIAC, queues);
  registers.write(EIAM, queues);
  for (let queue = 0; queue < config.queues; queue++) {
    assignVector(chip, queue);
    registers.write(
      EITR,
      interval(config.interruptIntervalUs) | EITR.bits.CNT_WDIS,
      queue,
    );
  }
  registers.write(
    IVAR_MISC,
    insert(IVAR_MISC.bits.OTHER, config.queues) | IVAR_MISC.bits.OTHER_VALID,
  );
}

/** Lets the link's interrupt through, and those of queues that may sleep. */
export function enableInterrupts(chip: Chip): void {
  const { registers, config } = chip;
  const polls = config.irqTimeoutMs === 0;
  registers.write(EICR, EICR.bits.LSC);
  registers.write(EIMS, EICR.bits.LSC | (polls ? 0 : queueBits(chip)));
}

/** Masks one queue's vector. */
export function maskQueue(chip: Chip, queue: number): void {
  chip.registers.write(EIMC, 1 << queue);
}

/** Clears the link's cause and leaves all others. */
export function acknowledgeLink(chip: Chip): void {
  chip.registers.write(EICR, EICR.bits.LSC);
  chip.registers.write(EIMS, EICR.bits.LSC);
}

/** IVAR (8.2.3.5.16): only receiving interrupts; what was sent is found by the next send. */
function assignVector(chip: Chip, queue: number): void {
  const { bits } = IVAR;
  const [vector, valid] = queue % 2 === 0
    ? [bits.RX_EVEN, bits.RX_EVEN_VALID]
    : [bits.RX_ODD, bits.RX_ODD_VALID];
  chip.registers.update(
    IVAR,
    vector | valid,
    insert(vector, queue) | valid,
    queue >> 1,
  );
}

/** EITR.INTERVAL for a time: at least as long, 0 for no limit. */
export function interval(microseconds: number): number {
  if (microseconds > MAX_INTERVAL_US) {
    throw new ConfigError(
      "interruptIntervalUs",
      `${microseconds} is more than the ${MAX_INTERVAL_US} that this chip can wait`,
    );
  }
  return insert(
    EITR.bits.INTERVAL,
    Math.ceil(microseconds / INTERVAL_UNIT_US),
  );
}

function queueBits(chip: Chip): number {
  return (1 << chip.config.queues) - 1;
}
