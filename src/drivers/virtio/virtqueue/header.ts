/**
 * The header before each packet (5.1.6), in front of the packet's first byte.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { HEADROOM } from "../../../memory/mempool.ts";
import { PacketFlag } from "../../../memory/packet.ts";
import { type AcceptedFeatures, accepts, isLegacy } from "../features.ts";
import { readU16 } from "../../../net/bytes.ts";
import { ETHER_TYPE, ethernetPayload } from "../../../net/ethernet.ts";

/** Bits and places of `struct virtio_net_hdr`, read as 32-bit words. */
export const NetHeader = {
  /** Word with `flags`, `gso_type` and `hdr_len`. */
  FLAGS_WORD: 0,
  /** Word with `gso_size` and `csum_start`. */
  SIZES_WORD: 1,
  /** Word with `csum_offset` and `num_buffers`. */
  BUFFERS_WORD: 2,
  /** Word with `hash_value`, where hashes are reported. */
  HASH_WORD: 3,
  /** Word with `hash_report` in its lower half, where hashes are reported. */
  HASH_TYPE_WORD: 4,

  /** The checksum is to be completed: `csum_start` and `csum_offset` say where. */
  NEEDS_CSUM: 1,
  /** The checksum was checked, or the packet never left the machine. */
  DATA_VALID: 2,
  /** Bits of `gso_type` in the first word. */
  GSO_TYPE: 0x7f00,
  /** `gso_type`: TCP over IPv4. */
  GSO_TCPV4: 1 << 8,
  /** `gso_type`: TCP over IPv6. */
  GSO_TCPV6: 4 << 8,
  /** Where `hdr_len` is in the first word. */
  HEADER_LENGTH_SHIFT: 16,
  /** Where `csum_start` is in the second word. */
  CSUM_START_SHIFT: 16,
  /** Where `num_buffers` is in the third word. */
  BUFFERS_SHIFT: 16,
} as const;

/** Bits of the first word that make a received frame more than bytes: the rest may be anything. */
export const NOT_PLAIN: number = NetHeader.NEEDS_CSUM | NetHeader.GSO_TYPE;
/** From DATA_VALID to `PacketFlag.L4ChecksumGood`. */
export const VALID_SHIFT: number = Math.log2(
  PacketFlag.L4ChecksumGood / NetHeader.DATA_VALID,
);

/** Bytes of the header. */
const BYTES = 12;
/** Bytes of the header where hashes are reported (5.1.6.4.3). */
const BYTES_WITH_HASH = 20;
/** Bytes of the header by the legacy interface, where frames have one buffer: `num_buffers` is not there (5.1.6.1). */
const BYTES_WITHOUT_BUFFERS = 10;

/** Bytes of the header before each packet. */
export function headerBytes(features: AcceptedFeatures): number {
  if (accepts(features, "hash-report")) return BYTES_WITH_HASH;
  return isLegacy(features) && !accepts(features, "mergeable")
    ? BYTES_WITHOUT_BUFFERS
    : BYTES;
}

/**
 * Where the header of entry 0 begins in a pool's `words`: it ends where the entry begins. A header that is no whole
 * number of words begins in the middle of this one.
 */
export function firstHeaderWord(bytes: number): number {
  return (HEADROOM - bytes) >>> 2;
}

/** Bits by which a header is off the words that it lies in: 0, or half a word. */
export function headerSkew(bytes: number): number {
  return (HEADROOM - bytes) % 4 * 8;
}

/** Reads a word of a header that begins at `at`; of the last word of one that is off, the upper half means nothing. */
export function readHeaderWord(
  words: Uint32Array,
  at: number,
  word: number,
  skew: number,
): number {
  const low = words[at + word];
  return skew === 0 ? low : (low >>> skew | words[at + word + 1] << skew) >>> 0;
}

/** Writes a header that begins at `at`, without a hash; no bit of `last` above its lower half is set. */
export function writeHeader(
  words: Uint32Array,
  at: number,
  skew: number,
  flags: number,
  sizes: number,
  last: number,
): void {
  if (skew === 0) {
    words[at + NetHeader.FLAGS_WORD] = flags;
    words[at + NetHeader.SIZES_WORD] = sizes;
    words[at + NetHeader.BUFFERS_WORD] = last;
    return;
  }
  words[at + NetHeader.FLAGS_WORD] = flags << skew;
  words[at + NetHeader.SIZES_WORD] = flags >>> skew | sizes << skew;
  words[at + NetHeader.BUFFERS_WORD] = sizes >>> skew | last << skew;
}

/** The shortest TCP header, and where it says how long it is, in 32-bit words (RFC 9293 3.1). */
const TCP_HEADER_BYTES = 20;
const TCP_DATA_OFFSET = 12;

/**
 * The first word of the header of a packet that is to be cut into segments (5.1.6.2): `gso_type` by the frame's IP
 * version, and the length of all headers. 0 where it is no TCP segment within one piece of memory.
 * @param bytes The first part of the frame, from `offset` on and `size` bytes.
 * @param start Where the TCP header begins in it.
 */
export function segmentationWord(
  bytes: Uint8Array,
  offset: number,
  size: number,
  start: number,
): number {
  if (start + TCP_HEADER_BYTES > size) return 0;
  const type = segmentationType(bytes, offset);
  const headers = start +
    (bytes[offset + start + TCP_DATA_OFFSET] >>> 4) * 4;
  if (type === 0 || headers > size) return 0;
  return NetHeader.NEEDS_CSUM | type |
    (headers << NetHeader.HEADER_LENGTH_SHIFT);
}

function segmentationType(bytes: Uint8Array, offset: number): number {
  const type = readU16(bytes, ethernetPayload(bytes, offset) - 2);
  if (type === ETHER_TYPE.ipv4) return NetHeader.GSO_TCPV4;
  if (type === ETHER_TYPE.ipv6) return NetHeader.GSO_TCPV6;
  return 0;
}
