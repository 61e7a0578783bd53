/**
 * Sending on one queue, with legacy descriptors.
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { AdvancedTxQueue } from "../ring/tx_queue.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { offsetOf } from "../register.ts";
import { chipNamed, maxFrameSize } from "./chip.ts";
import { LEGACY_TX } from "./descriptors.ts";
import { TDT } from "./registers.ts";

/** The transmit half of a queue pair. */
export class E1000TxQueue extends AdvancedTxQueue {
  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   */
  constructor(queue: LocalQueue, registers: Registers) {
    super(queue, registers, {
      tail: offsetOf(TDT, queue.index),
      maxFrame: maxFrameSize(chipNamed(queue.model)),
      layout: LEGACY_TX,
    });
  }
}
