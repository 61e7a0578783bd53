/**
 * Receives and drops: the worker of `ixl stats`.
 *
 * @module
 */
import { Batch } from "../memory/batch.ts";
import type { QueueContext } from "../runtime/queue_context.ts";

/** Drops what arrives on a queue until it is asked to stop. */
export default function drop(queue: QueueContext): void {
  const batch = new Batch(64);
  while (!queue.stopped) {
    queue.rx.receive(batch);
    batch.free();
  }
}
