/**
 * A vfio-user client in the hands of a test: it says what the test wants, right or wrong, and checks each reply's
 * frame. Numbers and layouts are written here once more, from the specification: nothing is taken from the server.
 */
import { assertEquals } from "@std/assert";
import { closeFd } from "../../../src/ffi/libc.ts";
import { PollSet } from "../../../src/ffi/eventfd.ts";
import { connectUnix, type UnixSocket } from "../../../src/ffi/unix_socket.ts";

const HEADER = 16;
const TIMEOUT_MS = 10_000;
const REPLY = 1;
const NO_REPLY = 0x10;
const ERROR = 0x20;

/** Commands of the specification. */
export const COMMAND = {
  version: 1,
  dmaMap: 2,
  dmaUnmap: 3,
  deviceInfo: 4,
  regionInfo: 5,
  regionIoFds: 6,
  irqInfo: 7,
  setIrqs: 8,
  regionRead: 9,
  regionWrite: 10,
  dmaRead: 11,
  dmaWrite: 12,
  reset: 13,
  writeMulti: 15,
} as const;

/** Flags of SET_IRQS. */
export const IRQ = {
  none: 0x1,
  bool: 0x2,
  eventfd: 0x4,
  mask: 0x8,
  unmask: 0x10,
  trigger: 0x20,
} as const;

/** A reply. */
export interface Reply {
  readonly error: number | undefined;
  readonly data: DataView;
}

/** A whole message, for tests that write it wrong. */
export interface RawMessage {
  readonly command: number;
  readonly data?: Uint8Array;
  readonly fds?: readonly number[];
  readonly id?: number;
  readonly flags?: number;
  /** In the place of the true size. */
  readonly size?: number;
}

