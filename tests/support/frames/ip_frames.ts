/**
 * IPv4 frames made by hand, byte by byte from RFC 791, 768 and 9293, for tests of what a card says of them.
 */
import { STATION } from "../intel/ixgbe_rig.ts";

const PROTOCOLS = { tcp: 6, udp: 17 } as const;
const ETHERNET = 14;
const IP = 20;

/** What the frame is like. */
export interface FrameOptions {
  readonly protocol: keyof typeof PROTOCOLS;
  readonly sourcePort?: number;
  /** Which checksum to damage. */
  readonly spoil?: "ip" | "l4";
  /** A UDP packet that says it has no checksum. */
  readonly zeroChecksum?: boolean;
}

/** A frame to the station with 16 bytes of payload and right checksums, unless told otherwise. */
export function ipv4Frame(options: FrameOptions): Uint8Array {
  const { protocol, sourcePort = 1000, spoil, zeroChecksum } = options;
  const header = protocol === "tcp" ? 20 : 8;
  const total = IP + header + 16;
  const frame = new Uint8Array(Math.max(ETHERNET + total, 60));
  const view = new DataView(frame.buffer);
  frame.set(STATION.split(":").map((octet) => parseInt(octet, 16)));
  frame.set([2, 0, 0, 0, 0, 9, 0x08, 0x00], 6);
  frame[ETHERNET] = 0x45;
  view.setUint16(ETHERNET + 2, total);
  frame[ETHERNET + 8] = 64;
  frame[ETHERNET + 9] = PROTOCOLS[protocol];
  frame.set([10, 0, 0, 1, 10, 0, 0, 2], ETHERNET + 12);
  const l4 = ETHERNET + IP;
  view.setUint16(l4, sourcePort);
  view.setUint16(l4 + 2, 2000);
  if (protocol === "tcp") frame[l4 + 12] = 5 << 4;
  else view.setUint16(l4 + 4, header + 16);
  view.setUint16(ETHERNET + 10, checksum(view, ETHERNET, IP, 0));
  const pseudo = PROTOCOLS[protocol] + header + 16 + 0x0a00 + 1 + 0x0a00 + 2;
  const place = l4 + (protocol === "tcp" ? 16 : 6);
  if (!zeroChecksum) {
    view.setUint16(place, checksum(view, l4, header + 16, pseudo));
  }
  if (spoil === "ip") frame[ETHERNET + 10] ^= 0x55;
  if (spoil === "l4") frame[place] ^= 0x55;
  return frame;
}

function checksum(
  view: DataView,
  from: number,
  length: number,
  start: number,
): number {
  let sum = start;
  for (let at = 0; at < length; at += 2) sum += view.getUint16(from + at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
