/**
 * Classic capture files ("pcap"), as tcpdump writes them: a 24-octet header,
 * then records of a 16-octet header and the frame. Encoding and decoding only;
 * files are opened elsewhere.
 *
 * Source: "PCAP Capture File Format", draft-ietf-opsawg-pcap. The first four
 * octets say in which byte order the rest is, and whether fractions of seconds
 * are micro- or nanoseconds.
 *
 * @module
 */

/** Length of the header of a file, in octets. */
export const PCAP_HEADER_LENGTH = 24;

/** Length of the header of a record, in octets. */
export const PCAP_RECORD_LENGTH = 16;

/** Link type of Ethernet frames (IANA registry "LINKTYPE values"). */
export const PCAP_LINK_TYPE_ETHERNET = 1;

/** The largest frame that tcpdump and Wireshark accept, in octets. */
export const PCAP_MAX_SNAP_LENGTH = 262144;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const CONVERT = "convert it with `editcap -F pcap IN OUT` first";
const MODIFIED =
  `this is a "modified" pcap file, with longer records: ${CONVERT}`;

/** Files that are no captures of the two known kinds, by their first octets. */
const FOREIGN: readonly (readonly [start: string, advice: string])[] = [
  [
    "0a0d0d0a",
    "this is a pcapng file, not classic pcap: captureRecords() and captureDecoder() read both",
  ],
  ["1f8b", "this file is compressed: unpack it with `gunzip` first"],
  ["28b52ffd", "this file is compressed: unpack it with `unzstd` first"],
  ["04224d18", "this file is compressed: unpack it with `unlz4` first"],
  ["fd377a58", "this file is compressed: unpack it with `unxz` first"],
  ["34cdb2a1", MODIFIED],
  ["a1b2cd34", MODIFIED],
  ["736e6f6f70", `this is a snoop capture: ${CONVERT}`],
];

const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;

/** Of the field with the link type: its lower half. */
const LINK_TYPE_MASK = 0xffff;
/** Bit 26, "f": the next field is set. */
const FCS_PRESENT = 2 ** 26;
/** Bits 28 to 31: units of frame check sequence behind each frame. */
const FCS_LENGTH = 2 ** 28;
/** The unit is 16 bits. */
const FCS_UNIT = 2;

const FILE_FIELD = {
  magic: 0,
  versionMajor: 4,
  versionMinor: 6,
  snapLength: 16,
  linkType: 20,
} as const;

/** Offsets of the fields of a record's header from its first octet. */
export const PCAP_RECORD_FIELD = {
  seconds: 0,
  fraction: 4,
  capturedLength: 8,
  originalLength: 12,
} as const;

/** A capture file that cannot be read, and where in it. */
export class PcapError extends Error {
  /** Name of the class. */
  override readonly name = "PcapError";
  /** Stable identifier of the failure. */
  readonly code = "bad-capture";

  /**
   * Makes the error.
   *
   * @param message what is wrong and what to do
   * @param offset octet of the file where it is wrong
   */
  constructor(message: string, readonly offset: number) {
    super(message);
  }
}

/** What the header of a file says. */
export interface PcapHeader {
  /** Byte order of the numbers in the file. */
  littleEndian: boolean;
  /** Whether fractions of a second are nanoseconds rather than microseconds. */
  nanoseconds: boolean;
  /** Octets after which captured frames were cut off; 0 is no limit. */
  snapLength: number;
  /** What the records are: 1 is Ethernet. */
  linkType: number;
  /**
   * Octets of frame check sequence at the end of each frame: 0 where the file
   * has none, or does not say. {@linkcode pcapRecords} and the decoders leave
   * them out.
   */
  fcsLength: number;
}

