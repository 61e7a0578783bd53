/**
 * Reading capture files of any length.
 *
 * @module
 */

import { CAPTURE_START_LENGTH, captureDecoder } from "./capture.ts";
import { CAPTURE_WINDOW, type CaptureDecoder } from "./capture_decoder.ts";
import { openCaptureToRead } from "./capture_file.ts";
import { PcapError } from "./pcap.ts";

const NANOSECONDS_PER_MS = 1e6;

/** Reads a capture frame by frame, through a buffer that always holds one in full. Nothing is allocated for a frame. */
export class CaptureReader {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #buffer = new Uint8Array(CAPTURE_WINDOW);
  readonly #window = new DataView(this.#buffer.buffer);
  readonly #decoder: CaptureDecoder;
  #from = 0;
  #to = 0;
  #open = true;
  #ended = false;
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

  /**
   * Opens a capture and reads its header.
   *
   * @param path the file
   * @throws {PcapError} when it is no capture, or is being written
   */
  constructor(path: string) {
    this.#path = path;
    this.#file = openCaptureToRead(path);
    try {
      const there = this.#need(CAPTURE_START_LENGTH);
      this.#decoder = captureDecoder(this.#buffer.subarray(0, there));
    } catch (error) {
      this.close();
      throw this.#named(error);
    }
  }

  /** The buffer: the frame lies from {@linkcode CaptureReader.offset} on. */
  get bytes(): Uint8Array {
    return this.#buffer;
  }

  /** Where the frame begins in the buffer. */
  get offset(): number {
    return this.#decoder.record.offset;
  }

  /** Moves on to the next frame; false at the end of the file. */
  next(): boolean {
    this.ready = false;
    // The file stays open, and locked, for as long as the wire is plugged in.
    if (this.#ended || !this.#find()) {
      this.#ended = true;
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

  /** Gives the file back. */
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
