/**
 * QEMU's machine protocol: commands, and events that come by themselves
 * (docs/interop/qmp-spec).
 *
 * @module
 */

import { readObjects, writeObject } from "./protocol.ts";
import { QemuSocket } from "./socket.ts";

/** What QEMU says by itself. */
export interface QmpEvent {
  /** Its name: DEVICE_DELETED and so on. */
  readonly event: string;
  /** What it tells, by event. */
  readonly data: Readonly<Record<string, unknown>>;
}

interface Answer {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

type Message = Answer & Partial<QmpEvent>;

/** Which event to wait for. */
export interface EventOptions {
  /** Gives up after that, with an error. */
  readonly timeoutMs?: number;
  /** Only such an event. */
  readonly where?: (data: QmpEvent["data"]) => boolean;
}

/** A connection to the QEMU of a guest. */
export class Qmp {
  /** All events so far, in their order. */
  readonly events: QmpEvent[] = [];
  readonly #socket: QemuSocket;
  readonly #pending = new Map<number, (answer: Answer) => void>();
  #wake: () => void = () => {};
  #nextId = 1;

  /** Listens at a path that does not exist yet. */
  constructor(path: string) {
    this.#socket = new QemuSocket(path);
  }

  /** Where QEMU shall connect to. */
  get path(): string {
    return this.#socket.path;
  }

  /** Waits for QEMU and makes it ready for commands. */
  async connect(): Promise<void> {
    const stream = await this.#socket.accept();
    this.#read(stream).catch(() => {}).finally(() => this.#giveUp());
    await this.execute("qmp_capabilities");
  }

  /**
   * Has QEMU execute a command, and returns its result.
   *
   * @throws {Error} When QEMU refuses, or has ended.
   */
  async execute(
    command: string,
    args: Record<string, unknown> = {},
  ): Promise<unknown> {
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#pending.set(id, resolve);
    const request = { execute: command, arguments: args, id };
    await this.#socket.send(writeObject(request)).catch(() => this.#giveUp());
    const answer = await promise;
    if (answer.error === undefined) return answer.return;
    throw new Error(`QEMU refuses ${command}: ${answer.error.desc}`);
  }

  /** Waits for an event that comes from now on, and has an action cause it. */
  async eventAfter(
    name: string,
    action: () => Promise<unknown>,
    options: EventOptions = {},
  ): Promise<QmpEvent> {
    const { timeoutMs = 30_000, where = () => true } = options;
    const start = this.events.length;
    const deadline = performance.now() + timeoutMs;
    await action();
    while (true) {
      const found = this.events.slice(start).find(({ event, data }) =>
        event === name && where(data)
      );
      if (found !== undefined) return found;
      if (performance.now() >= deadline) {
        throw new Error(`no ${name} from QEMU within ${timeoutMs} ms`);
      }
      await this.#anything(deadline);
    }
  }

  /** Closes the connection. */
  close(): void {
    this.#socket.close();
  }

  async #anything(deadline: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(
      resolve,
      Math.max(0, deadline - performance.now()),
    );
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const message of readObjects<Message>(stream)) {
      const { event, data = {}, id } = message;
      if (event !== undefined) {
        this.events.push({ event, data });
        this.#wake();
      } else if (id !== undefined) {
        this.#pending.get(id)?.(message);
        this.#pending.delete(id);
      }
    }
  }

  #giveUp(): void {
    const error = { desc: "it has ended" };
    for (const answer of this.#pending.values()) answer({ error });
    this.#pending.clear();
  }
}
