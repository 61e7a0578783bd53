/**
 * Captures for tests.
 *
 * @module
 */
import {
  decodePcapHeader,
  encodePcapHeader,
  encodePcapRecord,
  PCAP_RECORD_LENGTH,
} from "../../../src/net/mod.ts";

/** A classic capture of these frames. */
export function captureOf(frames: readonly Uint8Array[]): Uint8Array {
  const header = encodePcapHeader();
  const format = decodePcapHeader(header);
  const length = frames.reduce(
    (sum, frame) => sum + PCAP_RECORD_LENGTH + frame.length,
    header.length,
  );
  const bytes = new Uint8Array(length);
  bytes.set(header);
  let at = header.length;
  for (const frame of frames) {
    const record = { seconds: 0, nanoseconds: 0, capturedLength: frame.length };
    at = encodePcapRecord(format, bytes, at, record);
    bytes.set(frame, at);
    at += frame.length;
  }
  return bytes;
}
