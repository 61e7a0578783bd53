/**
 * The main isolate's side of the queue workers: start, watch, stop, restart.
 *
 * @module
 */
import { MessageChannel } from "node:worker_threads";
import type { Device, QueueDescription } from "../device_api.ts";
import { ConfigError, DeviceTimeoutError, IxlError } from "../errors.ts";
import { log } from "../log.ts";
import { INDEX_BITS, Mempool } from "../memory/mempool.ts";
import { type CounterName, QueueCounters } from "../stats.ts";
import type { WorkerReport, WorkerStart } from "./protocol.ts";
import { Turns } from "../wait.ts";

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
const ENDED_SILENTLY =
  "the worker ended before its function returned: let it return instead of calling close() or Deno.exit()";

/** The queues of each device that have a worker, by role and number. */
const busyQueues = new WeakMap<Device, Set<string>>();
/** Where workers copy packets for a device, by role and number of the queue: for this run and those after it. */
const copyPools = new WeakMap<Device, Map<string, Mempool>>();
/** Packets of such a pool beyond what fills the transmit ring: for copies that wait for room. */
const COPIES_IN_BATCHES = 1024;

/** How queue workers are run. */
export interface RunOptions {
  /** Module whose default export handles a queue; it gets a {@linkcode QueueContext}. */
  readonly worker: URL | string;
  /** Queue pairs to use; default: as many as every device has. */
  readonly queues?: number;
  /** Core of each queue's worker; fewer entries than queues leave the rest unbound. */
  readonly cpus?: readonly number[];
  /** Structured-clonable; each worker finds it as `queue.args`. */
  readonly args?: unknown;
  /** Called when a worker threw; its packets are already recovered. */
  readonly onFailure?: (failure: WorkerFailure) => void;
}

/** A worker that threw. */
export interface WorkerFailure {
  /** Number of its queue pair. */
  readonly queue: number;
  /** What it threw. */
  readonly message: string;
  /** Where. */
  readonly stack: string;
}

/** The live counters of one queue pair on each device. */
export interface QueueSnapshot {
  /** Number of the queue pair. */
  readonly queue: number;
  /** Counters on each device, in the order given to `run()`. */
  readonly ports: readonly Readonly<Record<CounterName, number>>[];
  /** Packets of the first device's pool that are in use. */
  readonly poolInUse: number;
  /** Packets of the first device's pool. */
  readonly poolCapacity: number;
}

interface Running {
  readonly worker: Worker;
  readonly ended: Promise<void>;
  /** True once its worker has thrown: nothing stops it any more. */
  failed: boolean;
}

/** Those with workers. */
const runs = new Set<Run>();
/** One queue starts afresh after the other: two runs may use the same ones. */
const restarts = new Turns();

/** Running queue workers. `await using` stops them at the end of the block. */
export class Run implements AsyncDisposable {
  /** The workers that threw, in order. */
  readonly failures: WorkerFailure[] = [];
  readonly #devices: readonly Device[];
  readonly #options: RunOptions;
  readonly #queues: number;
  readonly #running = new Map<number, Running>();
  readonly #counters: QueueCounters[][] = [];
  readonly #pools: Mempool[] = [];
  readonly #allEnded = Promise.withResolvers<void>();
  readonly #watches: Disposable[];
  /** Described once: the next worker of a queue goes on where the last one stopped, registers included. */
  readonly #ports: (readonly QueueDescription[])[] = [];
  /** The devices, by their place, that cannot send the packets of all others from where they are. */
  readonly #copying = new Set<number>();
  #replacing = 0;
  #stopping: Promise<void> | undefined;

