import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import {
  ARP_OPERATION,
  arpOperation,
  arpSenderIpv4,
  arpTargetIpv4,
  copyMac,
  equalMac,
  ETHER_TYPE,
  ethernetPayload,
  etherType,
  formatIpv4,
  formatMac,
  hasValidIpv4Checksum,
  internetChecksum,
  IP_PROTOCOL,
  ipv4Destination,
  ipv4HeaderLength,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv6NextHeader,
  ipv6PayloadLength,
  isArp,
  isBroadcastMac,
  isEthernet,
  isIcmpEchoRequest,
  isIpv4,
  isIpv4Fragment,
  isIpv6,
  isMulticastMac,
  isUdp,
  makeArpReply,
  makeEchoReply,
  parseIpv4,
  parseIpv6,
  parseMac,
  swapIpv4Addresses,
  swapMacs,
  udpDestinationPort,
  udpLength,
  udpSourcePort,
  writeArpRequest,
  writeEthernet,
  writeIpv4,
  writeIpv4Checksum,
  writeUdp,
} from "../../../src/net/mod.ts";
import { fromHex } from "../../support/frames/hex.ts";

const ALICE = parseMac("02:00:00:00:00:0a");
const BOB = parseMac("02:00:00:00:00:0b");

Deno.test("parseMac() and formatMac() are inverse", () => {
  assertEquals(formatMac(parseMac("0A:1b:2C:3d:4E:5f")), "0a:1b:2c:3d:4e:5f");
  assertEquals(formatMac(parseMac("0a-1b-2c-3d-4e-5f")), "0a:1b:2c:3d:4e:5f");
});

for (
  const text of [
    "",
    "02:00:00:00:00",
    "02:00:00:00:00:0g",
    "02:00:00:00:00:00:00",
    "02:00-00:00:00:00",
    "2:0:0:0:0:0",
    "020000000000",
  ]
) {
  Deno.test(`parseMac() rejects "${text}"`, () => {
    assertThrows(() => parseMac(text), TypeError, "is not a MAC address");
  });
}

Deno.test("isMulticastMac() and isBroadcastMac() tell groups apart", () => {
  const broadcast = new Uint8Array(8).fill(0xff);
  assert(isBroadcastMac(broadcast, 2) && isMulticastMac(broadcast, 2));
  const group = parseMac("01:00:5e:00:00:01");
  assert(isMulticastMac(group, 0) && !isBroadcastMac(group, 0));
  assertFalse(isMulticastMac(ALICE, 0));
});

Deno.test("writeEthernet() writes what the accessors read", () => {
  const frame = new Uint8Array(20);
  writeEthernet(frame, 3, BOB, ALICE, ETHER_TYPE.ipv6);
  assert(equalMac(frame, 3, BOB, 0));
  assert(equalMac(frame, 9, ALICE, 0));
  assertEquals(etherType(frame, 3), 0x86dd);
  assertEquals(frame.subarray(0, 3), new Uint8Array(3));
  assertEquals(frame.subarray(17), new Uint8Array(3));
});

Deno.test("swapMacs() exchanges the addresses and nothing else", () => {
  const frame = fromHex("ff 00000000000b 02000000000a 0800 ff");
  swapMacs(frame, 1);
  assertEquals(frame, fromHex("ff 02000000000a 00000000000b 0800 ff"));
});

Deno.test("copyMac() copies six octets", () => {
  const frame = new Uint8Array(8);
  copyMac(fromHex("00 010203040506 07"), 1, frame, 1);
  assertEquals(frame, fromHex("00 010203040506 00"));
});

Deno.test("isEthernet() wants a whole header inside the array", () => {
  assert(isEthernet(new Uint8Array(14), 0, 14));
  assertFalse(isEthernet(new Uint8Array(14), 0, 13));
  assertFalse(isEthernet(new Uint8Array(14), 1, 14));
});

Deno.test("ethernetPayload() steps over no, one and two VLAN tags", () => {
  const plain = fromHex("000000000000 000000000000 0800 4500 0000");
  assertEquals(ethernetPayload(plain, 0), 14);
  const tagged = fromHex("000000000000 000000000000 8100 0005 0800 4500");
  assertEquals(ethernetPayload(tagged, 0), 18);
  const stacked = fromHex("000000000000 000000000000 88a8 0001 8100 0005 0800");
  assertEquals(ethernetPayload(stacked, 0), 22);
});

