/**
 * A pcap file of what passes a cable whose other end is ours.
 *
 * @module
 */

import {
  encodePcapHeader,
  encodePcapRecord,
  PCAP_RECORD_LENGTH,
} from "../../../src/net/mod.ts";

const FORMAT = { littleEndian: true, nanoseconds: false } as const;

/** A capture that grows frame by frame, for others to read meanwhile. */
export class Capture {
  readonly #file: Deno.FsFile;

  /** Begins the file. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true });
    this.#append(encodePcapHeader(FORMAT));
  }

  /** Adds a frame. */
  write(frame: Uint8Array): void {
    const now = Date.now();
    const bytes = new Uint8Array(PCAP_RECORD_LENGTH + frame.length);
    const start = encodePcapRecord(FORMAT, bytes, 0, {
      seconds: Math.floor(now / 1000),
      nanoseconds: now % 1000 * 1_000_000,
      capturedLength: frame.length,
    });
    bytes.set(frame, start);
    this.#append(bytes);
  }

  /** Ends it. */
  close(): void {
    this.#file.close();
  }

  #append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      done += this.#file.writeSync(bytes.subarray(done));
    }
  }
}
