/**
 * Memory that a client keeps to itself: the card reaches it through messages, DMA_READ before it uses a piece and
 * DMA_WRITE for what it changed.
 *
 * The card works on a buffer in the memory's place. Within a step it keeps what it has fetched; at the end of the step
 * everything that has changed goes to the client, the descriptor rings last, so that no descriptor tells of data that
 * is not there yet. With the next step the rings are fetched anew.
 *
 * @module
 */
import type { RemoteMemory } from "../sim/dma_table.ts";
import type { Connection } from "./connection.ts";
import { Command, MOST_DATA, ProtocolError, SIZE } from "./protocol.ts";

/** Bytes that one step may fetch: a ring of 4096 descriptors for each of many queues, and frames. */
const MOST_FETCHED = 64 << 20;

/** A piece that the card uses in this step. */
interface Piece {
  readonly address: number;
  /** Where the card works on it. */
  readonly bytes: Uint8Array;
  /** What the client had there. */
  readonly before: Uint8Array;
}

/** The memory that one client keeps. */
export class KeptMemory implements RemoteMemory {
  readonly #connection: Connection;
  readonly #most: number;
  #pieces: Piece[] = [];
  #fetched = 0;
  #stepping = false;

  /**
   * @param connection Who has it.
   * @param most Bytes that the client takes in one message.
   */
  constructor(connection: Connection, most: number) {
    this.#connection = connection;
    this.#most = Math.min(most, MOST_DATA);
  }

  /** The card's step begins. */
  begin(): void {
    this.#stepping = true;
  }

  reach(
    address: number,
    u8: Uint8Array,
    offset: number,
    length: number,
  ): boolean {
    if (!this.#stepping || this.#fetched + length > MOST_FETCHED) return false;
    if (this.#has(address, length)) return true;
    const bytes = u8.subarray(offset, offset + length);
    for (let at = 0; at < length; at += this.#most) {
      this.#read(address + at, bytes.subarray(at, at + this.#most));
    }
    this.#fetched += length;
    this.#pieces.push({ address, bytes, before: bytes.slice() });
    return true;
  }

  /** The card's step is over: the client gets what has changed. */
  end(): void {
    this.#stepping = false;
    if (this.#pieces.length === 0) return;
    // The card looks at a ring before it follows it to the data.
    for (const piece of this.#pieces.reverse()) this.#writeChanges(piece);
    this.#pieces = [];
    this.#fetched = 0;
  }

  /** Whether the range lies in a piece of this step: what the card wrote there must not be fetched over. */
  #has(address: number, length: number): boolean {
    return this.#pieces.some((piece) =>
      piece.address <= address &&
      address + length <= piece.address + piece.bytes.length
    );
  }

  #writeChanges({ address, bytes, before }: Piece): void {
    for (let at = 0; at < bytes.length;) {
      if (bytes[at] === before[at]) {
        at++;
        continue;
      }
      let end = at + 1;
      while (
        end < bytes.length && end - at < this.#most &&
        bytes[end] !== before[end]
      ) end++;
      this.#write(address + at, bytes.subarray(at, end));
      at = end;
    }
  }

  #read(address: number, into: Uint8Array): void {
    this.#describe(address, into.length);
    const reply = this.#connection.ask(Command.DMA_READ, SIZE.dmaAccess);
    if (
      reply.byteLength !== SIZE.dmaAccess + into.length ||
      Number(reply.getBigUint64(8, true)) !== into.length
    ) {
      throw new ProtocolError(
        `answered DMA_READ of ${into.length} bytes with ${reply.byteLength}`,
      );
    }
    const start = reply.byteOffset + SIZE.dmaAccess;
    into.set(new Uint8Array(reply.buffer, start, into.length));
  }

  #write(address: number, bytes: Uint8Array): void {
    const request = this.#describe(address, bytes.length);
    const start = request.byteOffset + SIZE.dmaAccess;
    new Uint8Array(request.buffer, start, bytes.length).set(bytes);
    this.#connection.ask(Command.DMA_WRITE, SIZE.dmaAccess + bytes.length);
  }

  #describe(address: number, count: number): DataView {
    const request = this.#connection.replyData;
    request.setBigUint64(0, BigInt(address), true);
    request.setBigUint64(8, BigInt(count), true);
    return request;
  }
}
