/**
 * Flows whose RSS hash is published, as frames.
 *
 * @module
 */
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { ipv4Frame } from "../support/ip_frames.ts";
import { macBytes } from "./frames.ts";

/** A flow, and the Toeplitz hashes of it under the key of the verification suite. */
export interface Flow {
  /** Address and port of the sender. */
  readonly source: readonly [address: string, port: number];
  /** Address and port of the receiver. */
  readonly destination: readonly [address: string, port: number];
  /** Hash of the addresses. */
  readonly addresses: number;
  /** Hash of the addresses and ports. */
  readonly withPorts: number;
}

/** Microsoft, "Verifying the RSS Hash Calculation", IPv4. */
// deno-fmt-ignore
export const FLOWS: readonly Flow[] = [
  { destination: ["161.142.100.80", 1766], source: ["66.9.149.187", 2794], addresses: 0x323e8fc2, withPorts: 0x51ccc178 },
  { destination: ["65.69.140.83", 4739], source: ["199.92.111.2", 14230], addresses: 0xd718262a, withPorts: 0xc626b0ea },
  { destination: ["12.22.207.184", 38024], source: ["24.19.198.95", 12898], addresses: 0xd2d0a5de, withPorts: 0x5c2b394a },
  { destination: ["209.142.163.6", 2217], source: ["38.27.205.30", 48228], addresses: 0x82989176, withPorts: 0xafc7327f },
  { destination: ["202.188.127.2", 1303], source: ["153.39.163.191", 44251], addresses: 0x5d1809c5, withPorts: 0x10e828a2 },
];

const SOURCE = 14 + 12;
const DESTINATION = SOURCE + 4;
const PORTS = 14 + 20;

/** A frame of a flow. Its checksums are those of other addresses. */
export function flowFrame(
  { source, destination }: Flow,
  protocol: "tcp" | "udp",
  to: string,
): Uint8Array {
  const frame = ipv4Frame({ protocol });
  const view = new DataView(frame.buffer);
  frame.set(macBytes(to));
  view.setUint32(SOURCE, parseIpv4(source[0]));
  view.setUint32(DESTINATION, parseIpv4(destination[0]));
  view.setUint16(PORTS, source[1]);
  view.setUint16(PORTS + 2, destination[1]);
  return frame;
}

/** The part of a frame, in hexadecimal, that tells one flow from another. */
export function addressesOf(hex: string): string {
  return hex.slice(2 * SOURCE, 2 * (DESTINATION + 4));
}
