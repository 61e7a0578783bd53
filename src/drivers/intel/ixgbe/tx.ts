/**
 * Sending on one queue of an 82599 (section 7.2).
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { AdvancedTxQueue } from "../ring/tx_queue.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { offsetOf } from "../register.ts";
import { MAX_FRAME_SIZE } from "./chip.ts";
import { TDT } from "./registers.ts";

/** The transmit half of a queue pair. */
export class IxgbeTxQueue extends AdvancedTxQueue {
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
