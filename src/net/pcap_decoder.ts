/**
 * Decodes a classic capture file piece by piece.
 *
 * @module
 */

import type { CaptureDecoder } from "./capture_decoder.ts";
import {
  PCAP_HEADER_LENGTH,
  PCAP_LINK_TYPE_ETHERNET,
  PCAP_MAX_SNAP_LENGTH,
  PCAP_RECORD_FIELD,
  PCAP_RECORD_LENGTH,
  PcapError,
  type PcapHeader,
  type PcapRecord,
  removeFcs,
} from "./pcap.ts";

/**
 * The decoder of one classic capture file. Pieces are the header and the
 * records.
 *
 * @example
 * ```ts
 * import { decodePcapHeader, encodePcapHeader, PcapDecoder } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const file = encodePcapHeader();
 * const decoder = new PcapDecoder(decodePcapHeader(file));
 * assertEquals(decoder.decode(new DataView(file.buffer), 0, 24), 24);
 * assertEquals(decoder.found, false);
 * ```
 */
export class PcapDecoder implements CaptureDecoder {
  /** Whether the last decode() ended with a frame. */
  found = false;
  /** Where that frame is in the window, its length and time. */
  readonly record: PcapRecord = {
    seconds: 0,
    nanoseconds: 0,
    offset: 0,
    capturedLength: 0,
    originalLength: 0,
  };
  readonly #littleEndian: boolean;
  readonly #nanosecondsInFraction: number;
  readonly #fcsLength: number;
  /** Octets of the file that are decoded. */
  #position = 0;

  /**
   * Makes the decoder of a file.
   *
   * @param header what the file begins with
   * @throws {PcapError} if the records are not Ethernet frames
   */
  constructor(header: PcapHeader) {
    this.#littleEndian = header.littleEndian;
    this.#nanosecondsInFraction = header.nanoseconds ? 1 : 1000;
    this.#fcsLength = header.fcsLength;
    if (header.linkType === PCAP_LINK_TYPE_ETHERNET) return;
    throw new PcapError(
      `its link type is ${header.linkType}, not Ethernet ` +
        `(${PCAP_LINK_TYPE_ETHERNET})`,
      0,
    );
  }

  /**
   * Decodes the header or one record.
   *
   * @param window where some of the file is
   * @param from where in the window the part begins that was not decoded yet
   * @param to where it ends
   * @returns the length of the piece, as {@linkcode CaptureDecoder} says
   * @throws {PcapError} if the record's length is impossible
   */
  decode(window: DataView, from: number, to: number): number {
    this.found = false;
    const there = to - from;
    const length = this.#position === 0
      ? PCAP_HEADER_LENGTH
      : this.#decodeRecord(window, from, there);
    if (length <= there) this.#position += length;
    return length;
  }

  /**
   * Says that the file has no more than the window.
   *
   * @param left octets of the window that were not decoded
   * @throws {PcapError} if the file is cut short
   */
  end(left: number): void {
    if (left === 0 && this.#position > 0) return;
    throw new PcapError(
      `the file is cut short in the record at octet ${this.#position}: ` +
        `${left} octets are left of it`,
      this.#position,
    );
  }

  #decodeRecord(window: DataView, from: number, there: number): number {
    if (there < PCAP_RECORD_LENGTH) return PCAP_RECORD_LENGTH;
    const field = PCAP_RECORD_FIELD;
    const little = this.#littleEndian;
    const captured = window.getUint32(from + field.capturedLength, little);
    if (captured > PCAP_MAX_SNAP_LENGTH) {
      throw new PcapError(
        `the record at octet ${this.#position} claims a frame of ${captured} ` +
          `octets: the file is damaged`,
        this.#position,
      );
    }
    const length = PCAP_RECORD_LENGTH + captured;
    if (length > there) return length;
    const record = this.record;
    record.seconds = window.getUint32(from + field.seconds, little);
    record.nanoseconds = this.#nanosecondsInFraction *
      window.getUint32(from + field.fraction, little);
    record.offset = from + PCAP_RECORD_LENGTH;
    record.capturedLength = captured;
    record.originalLength = window.getUint32(
      from + field.originalLength,
      little,
    );
    if (this.#fcsLength > 0) removeFcs(record, this.#fcsLength);
    this.found = true;
    return length;
  }
}
