/** Which requests the responder answers, and which RFC 1122 and RFC 5227 tell it to leave alone. */
import { assert, assertEquals } from "@std/assert";
import { Responder } from "../../../examples/responder.ts";
import * as net from "../../../src/net/mod.ts";

const MAC = "02:00:00:00:00:01";
const PEER = "02:00:00:00:00:02";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const IP = "10.0.0.1";

interface Request {
  from?: string;
  fromMac?: string;
  toMac?: string;
  /** The tag's sixteen bits. */
  tag?: number;
}

/** A frame from the parts of its payload. */
function frameOf(
  type: number,
  payload: Uint8Array,
  { fromMac = PEER, toMac = MAC, tag }: Request,
): Uint8Array {
  const tagLength = tag === undefined ? 0 : 4;
  const at = net.ETHERNET_HEADER_LENGTH + tagLength;
  const frame = new Uint8Array(Math.max(at + payload.length, 60));
  const [to, from] = [toMac, fromMac].map(net.parseMac);
  if (tag === undefined) net.writeEthernet(frame, 0, to, from, type);
  else {
    net.writeEthernet(frame, 0, to, from, net.ETHER_TYPE.vlan);
    net.writeU16(frame, 14, tag);
    net.writeU16(frame, 16, type);
  }
  frame.set(payload, at);
  return frame;
}

function ping(request: Request = {}): Uint8Array {
  const { from = "10.0.0.2" } = request;
  const bytes = new Uint8Array(20 + 16);
  const icmp = net.writeIpv4(bytes, 0, {
    source: net.parseIpv4(from),
    destination: net.parseIpv4(IP),
    protocol: net.IP_PROTOCOL.icmp,
    payloadLength: 16,
  });
  bytes[icmp] = net.ICMP_TYPE.echoRequest;
  bytes.set([1, 2, 3, 4], icmp + 8);
  const sum = net.internetChecksum(bytes, icmp, 16);
  net.writeU16(bytes, icmp + net.ICMP_FIELD.checksum, sum);
  return frameOf(net.ETHER_TYPE.ipv4, bytes, request);
}

function arp(request: Request = {}): Uint8Array {
  const { from = "10.0.0.2", fromMac = PEER, toMac = BROADCAST } = request;
  const bytes = new Uint8Array(net.ARP_LENGTH);
  net.writeArpRequest(bytes, 0, {
    senderMac: net.parseMac(fromMac),
    senderIpv4: net.parseIpv4(from),
    targetIpv4: net.parseIpv4(IP),
  });
  return frameOf(net.ETHER_TYPE.arp, bytes, { ...request, toMac });
}

/** The answer, or undefined where there is silence; and that the frame was counted once. */
function answer(frame: Uint8Array): Uint8Array | undefined {
  const responder = new Responder(net.parseMac(MAC), net.parseIpv4(IP));
  const before = frame.slice();
  const answered = responder.answer(frame, 0, frame.length);
  const { arp, echo, ...ignored } = responder.count;
  const silent = Object.values(ignored).reduce((sum, count) => sum + count);
  assertEquals([arp + echo, silent], answered ? [1, 0] : [0, 1]);
  if (!answered) assertEquals(frame, before, "an ignored frame is left alone");
  return answered ? frame : undefined;
}

const IMPOSSIBLE = [
  ...["255.255.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1"],
  ...["127.0.0.1", "127.255.0.9", "0.1.2.3", IP],
];

Deno.test("responder answers a ping and an ARP request", () => {
  for (const request of [{}, { tag: 0 }, { tag: 5 << 13 }]) {
    const at = request.tag === undefined ? 14 : 18;
    const reply = answer(ping(request));
    assert(reply !== undefined);
    assertEquals(net.formatMac(reply), PEER);
    assertEquals(net.formatMac(reply, 6), MAC);
    assertEquals(net.formatIpv4(net.ipv4Source(reply, at)), IP);
    assertEquals(reply[at + 20], net.ICMP_TYPE.echoReply);
    assertEquals(net.internetChecksum(reply, at + 20, 16), 0);
    const told = answer(arp(request));
    assert(told !== undefined);
    assertEquals(net.arpOperation(told, at), net.ARP_OPERATION.reply);
    assertEquals(net.formatMac(told), PEER);
    // The tag stays as it was.
    assertEquals(reply.slice(12, at), ping(request).slice(12, at));
  }
});

Deno.test("responder is silent to a ping that no host may have sent, or for many", () => {
  for (const from of [...IMPOSSIBLE, "0.0.0.0"]) {
    assertEquals(answer(ping({ from })), undefined, from);
  }
  for (const fromMac of ["01:00:5e:00:00:01", BROADCAST]) {
    assertEquals(answer(ping({ fromMac })), undefined, fromMac);
  }
  for (const toMac of [BROADCAST, "01:00:5e:00:00:01", PEER]) {
    assertEquals(answer(ping({ toMac })), undefined, toMac);
  }
});

Deno.test("responder is silent to an ARP request that no host may have sent, but answers a probe", () => {
  for (const from of IMPOSSIBLE) {
    assertEquals(answer(arp({ from })), undefined, from);
  }
  const fromMac = "03:00:00:00:00:02";
  assertEquals(answer(arp({ fromMac })), undefined);
  assert(answer(arp({ from: "0.0.0.0" })) !== undefined);
});

Deno.test("responder leaves the frames of other VLANs, other protocols and nonsense alone", () => {
  assertEquals(answer(ping({ tag: 1 })), undefined);
  assertEquals(answer(arp({ tag: 4095 })), undefined);
  const nested = frameOf(net.ETHER_TYPE.vlan, new Uint8Array(40), { tag: 0 });
  assertEquals(answer(nested), undefined);
  assertEquals(answer(ping({ tag: 0 }).subarray(0, 16)), undefined);
  const spoilt = ping();
  spoilt[24] ^= 1;
  assertEquals(answer(spoilt), undefined);
  const udp = ping();
  udp[23] = net.IP_PROTOCOL.udp;
  net.writeU16(udp, 24, 0);
  net.writeU16(udp, 24, net.internetChecksum(udp, 14, 20));
  assertEquals(answer(udp), undefined);
});
