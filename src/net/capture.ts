/**
 * Capture files of whichever format: classic pcap and pcapng.
 *
 * @module
 */

import type { CaptureDecoder } from "./capture_decoder.ts";
import { decodePcapHeader, type PcapRecord } from "./pcap.ts";
import { PcapDecoder } from "./pcap_decoder.ts";
import { isPcapng, PcapngDecoder } from "./pcapng.ts";

/**
 * Octets of a file that {@linkcode captureDecoder} wants to see: a classic
 * file's header.
 */
export const CAPTURE_START_LENGTH = 24;

/**
 * Makes the decoder of a file, for its format.
 *
 * @param start the first {@linkcode CAPTURE_START_LENGTH} octets of the file or
 * more; fewer if it has no more. The decoder wants to see them again.
 * @throws {PcapError} if this is no capture file of a known format, or not one
 * of Ethernet frames
 *
 * @example
 * ```ts
 * import { captureDecoder, encodePcapHeader, PcapDecoder } from "@ixl/deno/net";
 * import { assertInstanceOf } from "@std/assert";
 *
 * assertInstanceOf(captureDecoder(encodePcapHeader()), PcapDecoder);
 * ```
 */
export function captureDecoder(start: Uint8Array): CaptureDecoder {
  return isPcapng(start)
    ? new PcapngDecoder()
    : new PcapDecoder(decodePcapHeader(start));
}

/**
 * Walks the Ethernet frames of a whole file, classic pcap or pcapng.
 *
 * @param bytes the file
 * @throws {PcapError} if it is no capture file, damaged, cut short, or has
 * other packets
 *
 * @example
 * ```ts
 * import { captureRecords, encodePcapHeader } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...captureRecords(encodePcapHeader())], []);
 * ```
 */
export function* captureRecords(bytes: Uint8Array): Generator<PcapRecord> {
  const decoder = captureDecoder(bytes);
  const window = new DataView(
    bytes.buffer,
    bytes.byteOffset,
    bytes.byteLength,
  );
  let at = 0;
  for (;;) {
    const length = decoder.decode(window, at, bytes.length);
    if (length > bytes.length - at) break;
    at += length;
    if (decoder.found) yield { ...decoder.record };
  }
  decoder.end(bytes.length - at);
}
