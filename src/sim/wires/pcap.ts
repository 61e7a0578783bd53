/**
 * A wire that plays a capture file and records another.
 *
 * @module
 */

import { IxlError } from "../../errors.ts";
import { log } from "../../log.ts";
import { CaptureClock } from "../../net/capture_clock.ts";
import { assertReadTwice, openCaptureToWrite } from "../../net/capture_file.ts";
import { CaptureOutput, CaptureWriteError } from "../../net/capture_output.ts";
import { CaptureReader } from "../../net/capture_reader.ts";
import { encodePcapHeader, PCAP_RECORD_LENGTH } from "../../net/pcap.ts";
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
  readonly #reader: CaptureReader | null;
  readonly #writer: Writer | null;
  readonly #recorded: boolean;
  /** When record time zero is now; NaN before the first frame. */
  #origin = NaN;

  /**
   * Reads the input through once, so that a damaged file is found here and not
   * while the card runs.
   *
   * @throws {PcapError} when the input is no sound capture of Ethernet frames,
   * or a pipe, or when a file is read or written already
   * @throws {Deno.errors.NotFound} and its like when a file cannot be opened
   * @throws {IxlError} when the disk is full already
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
    take(reader, frame);
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

  /**
   * Writes out what is buffered and closes both files.
   *
   * @throws {CaptureWriteError} when the output lacks frames, because the disk was full
   */
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
  #advance(reader: CaptureReader): void {
    while (reader.next()) {
      if (reader.length <= FRAME_CAPACITY) return;
      this.counters[WIRE_SLOT.skipped]++;
    }
    this.counters[WIRE_SLOT.finished] = 1;
  }
}

/** Holds the lock on the file from before it is checked until it is played. */
function openInput(path: string): CaptureReader {
  assertReadTwice(path);
  const reader = new CaptureReader(path);
  try {
    const trial = new CaptureReader(path);
    try {
      while (trial.next());
    } finally {
      trial.close();
    }
  } catch (error) {
    reader.close();
    throw error;
  }
  return reader;
}

/** Copies the frame of a reader. */
function take(
  { bytes, offset, length }: CaptureReader,
  frame: Frame,
): void {
  const target = frame.u8;
  for (let i = 0; i < length; i++) target[i] = bytes[offset + i];
  frame.length = length;
  frame.crcError = false;
}

/** Writes records through a buffer. */
class Writer {
  readonly #file: Deno.FsFile;
  readonly #output: CaptureOutput;
  readonly #buffer = new Uint8Array(OUTPUT_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #clock = new CaptureClock();
  #used = 0;
  #flushedAt = 0;
  #open = true;
  #failure: CaptureWriteError | undefined;
  /** Frames in the buffer, and those that were lost after a failure. */
  #buffered = 0;
  #lost = 0;

  constructor(path: string) {
    this.#file = openCaptureToWrite(path);
    this.#output = new CaptureOutput(this.#file, path);
    try {
      this.#output.append(
        encodePcapHeader({ littleEndian: true, nanoseconds: true }),
      );
    } catch (error) {
      this.#file.close();
      throw new IxlError("system", (error as Error).message, { cause: error });
    }
  }

  write(frame: Frame): void {
    const { length, u8 } = frame;
    if (!this.#open) return;
    if (this.#failure) return void this.#lost++;
    if (this.#used + PCAP_RECORD_LENGTH + length > OUTPUT_BYTES) this.#flush();
    const now = this.#clock.now();
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
    this.#buffered++;
  }

  /** Flushes now and then, for those who read the file while it grows. */
  flushIfOld(now: number): void {
    if (this.#used > 0 && now - this.#flushedAt >= FLUSH_MS) {
      this.#flush();
      this.#flushedAt = now;
    }
  }

  /** @throws {CaptureWriteError} when frames are missing in the file */
  close(): void {
    if (!this.#open) return;
    this.#flush();
    this.#file.close();
    this.#open = false;
    if (this.#failure === undefined) return;
    const { message, offset } = this.#failure;
    throw new CaptureWriteError(
      `${message}; ${this.#lost} frames are not in it`,
      offset,
    );
  }

  /** What cannot be written is counted: a card does not stop because a disk is full. */
  #flush(): void {
    if (this.#failure || this.#used === 0) return;
    try {
      this.#output.append(this.#buffer.subarray(0, this.#used));
    } catch (error) {
      if (!(error instanceof CaptureWriteError)) throw error;
      this.#failure = error;
      this.#lost = this.#buffered;
      log(
        "error",
        this.#output.path,
        "nothing more is written: " + error.message,
      );
    }
    this.#used = 0;
    this.#buffered = 0;
  }
}
