/**
 * Setting up the transmit unit and its rings (82576 section 4.5.10).
 *
 * @module
 */
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { insert } from "../register.ts";
import { waitForEnable } from "../register_wait.ts";
import { delay, until } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  TCTL,
  TDBAH,
  TDBAL,
  TDH,
  TDLEN,
  TDT,
  TDWBAH,
  TDWBAL,
  TXDCTL,
} from "./registers.ts";

/** Descriptors that the chip holds before it fetches more. */
const PREFETCH_THRESHOLD = 8;
/** Descriptors in memory that make a fetch worth while. */
const HOST_THRESHOLD = 1;
/** Each report is written back at once: more is held back for ever on the 82576 in MSI-X mode (its errata). */
const WRITE_BACK_THRESHOLD = 1;
/** Attempts in half duplex, as IEEE 802.3 has them. */
const COLLISION_THRESHOLD = 15;
/** How long a queue may send what it was given before it is turned off. */
const DRAIN_TIMEOUT_MS = 50;
/** Between the end of a queue and the end of its memory. */
const QUEUE_STOP_WAIT_MS = 1;

/** What holds for all queues, and opens the transmit path (8.12.1). */
export function startTransmit(chip: Chip): void {
  const { bits } = TCTL;
  chip.step("transmit enable: padding, retransmission");
  chip.registers.update(
    TCTL,
    bits.EN | bits.PSP | bits.CT | bits.RTLC,
    bits.EN | bits.PSP | bits.RTLC | insert(bits.CT, COLLISION_THRESHOLD),
  );
}

/** What is queue by queue, before the queue is on. */
export function configureTxRing(
  chip: Chip,
  queue: number,
  iova: bigint,
): void {
  const { registers, config } = chip;
  const { bits } = TXDCTL;
  registers.write(TDBAL, Number(iova & 0xffffffffn), queue);
  registers.write(TDBAH, Number(iova >> 32n), queue);
  registers.write(TDLEN, config.txDepth * DESCRIPTOR_BYTES, queue);
  registers.write(TDH, 0, queue);
  registers.write(TDT, 0, queue);
  registers.write(TDWBAL, 0, queue);
  registers.write(TDWBAH, 0, queue);
  registers.update(
    TXDCTL,
    bits.PTHRESH | bits.HTHRESH | bits.WTHRESH,
    insert(bits.PTHRESH, PREFETCH_THRESHOLD) |
      insert(bits.HTHRESH, HOST_THRESHOLD) |
      insert(bits.WTHRESH, WRITE_BACK_THRESHOLD),
    queue,
  );
}

/** Turns a queue on and waits for it. */
export async function startTxRing(chip: Chip, queue: number): Promise<void> {
  chip.registers.set(TXDCTL, TXDCTL.bits.ENABLE, queue);
  await waitForEnable(chip.registers, TXDCTL, queue, true);
}

/** Turns a queue off, once it has sent what it was given; while the link is down that never happens. */
export async function stopTxRing(chip: Chip, queue: number): Promise<void> {
  const { registers } = chip;
  if ((registers.read(TXDCTL, queue) & TXDCTL.bits.ENABLE) === 0) return;
  await until(
    () => registers.read(TDH, queue) === registers.read(TDT, queue),
    DRAIN_TIMEOUT_MS,
  );
  registers.clear(TXDCTL, TXDCTL.bits.ENABLE, queue);
  await waitForEnable(registers, TXDCTL, queue, false);
  await delay(QUEUE_STOP_WAIT_MS);
}