  /** Use {@linkcode run}. */
  constructor(devices: readonly Device[], options: RunOptions) {
    this.#devices = devices;
    this.#options = options;
    const available = Math.min(...devices.map((d) => d.rxQueueCount));
    this.#queues = options.queues ?? available;
    if (!(this.#queues >= 1 && this.#queues <= available)) {
      throw new ConfigError(
        "queues",
        `${this.#queues} is not within 1 to ${available}, the queues of the devices`,
      );
    }
    const twice = devices.find((device, i) => devices.indexOf(device) !== i);
    if (twice !== undefined) {
      throw new ConfigError(
        "devices",
        `${twice.address} is there twice: give it once, its worker can send on it as well`,
      );
    }
    for (const cpu of options.cpus ?? []) {
      if (Number.isInteger(cpu) && cpu >= 0) continue;
      throw new ConfigError("cpus", `${cpu} is no core`);
    }
    this.#watches = devices.map((device) =>
      device.onRemoval(() => this.#lose(device))
    );
  }

  /**
   * Resolves when all workers have ended, by themselves or because they were asked to. Rejects with an IxlError
   * "device-gone" when a device was removed from the machine; its workers have stopped then.
   */
  get done(): Promise<void> {
    return this.#allEnded.promise;
  }

  /** Number of workers that run now. */
  get workers(): number {
    return this.#running.size;
  }

  /** Live counters of every queue, read from shared memory. */
  stats(): QueueSnapshot[] {
    return this.#counters.map((ports, queue) => ({
      queue,
      ports: ports.map((counters) => counters.snapshot()),
      poolInUse: this.#pools[queue].inUse,
      poolCapacity: this.#pools[queue].capacity,
    }));
  }

  /** Starts all workers; resolves when each is in the user's function. */
  async start(): Promise<this> {
    for (const role of this.#devices.keys()) this.#attachPools(role);
    const all = Array.from({ length: this.#queues }, (_, i) => i);
    await Promise.all(all.map((queue) => this.#start(queue)));
    return this;
  }

  /**
   * Asks the workers to stop and waits until each has acknowledged, after which none touches a packet any more. A queue
   * is stopped for all who use it: where two runs share queues, as the two ways of a bridge do, both end.
   * Throws a DeviceTimeoutError when one does not answer.
   */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  /** Starts a worker on a queue whose worker has ended or failed. */
  async restart(queue: number): Promise<void> {
    await this.#replace(queue, async () => {
      await this.#stopOne(queue);
      await this.#restartQueues(queue);
      await this.#start(queue);
    });
  }

  /** Stops one queue's worker and hands its queue to a fresh one, packets and ring positions as they are. */
  async move(queue: number, cpu = -1): Promise<void> {
    await this.#replace(queue, async () => {
      await this.#stopOne(queue);
      for (const device of this.#devices) device.resumeQueue(queue);
      await this.#start(queue, cpu);
    });
  }

  /**
   * While one worker takes the place of another, having none is not the end. Other runs may use the same queues, as the
   * two ways of a bridge do: their workers stop meanwhile, because the rings and pools are theirs, too.
   */
  async #replace(queue: number, action: () => Promise<void>): Promise<void> {
    const others = [...runs].filter((run) =>
      run !== this && run.#running.get(queue)?.failed === false &&
      run.#devices.some((device) => this.#devices.includes(device))
    );
    for (const run of [this, ...others]) run.#replacing++;
    try {
      await Promise.all(others.map((run) => run.#stopOne(queue)));
      await action();
    } finally {
      await Promise.all(others.map((run) => run.#goOn(queue)));
      for (const run of [this, ...others]) {
        run.#replacing--;
        run.#endWhenIdle();
      }
    }
  }

  /** After another run has let go of a queue. */
  async #goOn(queue: number): Promise<void> {
    if (this.#stopping !== undefined || this.#running.has(queue)) return;
    try {
      await this.#start(queue);
    } catch (error) {
      log("error", this.#devices[0].address, `queue ${queue}: ${error}`);
    }
  }

  #endWhenIdle(): void {
    if (this.#running.size === 0 && this.#replacing === 0) {
      runs.delete(this);
      this.#allEnded.resolve();
    }
  }

  /** Stops all workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** A device goes away: no worker and no other card may touch its packets any more. */
  async #lose(lost: Device): Promise<void> {
    this.#allEnded.reject(
      new IxlError(
        "device-gone",
        `${lost.address} was removed from the machine`,
      ),
    );
    // A program that does not await `done` must not be ended by an unhandled rejection.
    this.#allEnded.promise.catch(() => {});
    await this.stop();
    for (const device of this.#devices) {
      if (device === lost) continue;
      for (let queue = 0; queue < this.#queues; queue++) {
        await device.haltQueue(queue);
      }
    }
  }

  async #stop(): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]();
    const queues = [...this.#running.keys()];
    try {
      await Promise.all(queues.map((queue) => this.#stopOne(queue)));
      this.#allEnded.resolve();
    } catch (error) {
      this.#allEnded.reject(error);
      this.#allEnded.promise.catch(() => {});
      throw error;
    }
  }

  async #stopOne(queue: number): Promise<void> {
    const running = this.#running.get(queue);
    if (!running) return;
    for (const device of this.#devices) device.stopQueue(queue);
    await within(
      running.ended,
      STOP_TIMEOUT_MS,
      `end of the worker of queue ${queue}`,
      "let its loop end when queue.stopped is true",
    );
  }

  async #start(
    queue: number,
    cpu: number = this.#options.cpus?.[queue] ?? -1,
  ): Promise<void> {
    const ports = this.#ports[queue] ??= this.#devices.map((device) =>
      device.describeQueue(queue)
    );
    this.#counters[queue] = ports.map((port) =>
      new QueueCounters(port.counters)
    );
    this.#pools[queue] = Mempool.attach(ports[0].pool);
    claim(this.#devices, queue);
    for (const device of this.#devices) device.lendQueue(queue);
    const worker = new Worker(
      new URL("../../workers/queue_worker.ts", import.meta.url),
      { type: "module", name: `ixl-queue-${queue}` },
    );
    const started = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const current: Running = { worker, ended: ended.promise, failed: false };
    this.#running.set(queue, current);
    runs.add(this);
    let over = false;
    const finish = async (failure?: Omit<WorkerFailure, "queue">) => {
      if (over) return;
      over = true;
      if (failure) {
        current.failed = true;
        await this.#recover({ queue, ...failure });
        started.reject(new IxlError("worker-failed", failure.message));
      }
      this.#running.delete(queue);
      release(this.#devices, queue);
      for (const device of this.#devices) device.takeBackQueue(queue);
      ended.resolve();
      this.#endWhenIdle();
    };
    worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.type === "started") started.resolve();
      else if (data.type === "grow") growPool(data.pool, data.entries);
      else void finish(data.type === "failed" ? data : undefined);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      void finish({ message: event.message, stack: "" });
    };
    const start: WorkerStart = {
      module: moduleUrl(this.#options.worker),
      queue,
      ports,
      copyPools: this.#copyPools(queue).map((pool) => pool?.description),
      cpu,
      args: this.#options.args,
    };
    const { port1: life, port2: port } = new MessageChannel();
    let saidEnd = false;
    life.on("message", () => saidEnd = true);
    // An isolate that closes itself or exits raises no event, but its ports close.
    life.on("close", () => {
      if (!saidEnd) void finish({ message: ENDED_SILENTLY, stack: "" });
    });
    life.unref();
    worker.postMessage({ ...start, life: port }, [
      port as unknown as Transferable,
    ]);
    await within(
      started.promise,
      START_TIMEOUT_MS,
      `start of the worker of queue ${queue}`,
      "let its module finish loading, without a wait at its top level",
    );
  }

  /** Lets a device send the packets of all others from where they are. Where it cannot, `sendAll()` copies them. */
  #attachPools(role: number): void {
    const device = this.#devices[role];
    for (const other of this.#devices) {
      if (other === device) continue;
      try {
        for (let queue = 0; queue < this.#queues; queue++) {
          device.attachMempool(other.rxMempool(queue));
        }
      } catch (error) {
        if (!(error instanceof IxlError) || error.code !== "pool-unreachable") {
          throw error;
        }
        this.#copying.add(role);
        log(
          "warn",
          device.address,
          `packets from ${other.address} are copied: ${error.message}`,
        );
      }
    }
  }

  /** Where the worker of a queue copies packets for each device: no other worker may take from there. */
  #copyPools(queue: number): (Mempool | undefined)[] {
    return this.#devices.map((device, role) => {
      if (!this.#copying.has(role)) return undefined;
      const pools = copyPools.get(device) ?? new Map<string, Mempool>();
      copyPools.set(device, pools);
      const key = roleOf(role, queue);
      const pool = pools.get(key) ??
        device.createMempool(device.txQueueDepth + COPIES_IN_BATCHES);
      pools.set(key, pool);
      return pool;
    });
  }

  /** Every ring stops before any pool is refilled: a packet may be in the ring of another device. */
  #restartQueues(queue: number): Promise<void> {
    return restarts.take(() => this.#restartInTurn(queue));
  }

  async #restartInTurn(queue: number): Promise<void> {
    for (const device of this.#devices) await device.haltQueue(queue);
    for (const device of this.#devices) await device.restartQueue(queue);
    // The rings are empty, and no worker holds their packets.
    for (const pool of this.#copyPools(queue)) pool?.reclaimAll();
  }

  /** After a worker died: its packets go home, its queue works again, the others never stopped. */
  async #recover(failure: WorkerFailure): Promise<void> {
    const { queue, message } = failure;
    log("error", this.#devices[0].address, `queue ${queue}: ${message}`);
    try {
      await this.#replace(queue, () => this.#restartQueues(queue));
    } catch (error) {
      log("error", this.#devices[0].address, `queue ${queue}: ${error}`);
    }
    this.failures.push(failure);
    this.#options.onFailure?.(failure);
  }
}

/**
 * Starts one worker per queue pair and hands each its queue of every device.
 *
 * @param devices One device, or several whose queues of the same number go to the same worker.
 * @throws {ConfigError} when there are fewer queues than asked for.
 * @throws {IxlError} "worker-failed" when a module cannot be loaded or throws at once.
 *
 * @example
 * ```ts
 * import { openDevice, run } from "@ixl/deno";
 *
 * await using device = await openDevice({ address: "sim:loopback", queues: 2 });
 * // Usually a file of its own: new URL("./drop.ts", import.meta.url)
 * const worker = new URL("data:text/javascript,export default (queue) => {}");
 * await using forwarding = await run(device, { worker });
 * console.log(forwarding.stats().length); // 2
 * ```
 */
export async function run(
  devices: Device | readonly Device[],
  options: RunOptions,
): Promise<Run> {
  const all = Array.isArray(devices) ? devices : [devices as Device];
  const running = new Run(all, options);
  try {
    return await running.start();
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/**
 * A queue has one user for each role, its place in the list of `run()`: a second one would take its packets, or get
 * none. A bridge has two workers, which use the same two cards the other way round.
 */
function claim(devices: readonly Device[], queue: number): void {
  const taken = devices.find((device, role) =>
    busyQueues.get(device)?.has(roleOf(role, queue))
  );
  if (taken !== undefined) {
    throw new IxlError(
      "device-busy",
      `queue ${queue} already has a worker on ${taken.address}: stop that run first, or use another queue`,
    );
  }
  devices.forEach((device, role) => {
    const roles = busyQueues.get(device) ?? new Set();
    busyQueues.set(device, roles.add(roleOf(role, queue)));
  });
}

/** What tells the workers of one queue apart. */
function roleOf(role: number, queue: number): string {
  return `${role} ${queue}`;
}

function release(devices: readonly Device[], queue: number): void {
  devices.forEach((device, role) =>
    busyQueues.get(device)?.delete(roleOf(role, queue))
  );
}

function growPool(pool: number, entries: number): void {
  try {
    Mempool.of(pool << INDEX_BITS).growMemory(entries);
  } catch (error) {
    log("warn", `pool ${pool}`, String(error));
  }
}

/** A relative one is relative to the program. */
function moduleUrl(worker: URL | string): string {
  return URL.canParse(worker)
    ? String(worker)
    : new URL(worker, Deno.mainModule).href;
}

async function within<T>(
  promise: Promise<T>,
  milliseconds: number,
  what: string,
  advice: string,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new DeviceTimeoutError(what, milliseconds, advice)),
      milliseconds,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
