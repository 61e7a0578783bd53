/**
 * Setting up the receive unit and its rings (82576 section 4.5.9).
 *
 * @module
 */
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { rxBufferKiB } from "../ring/rx_queue.ts";
import { CTRL, RCTL } from "../gigabit/registers.ts";
import { insert } from "../register.ts";
import { waitForEnable } from "../register_wait.ts";
import { delay } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  DESCTYPE_ADVANCED_ONE_BUFFER,
  DVMOLR,
  RDBAH,
  RDBAL,
  RDH,
  RDLEN,
  RDT,
  RLPML,
  RXCSUM,
  RXDCTL,
  SRRCTL,
  UTA,
} from "./registers.ts";

/** The frame check sequence, which RLPML includes. */
const FCS_BYTES = 4;
/** Between the end of a queue and the end of its memory. */
const QUEUE_STOP_WAIT_MS = 1;
/** Descriptors that the chip holds before it fetches more, and that make a fetch worth while. */
const PREFETCH_THRESHOLD = 8;
const HOST_THRESHOLD = 8;
/** Each descriptor is written back at once: more is held back for ever on the 82576 in MSI-X mode (its errata). */
const WRITE_BACK_THRESHOLD = 1;

/** What holds for all queues: frame sizes, check sequences, checksums, tags. Receiving is off. */
export function configureReceive(chip: Chip): void {
  const { registers, config } = chip;
  const { bits } = RCTL;
  chip.step("receive unit: CRC strip, frame size, checksums (4.5.9)");
  // The limit is that of RLPML for all frames, tags included.
  registers.update(
    RCTL,
    bits.SECRC | bits.LPE | bits.LBM | bits.RDMTS | bits.DTYP | bits.MO |
      bits.BSIZE | bits.CFIEN | bits.DPF | bits.PMCF,
    bits.SECRC | bits.LPE | bits.DPF,
  );
  registers.write(
    RLPML,
    insert(RLPML.bits.RLPML, config.maxFrameSize + FCS_BYTES),
  );
  // The hash replaces the checksum of the whole packet in the descriptor (7.1.1.7).
  const { PCSD, IPPCSE, IPOFLD, TUOFLD } = RXCSUM.bits;
  registers.update(
    RXCSUM,
    PCSD | IPPCSE | IPOFLD | TUOFLD,
    PCSD | IPOFLD | TUOFLD,
  );
  registers.update(CTRL, CTRL.bits.VME, config.vlanStrip ? CTRL.bits.VME : 0);
  registers.fill(UTA, 0);
}

/** What is queue by queue, before the queue is on. */
export function configureRxRing(
  chip: Chip,
  queue: number,
  iova: bigint,
  entrySize: number,
): void {
  const { registers, config, model } = chip;
  const { bits } = SRRCTL;
  registers.write(RDBAL, Number(iova & 0xffffffffn), queue);
  registers.write(RDBAH, Number(iova >> 32n), queue);
  registers.write(RDLEN, config.rxDepth * DESCRIPTOR_BYTES, queue);
  registers.write(
    SRRCTL,
    insert(bits.BSIZEPACKET, rxBufferKiB(entrySize)) |
      insert(bits.DESCTYPE, DESCTYPE_ADVANCED_ONE_BUFFER) | bits.DROP_EN,
    queue,
  );
  registers.write(RDH, 0, queue);
  registers.write(RDT, 0, queue);
  const { PTHRESH, HTHRESH, WTHRESH } = RXDCTL.bits;
  registers.update(
    RXDCTL,
    PTHRESH | HTHRESH | WTHRESH,
    insert(PTHRESH, PREFETCH_THRESHOLD) | insert(HTHRESH, HOST_THRESHOLD) |
      insert(WTHRESH, WRITE_BACK_THRESHOLD),
    queue,
  );
  if (!model.hasI350Registers) return;
  const { STRCRC, STRVLAN } = DVMOLR.bits;
  registers.update(
    DVMOLR,
    STRCRC | STRVLAN,
    STRCRC | (config.vlanStrip ? STRVLAN : 0),
    queue,
  );
}

/** Turns a queue on, waits for it, and only then gives it its descriptors (4.5.9). */
export async function startRxRing(
  chip: Chip,
  queue: number,
  tail: number,
): Promise<void> {
  chip.registers.set(RXDCTL, RXDCTL.bits.ENABLE, queue);
  await waitForEnable(chip.registers, RXDCTL, queue, true);
  chip.registers.write(RDT, tail, queue);
}

/** Turns a queue off (4.5.9.2). */
export async function stopRxRing(chip: Chip, queue: number): Promise<void> {
  const { registers } = chip;
  if ((registers.read(RXDCTL, queue) & RXDCTL.bits.ENABLE) === 0) return;
  registers.clear(RXDCTL, RXDCTL.bits.ENABLE, queue);
  await waitForEnable(registers, RXDCTL, queue, false);
  await delay(QUEUE_STOP_WAIT_MS);
}

/** Opens the receive path: after everything else of it is set up. */
export function startReceive(chip: Chip): void {
  chip.step("receive enable");
  chip.registers.set(RCTL, RCTL.bits.EN);
}