Deno.test("makeArpReply() answers a request", () => {
  const bytes = new Uint8Array(30);
  const [alice, bob] = [parseIpv4("192.0.2.1"), parseIpv4("192.0.2.2")];
  writeArpRequest(bytes, 2, {
    senderMac: ALICE,
    senderIpv4: alice,
    targetIpv4: bob,
  });
  assert(isArp(bytes, 2, 28));
  assertEquals(arpOperation(bytes, 2), ARP_OPERATION.request);
  assertEquals(arpTargetIpv4(bytes, 2), bob);
  makeArpReply(bytes, 2, BOB);
  assertEquals(
    bytes,
    fromHex(`0000 0001 0800 06 04 0002
      02000000000b c0000202 02000000000a c0000201`),
  );
  assertEquals(arpSenderIpv4(bytes, 2), bob);
});

Deno.test("isArp() rejects what is short or not IPv4 over Ethernet", () => {
  const bytes = new Uint8Array(28);
  const request = { senderMac: ALICE, senderIpv4: 1, targetIpv4: 2 };
  writeArpRequest(bytes, 0, request);
  assertFalse(isArp(bytes, 0, 27));
  for (const field of [1, 3, 4, 5]) {
    const other = bytes.slice();
    other[field] ^= 1;
    assertFalse(isArp(other, 0, 28));
  }
});

Deno.test("parseIpv4() and formatIpv4() are inverse", () => {
  for (const text of ["0.0.0.0", "192.0.2.1", "255.255.255.255"]) {
    assertEquals(formatIpv4(parseIpv4(text)), text);
  }
});

for (
  const text of ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.04", "a.b.c.d"]
) {
  Deno.test(`parseIpv4() rejects "${text}"`, () => {
    assertThrows(() => parseIpv4(text), TypeError, "is not an IPv4 address");
  });
}

function ipv4Packet(payloadLength: number): Uint8Array {
  const packet = new Uint8Array(20 + payloadLength);
  writeIpv4(packet, 0, {
    source: parseIpv4("192.0.2.1"),
    destination: parseIpv4("192.0.2.2"),
    protocol: IP_PROTOCOL.udp,
    payloadLength,
  });
  return packet;
}

Deno.test("writeIpv4() writes what the accessors read", () => {
  const packet = ipv4Packet(8);
  assert(isIpv4(packet, 0, 28));
  assert(hasValidIpv4Checksum(packet, 0));
  assertEquals(ipv4HeaderLength(packet, 0), 20);
  assertEquals(ipv4TotalLength(packet, 0), 28);
  assertEquals(ipv4Protocol(packet, 0), 17);
  assertEquals(ipv4Source(packet, 0), 0xc0000201);
  assertEquals(ipv4Destination(packet, 0), 0xc0000202);
  assertFalse(isIpv4Fragment(packet, 0));
});

Deno.test("isIpv4() accepts padding after the packet", () => {
  const frame = new Uint8Array(60);
  frame.set(ipv4Packet(8), 14);
  assert(isIpv4(frame, 14, 46));
});

Deno.test("isIpv4() rejects a wrong version and impossible lengths", () => {
  const spoil = (octet: number, value: number) => {
    const packet = ipv4Packet(8);
    packet[octet] = value;
    return packet;
  };
  assertFalse(isIpv4(spoil(0, 0x65), 0, 28), "version 6");
  assertFalse(isIpv4(spoil(0, 0x44), 0, 28), "header of 16 octets");
  assertFalse(isIpv4(spoil(0, 0x4f), 0, 28), "header longer than the packet");
  assertFalse(isIpv4(spoil(3, 29), 0, 28), "longer than what is there");
  assertFalse(isIpv4(spoil(3, 19), 0, 28), "shorter than its header");
  assertFalse(isIpv4(ipv4Packet(8), 0, 19), "cut in the header");
  assertFalse(isIpv4(ipv4Packet(8), 20, 28), "outside the array");
});

Deno.test("isIpv4Fragment() sees first, middle and last pieces", () => {
  for (
    const [field, fragment] of [[0x2000, true], [0x2001, true], [1, true], [
      0x4000,
      false,
    ]] as const
  ) {
    const packet = ipv4Packet(0);
    packet[6] = field >>> 8;
    packet[7] = field;
    assertEquals(isIpv4Fragment(packet, 0), fragment);
  }
});

Deno.test("swapIpv4Addresses() keeps the checksum right", () => {
  const packet = ipv4Packet(8);
  swapIpv4Addresses(packet, 0);
  assertEquals(formatIpv4(ipv4Source(packet, 0)), "192.0.2.2");
  assert(hasValidIpv4Checksum(packet, 0));
});

