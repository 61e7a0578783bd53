/**
 * Forwards, and marks the steady phase for `steady.ts`.
 *
 * @module
 */
import { Batch, type QueueContext } from "../../mod.ts";
import { swapMacs } from "../../src/net/mod.ts";

const WARM_UP = 2_000_000;

/** What the workers are told. */
export interface SteadyArgs {
  /** Packets that each of them forwards between its marks. */
  readonly packets: number;
  /** How many workers there are. */
  readonly workers: number;
  /** How many of them have reported, as an `Int32Array` of one. */
  readonly reported: SharedArrayBuffer;
}

/** With `--expose-gc`. */
declare const gc: () => void;

export default function forward(queue: QueueContext): void {
  const { packets, workers, reported } = queue.args as SteadyArgs;
  const reports = new Int32Array(reported);
  const [{ rx }, { tx }] = queue.ports;
  const { pool } = rx;
  const batch = new Batch(64);

  const loop = (count: number): number => {
    let done = 0;
    while (
      !queue.stopped && done < count && Atomics.load(reports, 0) < workers
    ) {
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
  Atomics.add(reports, 0, 1);
  // The card gives nothing to anyone while one of its rings is full: go on until the others have their packets.
  loop(Infinity);
}
