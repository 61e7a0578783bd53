/**
 * Flow control, and how the packet buffers are divided: without DCB and virtualization all of it is one buffer
 * (82599 sections 4.6.3.2, 4.6.11.3.4 and 3.7.7).
 *
 * @module
 */
import { insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import {
  FCCFG,
  FCRTH,
  FCRTL,
  FCRTV,
  FCTTV,
  MFLCN,
  RXPBSIZE,
  TXPBSIZE,
  TXPBTHRESH,
} from "./registers.ts";

/** What the receive buffer keeps free below its high-water mark, in KiB (4.6.3.2). */
const RX_RESERVE_KIB = 24;
/** Unit of FCRTH.RTH in bytes. */
const THRESHOLD_UNIT = 32;
/** What the transmit buffer keeps free at least, in KiB. */
const TX_RESERVE_KIB = 10;

/** Neither sends nor obeys pause frames: a queue that is not emptied drops its own frames only. */
export function disableFlowControl(chip: Chip): void {
  const { registers, model } = chip;
  chip.step("flow control off (4.6.3.2)");
  registers.clear(FCCFG, FCCFG.bits.TFCE);
  registers.clear(MFLCN, MFLCN.bits.RFCE | MFLCN.bits.RPFCE);
  registers.fill(FCTTV, 0);
  registers.fill(FCRTL, 0);
  registers.fill(FCRTH, 0);
  // Even with flow control off, transmission may hang when this threshold is left at 0 (4.6.3.2).
  const bytes = (model.rxBufferKiB - RX_RESERVE_KIB) * 1024;
  registers.write(FCRTH, insert(FCRTH.bits.RTH, bytes / THRESHOLD_UNIT));
  registers.write(FCRTV, 0);
}

/** All of the receive buffer is one (8.2.3.8.9). */
export function divideReceiveBuffer(chip: Chip): void {
  const { registers, model } = chip;
  chip.step("one receive buffer (4.6.11.3.4)");
  registers.write(RXPBSIZE, insert(RXPBSIZE.bits.SIZE, model.rxBufferKiB));
  registers.fill(RXPBSIZE, 0, 1);
}

/** All of the transmit buffer is one; its threshold leaves room for the largest frame (8.2.3.9.16). */
export function divideTransmitBuffer(chip: Chip): void {
  const { registers, model, config } = chip;
  const reserve = Math.max(
    TX_RESERVE_KIB,
    Math.ceil(config.maxFrameSize / 1024),
  );
  registers.write(TXPBSIZE, insert(TXPBSIZE.bits.SIZE, model.txBufferKiB));
  registers.write(
    TXPBTHRESH,
    insert(TXPBTHRESH.bits.THRESH, model.txBufferKiB - reserve),
  );
  for (let buffer = 1; buffer < TXPBSIZE.count; buffer++) {
    registers.write(TXPBSIZE, 0, buffer);
    registers.write(TXPBTHRESH, 0, buffer);
  }
}
