/**
 * Frames that the outside sends to a card, and what comes back.
 *
 * @module
 */
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { parseIpv6 } from "../../src/net/ipv6.ts";

/** The station address of the outside. */
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

/** Both ends of a flow. */
export interface Flow {
  readonly source: readonly [address: string, port: number];
  readonly destination: readonly [address: string, port: number];
}

const ETHERNET = 14;
const TCP = 6;
const TCP_BYTES = 20;

/** A TCP segment without payload and without checksums, over IPv4 or IPv6 as its addresses are. */
export function tcpFrame(to: string, flow: Flow): Uint8Array<ArrayBuffer> {
  const isIpv6 = flow.source[0].includes(":");
  const l4 = ETHERNET + (isIpv6 ? 40 : 20);
  const frame = new Uint8Array(Math.max(60, l4 + TCP_BYTES));
  const view = new DataView(frame.buffer);
  frame.set([...macBytes(to), ...macBytes(PEER)]);
  view.setUint16(12, isIpv6 ? 0x86dd : 0x0800);
  if (isIpv6) writeIpv6(view, flow);
  else writeIpv4(view, flow);
  view.setUint16(l4, flow.source[1]);
  view.setUint16(l4 + 2, flow.destination[1]);
  frame[l4 + 12] = TCP_BYTES / 4 << 4;
  return frame;
}

function writeIpv4(view: DataView, { source, destination }: Flow): void {
  view.setUint8(ETHERNET, 0x45);
  view.setUint16(ETHERNET + 2, 20 + TCP_BYTES);
  view.setUint8(ETHERNET + 8, 64);
  view.setUint8(ETHERNET + 9, TCP);
  view.setUint32(ETHERNET + 12, parseIpv4(source[0]));
  view.setUint32(ETHERNET + 16, parseIpv4(destination[0]));
}

function writeIpv6(view: DataView, { source, destination }: Flow): void {
  view.setUint8(ETHERNET, 0x60);
  view.setUint16(ETHERNET + 4, TCP_BYTES);
  view.setUint8(ETHERNET + 6, TCP);
  view.setUint8(ETHERNET + 7, 64);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(parseIpv6(source[0]), ETHERNET + 8);
  bytes.set(parseIpv6(destination[0]), ETHERNET + 24);
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
