/**
 * A vhost-user backend that does what a test tells it: it answers as the
 * specification says, or wrongly, or not at all. It moves no packets; DPDK does.
 *
 * @module
 */

import { PollSet } from "../../../src/ffi/eventfd.ts";
import { closeFd, libc } from "../../../src/ffi/libc.ts";
import {
  connectUnix,
  UnixListener,
  type UnixSocket,
} from "../../../src/ffi/unix_socket.ts";
import {
  F_PROTOCOL_FEATURES,
  HEADER_BYTES,
  HeaderFlag,
  ProtocolFeature,
  Request,
  requestName,
} from "../../../src/bus/vhost_user/protocol.ts";

/** VIRTIO_F_VERSION_1. */
export const F_VERSION_1 = 1n << 32n;

/** How a backend answers one request. */
export type Answer =
  /** As it should. */
  | { readonly kind: "proper" }
  /** Not at all. */
  | { readonly kind: "silence" }
  /** By closing the socket. */
  | { readonly kind: "close" }
  /** With these bytes, then perhaps by closing the socket. */
  | {
    readonly kind: "bytes";
    readonly bytes: Uint8Array;
    readonly fds?: readonly number[];
    readonly close?: boolean;
  }
  /** With this number. */
  | { readonly kind: "word"; readonly word: bigint };

/** What a backend is like: structured-clonable but for `answer`. */
export interface BackendPlan {
  readonly features: bigint;
  readonly protocol: bigint;
  readonly pairs: bigint;
  readonly slots: bigint;
  /** Device configuration; none for a backend that cannot read it. */
  readonly config?: Uint8Array;
  /** Chooses the answer to a request; `nth` counts the requests of its kind from 0 on. */
  readonly answer?: (name: string, nth: number) => Answer;
}

/** A backend without anything special. */
export const PLAIN: BackendPlan = {
  features: F_VERSION_1 | F_PROTOCOL_FEATURES,
  protocol: ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK |
    ProtocolFeature.STATUS,
  pairs: 4n,
  slots: 32n,
};

/** A message that a backend got. */
export interface Message {
  readonly name: string;
  readonly flags: number;
  readonly words: readonly bigint[];
  readonly payload: Uint8Array;
  /** Its descriptors, open until the backend closes. */
  readonly fds: readonly number[];
}

/** A backend with one connection. */
export class FakeBackend {
  /** All messages, in order. */
  readonly received: Message[] = [];
  /** Memory as it was last told. */
  regions: Region[] = [];
  status = 0n;
  #socket: UnixSocket | undefined;
  readonly #counts = new Map<string, number>();
  #bytes: number[] = [];
  #fds: number[] = [];
  readonly #chunk = new Uint8Array(new ArrayBuffer(4096));
  #served: Promise<void> = Promise.resolve();

  constructor(readonly plan: BackendPlan) {}

  /** Serves a connection until it ends. */
  serve(socket: UnixSocket): void {
    this.#socket = socket;
    this.#served = this.#serve(socket);
  }

  /** Ends the connection, as the kernel does when the process is killed. */
  async close(): Promise<void> {
    this.#socket?.shutdown();
    await this.#served;
    for (const { fds } of this.received.splice(0)) fds.forEach(closeFd);
  }

  /** Resolves when the connection has ended. */
  get ended(): Promise<void> {
    return this.#served;
  }

  /** The names of the messages so far. */
  get names(): string[] {
    return this.received.map(({ name }) => name);
  }

  /** The last message of a kind. */
  last(name: string): Message {
    const found = this.received.findLast((message) => message.name === name);
    if (found === undefined) throw new Error(`there was no ${name}`);
    return found;
  }

  /** What lies at an address of the device: read through the file of its region. */
  read(iova: bigint, length: number): Uint8Array {
    const region = this.regions.find((region) =>
      iova >= region.iova &&
      iova + BigInt(length) <= region.iova + BigInt(region.size)
    );
    if (region === undefined) throw new Error(`nothing at 0x${iova}`);
    const bytes = new Uint8Array(length);
    const at = iova - region.iova + BigInt(region.offset);
    libc().pread(region.fd, bytes, BigInt(length), at);
    return bytes;
  }

  /** Takes a connection that is served by {@linkcode step} alone. */
  attach(socket: UnixSocket): void {
    this.#socket = socket;
  }

  /** Handles what has arrived, without waiting. False once the connection has ended. */
  step(): boolean {
    const socket = this.#socket;
    if (socket === undefined) return false;
    let goesOn = true;
    while (goesOn) {
      const { length, fds } = socket.receive(this.#chunk);
      if (length === undefined) return true;
      this.#bytes.push(...this.#chunk.subarray(0, length));
      this.#fds.push(...fds);
      goesOn = length > 0 && this.#handleAll(socket);
    }
    this.detach();
    return false;
  }

  /** Sends bytes that nobody has asked for. */
  say(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#socket?.send(bytes, fds);
  }

  /** Ends a connection that was attached. What it got stays with it until it is closed. */
  detach(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#fds.splice(0).forEach(closeFd);
  }

  async #serve(socket: UnixSocket): Promise<void> {
    const readable = new PollSet([socket.fd]);
    try {
      do await readable.waitAsync(1000); while (this.step());
    } finally {
      this.detach();
    }
  }

