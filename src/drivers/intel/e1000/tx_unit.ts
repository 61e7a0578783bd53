/**
 * Setting up the transmit unit and its rings (317453 section 14.5; 82574 datasheet, chapter 4).
 *
 * There is one switch for all queues: a ring can only be changed while nothing is sent.
 *
 * @module
 */
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { insert } from "../register.ts";
import { delay, until } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  TARC,
  TCTL,
  TDBAH,
  TDBAL,
  TDH,
  TDLEN,
  TDT,
  TIDV,
  TIPG,
  TXDCTL,
} from "./registers.ts";
import { QUIET_WAIT_MS } from "./reset.ts";

/** Tries in half duplex before a frame is given up (317453 section 13.4.33). */
const COLLISION_THRESHOLD = 15;
/** Bytes: 64 in full duplex and at 10 and 100 Mbit/s (317453 section 13.4.33). */
const COLLISION_DISTANCE = 64;
/** The gaps for copper, as Linux and DPDK have them (317453 section 13.4.34). */
const PACKET_GAP = { back: 8, first: 8, second: 6 } as const;
/** Descriptors that the chip holds before it fetches more. */
const PREFETCH_THRESHOLD = 31;
/** Descriptors in memory that make a fetch worth while. */
const HOST_THRESHOLD = 1;
/** Each report is written at once. */
const WRITE_BACK_THRESHOLD = 1;
/** The least that TIDV may be (317453 section 13.4.41). */
const SHORTEST_DELAY = 1;
/** How long a queue may send what it was given before it is turned off. */
const DRAIN_TIMEOUT_MS = 50;

/** What holds for all queues. Sending is off. */
export function configureTransmit(chip: Chip): void {
  const { registers, model } = chip;
  chip.step("transmit unit: padding, gaps");
  registers.write(
    TIPG,
    insert(TIPG.bits.IPGT, PACKET_GAP.back) |
      insert(TIPG.bits.IPGR1, PACKET_GAP.first) |
      insert(TIPG.bits.IPGR2, PACKET_GAP.second),
  );
  registers.write(TIDV, SHORTEST_DELAY);
  const { bits } = TCTL;
  registers.write(
    TCTL,
    bits.PSP | insert(bits.CT, COLLISION_THRESHOLD) |
      insert(bits.COLD, COLLISION_DISTANCE) | bits.RTLC |
      (model.generation === "82574" ? bits.MULR : 0),
  );
}

/** What is queue by queue. Sending is off. */
export function configureTxRing(
  chip: Chip,
  queue: number,
  iova: bigint,
): void {
  const { registers, config, model } = chip;
  const { bits } = TXDCTL;
  const newer = model.generation === "82574";
  registers.write(TDBAL, Number(iova & 0xffffffffn), queue);
  registers.write(TDBAH, Number(iova >> 32n), queue);
  registers.write(TDLEN, config.txDepth * DESCRIPTOR_BYTES, queue);
  registers.write(TDH, 0, queue);
  registers.write(TDT, 0, queue);
  registers.write(
    TXDCTL,
    insert(bits.PTHRESH, PREFETCH_THRESHOLD) |
      insert(bits.HTHRESH, HOST_THRESHOLD) |
      insert(bits.WTHRESH, WRITE_BACK_THRESHOLD) | bits.GRAN |
      (newer ? bits.COUNT_DESC : 0),
    queue,
  );
  if (newer) registers.set(TARC, TARC.bits.ENABLE, queue);
}

/** Takes a ring away from the chip. Sending is off. */
export function removeTxRing({ registers }: Chip, queue: number): void {
  registers.write(TDT, 0, queue);
  registers.write(TDH, 0, queue);
  registers.write(TDLEN, 0, queue);
}

/** Opens the transmit path. */
export function startTransmit({ registers }: Chip): void {
  registers.set(TCTL, TCTL.bits.EN);
}

/** Waits until a queue has sent what it was given, for a while: without a link that never happens. */
export async function drainTxRing(
  { registers }: Chip,
  queue: number,
): Promise<void> {
  if ((registers.read(TCTL) & TCTL.bits.EN) === 0) return;
  await until(
    () => registers.read(TDH, queue) === registers.read(TDT, queue),
    DRAIN_TIMEOUT_MS,
  );
}

/** Closes the transmit path, and waits for what is on the bus. */
export async function stopTransmit({ registers }: Chip): Promise<void> {
  if ((registers.read(TCTL) & TCTL.bits.EN) === 0) return;
  registers.clear(TCTL, TCTL.bits.EN);
  await delay(QUIET_WAIT_MS);
}
