/**
 * What a client may ask for, from its first message to its end.
 *
 * @module
 */
import { closeFd } from "../ffi/libc.ts";
import type { Card } from "../sim/card.ts";
import type { DmaTable } from "../sim/dma_table.ts";
import type { Connection, Message } from "./connection.ts";
import { CardRegions, IRQ_FLAGS, REGION_BYTES } from "./device.ts";
import { InterruptRoutes, IRQ_LINES } from "./interrupts.ts";
import { ClientMemory } from "./memory.ts";
import {
  Command,
  commandName,
  DEVICE_FLAGS,
  DmaFlag,
  Errno,
  IRQ_COUNT,
  IrqSetFlag,
  MOST_DATA,
  ProtocolError,
  Refusal,
  REGION_COUNT,
  REGION_READ_WRITE,
  SIZE,
  UNMAP_ALL,
} from "./protocol.ts";
import { KeptMemory } from "./remote_memory.ts";
import { answerVersion } from "./version.ts";

/** One client and its card. */
export class Session {
  readonly #card: Card;
  readonly #connection: Connection;
  readonly #memory: ClientMemory;
  readonly #regions: CardRegions;
  readonly #bestKind: number;
  readonly #log: (line: string) => void;
  /** The memory that stays with the client; there when the version was agreed on. */
  #kept: KeptMemory | undefined;
  readonly #routes: InterruptRoutes;

  /**
   * @param card The card, as after power-on.
   * @param dma Its memory, empty.
   * @param connection The client.
   * @param bestKind The highest kind of interrupts that the card declares, by number.
   * @param log Takes a line about what was refused.
   */
  constructor(
    card: Card,
    dma: DmaTable,
    connection: Connection,
    bestKind: number,
    log: (line: string) => void,
  ) {
    this.#card = card;
    this.#connection = connection;
    this.#bestKind = bestKind;
    this.#log = log;
    this.#memory = new ClientMemory(dma);
    this.#routes = new InterruptRoutes(() => card.interruptLine);
    this.#regions = new CardRegions(card, this.#routes);
  }