  #handleAll(socket: UnixSocket): boolean {
    while (this.#bytes.length >= HEADER_BYTES) {
      const header = new Uint32Array(
        new Uint8Array(this.#bytes.slice(0, HEADER_BYTES)).buffer,
      );
      const [request, flags, size] = header;
      if (this.#bytes.length < HEADER_BYTES + size) return true;
      const payload = new Uint8Array(
        this.#bytes.splice(0, HEADER_BYTES + size).slice(HEADER_BYTES),
      );
      const words = [
        ...new BigUint64Array(payload.buffer, 0, payload.length >>> 3),
      ];
      const message = {
        name: requestName(request),
        flags,
        words,
        payload,
        // One message at a time carries descriptors here: each is acknowledged, or alone.
        fds: this.#takeFds(requestName(request), words),
      };
      this.received.push(message);
      if (!this.#answer(socket, request, message)) return false;
    }
    return true;
  }

  #takeFds(name: string, words: readonly bigint[]): number[] {
    if (name === "SET_MEM_TABLE") {
      return this.#fds.splice(0, Number(words[0] & 0xffffffffn));
    }
    if (name === "ADD_MEM_REG") return this.#fds.splice(0, 1);
    if (!/^SET_VRING_(KICK|CALL|ERR)$/.test(name)) return [];
    return (words[0] & 0x100n) !== 0n ? [] : this.#fds.splice(0, 1);
  }

  #answer(socket: UnixSocket, request: number, message: Message): boolean {
    const nth = this.#counts.get(message.name) ?? 0;
    this.#counts.set(message.name, nth + 1);
    const answer = this.plan.answer?.(message.name, nth) ?? { kind: "proper" };
    switch (answer.kind) {
      case "silence":
        return true;
      case "close":
        return false;
      case "bytes":
        socket.send(answer.bytes, answer.fds ?? []);
        return !answer.close;
      case "word":
        socket.send(reply(request, wordBytes(answer.word)));
        return true;
      case "proper": {
        const payload = this.#payload(message);
        if (payload !== undefined) socket.send(reply(request, payload));
        return true;
      }
    }
  }

  /** What the specification wants for an answer; undefined for none. */
  #payload({ name, words, flags, payload, fds }: Message):
    | Uint8Array
    | undefined {
    const { plan } = this;
    switch (name) {
      case "GET_FEATURES":
        return wordBytes(plan.features);
      case "GET_PROTOCOL_FEATURES":
        return wordBytes(plan.protocol);
      case "GET_QUEUE_NUM":
        return wordBytes(plan.pairs);
      case "GET_MAX_MEM_SLOTS":
        return wordBytes(plan.slots);
      case "GET_STATUS":
        return wordBytes(this.status);
      case "GET_VRING_BASE":
        return payload;
      case "GET_CONFIG":
        if (plan.config === undefined) return new Uint8Array(0);
        payload.set(plan.config, 12);
        return payload;
      case "SET_STATUS":
        this.status = words[0];
        break;
      case "SET_MEM_TABLE":
        this.regions = regionsOf({ words, fds });
        break;
      case "ADD_MEM_REG":
        this.regions.push(...regionsOf({ words, fds }));
        break;
      case "REM_MEM_REG":
        this.regions = this.regions.filter(({ iova }) => iova !== words[1]);
        break;
    }
    return (flags & HeaderFlag.NEED_REPLY) !== 0 ? wordBytes(0n) : undefined;
  }
}

/** Backends that listen at a path, one for each connection. */
export class FakeServer {
  /** The backends so far. */
  readonly backends: FakeBackend[] = [];
  readonly #listener: UnixListener;
  readonly #accepting: Promise<void>;
  #closed = false;

  /** @param plans What the first, second, … connection finds; the last one also what those after it find. */
  constructor(path: string, readonly plans: readonly BackendPlan[]) {
    this.#listener = UnixListener.listen(path);
    this.#accepting = this.#accept();
  }

  /** The backend of the last connection. */
  get last(): FakeBackend {
    return this.backends.at(-1)!;
  }

  /** Ends all connections and stops listening. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#accepting;
    await Promise.all(this.backends.map((backend) => backend.close()));
    this.#listener.close();
  }

  async #accept(): Promise<void> {
    const readable = new PollSet([this.#listener.fd]);
    while (!this.#closed) {
      await readable.waitAsync(20);
      const socket = this.#listener.accept();
      if (socket === undefined) continue;
      const { plans, backends } = this;
      const plan = plans[Math.min(backends.length, plans.length - 1)];
      const backend = new FakeBackend(plan);
      backends.push(backend);
      backend.serve(socket);
    }
  }
}

/** A backend that connects to a front end. */
export async function connectBackend(
  path: string,
  plan: BackendPlan,
): Promise<FakeBackend> {
  for (let tries = 0; tries < 500; tries++) {
    const socket = connectUnix(path);
    if (socket === undefined) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      continue;
    }
    const backend = new FakeBackend(plan);
    backend.serve(socket);
    return backend;
  }
  throw new Error(`nobody listens at ${path}`);
}

/** A well-formed reply. */
export function reply(
  request: number,
  payload: Uint8Array,
  flags: number = HeaderFlag.VERSION | HeaderFlag.REPLY,
): Uint8Array {
  return message([request, flags, payload.length], payload);
}

/** A message with any header. */
export function message(
  header: readonly number[],
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(HEADER_BYTES + payload.length));
  new Uint32Array(bytes.buffer, 0, 3).set(header);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The bytes of a 64-bit number. */
export function wordBytes(word: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([word]).buffer);
}

/** Numbers of requests by name, for tests that write headers. */
export const REQUEST = Request;

/** Memory that a front end shares. */
export interface Region {
  readonly iova: bigint;
  readonly size: number;
  readonly offset: number;
  readonly fd: number;
}

/** The regions that SET_MEM_TABLE or ADD_MEM_REG names, one for each of its descriptors. */
export function regionsOf(
  { words, fds }: Pick<Message, "words" | "fds">,
): Region[] {
  return fds.map((fd, i) => {
    const [iova, size, , offset] = words.slice(1 + 4 * i);
    return { iova, size: Number(size), offset: Number(offset), fd };
  });
}
