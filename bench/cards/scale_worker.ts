/**
 * One of the workers of `scale.ts`, with a ring pair of its own.
 *
 * @module
 */
import { Batch } from "../../src/memory/batch.ts";
import { ringsOf } from "../rings/rings.ts";

/** What a worker is told. */
export interface ScaleStart {
  /** Packets at once. */
  readonly batch: number;
  /** Time before the first round. */
  readonly warmUpMs: number;
  /** How many rounds. */
  readonly rounds: number;
  /** How long each is. */
  readonly roundMs: number;
  /** Counts the workers that are ready. */
  readonly arrived: SharedArrayBuffer;
  /** How many there are. */
  readonly workers: number;
}

/** What it found. */
export interface ScaleReport {
  /** Million packets a second in each round. */
  readonly mpps: readonly number[];
}

/** Batches between two looks at the clock: short enough that most slices pass without another program on this core. */
const SLICE = 1000;
/** The slice that stands for all, of those from slow to fast. */
const SHARE = 0.9;

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ScaleStart>) => void) | null;
  postMessage(report: ScaleReport): void;
};

scope.onmessage = ({ data }) => {
  const rings = ringsOf("ixgbe");
  const batch = new Batch(data.batch);
  const { pool, pair: { rx, tx } } = rings;

  /** Million packets a second while this worker has its core, seen over so many milliseconds. */
  const forward = (milliseconds: number): number => {
    const slices: number[] = [];
    const start = performance.now();
    let before = start;
    while (before < start + milliseconds) {
      for (let i = 0; i < SLICE; i++) {
        rings.step(batch.capacity);
        const received = rx.receive(batch);
        for (let n = 0; n < received; n++) {
          pool.u8[pool.offset(batch.handles[n])] ^= 1;
        }
        tx.send(batch);
      }
      const after = performance.now();
      slices.push(SLICE * batch.capacity / (after - before) / 1000);
      before = after;
    }
    slices.sort((a, b) => a - b);
    return slices[Math.floor(SHARE * slices.length)];
  };

  const arrived = new Int32Array(data.arrived);
  Atomics.add(arrived, 0, 1);
  while (Atomics.load(arrived, 0) < data.workers);
  forward(data.warmUpMs);
  const mpps = Array.from(
    { length: data.rounds },
    () => forward(data.roundMs),
  );
  rings.close();
  scope.postMessage({ mpps });
};
