/**
 * Ethernet II frames and MAC addresses (IEEE 802.3).
 *
 * Lengths include the 14-octet header and exclude the frame check sequence.
 *
 * @module
 */

import { readU16, writeU16 } from "./bytes.ts";

/** Offsets of an Ethernet header's fields from its first octet. */
export const ETHERNET_FIELD = {
  destination: 0,
  source: 6,
  type: 12,
  payload: 14,
} as const;

/** Length of an Ethernet header without VLAN tags, in octets. */
export const ETHERNET_HEADER_LENGTH = 14;

/** Length of a VLAN tag, in octets. */
export const VLAN_TAG_LENGTH = 4;

/** Length of a MAC address, in octets. */
export const MAC_LENGTH = 6;

/** EtherType values (IANA registry "IEEE 802 Numbers"). */
export const ETHER_TYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  serviceVlan: 0x88a8,
} as const;

const MAC_PATTERN = /^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i;

/**
 * Reads a MAC address written with colons or hyphens.
 *
 * @param text such as `02:00:00:00:00:01`
 * @returns its six octets
 * @throws {TypeError} if the text is not a MAC address
 *
 * @example
 * ```ts
 * import { parseMac } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...parseMac("02:00:00:00:00:2a")], [2, 0, 0, 0, 0, 0x2a]);
 * ```
 */
export function parseMac(text: string): Uint8Array<ArrayBuffer> {
  if (!MAC_PATTERN.test(text)) {
    throw new TypeError(
      `"${text}" is not a MAC address: write six octets like 02:00:00:00:00:01`,
    );
  }
  return Uint8Array.from(text.split(/[:-]/), (octet) => parseInt(octet, 16));
}

/**
 * Writes the MAC address at `offset` as text, in lower case with colons.
 *
 * @example
 * ```ts
 * import { formatMac } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(formatMac(new Uint8Array([2, 0, 0, 0, 0, 255])), "02:00:00:00:00:ff");
 * ```
 */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  return Array.from(
    bytes.subarray(offset, offset + MAC_LENGTH),
    (octet) => octet.toString(16).padStart(2, "0"),
  ).join(":");
}

/**
 * Says whether two MAC addresses are the same, without allocating.
 *
 * @example
 * ```ts
 * import { equalMac, parseMac } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * const frame = new Uint8Array([0, 0, 2, 0, 0, 0, 0, 1]);
 * assert(equalMac(frame, 2, parseMac("02:00:00:00:00:01"), 0));
 * ```
 */
export function equalMac(
  a: Uint8Array,
  aOffset: number,
  b: Uint8Array,
  bOffset: number,
): boolean {
  for (let i = 0; i < MAC_LENGTH; i++) {
    if (a[aOffset + i] !== b[bOffset + i]) return false;
  }
  return true;
}

/**
 * Copies a MAC address, without allocating.
 *
 * @example
 * ```ts
 * import { copyMac, formatMac, parseMac } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const frame = new Uint8Array(14);
 * copyMac(parseMac("02:00:00:00:00:01"), 0, frame, 6);
 * assertEquals(formatMac(frame, 6), "02:00:00:00:00:01");
 * ```
 */
export function copyMac(
  from: Uint8Array,
  fromOffset: number,
  to: Uint8Array,
  toOffset: number,
): void {
  for (let i = 0; i < MAC_LENGTH; i++) to[toOffset + i] = from[fromOffset + i];
}

/**
 * Says whether the MAC address at `offset` names a group (broadcast included):
 * the lowest bit of its first octet is set.
 *
 * @example
 * ```ts
 * import { isMulticastMac } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * assert(isMulticastMac(new Uint8Array([0x33, 0x33, 0, 0, 0, 1]), 0));
 * ```
 */
export function isMulticastMac(bytes: Uint8Array, offset: number): boolean {
  return (bytes[offset] & 1) === 1;
}

/**
 * Says whether the MAC address at `offset` is ff:ff:ff:ff:ff:ff.
 *
 * @example
 * ```ts
 * import { isBroadcastMac } from "@ixl/deno/net";
 * import { assert } from "@std/assert";
 *
 * assert(isBroadcastMac(new Uint8Array(6).fill(0xff), 0));
 * ```
 */
