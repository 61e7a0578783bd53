/**
 * Frames that the outside sends to a card, and what comes back.
 *
 * @module
 */

/** The MAC address of the outside. */
export const PEER = "02:00:00:00:ff:01";

/** Octets of `02:00:00:00:00:01`. */
export function macBytes(mac: string): number[] {
  return mac.split(":").map((octet) => parseInt(octet, 16));
}

/** A frame with a number in it, its content derived from the number. */
export function numbered(
  number: number,
  to: string,
  length = 60,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(length);
  for (let i = 18; i < length; i++) frame[i] = (number * 7 + i) & 0xff;
  frame.set([...macBytes(to), ...macBytes(PEER), 0x88, 0xb5]);
  new DataView(frame.buffer).setUint32(14, number);
  return frame;
}

/** The number in it. */
export function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(14);
}

/** The frame as a card that swaps addresses sends it back. */
export function swapped(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  const other = frame.slice();
  other.set(frame.subarray(6, 12), 0);
  other.set(frame.subarray(0, 6), 6);
  return other;
}

/** Puts a VLAN tag behind the addresses. */
export function tagged(
  frame: Uint8Array,
  tag: number,
): Uint8Array<ArrayBuffer> {
  const other = new Uint8Array(frame.length + 4);
  other.set(frame.subarray(0, 12));
  other.set([0x81, 0x00, tag >> 8, tag & 0xff], 12);
  other.set(frame.subarray(12), 16);
  return other;
}
