/**
 * The other end of a guest's network cable: the test sends and receives frames
 * as bytes, without preamble and FCS.
 *
 * On the socket each frame follows its length as a big-endian 32-bit number
 * (QEMU: net/stream.c).
 *
 * @module
 */

import { Capture } from "./capture.ts";
import { QemuSocket } from "./socket.ts";

/** Which frame to receive. */
export interface ReceiveOptions {
  /** Gives up after that, with an error. */
  readonly timeoutMs?: number;
  /** Takes only such frames, and drops others that came before. */
  readonly where?: (frame: Uint8Array) => boolean;
}

const LENGTH_BYTES = 4;
const DEFAULT_TIMEOUT_MS = 30_000;

/** The outside of one card. QEMU holds frames back while the card has no room. */
export class FramePort {
  /** Frames that the card sent since the guest's start. */
  received = 0;
  /** Frames that were sent to the card since the guest's start. */
  sent = 0;
  readonly #socket: QemuSocket;
  readonly #capture: Capture | undefined;
  #frames: Uint8Array<ArrayBuffer>[] = [];
  #wake: () => void = () => {};

  /**
   * Listens at a path that does not exist yet.
   * @param path The path.
   * @param capture The pcap file of what passes, if one is wanted.
   */
  constructor(path: string, capture?: string) {
    this.#socket = new QemuSocket(path);
    if (capture !== undefined) this.#capture = new Capture(capture);
  }

  /** Where QEMU shall connect to. */
  get path(): string {
    return this.#socket.path;
  }

  /** Waits for QEMU. */
  async connect(): Promise<void> {
    const stream = await this.#socket.accept();
    // Ends with the connection, which whoever ends QEMU knows of.
    this.#read(stream).catch(() => {});
  }

  /** Puts frames on the wire, in their order. */
  async send(...frames: Uint8Array[]): Promise<void> {
    const total = frames.reduce(
      (sum, frame) => sum + LENGTH_BYTES + frame.length,
      0,
    );
    const bytes = new Uint8Array(total);
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const frame of frames) {
      view.setUint32(at, frame.length);
      bytes.set(frame, at + LENGTH_BYTES);
      at += LENGTH_BYTES + frame.length;
    }
    this.sent += frames.length;
    for (const frame of frames) this.#capture?.write(frame);
    await this.#socket.send(bytes);
  }

  /** Takes the next frame, as the card sent it: the card pads, or nobody does. */
  async receive(options: ReceiveOptions = {}): Promise<Uint8Array> {
    const [frame] = await this.receiveMany(1, options);
    return frame;
  }

  /** Takes the next `count` frames. */
  async receiveMany(
    count: number,
    options: ReceiveOptions = {},
  ): Promise<Uint8Array[]> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, where = () => true } = options;
    const deadline = performance.now() + timeoutMs;
    const taken: Uint8Array[] = [];
    while (true) {
      const arrived = this.#frames;
      this.#frames = [];
      for (const [index, frame] of arrived.entries()) {
        if (!where(frame)) continue;
        taken.push(frame);
        if (taken.length < count) continue;
        this.#frames = arrived.slice(index + 1);
        return taken;
      }
      if (await this.#arrival(deadline)) continue;
      throw new Error(
        `${taken.length} of ${count} frames within ${timeoutMs} ms`,
      );
    }
  }

  /** Takes all frames that have arrived so far. */
  takeAll(): Uint8Array[] {
    return this.#frames.splice(0);
  }

  /** Closes the connection: the card's cable stays, with nobody at its end. */
  close(): void {
    this.#socket.close();
    this.#capture?.close();
  }

  /** Waits for a frame; false if none comes in time. */
  async #arrival(deadline: number): Promise<boolean> {
    if (this.#frames.length > 0) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(
      () => resolve(false),
      Math.max(0, deadline - performance.now()),
    );
    this.#wake = () => resolve(true);
    const arrived = await promise;
    clearTimeout(timer);
    return arrived;
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = new Uint8Array();
    for await (const chunk of stream) {
      const bytes = rest.length === 0 ? chunk : joined(rest, chunk);
      rest = bytes.subarray(this.#takeFrames(bytes));
    }
  }

  /** Takes the complete frames; returns where the first incomplete one begins. */
  #takeFrames(bytes: Uint8Array<ArrayBuffer>): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (at + LENGTH_BYTES <= bytes.length) {
      const start = at + LENGTH_BYTES;
      const end = start + view.getUint32(at);
      if (end > bytes.length) break;
      const frame = bytes.slice(start, end);
      this.#capture?.write(frame);
      this.#frames.push(frame);
      this.received++;
      at = end;
    }
    this.#wake();
    return at;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
