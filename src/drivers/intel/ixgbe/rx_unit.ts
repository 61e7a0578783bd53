/**
 * Setting up the receive unit and its rings (82599 section 4.6.7).
 *
 * @module
 */
import { DeviceTimeoutError } from "../../../errors.ts";
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import { rxBufferKiB } from "../ring/rx_queue.ts";
import { insert } from "../register.ts";
import { CHIP_ADVICE, waitForEnable } from "../register_wait.ts";
import { delay } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  DCA_RXCTRL,
  DESCTYPE_ADVANCED_ONE_BUFFER,
  HLREG0,
  MAXFRS,
  RDBAH,
  RDBAL,
  RDH,
  RDLEN,
  RDRXCTL,
  RDT,
  RSCCTL,
  RXCSUM,
  RXCTRL,
  RXDCTL,
  SECRXCTRL,
  SECRXSTAT,
  SRRCTL,
} from "./registers.ts";

const SECURITY_TIMEOUT_MS = 40;
/** The frame check sequence, which MAXFRS includes. */
const FCS_BYTES = 4;
/** Largest frame without its check sequence that is no jumbo frame. */
const STANDARD_FRAME = 1514;
/** The reset value of SRRCTL.BSIZEHEADER, in units of 64 bytes; not used without header splitting. */
const HEADER_UNITS = 4;
/** After a receive queue is off, its memory stays in use for 100 µs (4.6.7.1.2). */
const QUEUE_STOP_WAIT_MS = 1;

/** What holds for all queues: frame sizes, check sequences, checksums. Receiving is off. */
export function configureReceive(chip: Chip): void {
  const { registers, config } = chip;
  chip.step("receive unit: CRC strip, frame size, checksums (4.6.7)");
  const { RXCRCSTRP, JUMBOEN, LPBK } = HLREG0.bits;
  const jumbo = config.maxFrameSize > STANDARD_FRAME ? JUMBOEN : 0;
  registers.update(HLREG0, RXCRCSTRP | JUMBOEN | LPBK, RXCRCSTRP | jumbo);
  registers.update(
    MAXFRS,
    MAXFRS.bits.MFS,
    insert(MAXFRS.bits.MFS, config.maxFrameSize + FCS_BYTES),
  );
  // The hash replaces the checksum of the whole packet in the descriptor (7.1.2.8).
  registers.set(RXCSUM, RXCSUM.bits.PCSD | RXCSUM.bits.IPPCSE);
  const { CRC_STRIP, RSCFRSTSIZE, RSCACKC, FCOE_WRFIX } = RDRXCTL.bits;
  registers.update(
    RDRXCTL,
    CRC_STRIP | RSCFRSTSIZE | RSCACKC | FCOE_WRFIX,
    CRC_STRIP | RSCACKC | FCOE_WRFIX,
  );
}

/** What is queue by queue, before the queue is on. */
export function configureRxRing(
  chip: Chip,
  queue: number,
  iova: bigint,
  entrySize: number,
): void {
  const { registers, config } = chip;
  const { bits } = SRRCTL;
  registers.write(RDBAL, Number(iova & 0xffffffffn), queue);
  registers.write(RDBAH, Number(iova >> 32n), queue);
  registers.write(RDLEN, config.rxDepth * DESCRIPTOR_BYTES, queue);
  registers.write(RDH, 0, queue);
  registers.write(RDT, 0, queue);
  registers.write(
    SRRCTL,
    insert(bits.BSIZEPACKET, rxBufferKiB(entrySize)) |
      insert(bits.BSIZEHEADER, HEADER_UNITS) |
      insert(bits.DESCTYPE, DESCTYPE_ADVANCED_ONE_BUFFER) | bits.DROP_EN,
    queue,
  );
  registers.clear(RSCCTL, RSCCTL.bits.RSCEN, queue);
  registers.clear(DCA_RXCTRL, DCA_RXCTRL.bits.RESERVED_12, queue);
  registers.update(
    RXDCTL,
    RXDCTL.bits.VME,
    config.vlanStrip ? RXDCTL.bits.VME : 0,
    queue,
  );
}

/** Turns a queue on, waits for it, and only then gives it its descriptors (4.6.7). */
export async function startRxRing(
  chip: Chip,
  queue: number,
  tail: number,
): Promise<void> {
  chip.registers.set(RXDCTL, RXDCTL.bits.ENABLE, queue);
  await waitForEnable(chip.registers, RXDCTL, queue, true);
  chip.registers.write(RDT, tail, queue);
}

/** Turns a queue off (4.6.7.1.2). */
export async function stopRxRing(chip: Chip, queue: number): Promise<void> {
  const { registers } = chip;
  if ((registers.read(RXDCTL, queue) & RXDCTL.bits.ENABLE) === 0) return;
  registers.clear(RXDCTL, RXDCTL.bits.ENABLE, queue);
  await waitForEnable(registers, RXDCTL, queue, false);
  await delay(QUEUE_STOP_WAIT_MS);
}

/** Opens the receive path: after everything else of it is set up (4.6.7). */
export function startReceive(chip: Chip): void {
  chip.step("receive enable");
  behindSecurityBlock(
    chip,
    () => chip.registers.set(RXCTRL, RXCTRL.bits.RXEN),
  );
}

/** Runs `change` while nothing is received: the filters must not change under a frame (8.2.3.7.1). */
export function whileReceiverPaused(chip: Chip, change: () => void): void {
  const { registers } = chip;
  const running = (registers.read(RXCTRL) & RXCTRL.bits.RXEN) !== 0;
  if (!running) return change();
  behindSecurityBlock(chip, () => {
    registers.clear(RXCTRL, RXCTRL.bits.RXEN);
    change();
    registers.set(RXCTRL, RXCTRL.bits.RXEN);
  });
}

/**
 * Frames that arrive at the moment when RXCTRL.RXEN changes can hang the receive DMA of the 82599 (specification
 * update): the security block in front of it holds them back meanwhile (4.6.7, 8.2.3.12.5).
 */
function behindSecurityBlock(chip: Chip, change: () => void): void {
  const { registers } = chip;
  registers.set(SECRXCTRL, SECRXCTRL.bits.RX_DIS);
  try {
    const end = performance.now() + SECURITY_TIMEOUT_MS;
    // Microseconds, so it is not worth a timer, and callers need not be asynchronous.
    while ((registers.read(SECRXSTAT) & SECRXSTAT.bits.SECRX_RDY) === 0) {
      if (performance.now() < end) continue;
      throw new DeviceTimeoutError(
        "SECRXSTAT.SECRX_RDY (section 8.2.3.12.6) becoming 1",
        SECURITY_TIMEOUT_MS,
        CHIP_ADVICE,
      );
    }
    change();
  } finally {
    registers.clear(SECRXCTRL, SECRXCTRL.bits.RX_DIS);
  }
}
