/**
 * Flows whose RSS hash is published, as frames.
 *
 * @module
 */
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { parseIpv6 } from "../../src/net/ipv6.ts";
import { macBytes, PEER } from "./frames.ts";

/** Both ends of a flow. */
export interface Flow {
  /** Address and port of the sender. */
  readonly source: readonly [address: string, port: number];
  /** Address and port of the receiver. */
  readonly destination: readonly [address: string, port: number];
}

/** A flow, and the Toeplitz hashes of it under the key of the verification suite. */
export interface HashedFlow extends Flow {
  /** Hash of the addresses. */
  readonly addresses: number;
  /** Hash of the addresses and ports. */
  readonly withPorts: number;
}

/** Microsoft, "Verifying the RSS Hash Calculation", IPv4 and IPv6. */
// deno-fmt-ignore
export const FLOWS: readonly HashedFlow[] = [
  { destination: ["161.142.100.80", 1766], source: ["66.9.149.187", 2794], addresses: 0x323e8fc2, withPorts: 0x51ccc178 },
  { destination: ["65.69.140.83", 4739], source: ["199.92.111.2", 14230], addresses: 0xd718262a, withPorts: 0xc626b0ea },
  { destination: ["12.22.207.184", 38024], source: ["24.19.198.95", 12898], addresses: 0xd2d0a5de, withPorts: 0x5c2b394a },
  { destination: ["209.142.163.6", 2217], source: ["38.27.205.30", 48228], addresses: 0x82989176, withPorts: 0xafc7327f },
  { destination: ["202.188.127.2", 1303], source: ["153.39.163.191", 44251], addresses: 0x5d1809c5, withPorts: 0x10e828a2 },
  { destination: ["3ffe:2501:200:3::1", 1766], source: ["3ffe:2501:200:1fff::7", 2794], addresses: 0x2cc18cd5, withPorts: 0x40207d3d },
  { destination: ["ff02::1", 4739], source: ["3ffe:501:8::260:97ff:fe40:efab", 14230], addresses: 0x0f0c461c, withPorts: 0xdde51bbf },
  { destination: ["fe80::200:f8ff:fe21:67cf", 38024], source: ["3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251], addresses: 0x4b61e985, withPorts: 0x02d1feef },
];

/** What is above IP. "none": a protocol for experiments, without ports (RFC 3692). */
export type Transport = "tcp" | "udp" | "none";

const ETHERNET = 14;
const NUMBERS = { tcp: 6, udp: 17, none: 253 } as const;
const HEADER_BYTES = { tcp: 20, udp: 8, none: 20 } as const;

/** A frame of a flow, over IPv4 or IPv6 as its addresses are, without payload and without checksums. */
export function flowFrame(
  to: string,
  flow: Flow,
  transport: Transport,
): Uint8Array<ArrayBuffer> {
  const isIpv6 = flow.source[0].includes(":");
  const l4 = ETHERNET + (isIpv6 ? 40 : 20);
  const length = HEADER_BYTES[transport];
  const frame = new Uint8Array(Math.max(60, l4 + length));
  const view = new DataView(frame.buffer);
  frame.set([...macBytes(to), ...macBytes(PEER)]);
  view.setUint16(12, isIpv6 ? 0x86dd : 0x0800);
  if (isIpv6) writeIpv6(view, flow, transport);
  else writeIpv4(view, flow, transport);
  view.setUint16(l4, flow.source[1]);
  view.setUint16(l4 + 2, flow.destination[1]);
  if (transport === "tcp") frame[l4 + 12] = length / 4 << 4;
  else view.setUint16(l4 + 4, length);
  return frame;
}

function writeIpv4(view: DataView, flow: Flow, transport: Transport): void {
  view.setUint8(ETHERNET, 0x45);
  view.setUint16(ETHERNET + 2, 20 + HEADER_BYTES[transport]);
  view.setUint8(ETHERNET + 8, 64);
  view.setUint8(ETHERNET + 9, NUMBERS[transport]);
  view.setUint32(ETHERNET + 12, parseIpv4(flow.source[0]));
  view.setUint32(ETHERNET + 16, parseIpv4(flow.destination[0]));
}

function writeIpv6(view: DataView, flow: Flow, transport: Transport): void {
  view.setUint8(ETHERNET, 0x60);
  view.setUint16(ETHERNET + 4, HEADER_BYTES[transport]);
  view.setUint8(ETHERNET + 6, NUMBERS[transport]);
  view.setUint8(ETHERNET + 7, 64);
  const bytes = new Uint8Array(view.buffer);
  bytes.set(parseIpv6(flow.source[0]), ETHERNET + 8);
  bytes.set(parseIpv6(flow.destination[0]), ETHERNET + 24);
}
