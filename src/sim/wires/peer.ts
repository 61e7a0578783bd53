/**
 * A cable over a Unix stream socket, to another software card or to QEMU's `-netdev stream`: each frame follows its
 * length as a big-endian 32-bit number (QEMU: net/stream.c).
 *
 * If no process listens at the path, it listens itself, and accepts one peer after the other.
 *
 * @module
 */
import {
  connectUnix,
  UnixListener,
  type UnixSocket,
} from "../../ffi/unix_socket.ts";
import { type Frame, FRAME_CAPACITY } from "../frame.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

const LENGTH_BYTES = 4;
/** Room for what has arrived and for what the other end has not taken yet. */
const BUFFER_BYTES = 64 * (LENGTH_BYTES + FRAME_CAPACITY);

/** Bytes in a row: written at the end, taken from the start. */
class Bytes {
  readonly u8 = new Uint8Array(new ArrayBuffer(BUFFER_BYTES));
  readonly view: DataView = new DataView(this.u8.buffer);
  start = 0;
  end = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Moves what there is to the front. */
  compact(): void {
    if (this.start === 0) return;
    this.u8.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
  }

  clear(): void {
    this.start = 0;
    this.end = 0;
  }
}

/** A cable to the process at the other end of the socket. While there is none, frames are lost. */
export class PeerWire implements Wire {
  readonly counters: Float64Array;
  /** The socket holds what the card cannot take yet. */
  readonly patient = true;
  readonly #listener: UnixListener | undefined;
  #socket: UnixSocket | undefined;
  readonly #incoming = new Bytes();
  readonly #outgoing = new Bytes();
  #drained = false;

  /**
   * Connects, or listens if no process does.
   * @param path The socket.
   * @param buffer Where to count.
   */
  constructor(path: string, buffer?: SharedArrayBuffer) {
    this.counters = wireCounters(buffer);
    this.#socket = connectUnix(path);
    if (this.#socket === undefined) this.#listener = UnixListener.listen(path);
  }

  /** The socket while there is one, else where others connect to. */
  get fd(): number {
    return this.#socket?.fd ?? this.#listener?.fd ?? -1;
  }

  poll(frame: Frame): boolean {
    this.#flush();
    const found = this.#take(frame) || (this.#fill() && this.#take(frame));
    this.#drained = !found;
    if (!found) return false;
    this.counters[WIRE_SLOT.generated]++;
    this.counters[WIRE_SLOT.generatedBytes] += frame.length;
    return true;
  }

  transmit(frame: Frame): void {
    const { counters } = this;
    const out = this.#outgoing;
    if (this.#socket === undefined || !this.#hasRoom(frame.length)) {
      counters[WIRE_SLOT.overflow]++;
      return;
    }
    out.view.setUint32(out.end, frame.length);
    out.u8.set(
      frame.u8.subarray(0, frame.length),
      out.end + LENGTH_BYTES,
    );
    out.end += LENGTH_BYTES + frame.length;
    this.#flush();
    counters[WIRE_SLOT.received]++;
    counters[WIRE_SLOT.receivedBytes] += frame.length;
  }

  nextPollAt(now: number): number {
    return this.#drained && this.#outgoing.length === 0 ? Infinity : now;
  }

  close(): void {
    this.#socket?.close();
    this.#listener?.close();
  }

  #hasRoom(length: number): boolean {
    const out = this.#outgoing;
    const need = LENGTH_BYTES + length;
    if (out.end + need > BUFFER_BYTES) out.compact();
    return out.end + need <= BUFFER_BYTES;
  }

  /** Takes a whole frame out of what has arrived. */
  #take(frame: Frame): boolean {
    const bytes = this.#incoming;
    if (bytes.length < LENGTH_BYTES) return false;
    const length = bytes.view.getUint32(bytes.start);
    if (length > FRAME_CAPACITY) {
      this.#lose();
      return false;
    }
    const end = bytes.start + LENGTH_BYTES + length;
    if (end > bytes.end) return false;
    frame.set(bytes.u8.subarray(bytes.start + LENGTH_BYTES, end));
    frame.pad();
    bytes.start = end;
    return true;
  }

  /** Receives; false when nothing has come. */
  #fill(): boolean {
    this.#socket ??= this.#listener?.accept();
    if (this.#socket === undefined) return false;
    const bytes = this.#incoming;
    bytes.compact();
    const { length } = this.#socket.receive(bytes.u8.subarray(bytes.end), 0);
    if (length === undefined) return false;
    if (length === 0) this.#lose();
    bytes.end += length;
    return length > 0;
  }

  #flush(): void {
    const out = this.#outgoing;
    while (this.#socket !== undefined && out.length > 0) {
      const sent = this.#socket.send(out.u8.subarray(out.start, out.end));
      if (sent === undefined) return this.#lose();
      if (sent === 0) return;
      out.start += sent;
    }
    out.clear();
  }

  /** The other end has gone, or talks nonsense: the next may come. */
  #lose(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#incoming.clear();
    this.#outgoing.clear();
  }
}
