/**
 * What user code gets in a queue worker.
 *
 * @module
 */
import type { Batch } from "../memory/batch.ts";
import type { QueuePair, RxQueue, TxQueue } from "../device_api.ts";
import { attachQueue } from "../device.ts";
import { IxlError } from "../errors.ts";
import { pinToCpu } from "../ffi/cpu.ts";
import { loadNative } from "../ffi/native.ts";
import { yieldCpu } from "../irq/line.ts";
import { Mempool } from "../memory/mempool.ts";
import type { QueueCounters } from "../stats.ts";
import { PacketCopier } from "./packet_copier.ts";
import type { WorkerReport, WorkerStart } from "./protocol.ts";

const GROW_TIMEOUT_MS = 5000;

/**
 * A queue pair of each device, in a worker of its own.
 *
 * @example A worker's module
 * ```ts
 * import { Batch, type QueueContext } from "@ixl/deno";
 *
 * export default function drop(queue: QueueContext): void {
 *   const batch = new Batch(64);
 *   while (!queue.stopped) {
 *     queue.rx.receive(batch);
 *     batch.free();
 *   }
 * }
 * ```
 */
export class QueueContext {
  /** Receive queue of the first device. */
  readonly rx: RxQueue;
  /** Transmit queue of the first device. */
  readonly tx: TxQueue;
  /** Pool of the first device's queue. */
  readonly pool: Mempool;
  /** Live counters of the first device's queue pair. */
  readonly stats: QueueCounters;
  /** For each transmit queue that cannot send the packets of all ports from where they are. */
  readonly #copiers = new Map<TxQueue, PacketCopier>();

  /**
   * Gathers what belongs to one queue.
   *
   * @param queue Number of the queue pair.
   * @param ports The queue pair of every device, in the order given to `run()`.
   * @param args What `run()` was given for the workers.
   * @param copyPools For each port that cannot send the packets of all others from where they are: a pool that it can
   * send from, and that belongs to this worker alone.
   */
  constructor(
    readonly queue: number,
    readonly ports: readonly QueuePair[],
    readonly args: unknown,
    copyPools: readonly (Mempool | undefined)[] = [],
  ) {
    const { rx, tx } = ports[0];
    this.rx = rx;
    this.tx = tx;
    this.pool = rx.pool;
    this.stats = rx.counters;
    for (const [port, { tx }] of ports.entries()) {
      const pool = copyPools[port];
      if (pool) this.#copiers.set(tx, new PacketCopier(tx, pool));
    }
  }

  /**
   * Sends the whole batch and empties it. While the ring is full it lets the card catch up, so that what is too much
   * is dropped, and counted, by the card that receives and not in here. When the worker is asked to stop meanwhile,
   * the rest is freed and counted as `dropped`. Returns how many were sent.
   *
   * Packets that the card cannot reach, because they came from another kind of card whose memory cannot be shared, are
   * copied into a pool that it can reach, and counted as `copied` among the counters of `tx`.
   */
  sendAll(tx: TxQueue, batch: Batch): number {
    const copier = this.#copiers.get(tx);
    const count = batch.length;
    for (;;) {
      if (copier !== undefined && copier.copyAll(batch) === 0) tx.reclaim();
      else batch.removeFirst(tx.send(batch));
      if (batch.length === 0) return count;
      if (this.stopped) {
        const dropped = batch.free();
        this.stats.add("dropped", dropped);
        return count - dropped;
      }
      yieldCpu();
    }
  }

  /** True once the program asked this worker to stop, or another took over its queue. One plain load: ask per batch. */
  get stopped(): boolean {
    return this.rx.stopped;
  }
}

/** What the default export of a worker's module is. */
export type QueueWorker = (queue: QueueContext) => void | Promise<void>;

/** Attaches the queues and runs the user's module to its end. */
export async function runQueueWorker(
  start: WorkerStart,
  report: (message: WorkerReport) => void,
): Promise<void> {
  try {
    await loadNative();
    if (start.cpu >= 0) pinToCpu(start.cpu);
    const ports = start.ports.map((description) => {
      Mempool.attach(
        description.pool,
        (pool, entries) => askForMemory(pool, entries, report),
      );
      return attachQueue(description);
    });
    const userModule = await import(start.module) as { default?: unknown };
    if (typeof userModule.default !== "function") {
      throw new TypeError(`${start.module} has no default export to call`);
    }
    report({ type: "started" });
    const work = userModule.default as QueueWorker;
    const copyPools = start.copyPools.map((pool) =>
      pool && Mempool.attach(pool)
    );
    const { queue, args } = start;
    await work(new QueueContext(queue, ports, args, copyPools));
    report({ type: "ended" });
  } catch (error) {
    const { message, stack = "" } = error instanceof Error
      ? error
      : new Error(String(error));
    report({ type: "failed", message, stack });
  }
}

function askForMemory(
  pool: Mempool,
  entries: number,
  report: (message: WorkerReport) => void,
): void {
  const ask = () => report({ type: "grow", pool: pool.id, entries });
  if (pool.requestMemory(entries, GROW_TIMEOUT_MS, ask)) return;
  throw new IxlError(
    "out-of-memory",
    `no memory for ${entries} packets: the main isolate refused, or its event loop is blocked`,
  );
}
