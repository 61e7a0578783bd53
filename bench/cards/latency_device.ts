/**
 * The card of `latency.ts`, in a thread of its own: fills receive descriptors in time, and raises the interrupt.
 *
 * @module
 */
import { IrqLine } from "../../src/irq/line.ts";
import { type LatencyStart, raiseInterrupt, Shared } from "./latency_shared.ts";

/** 82599 descriptor: status and length. */
const STATUS = 2;
const LENGTH = 3;
const DONE = 0x3;
const FRAME_BYTES = 60;

/** Says what time it is until told to begin. */
function answer(words: Int32Array, stamps: Float64Array): void {
  while (Atomics.load(words, Shared.Begin) === 0) {
    const asked = Atomics.load(words, Shared.Asked);
    if (asked === Atomics.load(words, Shared.Answered)) continue;
    stamps[stamps.length - 1] = performance.now();
    Atomics.store(words, Shared.Answered, asked);
  }
}

function play(start: LatencyStart): void {
  const { depth, packets, intervalMs } = start;
  const ring = new Int32Array(start.ring, 0, depth * 4);
  const words = new Int32Array(start.words);
  const stamps = new Float64Array(start.stamps);
  const line = new IrqLine(start.irqFd);
  answer(words, stamps);
  const begin = performance.now();
  for (let n = 0; n < packets; n++) {
    const head = n & (depth - 1);
    const due = begin + n * intervalMs;
    while (performance.now() < due || head === words[Shared.Tail]);
    ring[head * 4] = 0;
    ring[head * 4 + LENGTH] = FRAME_BYTES;
    stamps[n] = performance.now();
    Atomics.store(ring, head * 4 + STATUS, DONE);
    Atomics.store(words, Shared.Cause, 1);
    raiseInterrupt(words, line);
  }
}

/** The end of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<LatencyStart>) => void) | null;
};

scope.onmessage = ({ data }) => play(data);
