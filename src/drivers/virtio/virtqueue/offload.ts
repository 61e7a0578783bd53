/**
 * Packets that the device is to cut into segments, in their header's words.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { readU16 } from "../../../net/bytes.ts";
import { ETHER_TYPE, ethernetPayload } from "../../../net/ethernet.ts";
import { NetHeader } from "./header.ts";

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
