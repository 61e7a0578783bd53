/**
 * A wire that plays a capture file and records another.
 *
 * @module
 */

import { CAPTURE_START_LENGTH, captureDecoder } from "../../net/capture.ts";
import {
  CAPTURE_WINDOW,
  type CaptureDecoder,
} from "../../net/capture_decoder.ts";
import {
  encodePcapHeader,
  PCAP_RECORD_LENGTH,
  PcapError,
} from "../../net/pcap.ts";
import { type Frame, FRAME_CAPACITY } from "../frame.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

/** How a {@linkcode PcapWire} behaves. */
export interface PcapOptions {
  /** The capture to play, pcap or pcapng; without it the card receives nothing. */
  input?: string;
  /** The file for what the card sends; without it that is only counted. */
  output?: string;
  /**
   * "asap", the default, gives a frame whenever the card has descriptors for
   * it and loses none; "recorded" keeps the capture's distances in time.
   */
  timing?: "asap" | "recorded";
  /** Where to count, so that other isolates can read and stop it. */
  counters?: SharedArrayBuffer;
}

const OUTPUT_BYTES = 1 << 18;
const NANOSECONDS_PER_MS = 1_000_000;
const FLUSH_MS = 500;

/**
 * Plays classic pcap and pcapng files in both byte orders; writes classic pcap,
 * little-endian with nanoseconds. Frames shorter than a MAC
 * sends are padded to 60 bytes; those longer than a {@linkcode Frame} holds
 * are left out and counted as skipped.
 */
export class PcapWire implements Wire {
  readonly fd = -1;
  readonly counters: Float64Array;
  readonly patient: boolean;
  readonly #reader: Reader | null;
  readonly #writer: Writer | null;
  readonly #recorded: boolean;
  /** When record time zero is now; NaN before the first frame. */
  #origin = NaN;

