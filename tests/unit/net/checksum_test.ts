import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  foldChecksum,
  internetChecksum,
  partialChecksum,
  updateChecksum,
  updateChecksum32,
} from "../../../src/net/checksum.ts";
import {
  hasValidIpv4Checksum,
  IP_PROTOCOL,
  pseudoHeaderIpv4,
} from "../../../src/net/ipv4.ts";
import { pseudoHeaderIpv6 } from "../../../src/net/ipv6.ts";
import { readU16, readU32, writeU32 } from "../../../src/net/bytes.ts";
import {
  hasValidTransportChecksum,
  writeTransportChecksum,
} from "../../../src/net/transport.ts";
import { fromHex } from "../../support/frames/hex.ts";

/** RFC 1071 section 3: the numerical example. */
const RFC_1071 = fromHex("0001 f203 f4f5 f6f7");

Deno.test("partialChecksum() sums RFC 1071's example", () => {
  assertEquals(partialChecksum(RFC_1071, 0, 8), 0xddf2);
});

Deno.test("partialChecksum() chains pieces of even length", () => {
  const first = partialChecksum(RFC_1071, 0, 2);
  assertEquals(partialChecksum(RFC_1071, 2, 6, first), 0xddf2);
});

Deno.test("partialChecksum() counts an odd last octet as a high half", () => {
  assertEquals(partialChecksum(fromHex("0001 f2"), 0, 3), 0xf201);
});

Deno.test("partialChecksum() does not overflow on the longest packet", () => {
  const ones = new Uint8Array(65536).fill(0xff);
  assertEquals(partialChecksum(ones, 0, 65536), 0xffff);
  assertEquals(partialChecksum(ones, 0, 65535), 0xff00);
});

Deno.test("partialChecksum() survives data longer than any packet", () => {
  const ones = new Uint8Array(1 << 20).fill(0xff);
  assertEquals(partialChecksum(ones, 0, ones.length), 0xffff);
});

Deno.test("partialChecksum() of nothing is what it started from", () => {
  assertEquals(partialChecksum(RFC_1071, 3, 0, 0x1234), 0x1234);
});

Deno.test("foldChecksum() folds the largest sum to 16 bits", () => {
  assertEquals(foldChecksum(0xffffffff), 0xffff);
});

Deno.test("internetChecksum() of data with its checksum in place is 0", () => {
  const bytes = fromHex("0001 f203 f4f5 f6f7 220d");
  assertEquals(internetChecksum(bytes, 0, 10), 0);
});

Deno.test("hasValidIpv4Checksum() accepts a well-known header", () => {
  const header = fromHex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
  assert(hasValidIpv4Checksum(header, 0));
  header[8]--;
  assertFalse(hasValidIpv4Checksum(header, 0));
});

Deno.test("updateChecksum() gives the result of RFC 1624's example", () => {
  assertEquals(updateChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
});

Deno.test("updateChecksum() equals a fresh sum for every changed octet", () => {
  const header = fromHex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
  const oldWord = readU16(header, 8);
  for (let timeToLive = 0; timeToLive < 256; timeToLive++) {
    header[8] = timeToLive;
    const updated = updateChecksum(0xb861, oldWord, readU16(header, 8));
    const without = partialChecksum(
      header,
      12,
      8,
      partialChecksum(header, 0, 10),
    );
    assertEquals(updated, ~without & 0xffff);
  }
});

Deno.test("updateChecksum32() follows a changed address", () => {
  const header = fromHex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
  const updated = updateChecksum32(0xb861, readU32(header, 12), 0xfffefdfc);
  writeU32(header, 12, 0xfffefdfc);
  header[10] = updated >>> 8;
  header[11] = updated;
  assert(hasValidIpv4Checksum(header, 0));
});

/** A DNS query: IPv4 header, UDP header, data. */
const DNS_QUERY = fromHex(`
  4500 003c 51e3 0000 4011 a38e c0a8 aa08 c0a8 aa14
  8047 0035 0028 88c3
  75c0 0100 0001 0000 0000 0000 0669 736f 6e61 7403 6f72 6700 0001 0001
`);

Deno.test("hasValidTransportChecksum() accepts only a right UDP checksum", () => {
  const packet = DNS_QUERY.slice();
  const length = packet.length - 20;
  const pseudo = pseudoHeaderIpv4(packet, 0, IP_PROTOCOL.udp, length);
  writeTransportChecksum(pseudo, packet, 20, length, IP_PROTOCOL.udp);
  const check = () =>
    hasValidTransportChecksum(pseudo, packet, 20, length, IP_PROTOCOL.udp);
  assert(check());
  packet[30] ^= 1;
  assertFalse(check());
});

Deno.test("writeTransportChecksum() stores a UDP sum of zero as 0xffff", () => {
  const datagram = fromHex("0000 0000 0000 0000 fff8");
  // The pseudo header sums to 7, the data to 0xfff8: together 0xffff.
  writeTransportChecksum(7, datagram, 0, 10, IP_PROTOCOL.udp);
  assertEquals(readU16(datagram, 6), 0xffff);
  assert(hasValidTransportChecksum(7, datagram, 0, 10, IP_PROTOCOL.udp));
});

Deno.test("hasValidTransportChecksum() passes UDP without a checksum, not TCP", () => {
  const bytes = new Uint8Array(20);
  assert(hasValidTransportChecksum(37, bytes, 0, 20, IP_PROTOCOL.udp));
  assertFalse(hasValidTransportChecksum(26, bytes, 0, 20, IP_PROTOCOL.tcp));
});

Deno.test("pseudoHeaderIpv6() sums addresses, length and next header", () => {
  const packet = new Uint8Array(40).fill(0);
  packet.set(fromHex("2001 0db8"), 8);
  packet.set(fromHex("fe80"), 24);
  assertEquals(
    pseudoHeaderIpv6(packet, 0, IP_PROTOCOL.tcp, 20),
    foldChecksum(0x2001 + 0x0db8 + 0xfe80 + 6 + 20),
  );
});
