/**
 * Makes the receive pools of a device larger and smaller while packets flow.
 *
 * The worker that owns a pool follows with its next `receive()`; a queue without a worker is followed here.
 *
 * @module
 */
import { DeviceTimeoutError } from "../../errors.ts";
import { repeatedly } from "../../log.ts";
import { Turns, until } from "../../wait.ts";
import { DEVICE_TOKEN, Word } from "../queue/control_block.ts";
import type { QueueMemory } from "./device_memory.ts";

/** How long the user of a queue may take to follow a change of its pool. */
const SETTLE_TIMEOUT_MS = 10_000;
/** How often memory of a pool that has shrunk is given back, until all of it is. */
const RELEASE_INTERVAL_MS = 200;

/** What a resizer needs to know of its device. */
export interface ResizedDevice {
  /** For messages. */
  readonly address: string;
  /** Whether it is closed. */
  readonly closed: boolean;
  /** Memory of a queue. Throws when there is no such queue, or the device is closed. */
  queueMemory(index: number): QueueMemory;
  /** Whether this isolate receives on a queue. */
  receivesHere(index: number): boolean;
}

/** Resizes the pools of one device. */
export class PoolResizer {
  readonly #device: ResizedDevice;
  /** Changes of one queue's pool come one after the other. */
  readonly #turns: Turns[] = [];
  /** Pools that have memory to give back. */
  readonly #shrunk = new Set<QueueMemory["pool"]>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param device Whose pools they are. */
  constructor(device: ResizedDevice) {
    this.#device = device;
  }

  /**
   * Changes a pool's size. Resolves when its owner has followed.
   *
   * @throws {DeviceTimeoutError} when the owner does not call `receive()`.
   */
  async resize(index: number, change: number): Promise<void> {
    const turns = this.#turns[index] ??= new Turns();
    await turns.take(() => this.#resize(index, change));
    if (change > 0 || this.#device.closed) return;
    this.#releaseSoon(this.#device.queueMemory(index).pool);
  }

  /** Lets a pool follow a change, or asks the one who owns it. */
  sync(index: number, { pool, control, wake }: QueueMemory): void {
    if (this.#device.receivesHere(index)) {
      pool.sync();
    } else if (
      Atomics.compareExchange(control.words, Word.Owner, 0, DEVICE_TOKEN) === 0
    ) {
      pool.sync();
      Atomics.store(control.words, Word.Owner, 0);
    } else {
      control.askToLook();
      wake.raise();
    }
  }

  /** Gives no memory back any more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#shrunk.clear();
  }

  async #resize(index: number, change: number): Promise<void> {
    const queue = this.#device.queueMemory(index);
    queue.pool.resize(queue.pool.target + change);
    // A stopped queue has no user: the next one follows when it starts.
    if (queue.control.words[Word.Stop] !== 0) return;
    if (await until(() => this.#settle(index, queue), SETTLE_TIMEOUT_MS)) {
      return;
    }
    throw new DeviceTimeoutError(
      `queue ${index} following the new size of its pool`,
      SETTLE_TIMEOUT_MS,
      "let the worker of the queue call receive()",
    );
  }

  #settle(index: number, queue: QueueMemory): boolean {
    if (queue.pool.settled || this.#device.closed) return true;
    this.sync(index, queue);
    return queue.pool.settled;
  }

  #releaseSoon(pool: QueueMemory["pool"]): void {
    this.#shrunk.add(pool);
    this.#timer ??= repeatedly(
      this.#device.address,
      () => {
        for (const pool of this.#shrunk) {
          if (pool.releaseMemory()) this.#shrunk.delete(pool);
        }
        if (this.#shrunk.size === 0) this.stop();
      },
      RELEASE_INTERVAL_MS,
    );
  }
}
