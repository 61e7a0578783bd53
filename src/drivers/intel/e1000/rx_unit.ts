/**
 * Setting up the receive unit and its rings (317453 section 14.4; 82574 datasheet, chapter 4).
 *
 * There is one switch for all queues: a ring can only be changed while nothing is received.
 *
 * @module
 */
import { CTRL, RCTL } from "../gigabit/registers.ts";
import { insert } from "../register.ts";
import { delay } from "../../../wait.ts";
import { type Chip, FCS_BYTES } from "./chip.ts";
import { DESCRIPTOR_BYTES } from "../ring/descriptors.ts";
import {
  RDBAH,
  RDBAL,
  RDH,
  RDLEN,
  RDT,
  RFCTL,
  RXCSUM,
  RXDCTL,
  VET,
} from "./registers.ts";
import { QUIET_WAIT_MS } from "./reset.ts";

/** Largest frame that is not long, with tag and check sequence (317453 section 13.4.22, RCTL.LPE). */
const STANDARD_WIRE_FRAME = 1522;
const VLAN_ETHER_TYPE = 0x8100;
/** Descriptors that the chip holds before it fetches more. */
const PREFETCH_THRESHOLD = 32;
/** Descriptors in memory that make a fetch worth while. */
const HOST_THRESHOLD = 4;
/** A received frame is reported at once. */
const WRITE_BACK_THRESHOLD = 1;

/** A buffer size and how RCTL says it. */
interface BufferSize {
  readonly bytes: number;
  readonly bits: number;
}

/** RCTL.BSIZE 0 to 3 and BSEX (317453 section 13.4.22), the largest first. */
const BUFFER_SIZES: readonly BufferSize[] = [
  { bytes: 16384, bits: insert(RCTL.bits.BSIZE, 1) | RCTL.bits.BSEX },
  { bytes: 8192, bits: insert(RCTL.bits.BSIZE, 2) | RCTL.bits.BSEX },
  { bytes: 4096, bits: insert(RCTL.bits.BSIZE, 3) | RCTL.bits.BSEX },
  { bytes: 2048, bits: insert(RCTL.bits.BSIZE, 0) },
  { bytes: 1024, bits: insert(RCTL.bits.BSIZE, 1) },
  { bytes: 512, bits: insert(RCTL.bits.BSIZE, 2) },
  { bytes: 256, bits: insert(RCTL.bits.BSIZE, 3) },
];

/** The largest size that an entry has room for; pools have no entries below the smallest. */
function bufferSize(entrySize: number): BufferSize {
  const size = BUFFER_SIZES.find(({ bytes }) => bytes <= entrySize);
  return size ?? BUFFER_SIZES[BUFFER_SIZES.length - 1];
}

/** What the chip writes into one buffer of an entry of this size. */
export function rxBufferBytes(entrySize: number): number {
  return bufferSize(entrySize).bytes;
}

/** What holds for all queues: frame and buffer sizes, check sequences, checksums, tags. Receiving is off. */
export function configureReceive(chip: Chip, entrySize: number): void {
  const { registers, config, model } = chip;
  chip.step("receive unit: CRC strip, frame and buffer size, checksums");
  const { bits } = RCTL;
  const long = config.maxFrameSize + FCS_BYTES > STANDARD_WIRE_FRAME;
  registers.update(
    RCTL,
    bits.LPE | bits.LBM | bits.RDMTS | bits.DTYP | bits.MO | bits.BSIZE |
      bits.BSEX | bits.VFE | bits.SBP | bits.SECRC | bits.DPF | bits.PMCF,
    (long ? bits.LPE : 0) | bufferSize(entrySize).bits | bits.SECRC,
  );
  const { IPOFLD, TUOFLD, PCSD } = RXCSUM.bits;
  const extended = model.generation === "82574";
  registers.write(RXCSUM, IPOFLD | TUOFLD | (extended ? PCSD : 0));
  if (extended) registers.set(RFCTL, RFCTL.bits.EXSTEN);
  registers.write(VET, VLAN_ETHER_TYPE);
  registers.update(CTRL, CTRL.bits.VME, config.vlanStrip ? CTRL.bits.VME : 0);
}

/** What is queue by queue. Receiving is off. */
export function configureRxRing(
  chip: Chip,
  queue: number,
  iova: bigint,
): void {
  const { registers, config } = chip;
  const { bits } = RXDCTL;
  registers.write(RDBAL, Number(iova & 0xffffffffn), queue);
  registers.write(RDBAH, Number(iova >> 32n), queue);
  registers.write(RDLEN, config.rxDepth * DESCRIPTOR_BYTES, queue);
  registers.write(RDH, 0, queue);
  registers.write(RDT, 0, queue);
  registers.write(
    RXDCTL,
    insert(bits.PTHRESH, PREFETCH_THRESHOLD) |
      insert(bits.HTHRESH, HOST_THRESHOLD) |
      insert(bits.WTHRESH, WRITE_BACK_THRESHOLD) | bits.GRAN,
    queue,
  );
}

/** Takes a ring away from the chip. Receiving is off. */
export function removeRxRing({ registers }: Chip, queue: number): void {
  registers.write(RDT, 0, queue);
  registers.write(RDH, 0, queue);
  registers.write(RDLEN, 0, queue);
}

/** Opens the receive path. */
export function startReceive({ registers }: Chip): void {
  registers.set(RCTL, RCTL.bits.EN);
}

/** Closes the receive path, and waits for what is on the bus. */
export async function stopReceive({ registers }: Chip): Promise<void> {
  if ((registers.read(RCTL) & RCTL.bits.EN) === 0) return;
  registers.clear(RCTL, RCTL.bits.EN);
  await delay(QUIET_WAIT_MS);
}
