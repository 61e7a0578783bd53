/**
 * The halves of a queue pair, for the kind of ring that was agreed on.
 *
 * @module
 */
import type { VirtioQueueBus } from "../../bus/bus.ts";
import type { LocalQueue } from "../base_rx_queue.ts";
import { accepts } from "./features.ts";
import { PackedRxQueue } from "./packed_rx.ts";
import { PackedTxQueue } from "./packed_tx.ts";
import { featuresOf } from "./rings.ts";
import type { VirtioRxQueue } from "./rx.ts";
import { SplitRxQueue } from "./split_rx.ts";
import { SplitTxQueue } from "./split_tx.ts";
import type { VirtioTxQueue } from "./tx.ts";

export { renewPair } from "./rings.ts";

/** Makes the receive half of a queue pair. */
export function createRxQueue(
  queue: LocalQueue,
  bus: VirtioQueueBus,
): VirtioRxQueue {
  return accepts(featuresOf(queue), "packed")
    ? new PackedRxQueue(queue, bus)
    : new SplitRxQueue(queue, bus);
}

/** Makes the transmit half of a queue pair. */
export function createTxQueue(
  queue: LocalQueue,
  bus: VirtioQueueBus,
): VirtioTxQueue {
  return accepts(featuresOf(queue), "packed")
    ? new PackedTxQueue(queue, bus)
    : new SplitTxQueue(queue, bus);
}
