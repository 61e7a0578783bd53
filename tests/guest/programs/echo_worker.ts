/** Sends back what comes, its addresses swapped. */
import { Batch, type QueueContext } from "@ixl/deno";
import { swapMacs } from "@ixl/deno/net";

export default function echo(queue: QueueContext): void {
  const { rx, tx } = queue.ports[0];
  const batch = new Batch(32);
  while (!queue.stopped) {
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) {
      swapMacs(rx.pool.u8, rx.pool.offset(batch.handles[i]));
    }
    queue.sendAll(tx, batch);
  }
}
