/**
 * What a packet asks the device to do on sending, in its header's words, and what is done here where the device cannot.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { type Handle, INDEX_MASK, Mempool } from "../../mempool.ts";
import { readU16, writeU16 } from "../../net/bytes.ts";
import { foldChecksum, partialChecksum } from "../../net/checksum.ts";
import { ETHER_TYPE, ethernetPayload } from "../../net/ethernet.ts";
import { NetHeader } from "./header.ts";

/** Where the checksum is in a UDP header: there, 0 means that there is none (RFC 768). */
const UDP_CHECKSUM = 6;
/** The shortest TCP header, and where it says how long it is, in 32-bit words (RFC 9293 3.1). */
const TCP_HEADER_BYTES = 20;
const TCP_DATA_OFFSET = 12;

/** A request of {@linkcode Mempool.offloads}: where the sum begins in the frame. */
export function checksumStart(request: number): number {
  return request & 0xffff;
}

/** A request of {@linkcode Mempool.offloads}: where it is stored, from its start on. */
export function checksumOffset(request: number): number {
  return request >>> 16;
}

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

/**
 * Completes a checksum where the device cannot: from `start` to the end of the frame, whose first part holds the place
 * of the checksum, and in it the sum of the pseudo header.
 */
export function completeChecksum(handle: Handle, request: number): void {
  const start = checksumStart(request);
  const place = start + checksumOffset(request);
  let sum = 0;
  let position = 0;
  for (let segment = handle; segment !== 0;) {
    const pool = Mempool.of(segment);
    const index = segment & INDEX_MASK;
    const skip = Math.max(start - position, 0);
    const size = pool.lengths[index];
    if (size > skip) {
      const part = partialChecksum(
        pool.u8,
        index * pool.stride + skip,
        size - skip,
      );
      // A part that begins at an odd place counts with its octets exchanged (RFC 1071 section 2 B).
      const odd = ((position + skip - start) & 1) !== 0;
      sum = foldChecksum(sum + (odd ? exchange(part) : part));
    }
    position += size;
    segment = pool.nextSegments[index];
  }
  const pool = Mempool.of(handle);
  const complete = ~sum & 0xffff;
  writeU16(
    pool.u8,
    (handle & INDEX_MASK) * pool.stride + place,
    complete === 0 && checksumOffset(request) === UDP_CHECKSUM
      ? 0xffff
      : complete,
  );
}

function exchange(sum: number): number {
  return ((sum & 0xff) << 8) | (sum >>> 8);
}
