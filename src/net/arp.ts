/**
 * ARP for IPv4 over Ethernet (RFC 826).
 *
 * @module
 */

import { readU16, readU32, writeU16, writeU32 } from "./bytes.ts";
import { copyMac, ETHER_TYPE } from "./ethernet.ts";

/** Offsets of the fields from the first octet after the Ethernet header. */
export const ARP_FIELD = {
  hardwareType: 0,
  protocolType: 2,
  hardwareLength: 4,
  protocolLength: 5,
  operation: 6,
  senderMac: 8,
  senderIpv4: 14,
  targetMac: 18,
  targetIpv4: 24,
} as const;

/** Length of an ARP packet for IPv4 over Ethernet, in octets. */
export const ARP_LENGTH = 28;

/** What an ARP packet does. */
export const ARP_OPERATION = { request: 1, reply: 2 } as const;

const HARDWARE_ETHERNET = 1;
/** Hardware address length 6 and protocol address length 4, as they lie together. */
const ADDRESS_LENGTHS = 0x0604;

/**
 * Says whether `length` octets at `offset` hold an ARP packet for IPv4 over
 * Ethernet.
 *
 * @example
 * ```ts
 * import { isArp } from "@ixl/deno/net";
 * import { assertFalse } from "@std/assert";
 *
 * assertFalse(isArp(new Uint8Array(28), 0, 28));
 * ```
 */
export function isArp(
  bytes: Uint8Array,
  offset: number,
  length: number,
): boolean {
  return length >= ARP_LENGTH && offset + length <= bytes.length &&
    readU16(bytes, offset + ARP_FIELD.hardwareType) === HARDWARE_ETHERNET &&
    readU16(bytes, offset + ARP_FIELD.protocolType) === ETHER_TYPE.ipv4 &&
    readU16(bytes, offset + ARP_FIELD.hardwareLength) === ADDRESS_LENGTHS;
}

/** What the packet does: see {@linkcode ARP_OPERATION}. */
export function arpOperation(bytes: Uint8Array, offset: number): number {
  return readU16(bytes, offset + ARP_FIELD.operation);
}

/** IPv4 address of the sender, as a number. */
export function arpSenderIpv4(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + ARP_FIELD.senderIpv4);
}

/** IPv4 address that is asked about, as a number. */
export function arpTargetIpv4(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + ARP_FIELD.targetIpv4);
}

/** What {@linkcode writeArpRequest} asks. */
export interface ArpRequest {
  /** MAC address of who asks, six octets. */
  senderMac: Uint8Array;
  /** IPv4 address of who asks, as a number. */
  senderIpv4: number;
  /** IPv4 address whose owner is sought, as a number. */
  targetIpv4: number;
}

/**
 * Writes a request: who has this IPv4 address?
 *
 * @example
 * ```ts
 * import { arpTargetIpv4, isArp, parseIpv4, parseMac, writeArpRequest } from "@ixl/deno/net";
 * import { assert, assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(28);
 * const targetIpv4 = parseIpv4("192.0.2.2");
 * writeArpRequest(bytes, 0, {
 *   senderMac: parseMac("02:00:00:00:00:01"),
 *   senderIpv4: parseIpv4("192.0.2.1"),
 *   targetIpv4,
 * });
 * assert(isArp(bytes, 0, 28));
 * assertEquals(arpTargetIpv4(bytes, 0), targetIpv4);
 * ```
 */
export function writeArpRequest(
  bytes: Uint8Array,
  offset: number,
  request: ArpRequest,
): void {
  writeU16(bytes, offset + ARP_FIELD.hardwareType, HARDWARE_ETHERNET);
  writeU16(bytes, offset + ARP_FIELD.protocolType, ETHER_TYPE.ipv4);
  writeU16(bytes, offset + ARP_FIELD.hardwareLength, ADDRESS_LENGTHS);
  writeU16(bytes, offset + ARP_FIELD.operation, ARP_OPERATION.request);
  copyMac(request.senderMac, 0, bytes, offset + ARP_FIELD.senderMac);
  writeU32(bytes, offset + ARP_FIELD.senderIpv4, request.senderIpv4);
  bytes.fill(0, offset + ARP_FIELD.targetMac, offset + ARP_FIELD.targetIpv4);
  writeU32(bytes, offset + ARP_FIELD.targetIpv4, request.targetIpv4);
}

/**
 * Turns a request into its answer, in place: the address that was asked about
 * is at `mac`.
 *
 * @param mac six octets of the answering card
 *
 * @example
 * ```ts
 * import { ARP_OPERATION, arpOperation, makeArpReply, parseMac } from "@ixl/deno/net";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = new Uint8Array(28);
 * makeArpReply(bytes, 0, parseMac("02:00:00:00:00:02"));
 * assertEquals(arpOperation(bytes, 0), ARP_OPERATION.reply);
 * ```
 */
export function makeArpReply(
  bytes: Uint8Array,
  offset: number,
  mac: Uint8Array,
): void {
  const asked = arpTargetIpv4(bytes, offset);
  const asker = arpSenderIpv4(bytes, offset);
  writeU16(bytes, offset + ARP_FIELD.operation, ARP_OPERATION.reply);
  copyMac(
    bytes,
    offset + ARP_FIELD.senderMac,
    bytes,
    offset + ARP_FIELD.targetMac,
  );
  writeU32(bytes, offset + ARP_FIELD.targetIpv4, asker);
  copyMac(mac, 0, bytes, offset + ARP_FIELD.senderMac);
  writeU32(bytes, offset + ARP_FIELD.senderIpv4, asked);
}