  /**
   * Handles one message.
   * @throws {ProtocolError} when the client breaks the rules.
   */
  handle(message: Message): void {
    try {
      this.#assertFirst(message);
      this.#connection.answer(message, this.#perform(message));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#log(
        `${commandName(message.command)} refused: ${error.message}`,
      );
      this.#connection.refuse(message, error.code);
    } finally {
      message.fds.forEach(closeFd);
    }
  }

  /**
   * Steps the card, and tells the client of interrupts when its memory is up to date.
   * @returns The frames moved.
   * @throws {ProtocolError} when the client keeps memory and does not give it.
   */
  step(budget: number, now: number): number {
    const kept = this.#memory.anyKept ? this.#kept : undefined;
    if (kept !== undefined) {
      this.#memory.refresh();
      kept.begin();
    }
    const moved = this.#card.step(budget, now);
    kept?.end();
    this.#routes.deliver();
    return moved;
  }

  /** The card fires a vector. */
  interrupt(vector: number): void {
    this.#routes.fire(vector);
  }

  /** Gives the client's memory and eventfds back. */
  close(): void {
    this.#routes.close();
    this.#memory.close();
    this.#connection.close();
  }

  #assertFirst({ command }: Message): void {
    const isAgreed = this.#kept !== undefined;
    if (isAgreed !== (command === Command.VERSION)) return;
    throw new ProtocolError(
      isAgreed
        ? "sent VERSION twice"
        : `sent ${commandName(command)} before VERSION`,
    );
  }

  /** Does it; returns how many bytes the reply's data has. Takes those descriptors out of the message that it keeps. */
  #perform(message: Message): number {
    const { command, data } = message;
    switch (command) {
      case Command.VERSION:
        assertNoFds(message);
        return this.#agree(data);
      case Command.DMA_MAP:
        return this.#mapDma(message);
      case Command.DMA_UNMAP:
        return this.#unmapDma(message);
      case Command.DEVICE_GET_INFO:
        return this.#deviceInfo(message);
      case Command.DEVICE_GET_REGION_INFO:
        return this.#regionInfo(message);
      case Command.DEVICE_GET_REGION_IO_FDS:
        return this.#regionIoFds(message);
      case Command.DEVICE_GET_IRQ_INFO:
        return this.#irqInfo(message);
      case Command.DEVICE_SET_IRQS:
        return this.#setIrqs(message);
      case Command.REGION_READ:
        return this.#readRegion(message);
      case Command.REGION_WRITE:
        return this.#writeRegion(message);
      case Command.REGION_WRITE_MULTI:
        return this.#writeMany(message);
      case Command.DEVICE_RESET:
        assertSize(message, 0);
        this.#card.reset();
        this.#regions.reset();
        return 0;
      default:
        throw new Refusal(Errno.ENOTSUP, "there is no such command here");
    }
  }

  #agree(data: DataView): number {
    const { replyData } = this.#connection;
    const { bytes, mostData } = answerVersion(data, replyData);
    this.#kept = new KeptMemory(this.#connection, mostData);
    return bytes;
  }

  #mapDma(message: Message): number {
    assertSize(message, SIZE.dmaMap, 1);
    const { data, fds } = message;
    assertArgsz(data, SIZE.dmaMap);
    const flags = data.getUint32(4, true);
    const known = DmaFlag.READABLE | DmaFlag.WRITEABLE;
    if ((flags & ~known) !== 0 || flags === 0) {
      throw new Refusal(Errno.EINVAL, `flags 0x${flags.toString(16)}`);
    }
    const region = {
      offset: data.getBigUint64(8, true),
      address: data.getBigUint64(16, true),
      size: data.getBigUint64(24, true),
      writable: (flags & DmaFlag.WRITEABLE) !== 0,
    };
    const fd = fds.pop();
    if (fd === undefined) this.#memory.keep(region, this.#kept!);
    else this.#memory.map(region, fd);
    return 0;
  }

  #unmapDma(message: Message): number {
    assertSize(message, SIZE.dmaUnmap);
    const { data } = message;
    assertArgsz(data, SIZE.dmaUnmap);
    const flags = data.getUint32(4, true);
    if ((flags & ~UNMAP_ALL) !== 0) {
      throw new Refusal(Errno.ENOTSUP, `flags 0x${flags.toString(16)}`);
    }
    const all = (flags & UNMAP_ALL) !== 0;
    const address = all ? 0n : data.getBigUint64(8, true);
    const size = all ? 1n << 64n : data.getBigUint64(16, true);
    this.#memory.unmap(address, size);
    copy(data, this.#connection.replyData, SIZE.dmaUnmap);
    return SIZE.dmaUnmap;
  }

  #deviceInfo(message: Message): number {
    assertSize(message, SIZE.deviceInfo);
    assertArgsz(message.data, SIZE.deviceInfo);
    const reply = this.#connection.replyData;
    reply.setUint32(0, SIZE.deviceInfo, true);
    reply.setUint32(4, DEVICE_FLAGS, true);
    reply.setUint32(8, REGION_COUNT, true);
    reply.setUint32(12, IRQ_COUNT, true);
    return SIZE.deviceInfo;
  }

  #regionInfo(message: Message): number {
    assertSize(message, SIZE.regionInfo);
    assertArgsz(message.data, SIZE.regionInfo);
    const index = regionIndex(message.data);
    const size = REGION_BYTES[index] ?? 0;
    const reply = this.#connection.replyData;
    reply.setUint32(0, SIZE.regionInfo, true);
    reply.setUint32(4, size > 0 ? REGION_READ_WRITE : 0, true);
    reply.setUint32(8, index, true);
    reply.setUint32(12, 0, true);
    reply.setBigUint64(16, BigInt(size), true);
    reply.setBigUint64(24, 0n, true);
    return SIZE.regionInfo;
  }

  /** There are none: a register access has effects that only the card itself can have. */
  #regionIoFds(message: Message): number {
    assertSize(message, SIZE.regionIoFds);
    assertArgsz(message.data, SIZE.regionIoFds);
    const index = regionIndex(message.data);
    const reply = this.#connection.replyData;
    reply.setUint32(0, SIZE.regionIoFds, true);
    reply.setUint32(4, 0, true);
    reply.setUint32(8, index, true);
    reply.setUint32(12, 0, true);
    return SIZE.regionIoFds;
  }

  #irqInfo(message: Message): number {
    assertSize(message, SIZE.irqInfo);
    assertArgsz(message.data, SIZE.irqInfo);
    const index = message.data.getUint32(8, true);
    if (index >= IRQ_COUNT) {
      throw new Refusal(Errno.EINVAL, `there is no interrupt of kind ${index}`);
    }
    const reply = this.#connection.replyData;
    reply.setUint32(0, SIZE.irqInfo, true);
    const lines = index <= this.#bestKind ? IRQ_LINES[index] : 0;
    reply.setUint32(4, lines > 0 ? IRQ_FLAGS[index] : 0, true);
    reply.setUint32(8, index, true);
    reply.setUint32(12, lines, true);
    return SIZE.irqInfo;
  }

  #setIrqs(message: Message): number {
    const { data, fds } = message;
    if (data.byteLength < SIZE.irqSet) assertSize(message, SIZE.irqSet);
    const flags = data.getUint32(4, true);
    const count = data.getUint32(16, true);
    assertIrqFlags(flags);
    const bools = (flags & IrqSetFlag.DATA_BOOL) !== 0 ? count : 0;
    const mostFds = (flags & IrqSetFlag.DATA_EVENTFD) !== 0 ? count : 0;
    assertSize(message, SIZE.irqSet + bools, mostFds);
    if (fds.length > 0 && fds.length !== count) {
      throw new ProtocolError(
        `sent ${fds.length} eventfds for ${count} interrupts`,
      );
    }
    this.#routes.set({
      flags,
      index: data.getUint32(8, true),
      start: data.getUint32(12, true),
      count,
      bools: new Uint8Array(
        data.buffer,
        data.byteOffset + SIZE.irqSet,
        bools,
      ),
      fds,
    });
    fds.length = 0;
    return 0;
  }

  #readRegion(message: Message): number {
    assertSize(message, SIZE.access);
    const { data } = message;
    const { region, offset, count } = access(data, 0);
    if (count > MOST_DATA) throw tooMuch(count);
    const reply = this.#connection.replyData;
    const into = new DataView(reply.buffer, reply.byteOffset + SIZE.access);
    this.#regions.read(region, offset, count, into);
    copy(data, reply, SIZE.access);
    return SIZE.access + count;
  }

  #writeRegion(message: Message): number {
    const { data } = message;
    if (data.byteLength < SIZE.access) assertSize(message, SIZE.access);
    const { region, offset, count } = access(data, 0);
    assertSize(message, SIZE.access + count);
    const from = new DataView(data.buffer, data.byteOffset + SIZE.access);
    this.#regions.write(region, offset, count, from);
    copy(data, this.#connection.replyData, SIZE.access);
    return SIZE.access;
  }

  #writeMany(message: Message): number {
    const { data } = message;
    if (data.byteLength < 8) assertSize(message, 8);
    const count = data.getBigUint64(0, true);
    const writes = (data.byteLength - 8) / SIZE.multiWrite;
    if (count !== BigInt(Math.floor(writes))) {
      throw new ProtocolError(
        `sent ${count} writes in ${data.byteLength} bytes`,
      );
    }
    assertSize(message, 8 + Number(count) * SIZE.multiWrite);
    for (let i = 0; i < writes; i++) {
      const at = 8 + i * SIZE.multiWrite;
      const { region, offset, count } = access(data, at);
      if (count > 8) throw tooMuch(count);
      const from = new DataView(
        data.buffer,
        data.byteOffset + at + SIZE.access,
        8,
      );
      this.#regions.write(region, offset, count, from);
    }
    this.#connection.replyData.setBigUint64(0, count, true);
    return 8;
  }
}