/** Numbers as bytes: `u16`, `u32` or `u64` each. */
export function bytesOf(
  ...fields: readonly (readonly ["u16" | "u32" | "u64", number | bigint])[]
): Uint8Array<ArrayBuffer> {
  const width = { u16: 2, u32: 4, u64: 8 };
  const total = fields.reduce((sum, [kind]) => sum + width[kind], 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [kind, value] of fields) {
    if (kind === "u16") view.setUint16(at, Number(value), true);
    else if (kind === "u32") view.setUint32(at, Number(value), true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width[kind];
  }
  return bytes;
}

/** Bytes one behind the other. */
export function joined(
  ...parts: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** One connection. Everything blocks the isolate: the server lives in another. */
export class VfioUserClient implements Disposable {
  readonly #socket: UnixSocket;
  readonly #readable: PollSet;
  #nextId = 1;
  #closed = false;
  /** Memory that stays here, by address: what DMA_READ and DMA_WRITE go to. */
  readonly kept: { readonly address: number; readonly bytes: Uint8Array }[] =
    [];
  /** DMA_READ and DMA_WRITE that were answered. */
  readonly served: { read: number; written: number } = { read: 0, written: 0 };

  /** Connects, and agrees on the version unless told not to. */
  constructor(path: string, { negotiate = true } = {}) {
    const socket = connectUnix(path);
    if (socket === undefined) throw new Error(`nobody listens at ${path}`);
    this.#socket = socket;
    this.#readable = new PollSet([socket.fd]);
    if (negotiate) this.negotiate();
  }

  /** The first message. Returns the server's answer. */
  negotiate(capabilities: object = { write_multiple: true }): {
    major: number;
    minor: number;
    capabilities: Record<string, unknown>;
  } {
    const text = new TextEncoder().encode(
      `${JSON.stringify({ capabilities })}\0`,
    );
    const data = joined(bytesOf(["u16", 0], ["u16", 1]), text);
    const reply = this.ask({ command: COMMAND.version, data }).data;
    const bytes = new Uint8Array(
      reply.buffer,
      reply.byteOffset + 4,
      reply.byteLength - 4,
    );
    assertEquals(bytes.at(-1), 0, "the text ends");
    return {
      major: reply.getUint16(0, true),
      minor: reply.getUint16(2, true),
      ...JSON.parse(new TextDecoder().decode(bytes.subarray(0, -1))),
    };
  }

  /** Sends a message as it is. */
  send(message: RawMessage): void {
    const { command, data = new Uint8Array(0), fds = [] } = message;
    const { id = this.#nextId++ & 0xffff, flags = 0 } = message;
    const size = message.size ?? HEADER + data.length;
    const header = bytesOf(
      ...[["u16", id], ["u16", command], ["u32", size]] as const,
      ...[["u32", flags], ["u32", 0]] as const,
    );
    this.sendBytes(joined(header, data), fds);
  }

  /** Sends bytes that may be no message at all. False when the server has closed the connection. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): boolean {
    for (let sent = 0; sent < bytes.length;) {
      const more = this.#socket.send(
        bytes.subarray(sent),
        sent === 0 ? fds : [],
      );
      if (more === undefined) return false;
      sent += more;
      if (more === 0) this.#socket.waitForRoom(TIMEOUT_MS);
    }
    return true;
  }

  /** Sends a command and returns its reply, which must be one to this command. */
  ask(message: RawMessage): Reply {
    const id = this.#nextId++ & 0xffff;
    this.send({ ...message, id });
    return this.reply(id, message.command);
  }

  /** The next reply, which must be this one. Serves the memory that stays here meanwhile. */
  reply(id: number, command: number): Reply {
    for (;;) {
      const { header, data } = this.#message();
      const flags = header.getUint32(8, true);
      if ((flags & 0xf) === 0) {
        this.#serve(header, data);
        continue;
      }
      assertEquals(
        [header.getUint16(0, true), header.getUint16(2, true), flags & 0xf],
        [id, command, REPLY],
      );
      const failed = (flags & ERROR) !== 0;
      if (failed) assertEquals(data.byteLength, 0);
      return { error: failed ? header.getUint32(12, true) : undefined, data };
    }
  }

  /** Asks for what must succeed. */
  do(message: RawMessage): DataView {
    const { error, data } = this.ask(message);
    assertEquals(error, undefined, `command ${message.command}`);
    return data;
  }

  /** Waits until the server closes the connection; anything else that it says is a failure. */
  untilClosed(): void {
    const into = new Uint8Array(1);
    for (;;) {
      const { length } = this.#socket.receive(into);
      if (length === 0) return;
      assertEquals(length, undefined, "the server says something");
      if (this.#readable.wait(TIMEOUT_MS) === 0) {
        throw new Error("the server has not closed the connection");
      }
    }
  }

  /** Serves the memory that stays here until something holds. */
  serveUntil(done: () => boolean): void {
    const deadline = performance.now() + TIMEOUT_MS;
    while (!done()) {
      if (performance.now() > deadline) throw new Error("it does not happen");
      if (this.#readable.wait(1) === 0) continue;
      const { header, data } = this.#message();
      assertEquals(header.getUint32(8, true) & 0xf, 0, "a command");
      this.#serve(header, data);
    }
  }

  /** Takes a command of the server, which must be this one, and leaves it unanswered. Returns its number. */
  command(command: number): number {
    const { header } = this.#message();
    assertEquals(
      [header.getUint16(2, true), header.getUint32(8, true) & 0xf],
      [command, 0],
    );
    return header.getUint16(0, true);
  }

  /** Reads a part of a region. */
  read(region: number, offset: number, count: number): DataView {
    const data = bytesOf(["u64", offset], ["u32", region], ["u32", count]);
    const reply = this.do({ command: COMMAND.regionRead, data });
    assertEquals(reply.byteLength, 16 + count);
    assertEquals(reply.getUint32(12, true), count);
    return new DataView(reply.buffer, reply.byteOffset + 16, count);
  }

  /** Reads a register. */
  read32(region: number, offset: number): number {
    return this.read(region, offset, 4).getUint32(0, true);
  }

  /** Writes a part of a region. */
  write(region: number, offset: number, bytes: Uint8Array): void {
    const data = joined(
      bytesOf(["u64", offset], ["u32", region], ["u32", bytes.length]),
      bytes,
    );
    const reply = this.do({ command: COMMAND.regionWrite, data });
    assertEquals([reply.byteLength, reply.getUint32(12, true)], [
      16,
      bytes.length,
    ]);
  }

  /** Writes a register, without a reply. */
  post32(region: number, offset: number, value: number): void {
    const data = bytesOf(
      ...[["u64", offset], ["u32", region], ["u32", 4]] as const,
      ["u32", value >>> 0],
    );
    this.send({ command: COMMAND.regionWrite, data, flags: NO_REPLY });
  }

  /** Writes a register. */
  write32(region: number, offset: number, value: number): void {
    this.write(region, offset, bytesOf(["u32", value >>> 0]));
  }

  /** DMA_MAP; the reply's error. */
  map(
    { address, size, offset = 0, flags = 3, argsz = 32 }: {
      address: number | bigint;
      size: number | bigint;
      offset?: number | bigint;
      flags?: number;
      argsz?: number;
    },
    fds: readonly number[] = [],
  ): number | undefined {
    const data = bytesOf(
      ...[["u32", argsz], ["u32", flags], ["u64", offset]] as const,
      ...[["u64", address], ["u64", size]] as const,
    );
    return this.ask({ command: COMMAND.dmaMap, data, fds }).error;
  }

  /** DMA_UNMAP; the reply's error. */
  unmap(address: number, size: number, flags = 0): number | undefined {
    const data = bytesOf(
      ...[["u32", 24], ["u32", flags], ["u64", address]] as const,
      ["u64", size],
    );
    return this.ask({ command: COMMAND.dmaUnmap, data }).error;
  }

  /** SET_IRQS; the reply's error. */
  setIrqs(
    flags: number,
    index: number,
    start: number,
    count: number,
    { fds = [], bools = [] }: {
      fds?: readonly number[];
      bools?: readonly number[];
    } = {},
  ): number | undefined {
    const data = joined(
      bytesOf(
        ...[["u32", 20 + bools.length], ["u32", flags]] as const,
        ...[["u32", index], ["u32", start], ["u32", count]] as const,
      ),
      new Uint8Array(bools),
    );
    return this.ask({ command: COMMAND.setIrqs, data, fds }).error;
  }

  /** Closes the connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.close();
  }

  #serve(header: DataView, data: DataView): void {
    const command = header.getUint16(2, true);
    const address = Number(data.getBigUint64(0, true));
    const count = Number(data.getBigUint64(8, true));
    const memory = this.kept.find((region) =>
      region.address <= address &&
      address + count <= region.address + region.bytes.length
    );
    if (memory === undefined) throw new Error(`no memory at ${address}`);
    const at = address - memory.address;
    const where = bytesOf(["u64", address], ["u64", count]);
    let answer: Uint8Array = where;
    if (command === COMMAND.dmaRead) {
      assertEquals(data.byteLength, 16);
      answer = joined(where, memory.bytes.subarray(at, at + count));
      this.served.read++;
    } else {
      assertEquals([command, data.byteLength], [COMMAND.dmaWrite, 16 + count]);
      const start = data.byteOffset + 16;
      memory.bytes.set(new Uint8Array(data.buffer, start, count), at);
      this.served.written++;
    }
    const id = header.getUint16(0, true);
    this.send({ command, id, flags: REPLY, data: answer });
  }

  #message(): { header: DataView; data: DataView } {
    const header = this.#bytes(HEADER);
    const size = header.getUint32(4, true);
    return { header, data: this.#bytes(size - HEADER) };
  }

  #bytes(count: number): DataView {
    const bytes = new Uint8Array(count);
    for (let have = 0; have < count;) {
      const { length, fds } = this.#socket.receive(bytes.subarray(have));
      fds.forEach(closeFd);
      if (length === 0) throw new Error("the server has closed the connection");
      if (length === undefined && this.#readable.wait(TIMEOUT_MS) === 0) {
        throw new Error("the server does not answer");
      }
      have += length ?? 0;
    }
    return new DataView(bytes.buffer);
  }
}
