/**
 * One connection to a client: whole messages in and out, with their file descriptors.
 *
 * Commands and replies of both sides share the socket. A command that arrives while a reply is waited for is kept, and
 * taken later.
 *
 * @module
 */
import { PollSet } from "../ffi/eventfd.ts";
import { closeFd } from "../ffi/libc.ts";
import type { UnixSocket } from "../ffi/unix_socket.ts";
import {
  commandName,
  Header,
  HEADER_BYTES,
  HeaderFlag,
  MOST_FDS,
  MOST_MESSAGE,
  ProtocolError,
} from "./protocol.ts";

/** Commands that may wait while a reply is waited for: clients wait for answers themselves. */
const MOST_WAITING = 4096;
const NO_FDS: readonly number[] = [];

/** A command of the client. */
export interface Message {
  /** Its number, which the reply repeats. */
  readonly id: number;
  /** One of {@linkcode Command}, or any other number. */
  readonly command: number;
  /** Whether the client waits for a reply. */
  readonly wantsReply: boolean;
  /** What follows the header. */
  readonly data: DataView;
  /** Descriptors that came with it. The handler of the message closes those that it does not keep. */
  readonly fds: number[];
}

/** The client has closed the connection. */
export class ClientGone extends Error {
  /** Name of the class. */
  override readonly name = "ClientGone";
}

/** A socket with a client at its other end. */
export class Connection {
  readonly #socket: UnixSocket;
  readonly #readable: PollSet;
  readonly #timeoutMs: number;
  readonly #bytes = new Uint8Array(new ArrayBuffer(MOST_MESSAGE));
  readonly #header = new DataView(this.#bytes.buffer);
  readonly #reply = new Uint8Array(new ArrayBuffer(MOST_MESSAGE));
  readonly #replyHeader = new DataView(this.#reply.buffer);
  /** Bytes of the message that is on its way, and what it brought. */
  #have = 0;
  #fds: number[] = [];
  readonly #waiting: Message[] = [];
  #nextId = 1;

  /**
   * @param socket The connected socket, which belongs to this object from then on.
   * @param timeoutMs How long the client may take to answer, and to take an answer.
   */
  constructor(socket: UnixSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#readable = new PollSet([socket.fd]);
  }

  /** What to wait on for commands. */
  get fd(): number {
    return this.#socket.fd;
  }

  /** Whether commands wait that no byte on the socket tells of. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * The next command; undefined when none is there yet. Its data is valid until the next call.
   * @throws {ProtocolError} when the client breaks the rules, {@linkcode ClientGone} when it has gone.
   */
  next(): Message | undefined {
    const kept = this.#waiting.shift();
    if (kept !== undefined || !this.#takeMessage()) return kept;
    return this.#asCommand();
  }

  /** The buffer for the data of a reply: fill it before {@linkcode answer}. */
  get replyData(): DataView {
    return new DataView(this.#reply.buffer, HEADER_BYTES);
  }

  /** Replies to a command with the first bytes of {@linkcode replyData}. */
  answer(message: Message, bytes: number): void {
    if (!message.wantsReply) return;
    this.#send(message.id, message.command, HeaderFlag.REPLY, 0, bytes);
  }

  /** Replies that a command cannot be done. */
  refuse(message: Message, code: number): void {
    if (!message.wantsReply) return;
    const flags = HeaderFlag.REPLY | HeaderFlag.ERROR;
    this.#send(message.id, message.command, flags, code, 0);
  }

  /**
   * Sends a command with the first bytes of {@linkcode replyData} and waits for its reply, blocking.
   * @returns The reply's data, valid until the next call of any method.
   * @throws {ProtocolError} when the reply is late, or says that it cannot be done.
   */
  ask(command: number, bytes: number): DataView {
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) & 0xffff;
    this.#send(id, command, HeaderFlag.COMMAND, 0, bytes);
    const deadline = performance.now() + this.#timeoutMs;
    for (;;) {
      while (this.#takeMessage()) {
        if (this.#isReply) return this.#checkReply(id, command);
        this.#keep();
      }
      const left = deadline - performance.now();
      if (left <= 0) {
        throw new ProtocolError(
          `did not answer ${commandName(command)} within ${this.#timeoutMs} ms`,
        );
      }
      this.#readable.wait(left);
    }
  }

  /** Ends the connection. */
  close(): void {
    for (const { fds } of this.#waiting.splice(0)) fds.forEach(closeFd);
    this.#fds.forEach(closeFd);
    this.#fds = [];
    this.#socket.close();
  }

  get #isReply(): boolean {
    const type = this.#header.getUint32(Header.flags, true) &
      HeaderFlag.TYPE_MASK;
    return type === HeaderFlag.REPLY;
  }

  /** Takes what there is of a message; true when it is whole. */
  #takeMessage(): boolean {
    for (;;) {
      const wanted = this.#have < HEADER_BYTES
        ? HEADER_BYTES
        : this.#header.getUint32(Header.size, true);
      if (this.#have === wanted) {
        this.#have = 0;
        return true;
      }
      const room = this.#bytes.subarray(this.#have, wanted);
      const { length, fds, truncated } = this.#socket.receive(room);
      if (length === undefined) return false;
      this.#fds.push(...fds);
      if (length === 0) this.#gone();
      if (truncated || this.#fds.length > MOST_FDS) {
        throw new ProtocolError(
          `sent more than ${MOST_FDS} file descriptors with a message`,
        );
      }
      this.#have += length;
      if (this.#have === HEADER_BYTES) this.#checkHeader();
    }
  }

  #gone(): never {
    throw this.#have === 0
      ? new ClientGone("has gone")
      : new ProtocolError("closed the socket within a message");
  }

  #checkHeader(): void {
    const size = this.#header.getUint32(Header.size, true);
    if (size < HEADER_BYTES || size > MOST_MESSAGE) {
      throw new ProtocolError(
        `announced a message of ${size} bytes: ${HEADER_BYTES} to ${MOST_MESSAGE} are allowed`,
      );
    }
    const flags = this.#header.getUint32(Header.flags, true);
    const known = HeaderFlag.TYPE_MASK | HeaderFlag.NO_REPLY |
      HeaderFlag.ERROR;
    const type = flags & HeaderFlag.TYPE_MASK;
    if ((flags & ~known) !== 0 || type > HeaderFlag.REPLY) {
      throw new ProtocolError(
        `sent a message with flags 0x${flags.toString(16)}`,
      );
    }
  }