export function isBroadcastMac(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < MAC_LENGTH; i++) {
    if (bytes[offset + i] !== 0xff) return false;
  }
  return true;
}

/**
 * Says whether `length` octets at `offset` hold a whole Ethernet header. Check
 * it once, then use the other accessors.
 *
 * @example
 * ```ts
 * import { isEthernet } from "@ixl/deno/net";
 * import { assertFalse } from "@std/assert";
 *
 * assertFalse(isEthernet(new Uint8Array(13), 0, 13));
 * ```
 */
export function isEthernet(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  return length >= ETHERNET_HEADER_LENGTH && offset + length <= bytes.length;
}

/**
 * Reads the EtherType: {@linkcode ETHER_TYPE} names the known ones. In a tagged
 * frame it is that of the outer tag.
 *
 * @example
 * ```ts
 * import { ETHER_TYPE, etherType, writeEthernet } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const frame = new Uint8Array(14);
 * writeEthernet(frame, 0, new Uint8Array(6), new Uint8Array(6), ETHER_TYPE.arp);
 * assertEquals(etherType(frame, 0), ETHER_TYPE.arp);
 * ```
 */
export function etherType(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + ETHERNET_FIELD.type);
}

/**
 * Finds the offset of what follows the header and its VLAN tags, if any.
 *
 * @returns the payload's offset; the EtherType is in the two octets before it
 *
 * @example
 * ```ts
 * import { ethernetPayload } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const frame = new Uint8Array(64);
 * frame.set([0x81, 0x00, 0x00, 0x05, 0x08, 0x00], 12);
 * assertEquals(ethernetPayload(frame, 0), 18);
 * ```
 */
export function ethernetPayload(bytes: Uint8Array, offset: number): number {
  let payload = offset + ETHERNET_FIELD.payload;
  // Two tags at most: 802.1ad puts one service tag before one customer tag.
  for (let tag = 0; tag < 2; tag++) {
    const type = readU16(bytes, payload - 2);
    if (type !== ETHER_TYPE.vlan && type !== ETHER_TYPE.serviceVlan) break;
    payload += VLAN_TAG_LENGTH;
  }
  return payload;
}

/**
 * Writes an Ethernet header.
 *
 * @param destination six octets
 * @param source six octets
 * @param type an EtherType
 *
 * @example
 * ```ts
 * import { ETHER_TYPE, formatMac, parseMac, writeEthernet } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const frame = new Uint8Array(60);
 * const [to, from] = [parseMac("02:00:00:00:00:01"), parseMac("02:00:00:00:00:02")];
 * writeEthernet(frame, 0, to, from, ETHER_TYPE.ipv4);
 * assertEquals(formatMac(frame, 6), "02:00:00:00:00:02");
 * ```
 */
export function writeEthernet(
  bytes: Uint8Array,
  offset: number,
  destination: Uint8Array,
  source: Uint8Array,
  type: number,
): void {
  copyMac(destination, 0, bytes, offset + ETHERNET_FIELD.destination);
  copyMac(source, 0, bytes, offset + ETHERNET_FIELD.source);
  writeU16(bytes, offset + ETHERNET_FIELD.type, type);
}

/**
 * Exchanges source and destination MAC addresses in place: the frame goes back
 * to where it came from.
 *
 * @example
 * ```ts
 * import { formatMac, parseMac, swapMacs } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const frame = new Uint8Array(14);
 * frame.set(parseMac("02:00:00:00:00:01"), 0);
 * swapMacs(frame, 0);
 * assertEquals(formatMac(frame, 6), "02:00:00:00:00:01");
 * ```
 */
export function swapMacs(bytes: Uint8Array, offset: number): void {
  for (let i = offset; i < offset + MAC_LENGTH; i++) {
    const octet = bytes[i];
    bytes[i] = bytes[i + MAC_LENGTH];
    bytes[i + MAC_LENGTH] = octet;
  }
}
