/**
 * The main isolate's side of the software cards: one worker for all cards of the process, started with the first
 * and ended with the last.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";
import { MappedDomain } from "../../dma/mapped_domain.ts";
import type { DmaMemory } from "../../dma/memory.ts";
import {
  DeviceTimeoutError,
  IxlError,
  type IxlErrorCode,
} from "../../errors.ts";
import { IrqLine } from "../../irq/line.ts";
import { STARVED, World, WORLD_BYTES } from "./channel.ts";
import type { SimReply, SimRequest, SimStart } from "./protocol.ts";

const START_TIMEOUT_MS = 30_000;
const CALL_TIMEOUT_MS = 10_000;

/** The worker that holds the cards. */
export class SimWorld {
  static #current: Promise<SimWorld> | undefined;
  static #users = 0;

  /** The shared words. */
  readonly words: SharedArrayBuffer = new SharedArrayBuffer(WORLD_BYTES);
  /** Wakes the worker. */
  readonly doorbell: IrqLine = IrqLine.create();
  /** The cards' common address space. */
  readonly dma: MappedDomain;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #view: Int32Array = new Int32Array(this.words);
  #calls = 0;
  #failure: string | undefined;
  #cards = 0;
  /** Whether another isolate may still ring the doorbell. */
  #inUse = false;

  private constructor() {
    this.#worker = new Worker(
      new URL("../../../workers/sim_worker.ts", import.meta.url),
      { type: "module", name: "ixl-sim" },
    );
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const start: SimStart = {
      port: port2,
      world: this.words,
      doorbellFd: this.doorbell.fd,
    };
    this.#worker.postMessage(start, [port2]);
    this.dma = new MappedDomain({
      map: (memory: DmaMemory, offset, length, iova) =>
        void this.call({
          op: "map",
          iova,
          buffer: memory.buffer,
          byteOffset: memory.byteOffset + offset,
          length,
        }),
      unmap: (iova, length) => void this.call({ op: "unmap", iova, length }),
    });
  }

  /** The world, started when it is not there. Each call needs a {@linkcode release}. */
  static async acquire(): Promise<SimWorld> {
    SimWorld.#users++;
    try {
      return await (SimWorld.#current ??= SimWorld.#start());
    } catch (error) {
      SimWorld.#users--;
      SimWorld.#current = undefined;
      throw error;
    }
  }

  static async #start(): Promise<SimWorld> {
    const world = new SimWorld();
    try {
      await world.#ready();
    } catch (error) {
      world.#end();
      throw error;
    }
    return world;
  }

  /**
   * Ends the worker with the last card.
   * @param inUse True when another isolate may still use the card's registers.
   */
  async release(inUse = false): Promise<void> {
    this.#inUse ||= inUse;
    if (--SimWorld.#users > 0) return;
    SimWorld.#current = undefined;
    const ended = new Promise<void>((resolve) => {
      this.#worker.onmessage = () => resolve();
    });
    if (Atomics.load(this.#view, World.Ended) === 0) {
      this.call({ op: "end" });
      await ended;
    }
    this.#end();
  }

  #end(): void {
    this.#port.close();
    this.#worker.terminate();
    if (this.#inUse) this.doorbell.retire();
    else this.doorbell.close();
  }

  /** A number for a new card. */
  takeCardNumber(): number {
    return this.#cards++;
  }

  /** Sends a control message and waits for its answer, blocking. */
  call(request: SimRequest): SimReply & { ok: true } {
    this.#assertAlive();
    const number = ++this.#calls;
    this.#port.postMessage(request);
    Atomics.add(this.#view, World.Control, 1);
    this.doorbell.raise();
    const until = performance.now() + CALL_TIMEOUT_MS;
    for (;;) {
      const answered = Atomics.load(this.#view, World.Answered);
      if (answered === number) break;
      this.#assertAlive();
      if (performance.now() > until) {
        throw new DeviceTimeoutError(
          `the software card's answer to "${request.op}"`,
          CALL_TIMEOUT_MS,
          STARVED,
        );
      }
      Atomics.wait(this.#view, World.Answered, answered, 50);
    }
    return this.#takeReply();
  }

  #takeReply(): SimReply & { ok: true } {
    // Deno's two declarations of MessagePort do not know each other.
    const port = this.#port as unknown as Parameters<
      typeof receiveMessageOnPort
    >[0];
    const reply = receiveMessageOnPort(port)?.message as SimReply | undefined;
    if (reply?.ok) return reply;
    throw new IxlError(
      (reply?.code ?? "device-gone") as IxlErrorCode,
      reply?.message ?? "the software card's worker gave no answer",
    );
  }

  #assertAlive(): void {
    if (Atomics.load(this.#view, World.Ended) === 0) return;
    throw new IxlError(
      "device-gone",
      `the software card's worker has ended${
        this.#failure ? `: ${this.#failure}` : ""
      }`,
    );
  }

  /** The worker says once that it runs; from then on it answers over shared memory. */
  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new DeviceTimeoutError(
              "start of the software card's worker",
              START_TIMEOUT_MS,
              STARVED,
            ),
          ),
        START_TIMEOUT_MS,
      );
      this.#worker.onmessage = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#worker.onerror = (event) => {
        event.preventDefault();
        clearTimeout(timer);
        this.#failure = event.message;
        Atomics.store(this.#view, World.Ended, 1);
        reject(new IxlError("worker-failed", event.message));
      };
    });
  }
}