/** A message that has another size than it must have breaks the framing. */
function assertSize(message: Message, bytes: number, mostFds = 0): void {
  const { command, data, fds } = message;
  if (data.byteLength !== bytes) {
    throw new ProtocolError(
      `sent ${
        commandName(command)
      } with ${data.byteLength} bytes instead of ${bytes}`,
    );
  }
  if (fds.length > mostFds) {
    throw new ProtocolError(
      `sent ${commandName(command)} with ${fds.length} file descriptors`,
    );
  }
}

function assertNoFds(message: Message): void {
  assertSize(message, message.data.byteLength);
}

/** argsz: what the sender has room for, or has sent. */
function assertArgsz(data: DataView, least: number): void {
  const argsz = data.getUint32(0, true);
  if (argsz >= least) return;
  throw new Refusal(Errno.EINVAL, `argsz ${argsz} is below ${least}`);
}

function regionIndex(data: DataView): number {
  const index = data.getUint32(8, true);
  if (index < REGION_COUNT) return index;
  throw new Refusal(Errno.EINVAL, `there is no region ${index}`);
}

/** Exactly one kind of data and one action. */
function assertIrqFlags(flags: number): void {
  const data = flags & IrqSetFlag.DATA_MASK;
  const action = flags & IrqSetFlag.ACTION_BITS;
  if (flags === (data | action) && isOneBit(data) && isOneBit(action)) return;
  throw new Refusal(Errno.EINVAL, `flags 0x${flags.toString(16)}`);
}

const isOneBit = (bits: number) => bits !== 0 && (bits & (bits - 1)) === 0;

function access(data: DataView, at: number) {
  return {
    offset: data.getBigUint64(at, true),
    region: data.getUint32(at + 8, true),
    count: data.getUint32(at + 12, true),
  };
}

function tooMuch(count: number): Refusal {
  return new Refusal(Errno.E2BIG, `${count} bytes at once`);
}

function copy(from: DataView, to: DataView, bytes: number): void {
  for (let at = 0; at < bytes; at += 4) {
    to.setUint32(at, from.getUint32(at, true), true);
  }
}
