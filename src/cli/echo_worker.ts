/**
 * Sends numbered frames and checks what comes back: the worker of `ixl demo --device`.
 *
 * @module
 */
import { Batch } from "../batch.ts";
import { HEADROOM, INDEX_MASK, type Mempool } from "../mempool.ts";
import type { QueueContext } from "../runtime/queue_context.ts";
import { Frame } from "../sim/frame.ts";
import { GeneratorWire } from "../sim/wires/generator.ts";
import { SinkWire } from "../sim/wires/sink.ts";
import type { TrafficOptions } from "../sim/wires/traffic.ts";
import { WIRE_SLOT } from "../sim/wires/wire.ts";

/** What the worker is told. */
export interface EchoArgs {
  /** What is sent. */
  readonly traffic: TrafficOptions;
  /** For each queue, the places of {@linkcode WIRE_SLOT}. */
  readonly counters: readonly SharedArrayBuffer[];
  /** Packets in a batch. */
  readonly batch: number;
  /** Most frames on their way: the other side drops what our ring has no room for. */
  readonly window: number;
}

/** Keeps frames on their way until it is asked to stop. */
export default function echo(queue: QueueContext): void {
  const args = queue.args as EchoArgs;
  const { rx, tx, pool } = queue;
  const traffic = { ...args.traffic, seed: queue.queue + 1 };
  const counters = args.counters[queue.queue];
  const source = new GeneratorWire({ ...traffic, counters });
  const sink = new SinkWire({ ...traffic, counters });
  const wire = new Float64Array(counters);
  const frame = new Frame();
  const outgoing = new Batch(args.batch);
  const incoming = new Batch(args.batch);
  while (!queue.stopped) {
    const now = performance.now();
    const onTheirWay = wire[WIRE_SLOT.generated] - wire[WIRE_SLOT.received];
    let room = Math.min(args.batch - outgoing.length, args.window - onTheirWay);
    for (; room > 0; room--) {
      const handle = pool.allocate();
      if (handle === 0) break;
      if (!source.poll(frame, now)) {
        pool.free(handle);
        break;
      }
      store(frame, pool, handle);
      outgoing.push(handle);
    }
    if (outgoing.length > 0) outgoing.removeFirst(tx.send(outgoing));
    const received = rx.receive(incoming);
    for (let i = 0; i < received; i++) {
      load(frame, pool, incoming.handles[i]);
      sink.transmit(frame);
    }
    incoming.free();
  }
  outgoing.free();
}

/** Index of a packet's first byte in `pool.words`. */
function firstWord(pool: Mempool, handle: number): number {
  return (HEADROOM + (handle & INDEX_MASK) * pool.stride) >>> 2;
}

function store({ u32, length }: Frame, pool: Mempool, handle: number): void {
  const { words } = pool;
  const at = firstWord(pool, handle);
  for (let i = (length - 1) >>> 2; i >= 0; i--) words[at + i] = u32[i];
  pool.lengths[handle & INDEX_MASK] = length;
}

function load(frame: Frame, pool: Mempool, handle: number): void {
  const { u32 } = frame;
  const { words } = pool;
  const at = firstWord(pool, handle);
  const length = pool.lengths[handle & INDEX_MASK];
  for (let i = (length - 1) >>> 2; i >= 0; i--) u32[i] = words[at + i];
  frame.length = length;
}
