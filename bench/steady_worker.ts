/**
 * Forwards, and marks the steady phase for `steady.ts`.
 *
 * @module
 */
import { Batch, type QueueContext } from "../mod.ts";
import { swapMacs } from "../src/net/mod.ts";

const WARM_UP = 2_000_000;

/** With `--expose-gc`. */
declare const gc: () => void;

export default function forward(queue: QueueContext): void {
  const { packets } = queue.args as { packets: number };
  const [{ rx }, { tx }] = queue.ports;
  const { pool } = rx;
  const batch = new Batch(64);

  const loop = (count: number): number => {
    let done = 0;
    while (!queue.stopped && done < count) {
      const received = rx.receive(batch);
      for (let i = 0; i < received; i++) {
        swapMacs(pool.u8, pool.offset(batch.handles[i]));
      }
      done += received;
      queue.sendAll(tx, batch);
    }
    return done;
  };

  loop(WARM_UP);
  gc();
  const before = Deno.memoryUsage().heapUsed;
  const forwarded = loop(packets);
  const heapGrowth = Deno.memoryUsage().heapUsed - before;
  gc();
  // V8 writes its trace to standard output, in pieces.
  console.error(JSON.stringify({
    queue: queue.queue,
    packets: forwarded,
    heapGrowth,
  }));
}
