/**
 * ARP frames by hand, byte by byte from RFC 826: every kernel answers them.
 */

const ETHERNET_ARP = [0x08, 0x06];
/** Ethernet, IPv4, six and four bytes of address. */
const KINDS = [0, 1, 8, 0, 6, 4];
const OPERATIONS = { request: 1, reply: 2 } as const;

/** The MAC address of the outside. */
export const OUTSIDE_MAC = "02:00:00:00:ff:01";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const UNKNOWN = "00:00:00:00:00:00";

const macBytes = (mac: string) =>
  mac.split(":").map((octet) => parseInt(octet, 16));
const ipBytes = (ip: string) => ip.split(".").map(Number);

/** The outside asks who has an address. */
export function arpRequest(from: string, wanted: string): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set([
    ...macBytes(BROADCAST),
    ...macBytes(OUTSIDE_MAC),
    ...ETHERNET_ARP,
    ...KINDS,
    ...[0, OPERATIONS.request],
    ...macBytes(OUTSIDE_MAC),
    ...ipBytes(from),
    ...macBytes(UNKNOWN),
    ...ipBytes(wanted),
  ]);
  return frame;
}

/** The answer to that, without padding. */
export function arpReply(mac: string, ip: string, to: string): Uint8Array {
  return Uint8Array.from([
    ...macBytes(OUTSIDE_MAC),
    ...macBytes(mac),
    ...ETHERNET_ARP,
    ...KINDS,
    ...[0, OPERATIONS.reply],
    ...macBytes(mac),
    ...ipBytes(ip),
    ...macBytes(OUTSIDE_MAC),
    ...ipBytes(to),
  ]);
}

/** Tells ARP frames from what else a kernel sends. */
export function isArp(
  frame: Uint8Array,
  operation: keyof typeof OPERATIONS,
): boolean {
  const isType = ETHERNET_ARP.every((byte, at) => frame[12 + at] === byte);
  return isType && frame[21] === OPERATIONS[operation];
}
