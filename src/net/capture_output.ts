/**
 * Writes a capture so that what is in the file can always be read.
 *
 * @module
 */
import { PcapError } from "./pcap.ts";

/** A capture that could not be written on. */
export class CaptureWriteError extends PcapError {}

/** What a capture is written to: a file, or standard output. */
export interface CaptureStream {
  /** Writes some of the bytes and says how many. */
  writeSync(bytes: Uint8Array): number;
  /** Shortens it; a pipe cannot. */
  truncateSync?(length: number): void;
}

/**
 * A capture that is being written. Where the disk is full, the file ends with the last record that is whole.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { CaptureOutput, encodePcapHeader } from "@ixl/deno/net";
 *
 * const written: number[] = [];
 * const stream = { writeSync: (bytes: Uint8Array) => written.push(...bytes) && bytes.length };
 * const output = new CaptureOutput(stream, "memory");
 * output.append(encodePcapHeader());
 * assertEquals(written.length, 24);
 * ```
 */
export class CaptureOutput {
  /** Length up to the last whole record. */
  #whole = 0;
  readonly #stream: CaptureStream;

  /**
   * Goes on at the beginning of an empty file.
   *
   * @param stream Where it goes.
   * @param path What it is called in errors.
   */
  constructor(stream: CaptureStream, readonly path: string) {
    this.#stream = stream;
  }

  /**
   * Appends all of it, or leaves the file as it was.
   *
   * @param bytes The header, or whole records.
   * @throws {CaptureWriteError} which names the file, and what to do when the disk is full
   */
  append(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length;) {
        at += this.#stream.writeSync(bytes.subarray(at));
      }
    } catch (error) {
      this.#takeBack();
      throw new CaptureWriteError(
        `cannot write to ${this.path}: ${explain(error as Error)}`,
        this.#whole,
      );
    }
    this.#whole += bytes.length;
  }

  #takeBack(): void {
    try {
      this.#stream.truncateSync?.(this.#whole);
    } catch {
      // A device or a pipe has no length.
    }
  }
}

function explain({ message }: Error): string {
  return message.includes("(os error 28)")
    ? `${message}: the disk is full, make room or write elsewhere`
    : message;
}
