/**
 * Receiving on one queue of an 82576 or I350 (82576 section 7.1).
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { Rx, type RxErrors } from "../ring/descriptors.ts";
import { IntelRxQueue } from "../ring/rx_queue.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { bit, offsetOf } from "../register.ts";
import { EIMS, RDT, TDT } from "./registers.ts";
import { IntelTxQueue } from "../ring/tx_queue.ts";
import { MAX_FRAME_SIZE } from "./chip.ts";

/**
 * Errors in the extended status (7.1.5.2), two of them one bit lower than the 82599 has them.
 *
 * SCTP packets of 60 bytes can be marked as bad though they are good, as Linux found out (its igb driver recomputes
 * them): nothing is said of an SCTP checksum that is reported as wrong.
 */
const ERRORS: RxErrors = {
  damaged: bit(31),
  ip: bit(30),
  l4: bit(29),
  unreliable: Rx.PTYPE_SCTP,
};

/** The receive half of a queue pair. */
export class IgbRxQueue extends IntelRxQueue {
  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   */
  constructor(queue: LocalQueue, registers: Registers) {
    super(queue, registers, {
      tail: offsetOf(RDT, queue.index),
      unmask: offsetOf(EIMS),
      unmaskBit: 1 << queue.index,
      errors: ERRORS,
    });
  }
}

/** The transmit half of a queue pair. */
export class IgbTxQueue extends IntelTxQueue {
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
