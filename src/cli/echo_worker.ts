/**
 * Sends numbered frames and checks what comes back: the worker of `ixl demo --device`.
 *
 * @module
 */
import { Batch } from "../memory/batch.ts";
import { HEADROOM, INDEX_MASK, type Mempool } from "../memory/mempool.ts";
import type { QueueContext } from "../runtime/queue_context.ts";
import { Frame } from "../sim/frame.ts";
import { GeneratorWire } from "../sim/wires/generator.ts";
import { SinkWire } from "../sim/wires/sink.ts";
import type { TrafficOptions } from "../sim/wires/traffic.ts";
import { WIRE_SLOT, wireCounters } from "../sim/wires/wire.ts";

/** What the worker is told. */
export interface EchoArgs {
  /** What is sent. */
  readonly traffic: TrafficOptions;
  /** For each queue, the places of {@linkcode WIRE_SLOT}. */
  readonly counters: readonly SharedArrayBuffer[];
  /**
   * For each queue, and each queue whose frames come back on it instead of on their own: the places of
   * {@linkcode WIRE_SLOT}. Without it such frames are foreign.
   */
  readonly elsewhere?: readonly (readonly SharedArrayBuffer[])[];
  /** Packets in a batch. */
  readonly batch: number;
  /** Most frames on their way: the other side drops what our ring has no room for. */
  readonly window: number;
}

/** When nothing has come back for so long and the window is full, what is on its way is lost. */
const LOSS_MS = 500;
/** The default seed of a generator is 1: its frames are not ours. */
const FIRST_SEED = 1000;

/** Keeps frames on their way until it is asked to stop. */
export default function echo(queue: QueueContext): void {
  const args = queue.args as EchoArgs;
  const { rx, tx, pool } = queue;
  const own = queue.queue;
  const source = new GeneratorWire({
    ...trafficOf(args, own),
    counters: args.counters[own],
  });
  const sinks = new Sinks(args, own);
  const flight = new Flight(args, own);
  const frame = new Frame();
  const outgoing = new Batch(args.batch);
  const incoming = new Batch(args.batch);
  while (!queue.stopped) {
    const now = performance.now();
    const onTheirWay = flight.count(now);
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
      sinks.take(frame);
    }
    incoming.free();
  }
  queue.stats.add("dropped", outgoing.free());
}

/** What the frames of a queue look like: each queue's differ from the others'. */
function trafficOf({ traffic }: EchoArgs, queue: number): TrafficOptions {
  return { ...traffic, seed: FIRST_SEED + queue };
}

/** Checks frames: those of its own queue, and those that were sent on another one. */
class Sinks {
  readonly #args: EchoArgs;
  readonly #queue: number;
  readonly #own: SinkWire;
  /** By queue, made when something comes that is not of the own one. */
  #others: SinkWire[] | undefined;

  constructor(args: EchoArgs, queue: number) {
    this.#args = args;
    this.#queue = queue;
    this.#own = new SinkWire({
      ...trafficOf(args, queue),
      counters: args.counters[queue],
    });
  }

  /** Counts a frame once. */
  take(frame: Frame): void {
    if (this.#own.takes(frame)) return;
    this.#others ??= this.#makeOthers();
    if (this.#others.some((sink) => sink.takes(frame))) return;
    this.#own.transmit(frame);
  }

  #makeOthers(): SinkWire[] {
    const elsewhere = this.#args.elsewhere?.[this.#queue] ?? [];
    return elsewhere.flatMap((counters, queue) =>
      queue === this.#queue
        ? []
        : [new SinkWire({ ...trafficOf(this.#args, queue), counters })]
    );
  }
}

/** The frames of a queue that are on their way. */
export class Flight {
  readonly #own: Float64Array;
  /** Where they come back: on their queue, or on others. */
  readonly #ends: readonly Float64Array[];
  /** Frames that did not come back when the window was full for {@linkcode LOSS_MS}, and before. */
  #writtenOff = 0;
  #returned = 0;
  #changedAt = 0;
  readonly #window: number;

  /**
   * @param args What the worker is told.
   * @param queue Whose frames.
   */
  constructor(
    { counters, elsewhere = [], window }: Pick<
      EchoArgs,
      "counters" | "elsewhere" | "window"
    >,
    queue: number,
  ) {
    this.#own = wireCounters(counters[queue]);
    const others = elsewhere.filter((_, other) => other !== queue);
    this.#ends = [
      this.#own,
      ...others.map((ends) => wireCounters(ends[queue])),
    ];
    this.#window = window;
  }

  /**
   * How many there are. Those that the flows' sequence numbers show to be missing are not, nor are those that nothing
   * came back of for too long: they would keep the window closed for ever.
   */
  count(now: number): number {
    let returned = 0;
    let missing = 0;
    for (let i = 0; i < this.#ends.length; i++) {
      const end = this.#ends[i];
      returned += end[WIRE_SLOT.received] - end[WIRE_SLOT.foreign] -
        end[WIRE_SLOT.duplicated];
      missing += end[WIRE_SLOT.missing];
    }
    const open = this.#own[WIRE_SLOT.generated] - returned;
    // What was written off may come back after all.
    this.#writtenOff = Math.min(this.#writtenOff, open);
    const lost = Math.max(missing, this.#writtenOff);
    const onTheirWay = Math.max(0, open - lost);
    if (returned !== this.#returned || onTheirWay < this.#window) {
      this.#returned = returned;
      this.#changedAt = now;
    } else if (now - this.#changedAt >= LOSS_MS) {
      this.#writtenOff = open;
      return 0;
    }
    return onTheirWay;
  }
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
