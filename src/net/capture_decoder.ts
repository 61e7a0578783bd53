/**
 * What the decoders of all formats of capture files have in common.
 *
 * @module
 */

import type { PcapRecord } from "./pcap.ts";

/**
 * The most octets that a {@linkcode CaptureDecoder} asks for at once: the
 * largest frame behind the longest header, that of a pcapng packet.
 */
export const CAPTURE_WINDOW: number = 28 + 262144;

/**
 * Finds the Ethernet frames of a capture file in a window that moves over it.
 * Where the window comes from, and how much of the file is in it, is up to the
 * caller; {@linkcode CAPTURE_WINDOW} octets suffice for every file. Nothing is
 * allocated for a frame.
 *
 * @example
 * ```ts
 * import { captureDecoder, encodePcapHeader } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const file = encodePcapHeader();
 * const decoder = captureDecoder(file);
 * const view = new DataView(file.buffer);
 * assertEquals(decoder.decode(view, 0, file.length), 24);
 * decoder.end(0);
 * ```
 */
export interface CaptureDecoder {
  /** Whether the last decode() ended with a frame. */
  readonly found: boolean;

  /**
   * Where that frame is in the window, its length and time: one object, that
   * the next decode() changes.
   */
  readonly record: Readonly<PcapRecord>;

  /**
   * Decodes one piece of the file.
   *
   * @param window where some of the file is
   * @param from where in the window the part begins that was not decoded yet
   * @param to where it ends
   * @returns the length of the piece: it is decoded if all of it is between
   * `from` and `to`; otherwise nothing happened, and the window needs that many
   * octets
   * @throws {PcapError} if the file is damaged or has no Ethernet frames
   */
  decode(window: DataView, from: number, to: number): number;

  /**
   * Says that the file has no more than the window.
   *
   * @param left octets of the window that were not decoded
   * @throws {PcapError} if the file is cut short
   */
  end(left: number): void;
}