  /**
   * Reads the input through once, so that a damaged file is found here and not
   * while the card runs.
   *
   * @throws {PcapError} when the input is no sound capture of Ethernet frames
   * @throws {Deno.errors.NotFound} and its like when a file cannot be opened
   */
  constructor(options: PcapOptions = {}) {
    const { input, output, timing = "asap" } = options;
    this.#recorded = timing === "recorded";
    this.patient = !this.#recorded;
    this.counters = wireCounters(options.counters);
    this.#reader = input === undefined ? null : openInput(input);
    this.#writer = output === undefined ? null : this.#openOutput(output);
    if (this.#reader !== null) this.#advance(this.#reader);
  }

  poll(frame: Frame, now: number): boolean {
    const reader = this.#reader;
    if (reader === null || !reader.ready) return false;
    if (this.counters[WIRE_SLOT.stop] !== 0) return false;
    if (this.#recorded) {
      if (Number.isNaN(this.#origin)) this.#origin = now - reader.time;
      if (now < this.#origin + reader.time) return false;
    }
    reader.take(frame);
    frame.pad();
    this.counters[WIRE_SLOT.generated]++;
    this.counters[WIRE_SLOT.generatedBytes] += frame.length;
    this.#advance(reader);
    return true;
  }

  transmit(frame: Frame): void {
    this.counters[WIRE_SLOT.received]++;
    this.counters[WIRE_SLOT.receivedBytes] += frame.length;
    this.#writer?.write(frame);
  }

  nextPollAt(now: number): number {
    this.#writer?.flushIfOld(now);
    const reader = this.#reader;
    const stopped = this.counters[WIRE_SLOT.stop] !== 0;
    if (reader === null || !reader.ready || stopped) return Infinity;
    if (!this.#recorded || Number.isNaN(this.#origin)) return now;
    return this.#origin + reader.time;
  }

  /** Writes out what is buffered and closes both files. */
  close(): void {
    this.#reader?.close();
    this.#writer?.close();
  }

  #openOutput(path: string): Writer {
    try {
      return new Writer(path);
    } catch (error) {
      this.#reader?.close();
      throw error;
    }
  }

  /** Goes to the next record that fits a frame. */
  #advance(reader: Reader): void {
    while (reader.next()) {
      if (reader.length <= FRAME_CAPACITY) return;
      this.counters[WIRE_SLOT.skipped]++;
    }
    this.counters[WIRE_SLOT.finished] = 1;
  }
}

function openInput(path: string): Reader {
  if (Deno.statSync(path).isFile) {
    const trial = new Reader(path);
    try {
      while (trial.next());
    } finally {
      trial.close();
    }
  }
  return new Reader(path);
}

/** Reads frames through a buffer that always holds one in full. */
class Reader {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #buffer = new Uint8Array(CAPTURE_WINDOW);
  readonly #window = new DataView(this.#buffer.buffer);
  readonly #decoder: CaptureDecoder;
  #from = 0;
  #to = 0;
  #open = true;
  /** Second of the first frame, subtracted to keep the precision. */
  #firstSecond = NaN;
  /** A frame is there. */
  ready = false;
  /** Bytes of the frame that are in the file. */
  length = 0;
  /**
   * The frame's time in ms after the first one's second; a frame without a time
   * comes with the one before it.
   */
  time = 0;

  constructor(path: string) {
    this.#path = path;
    this.#file = Deno.openSync(path, { read: true });
    try {
      const there = this.#need(CAPTURE_START_LENGTH);
      this.#decoder = captureDecoder(this.#buffer.subarray(0, there));
    } catch (error) {
      this.close();
      throw this.#named(error);
    }
  }

  /** Moves on to the next frame; false at the end of the file. */
  next(): boolean {
    this.ready = false;
    if (!this.#open) return false;
    if (!this.#find()) {
      this.close();
      return false;
    }
    const { seconds, nanoseconds, capturedLength } = this.#decoder.record;
    if (!Number.isNaN(seconds)) {
      if (Number.isNaN(this.#firstSecond)) this.#firstSecond = seconds;
      this.time = (seconds - this.#firstSecond) * 1000 +
        nanoseconds / NANOSECONDS_PER_MS;
    }
    this.length = capturedLength;
    this.ready = true;
    return true;
  }

  /** Copies the frame. */
  take(frame: Frame): void {
    const from = this.#decoder.record.offset;
    const buffer = this.#buffer;
    const target = frame.u8;
    for (let i = 0; i < this.length; i++) target[i] = buffer[from + i];
    frame.length = this.length;
    frame.crcError = false;
  }

  close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
    this.ready = false;
  }

  /** Decodes up to the next frame; false if there is none. */
  #find(): boolean {
    const decoder = this.#decoder;
    try {
      for (;;) {
        const length = decoder.decode(this.#window, this.#from, this.#to);
        if (length <= this.#to - this.#from) {
          this.#from += length;
          if (decoder.found) return true;
        } else if (this.#need(length) < length) {
          decoder.end(this.#to - this.#from);
          return false;
        }
      }
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** Reads until `bytes` are in the buffer; returns how many there are. */
  #need(bytes: number): number {
    if (this.#to - this.#from >= bytes) return bytes;
    const buffer = this.#buffer;
    if (this.#from + bytes > buffer.length) {
      buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    while (this.#to - this.#from < bytes) {
      const read = this.#file.readSync(buffer.subarray(this.#to));
      if (read === null) break;
      this.#to += read;
    }
    return Math.min(bytes, this.#to - this.#from);
  }

  /** The error with the file's name in front. */
  #named(error: unknown): unknown {
    if (!(error instanceof PcapError)) return error;
    return new PcapError(`${this.#path}: ${error.message}`, error.offset);
  }
}

/** Writes records through a buffer. */
class Writer {
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(OUTPUT_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #used = 0;
  #flushedAt = 0;
  #open = true;

  constructor(path: string) {
    this.#file = Deno.openSync(path, {
      write: true,
      create: true,
      truncate: true,
    });
    const header = encodePcapHeader({ littleEndian: true, nanoseconds: true });
    this.#buffer.set(header);
    this.#used = header.length;
    this.#flush();
  }

  write(frame: Frame): void {
    const { length, u8 } = frame;
    if (!this.#open) return;
    if (this.#used + PCAP_RECORD_LENGTH + length > OUTPUT_BYTES) this.#flush();
    const now = performance.timeOrigin + performance.now();
    const seconds = Math.floor(now / 1000);
    const nanoseconds = Math.floor((now - seconds * 1000) * NANOSECONDS_PER_MS);
    const view = this.#view;
    const at = this.#used;
    view.setUint32(at, seconds, true);
    view.setUint32(at + 4, nanoseconds, true);
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 12, length, true);
    const target = this.#buffer;
    const from = at + PCAP_RECORD_LENGTH;
    for (let i = 0; i < length; i++) target[from + i] = u8[i];
    this.#used = from + length;
  }

  /** Whoever reads the file while it grows waits no longer than this. */
  flushIfOld(now: number): void {
    if (this.#used > 0 && now - this.#flushedAt >= FLUSH_MS) {
      this.#flush();
      this.#flushedAt = now;
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#flush();
    this.#file.close();
    this.#open = false;
  }

  #flush(): void {
    if (!this.#open) return;
    let written = 0;
    while (written < this.#used) {
      written += this.#file.writeSync(
        this.#buffer.subarray(written, this.#used),
      );
    }
    this.#used = 0;
  }
}
