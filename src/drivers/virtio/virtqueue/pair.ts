/**
 * The halves of a queue pair, for the kind of ring that was agreed on.
 *
 * @module
 */
import type { VirtioQueueBus } from "../../../bus/virtio/transport.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { accepts } from "../features.ts";
import { PackedRxQueue } from "./packed_rx.ts";
import { PackedTxQueue } from "./packed_tx.ts";
import { emptyRxRing, emptyTxRing, featuresOf } from "./reset.ts";
import type { VirtioRxQueue } from "./rx.ts";
import { SplitRxQueue } from "./split_rx.ts";
import { SplitTxQueue } from "./split_tx.ts";
import type { VirtioTxQueue } from "./tx.ts";
import { State, unlessUsedElsewhere } from "./state.ts";

/** For a transmit queue that only looks back. */
const SILENT: VirtioQueueBus = {
  notify: () => {},
  unmaskInterrupt: () => false,
};

/** Makes the receive half of a queue pair. */
export function createRxQueue(
  queue: LocalQueue,
  bus: VirtioQueueBus,
): VirtioRxQueue {
  const renew = () => {
    renewTxUnlessUsed(queue);
    emptyRxRing(queue);
  };
  return accepts(featuresOf(queue), "packed")
    ? new PackedRxQueue(queue, bus, renew)
    : new SplitRxQueue(queue, bus, renew);
}

/** Makes the transmit half of a queue pair. */
export function createTxQueue(
  queue: LocalQueue,
  bus: VirtioQueueBus,
): VirtioTxQueue {
  const renew = () => {
    renewTx(queue);
    renewRxUnlessUsed(queue);
  };
  return accepts(featuresOf(queue), "packed")
    ? new PackedTxQueue(queue, bus, renew)
    : new SplitTxQueue(queue, bus, renew);
}

/**
 * Starts both rings of a queue pair afresh after the device was reset or its backend went away: the packets in them
 * are freed, those on transmit that the device had not finished are counted as abandoned, and the next receive fills
 * the receive ring again. Only where no other isolate uses the pair. The device must not use the rings meanwhile.
 */
export function renewPair(queue: LocalQueue): void {
  renewTx(queue);
  emptyRxRing(queue);
}

function renewTx(queue: LocalQueue): void {
  createTxQueue(queue, SILENT).settle();
  emptyTxRing(queue);
}

function renewTxUnlessUsed(queue: LocalQueue): void {
  const words = new Int32Array(queue.control);
  if (words[State.Epoch] === words[State.TxRenewed]) return;
  unlessUsedElsewhere(words, State.TxUser, () => renewTx(queue));
}

function renewRxUnlessUsed(queue: LocalQueue): void {
  const words = new Int32Array(queue.control);
  if (words[State.Epoch] === words[State.RxRenewed]) return;
  unlessUsedElsewhere(words, State.RxUser, () => emptyRxRing(queue));
}
