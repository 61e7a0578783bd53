/**
 * Packets in several segments: their size, the checksum that they ask for in {@linkcode Mempool.offloads}, and
 * completing it here where a card cannot.
 *
 * @module
 */
import { type Handle, INDEX_MASK, Mempool } from "../../memory/mempool.ts";
import { writeU16 } from "../../net/bytes.ts";
import { foldChecksum, partialChecksum } from "../../net/checksum.ts";

const CHECKSUM_BYTES = 2;
/** Where the checksum is in a UDP header: there, 0 means that there is none (RFC 768). */
const UDP_CHECKSUM = 6;

/** Most segments of a packet that a driver sends. */
export const MAX_SEGMENTS = 40;

/** Segments and bytes of a packet. No segments if one has a length that cannot be sent, or there are too many. */
export function measure(
  handle: Handle,
  maxFrame: number,
): { segments: number; bytes: number } {
  let segments = 0;
  let bytes = 0;
  for (let segment = handle; segment !== 0;) {
    const pool = Mempool.of(segment);
    const size = pool.lengths[segment & INDEX_MASK];
    bytes += size;
    segments++;
    const sound = size > 0 && size <= pool.entrySize && bytes <= maxFrame &&
      segments <= MAX_SEGMENTS;
    if (!sound) return { segments: 0, bytes: 0 };
    segment = pool.nextSegments[segment & INDEX_MASK];
  }
  return { segments, bytes };
}

/** A request of {@linkcode Mempool.offloads}: where the sum begins in the frame. */
export function checksumStart(request: number): number {
  return request & 0xffff;
}

/** A request of {@linkcode Mempool.offloads}: where it is stored, from its start on. */
export function checksumOffset(request: number): number {
  return request >>> 16;
}

/** True when the place of the checksum lies in the packet's first segment, where it can be stored. */
export function isSound(handle: Handle, request: number): boolean {
  const { lengths } = Mempool.of(handle);
  const end = checksumStart(request) + checksumOffset(request) +
    CHECKSUM_BYTES;
  return end <= lengths[handle & INDEX_MASK];
}

/**
 * Completes the checksum of a packet with a sound request: over everything from its start on, with the sum of the
 * pseudo header that stands in its place.
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
