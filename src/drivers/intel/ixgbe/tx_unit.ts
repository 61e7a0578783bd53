/**
 * Setting up the transmit unit and its rings (82599 section 4.6.8).
 *
 * @module
 */
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { insert } from "../register.ts";
import { waitForEnable } from "../register_wait.ts";
import { delay, until } from "../../../wait.ts";
import { divideTransmitBuffer } from "./buffers.ts";
import type { Chip } from "./chip.ts";
import {
  DMATXCTL,
  DTXMXSZRQ,
  HLREG0,
  MTQC,
  RTTDCS,
  RTTDQSEL,
  RTTDT1C,
  TDBAH,
  TDBAL,
  TDH,
  TDLEN,
  TDT,
  TXDCTL,
} from "./registers.ts";

/** Descriptors that the chip holds before it fetches more; drivers in the field use 32 (7.2.3.4.1). */
const PREFETCH_THRESHOLD = 32;
/** Descriptors in memory that make a fetch worth while; 0 would turn the threshold above off. */
const HOST_THRESHOLD = 1;
/** Reports are asked for on some descriptors only, so each is written at once (7.2.3.5.1). */
const WRITE_BACK_THRESHOLD = 0;
/** How long a queue may send what it was given before it is turned off. */
const DRAIN_TIMEOUT_MS = 50;
/** Between the end of a queue and the end of its memory. */
const QUEUE_STOP_WAIT_MS = 1;

/** What holds for all queues. Transmission is off. */
export function configureTransmit(chip: Chip): void {
  const { registers } = chip;
  chip.step("transmit unit: padding, CRC, one buffer (4.6.8)");
  registers.set(HLREG0, HLREG0.bits.TXCRCEN | HLREG0.bits.TXPADEN);
  // The arbiter must stand still while what it looks at changes (4.6.11.3).
  registers.set(RTTDCS, RTTDCS.bits.ARBDIS);
  registers.write(DTXMXSZRQ, DTXMXSZRQ.bits.MAX_BYTES_NUM_REQ);
  divideTransmitBuffer(chip);
  registers.write(MTQC, 0);
  resetArbiters(chip);
  registers.clear(RTTDCS, RTTDCS.bits.ARBDIS);
}

/** No queue has a rate of its own; what stands there after power-on is not defined (4.6.11.3.4). */
function resetArbiters({ registers }: Chip): void {
  for (let queue = 0; queue < TXDCTL.count; queue++) {
    registers.write(RTTDQSEL, insert(RTTDQSEL.bits.TXDQ_IDX, queue));
    registers.write(RTTDT1C, 0);
  }
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
  registers.update(
    TXDCTL,
    bits.PTHRESH | bits.HTHRESH | bits.WTHRESH,
    insert(bits.PTHRESH, PREFETCH_THRESHOLD) |
      insert(bits.HTHRESH, HOST_THRESHOLD) |
      insert(bits.WTHRESH, WRITE_BACK_THRESHOLD),
    queue,
  );
}

/** Opens the transmit path: once, before the first queue (4.6.8). */
export function startTransmit(chip: Chip): void {
  chip.step("transmit enable");
  chip.registers.set(DMATXCTL, DMATXCTL.bits.TE);
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

/** Closes the transmit path. */
export function stopTransmit(chip: Chip): void {
  chip.registers.clear(DMATXCTL, DMATXCTL.bits.TE);
}
