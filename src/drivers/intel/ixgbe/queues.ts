/**
 * Receiving on one queue of an 82599 (section 7.1).
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { Rx, type RxErrors } from "../ring/descriptors.ts";
import { IntelRxQueue } from "../ring/rx_queue.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { bit, offsetOf } from "../register.ts";
import { CHIP_82599, MAX_FRAME_SIZE } from "./chip.ts";
import { EIMS, RDT, TDT } from "./registers.ts";
import { IntelTxQueue } from "../ring/tx_queue.ts";

/** Errors in the extended status (82599 section 7.1.6.2, X540 section 7.1.6.2). */
const ERRORS: RxErrors = {
  damaged: bit(29),
  l4: bit(30),
  ip: bit(31),
  unreliable: 0,
};

/**
 * The 82599 alone marks UDP packets that carry no checksum as bad (specification update 331520, erratum on "UDP checksum
 * zero"), so nothing is said of a UDP checksum that it reports as wrong.
 */
const ERRORS_82599: RxErrors = { ...ERRORS, unreliable: Rx.PTYPE_UDP };

/** The receive half of a queue pair. */
export class IxgbeRxQueue extends IntelRxQueue {
  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   */
  constructor(queue: LocalQueue, registers: Registers) {
    super(queue, registers, {
      tail: offsetOf(RDT, queue.index),
      unmask: offsetOf(EIMS),
      unmaskBit: 1 << queue.index,
      errors: queue.model === CHIP_82599.name ? ERRORS_82599 : ERRORS,
    });
  }
}

/** The transmit half of a queue pair. */
export class IxgbeTxQueue extends IntelTxQueue {
  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   */
  constructor(queue: LocalQueue, registers: Registers) {
    super(queue, registers, {
      tail: offsetOf(TDT, queue.index),
      maxFrame: MAX_FRAME_SIZE,
    });
  }
}