  #asCommand(): Message {
    const header = this.#header;
    const command = header.getUint16(Header.command, true);
    if (this.#isReply) {
      throw new ProtocolError(
        `answered ${commandName(command)}, which was not requested`,
      );
    }
    const size = header.getUint32(Header.size, true);
    const flags = header.getUint32(Header.flags, true);
    const fds = this.#fds;
    this.#fds = [];
    return {
      id: header.getUint16(Header.id, true),
      command,
      wantsReply: (flags & HeaderFlag.NO_REPLY) === 0,
      data: new DataView(
        this.#bytes.buffer,
        HEADER_BYTES,
        size - HEADER_BYTES,
      ),
      fds,
    };
  }

  /** Puts a command aside until the reply that is waited for has come. */
  #keep(): void {
    if (this.#waiting.length === MOST_WAITING) {
      throw new ProtocolError(
        `sent ${MOST_WAITING} commands instead of an answer`,
      );
    }
    const message = this.#asCommand();
    const { byteOffset, byteLength } = message.data;
    const copy = this.#bytes.buffer.slice(byteOffset, byteOffset + byteLength);
    this.#waiting.push({ ...message, data: new DataView(copy) });
  }

  #checkReply(id: number, command: number): DataView {
    const header = this.#header;
    const name = commandName(command);
    if (
      header.getUint16(Header.id, true) !== id ||
      header.getUint16(Header.command, true) !== command
    ) throw new ProtocolError(`answered something else instead of ${name}`);
    if ((header.getUint32(Header.flags, true) & HeaderFlag.ERROR) !== 0) {
      const code = header.getUint32(Header.error, true);
      throw new ProtocolError(`refused ${name} (error ${code})`);
    }
    if (this.#fds.length > 0) {
      throw new ProtocolError(`answered ${name} with file descriptors`);
    }
    const size = header.getUint32(Header.size, true);
    return new DataView(
      this.#bytes.buffer,
      HEADER_BYTES,
      size - HEADER_BYTES,
    );
  }

  #send(
    id: number,
    command: number,
    flags: number,
    error: number,
    bytes: number,
  ): void {
    const view = this.#replyHeader;
    const size = HEADER_BYTES + bytes;
    view.setUint16(Header.id, id, true);
    view.setUint16(Header.command, command, true);
    view.setUint32(Header.size, size, true);
    view.setUint32(Header.flags, flags, true);
    view.setUint32(Header.error, error, true);
    for (let sent = 0; sent < size;) {
      const more = this.#socket.send(this.#reply.subarray(sent, size), NO_FDS);
      if (more === undefined) throw new ClientGone("has gone");
      sent += more;
      if (more === 0 && !this.#socket.waitForRoom(this.#timeoutMs)) {
        throw new ProtocolError(
          `took no answer for ${this.#timeoutMs} ms`,
        );
      }
    }
  }
}