/** One record of a file. */
export interface PcapRecord {
  /** Seconds since 1970; NaN if the file does not say, as pcapng may. */
  seconds: number;
  /** Nanoseconds past the second, whatever the file's resolution. */
  nanoseconds: number;
  /** Where the frame begins in the bytes that were decoded. */
  offset: number;
  /** Octets of the frame that are in the file. */
  capturedLength: number;
  /** Octets that the frame had on the wire. */
  originalLength: number;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Makes the header of a file.
 *
 * @param header what differs from: little-endian, microseconds, Ethernet, no
 * frame cut off
 * @returns 24 octets
 *
 * @example
 * ```ts
 * import { decodePcapHeader, encodePcapHeader } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * const header = decodePcapHeader(encodePcapHeader({ nanoseconds: true }));
 * assert(header.nanoseconds);
 * ```
 */
export function encodePcapHeader(
  header: Partial<PcapHeader> = {},
): Uint8Array<ArrayBuffer> {
  const little = header.littleEndian ?? true;
  const bytes = new Uint8Array(PCAP_HEADER_LENGTH);
  const out = view(bytes);
  const magic = header.nanoseconds ? MAGIC_NANOSECONDS : MAGIC_MICROSECONDS;
  out.setUint32(FILE_FIELD.magic, magic, little);
  out.setUint16(FILE_FIELD.versionMajor, VERSION_MAJOR, little);
  out.setUint16(FILE_FIELD.versionMinor, VERSION_MINOR, little);
  const snapLength = header.snapLength ?? PCAP_MAX_SNAP_LENGTH;
  out.setUint32(FILE_FIELD.snapLength, snapLength, little);
  const linkType = header.linkType ?? PCAP_LINK_TYPE_ETHERNET;
  const fcs = header.fcsLength
    ? FCS_PRESENT + header.fcsLength / FCS_UNIT * FCS_LENGTH
    : 0;
  out.setUint32(FILE_FIELD.linkType, linkType + fcs, little);
  return bytes;
}

function explainForeign(bytes: Uint8Array): string {
  if (bytes.length === 0) return "the file is empty";
  const octets = Array.from(
    bytes.subarray(0, 8),
    (octet) => octet.toString(16).padStart(2, "0"),
  );
  const known = FOREIGN.find(([start]) => octets.join("").startsWith(start));
  if (known !== undefined) return known[1];
  if (bytes.length < 4) return "the file is too short for a capture";
  const start = octets.slice(0, 4).join(" ");
  return `this is not a capture file: it begins with ${start}`;
}

function readMagic(
  bytes: Uint8Array,
): Pick<PcapHeader, "littleEndian" | "nanoseconds"> {
  for (const littleEndian of bytes.length < 4 ? [] : [true, false]) {
    const magic = view(bytes).getUint32(FILE_FIELD.magic, littleEndian);
    if (magic === MAGIC_MICROSECONDS) {
      return { littleEndian, nanoseconds: false };
    }
    if (magic === MAGIC_NANOSECONDS) return { littleEndian, nanoseconds: true };
  }
  throw new PcapError(explainForeign(bytes), 0);
}

/**
 * Reads the header of a file.
 *
 * @param bytes begins with the file's first octet
 * @throws {PcapError} if this is no classic capture file (a pcapng file is
 * named as such), is cut short, or has an unknown version
 *
 * @example
 * ```ts
 * import { decodePcapHeader, encodePcapHeader, PCAP_LINK_TYPE_ETHERNET } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const header = decodePcapHeader(encodePcapHeader({ littleEndian: false }));
 * assertEquals(header.linkType, PCAP_LINK_TYPE_ETHERNET);
 * ```
 */
export function decodePcapHeader(bytes: Uint8Array): PcapHeader {
  const magic = readMagic(bytes);
  const little = magic.littleEndian;
  if (bytes.length < PCAP_HEADER_LENGTH) {
    throw new PcapError(
      `the file is cut short in its header: ${bytes.length} of ` +
        `${PCAP_HEADER_LENGTH} octets`,
      bytes.length,
    );
  }
  const input = view(bytes);
  const major = input.getUint16(FILE_FIELD.versionMajor, little);
  const minor = input.getUint16(FILE_FIELD.versionMinor, little);
  if (major !== VERSION_MAJOR || minor !== VERSION_MINOR) {
    throw new PcapError(
      `version ${major}.${minor} of the format is unknown: ` +
        `${VERSION_MAJOR}.${VERSION_MINOR} is expected`,
      FILE_FIELD.versionMajor,
    );
  }
  return {
    ...magic,
    snapLength: input.getUint32(FILE_FIELD.snapLength, little),
    ...decodeLinkType(input.getUint32(FILE_FIELD.linkType, little)),
  };
}

function decodeLinkType(
  field: number,
): Pick<PcapHeader, "linkType" | "fcsLength"> {
  const hasFcs = (field & FCS_PRESENT) !== 0;
  return {
    linkType: field & LINK_TYPE_MASK,
    fcsLength: hasFcs ? Math.floor(field / FCS_LENGTH) * FCS_UNIT : 0,
  };
}

/**
 * Takes the frame check sequence off a record, of which a cut frame has only
 * the beginning or nothing.
 *
 * @param record changed in place
 * @param fcsLength octets of it behind the whole frame
 *
 * @example
 * ```ts
 * import { removeFcs } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const record = { capturedLength: 62, originalLength: 64 };
 * removeFcs(record, 4);
 * assertEquals(record, { capturedLength: 60, originalLength: 60 });
 * ```
 */
export function removeFcs(
  record: Pick<PcapRecord, "capturedLength" | "originalLength">,
  fcsLength: number,
): void {
  const whole = Math.max(record.originalLength - fcsLength, 0);
  record.originalLength = whole;
  if (record.capturedLength > whole) record.capturedLength = whole;
}

/** What {@linkcode encodePcapRecord} writes. */
export interface PcapRecordHeader {
  /** Seconds since 1970. */
  seconds: number;
  /** Nanoseconds past the second; cut to microseconds where the file has those. */
  nanoseconds: number;
  /** Octets of the frame that follow the header. */
  capturedLength: number;
  /** Octets that the frame had on the wire (default: as captured). */
  originalLength?: number;
}

/**
 * Writes the header of a record. The frame follows at the offset returned.
 *
 * @param header of the file that the record goes into
 * @param bytes where to write
 * @param offset where in `bytes`
 * @param record time and lengths
 * @returns the offset at which the frame belongs
 * @throws {RangeError} if `bytes` has no room for the header
 *
 * @example
 * ```ts
 * import { decodePcapHeader, encodePcapHeader, encodePcapRecord } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const header = decodePcapHeader(encodePcapHeader());
 * const bytes = new Uint8Array(16 + 60);
 * const record = { seconds: 1, nanoseconds: 0, capturedLength: 60 };
 * assertEquals(encodePcapRecord(header, bytes, 0, record), 16);
 * ```
 */
export function encodePcapRecord(
  header: Pick<PcapHeader, "littleEndian" | "nanoseconds">,
  bytes: Uint8Array,
  offset: number,
  record: PcapRecordHeader,
): number {
  const little = header.littleEndian;
  const fraction = header.nanoseconds
    ? record.nanoseconds
    : Math.floor(record.nanoseconds / 1000);
  const original = record.originalLength ?? record.capturedLength;
  const out = view(bytes);
  out.setUint32(offset + PCAP_RECORD_FIELD.seconds, record.seconds, little);
  out.setUint32(offset + PCAP_RECORD_FIELD.fraction, fraction, little);
  out.setUint32(
    offset + PCAP_RECORD_FIELD.capturedLength,
    record.capturedLength,
    little,
  );
  out.setUint32(offset + PCAP_RECORD_FIELD.originalLength, original, little);
  return offset + PCAP_RECORD_LENGTH;
}

function checkCapturedLength(
  header: PcapHeader,
  length: number,
  offset: number,
): void {
  const limit = Math.max(header.snapLength, PCAP_MAX_SNAP_LENGTH);
  if (length <= limit) return;
  throw new PcapError(
    `the record at octet ${offset} claims a frame of ${length} octets: ` +
      `the file is damaged`,
    offset,
  );
}

/**
 * Reads the header of the record at `offset`.
 *
 * @param header of the file
 * @param bytes a piece of the file
 * @param offset where the record begins; the next one begins at
 * `record.offset + record.capturedLength`
 * @returns the record, with the frame check sequence if the file has it, or
 * undefined if `bytes` ends before the record does: at
 * the end of a piece, read more; at the end of the file, it is cut short
 * @throws {PcapError} if the record's length is impossible
 *
 * @example
 * ```ts
 * import { decodePcapHeader, decodePcapRecord, encodePcapHeader } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const file = encodePcapHeader();
 * assertEquals(decodePcapRecord(decodePcapHeader(file), file, 24), undefined);
 * ```
 */
export function decodePcapRecord(
  header: PcapHeader,
  bytes: Uint8Array,
  offset: number,
): PcapRecord | undefined {
  if (offset + PCAP_RECORD_LENGTH > bytes.length) return undefined;
  const little = header.littleEndian;
  const input = view(bytes);
  const capturedLength = input.getUint32(
    offset + PCAP_RECORD_FIELD.capturedLength,
    little,
  );
  checkCapturedLength(header, capturedLength, offset);
  const frame = offset + PCAP_RECORD_LENGTH;
  if (frame + capturedLength > bytes.length) return undefined;
  const fraction = input.getUint32(offset + PCAP_RECORD_FIELD.fraction, little);
  return {
    seconds: input.getUint32(offset + PCAP_RECORD_FIELD.seconds, little),
    nanoseconds: header.nanoseconds ? fraction : fraction * 1000,
    offset: frame,
    capturedLength,
    originalLength: input.getUint32(
      offset + PCAP_RECORD_FIELD.originalLength,
      little,
    ),
  };
}

/**
 * Walks the records of a whole file.
 *
 * @param bytes the file
 * @throws {PcapError} if it is no capture file, damaged or cut short
 *
 * @example
 * ```ts
 * import { encodePcapHeader, pcapRecords } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...pcapRecords(encodePcapHeader())], []);
 * ```
 */
export function* pcapRecords(bytes: Uint8Array): Generator<PcapRecord> {
  const header = decodePcapHeader(bytes);
  let offset = PCAP_HEADER_LENGTH;
  while (offset < bytes.length) {
    const record = decodePcapRecord(header, bytes, offset);
    if (record === undefined) {
      throw new PcapError(
        `the file is cut short in the record at octet ${offset}: ` +
          `${bytes.length - offset} octets are left of it`,
        offset,
      );
    }
    offset = record.offset + record.capturedLength;
    removeFcs(record, header.fcsLength);
    yield record;
  }
}