Deno.test("writeIpv4Checksum() covers options", () => {
  const packet = fromHex(
    "46000018 00000000 40110000 c0000201 c0000202 01020304",
  );
  writeIpv4Checksum(packet, 0);
  assertEquals(internetChecksum(packet, 0, 24), 0);
});

for (
  const [text, octets] of [
    ["::", "0000 0000 0000 0000 0000 0000 0000 0000"],
    ["::1", "0000 0000 0000 0000 0000 0000 0000 0001"],
    ["2001:db8::", "2001 0db8 0000 0000 0000 0000 0000 0000"],
    ["fe80::1:2", "fe80 0000 0000 0000 0000 0000 0001 0002"],
    ["1:2:3:4:5:6:7:8", "0001 0002 0003 0004 0005 0006 0007 0008"],
  ]
) {
  Deno.test(`parseIpv6() reads ${text}`, () => {
    assertEquals(parseIpv6(text), fromHex(octets));
  });
}

for (
  const text of [
    "",
    ":",
    "1:2",
    "1::2::3",
    "12345::",
    "g::",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
  ]
) {
  Deno.test(`parseIpv6() rejects "${text}"`, () => {
    assertThrows(() => parseIpv6(text), TypeError, "is not an IPv6 address");
  });
}

Deno.test("isIpv6() checks version and length", () => {
  const packet = new Uint8Array(48);
  packet.set(fromHex("6000 0000 0008 11 40"));
  assert(isIpv6(packet, 0, 48));
  assertEquals(ipv6NextHeader(packet, 0), IP_PROTOCOL.udp);
  assertEquals(ipv6PayloadLength(packet, 0), 8);
  assertFalse(isIpv6(packet, 0, 47));
  packet[0] = 0x40;
  assertFalse(isIpv6(packet, 0, 48));
});

Deno.test("makeEchoReply() answers a ping from the wire", () => {
  const request = fromHex(
    "0800 4d3c 0001 001f 6162 6364 6566 6768 696a 6b6c 6d6e 6f70 7172 7374 7576 7761 6263 6465 6667 6869",
  );
  assert(isIcmpEchoRequest(request, 0, request.length));
  makeEchoReply(request, 0);
  assertEquals(request.subarray(0, 8), fromHex("0000 553c 0001 001f"));
  assertFalse(isIcmpEchoRequest(request, 0, request.length));
});

Deno.test("makeEchoReply() has a right checksum for any identifier", () => {
  const message = new Uint8Array(9);
  for (let identifier = 0; identifier < 65536; identifier++) {
    message.fill(0);
    message[0] = 8;
    message[4] = identifier >>> 8;
    message[5] = identifier;
    const checksum = internetChecksum(message, 0, 9);
    message[2] = checksum >>> 8;
    message[3] = checksum;
    makeEchoReply(message, 0);
    assertEquals(internetChecksum(message, 0, 9), 0);
  }
});

Deno.test("isIcmpEchoRequest() rejects other messages and wrong checksums", () => {
  const request = fromHex("0800 f7ff 0000 0000");
  assert(isIcmpEchoRequest(request, 0, 8));
  assertFalse(isIcmpEchoRequest(request, 0, 7));
  assertFalse(isIcmpEchoRequest(fromHex("0800 f7fe 0000 0000"), 0, 8));
  assertFalse(isIcmpEchoRequest(fromHex("0300 fcff 0000 0000"), 0, 8));
  assertFalse(isIcmpEchoRequest(fromHex("0801 f7fe 0000 0000"), 0, 8));
});

Deno.test("writeUdp() writes what the accessors read", () => {
  const bytes = new Uint8Array(16).fill(0xff);
  assertEquals(writeUdp(bytes, 2, 40000, 53, 4), 10);
  assert(isUdp(bytes, 2, 12));
  assertEquals(udpSourcePort(bytes, 2), 40000);
  assertEquals(udpDestinationPort(bytes, 2), 53);
  assertEquals(udpLength(bytes, 2), 12);
});

Deno.test("isUdp() rejects impossible lengths", () => {
  const bytes = new Uint8Array(12);
  writeUdp(bytes, 0, 1, 2, 4);
  assertFalse(isUdp(bytes, 0, 11));
  assertFalse(isUdp(bytes, 0, 7));
  bytes[5] = 7;
  assertFalse(isUdp(bytes, 0, 12));
});
