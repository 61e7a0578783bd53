/**
 * One connection to a backend: messages go out, each reply is checked and finds its asker.
 *
 * @module
 */
import {
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
} from "../../errors.ts";
import { PollSet } from "../../ffi/eventfd.ts";
import { closeFd } from "../../ffi/libc.ts";
import type { UnixSocket } from "../../ffi/unix_socket.ts";
import {
  encode,
  HEADER_BYTES,
  HeaderFlag,
  LONGEST_REPLY,
  type Message,
  plainMessage,
  Request,
  requestName,
} from "./protocol.ts";

/** How long one wait for a reply lasts at most: another asker may have taken what it waits for. */
const LONGEST_WAIT_MS = 100;

/** Bytes of a reply: so many, or within two bounds. */
export type ReplySize = number | readonly [least: number, most: number];

/** What becomes of a request. */
interface Answer {
  readonly resolve: (reply: DataView) => void;
  readonly reject: (reason: IxlError) => void;
}

/** Somebody who waits for a reply. */
interface Asker extends Answer {
  readonly request: number;
  readonly least: number;
  readonly most: number;
  readonly deadline: number;
}

/** A socket with a backend at its other end. Replies come in the order of the requests. */
export class Connection {
  readonly #socket: UnixSocket;
  readonly #readable: PollSet;
  readonly #askers: Asker[] = [];
  readonly #bytes = new Uint8Array(
    new ArrayBuffer(HEADER_BYTES + LONGEST_REPLY),
  );
  readonly #header = new Uint32Array(this.#bytes.buffer, 0, 3);
  #have = 0;
  #broken: IxlError | undefined;
  #waiting: Promise<void> | undefined;
  #acknowledges = false;

  /**
   * @param socket The connected socket, which belongs to this object from then on.
   * @param peer What to call the backend in messages.
   * @param timeoutMs How long a reply may take.
   */
  constructor(
    socket: UnixSocket,
    readonly peer: string,
    readonly timeoutMs: number,
  ) {
    this.#socket = socket;
    this.#readable = new PollSet([socket.fd]);
  }

  /** Why the connection has ended; undefined while it stands. */
  get broken(): IxlError | undefined {
    return this.#broken;
  }

  /** Sends what needs no reply, from now on with a word whether it was done (REPLY_ACK). */
  useAcknowledgements(): void {
    this.#acknowledges = true;
  }

  /** True when {@linkcode tell} gives news of a refusal. */
  get acknowledges(): boolean {
    return this.#acknowledges;
  }

  /** Asks, and resolves with the reply's payload. Rejects when the connection ends, as it does without a reply. */
  ask(message: Message, size: ReplySize): Promise<DataView> {
    return this.#request(message, size, false);
  }

  /**
   * Says something that has no reply. Where the backend acknowledges, resolves when it has done so.
   * @throws {DeviceFaultError} when it refuses.
   */
  async tell(message: Message): Promise<void> {
    if (!this.#acknowledges) return this.send(message);
    const reply = await this.#request(message, ACK_BYTES, true);
    this.#assertDone(message, reply);
  }

  /** The same as {@linkcode tell}, blocking the isolate. */
  tellNow(message: Message): void {
    if (!this.#acknowledges) return this.send(message);
    const reply = this.#requestNow(message, ACK_BYTES, true);
    this.#assertDone(message, reply);
  }

  /** Sends a message and asks for nothing. */
  send(message: Message): void {
    this.#assertStands();
    this.#sendAll(message, false);
    this.#assertStands();
  }

  /** Resolves when the backend has done all that it was told: it handles one message after the other. */
  async barrier(): Promise<void> {
    if (this.#acknowledges) return;
    await this.ask(plainMessage(Request.GET_FEATURES), 8);
  }

  /** The same, blocking the isolate. */
  barrierNow(): void {
    if (this.#acknowledges) return;
    this.#requestNow(plainMessage(Request.GET_FEATURES), 8, false);
  }

  /** Resolves when nothing waits on the socket any more: a connection that has ended is closed then. */
  get ended(): Promise<void> {
    return this.#waiting ?? Promise.resolve();
  }

  /** Takes what has arrived, without waiting. Finds out whether the backend has gone. */
  look(): void {
    try {
      while (this.#broken === undefined && this.#takeSome());
    } catch (error) {
      this.end(gone(this.peer, `${error}`));
    }
  }

  /** Ends the connection. Pending requests fail with the reason. */
  end(reason: IxlError): void {
    if (this.#broken !== undefined) return;
    this.#broken = reason;
    this.#socket.shutdown();
    // A wait that is under way needs the descriptor's number to stay what it is.
    if (this.#waiting === undefined) this.#socket.close();
    for (const asker of this.#askers.splice(0)) asker.reject(reason);
  }

  #request(
    message: Message,
    size: ReplySize,
    needReply: boolean,
  ): Promise<DataView> {
    return new Promise((resolve, reject) => {
      this.#post(message, size, needReply, { resolve, reject });
      this.#waitForReplies();
    });
  }

  #requestNow(
    message: Message,
    size: ReplySize,
    needReply: boolean,
  ): DataView {
    let reply: DataView | undefined;
    this.#post(message, size, needReply, {
      resolve: (view) => reply = view,
      reject: () => {},
    });
    for (;;) {
      if (reply !== undefined) return reply;
      if (this.#broken !== undefined) throw this.#broken;
      this.#readable.wait(this.#timeLeft());
      this.look();
      this.#endWhenLate();
    }
  }

  #post(
    message: Message,
    size: ReplySize,
    needReply: boolean,
    answer: Answer,
  ): void {
    if (this.#broken !== undefined) return answer.reject(this.#broken);
    const [least, most] = typeof size === "number" ? [size, size] : size;
    this.#askers.push({
      request: message.request,
      least,
      most,
      deadline: performance.now() + this.timeoutMs,
      ...answer,
    });
    this.#sendAll(message, needReply);
  }

  #sendAll(message: Message, needReply: boolean): void {
    const bytes = encode(message, needReply);
    const deadline = performance.now() + this.timeoutMs;
    try {
      for (let sent = 0; sent < bytes.length;) {
        const fds = sent === 0 ? message.fds : [];
        const more = this.#socket.send(bytes.subarray(sent), fds);
        if (more === undefined) return this.#endAsClosed();
        sent += more;
        if (more > 0) continue;
        const left = deadline - performance.now();
        if (left <= 0 || !this.#socket.waitForRoom(left)) {
          return this.end(this.#late(message.request, "taking"));
        }
      }
    } catch (error) {
      this.end(gone(this.peer, `${error}`));
    }
  }

  /** The backend takes nothing any more: what it said before may tell why. */
  #endAsClosed(): void {
    this.look();
    this.end(gone(this.peer, "went away"));
  }

  /** One wait for all that are waiting. */
  #waitForReplies(): void {
    if (this.#askers.length > 0) this.#waiting ??= this.#wait();
  }

  /** Waits on a thread of its own. */
  async #wait(): Promise<void> {
    while (this.#askers.length > 0) {
      const longest = Math.min(this.#timeLeft(), LONGEST_WAIT_MS);
      await this.#readable.waitAsync(longest);
      this.look();
      this.#endWhenLate();
    }
    this.#waiting = undefined;
    if (this.#broken !== undefined) this.#socket.close();
  }

  /** Milliseconds until the oldest request must be answered. */
  #timeLeft(): number {
    return Math.max(0, (this.#askers[0]?.deadline ?? 0) - performance.now());
  }

  #endWhenLate(): void {
    const first = this.#askers[0];
    if (first === undefined || performance.now() < first.deadline) return;
    this.end(this.#late(first.request, "answering"));
  }

  #late(request: number, verb: string): DeviceTimeoutError {
    return new DeviceTimeoutError(
      `${this.peer} ${verb} ${requestName(request)}`,
      this.timeoutMs,
      "the backend is busy, hung or stopped: look at its log, or wait longer with ?timeout=MS in the address",
    );
  }

  #assertStands(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }

  #assertDone({ request }: Message, reply: DataView): void {
    const code = reply.getBigUint64(0, true);
    if (code === 0n) return;
    throw new DeviceFaultError(
      `${this.peer} refused ${requestName(request)} (${code})`,
    );
  }

  /** Takes a piece of a message, never more than one. False when there is nothing. */
  #takeSome(): boolean {
    const wanted = this.#have < HEADER_BYTES
      ? HEADER_BYTES
      : HEADER_BYTES + this.#header[2];
    const room = this.#bytes.subarray(this.#have, wanted);
    const { length, fds, truncated } = this.#socket.receive(room);
    if (length === undefined) return false;
    fds.forEach(closeFd);
    if (length === 0) {
      this.end(gone(
        this.peer,
        this.#have > 0 ? "closed the socket within a message" : "went away",
      ));
      return false;
    }
    this.#have += length;
    if (fds.length > 0 || truncated) {
      this.#fault("sent file descriptors that were not requested");
    } else if (this.#have === HEADER_BYTES && wanted === HEADER_BYTES) {
      this.#checkHeader();
    }
    if (this.#broken !== undefined) return false;
    if (this.#have >= HEADER_BYTES) this.#finish();
    return true;
  }

  #checkHeader(): void {
    const [request, flags, size] = this.#header;
    const asker = this.#askers[0];
    if (asker === undefined) {
      return this.#fault(`sent ${requestName(request)} without being asked`);
    }
    const { least, most } = asker;
    const asked = requestName(asker.request);
    if (request !== asker.request) {
      this.#fault(`answered ${asked} with ${requestName(request)}`);
    } else if ((flags & HeaderFlag.VERSION_MASK) !== HeaderFlag.VERSION) {
      const version = flags & HeaderFlag.VERSION_MASK;
      this.#fault(`answered ${asked} in version ${version} of the protocol`);
    } else if ((flags & HeaderFlag.REPLY) === 0) {
      this.#fault(`answered ${asked} with what is no reply`);
    } else if (size < least || size > most) {
      const range = least === most ? least : `${least} to ${most}`;
      this.#fault(`answered ${asked} with ${size} bytes instead of ${range}`);
    }
  }

  /** Hands a whole message over. */
  #finish(): void {
    const end = HEADER_BYTES + this.#header[2];
    if (this.#have < end) return;
    this.#have = 0;
    const payload = this.#bytes.slice(HEADER_BYTES, end);
    this.#askers.shift()!.resolve(new DataView(payload.buffer));
  }

  #fault(what: string): void {
    this.end(new DeviceFaultError(`${this.peer} ${what}`));
  }
}

/** Bytes of the word that something was done. */
const ACK_BYTES = 8;

function gone(peer: string, how: string): IxlError {
  return new IxlError("device-gone", `${peer} ${how}`);
}
