import { assertEquals } from "@std/assert";
import { Rig } from "../../support/intel/sim_rig.ts";

// The key and results that Microsoft publishes to verify RSS hash
// calculations.
const KEY = [
  "6d5a56da255b0ec24167253d43a38fb0",
  "d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa",
].join("");
const IPV4: [string, number, string, number, number, number][] = [
  ["66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178, 0x323e8fc2],
  ["199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea, 0xd718262a],
  ["24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a, 0xd2d0a5de],
  ["38.27.205.30", 48228, "209.142.163.6", 2217, 0xafc7327f, 0x82989176],
  ["153.39.163.191", 44251, "202.188.127.2", 1303, 0x10e828a2, 0x5d1809c5],
];
const IPV6: [string, number, string, number, number, number][] = [
  [
    "3ffe:2501:200:1fff:0:0:0:7",
    2794,
    "3ffe:2501:200:3:0:0:0:1",
    1766,
    0x40207d3d,
    0x2cc18cd5,
  ],
  [
    "3ffe:501:8:0:260:97ff:fe40:efab",
    14230,
    "ff02:0:0:0:0:0:0:1",
    4739,
    0xdde51bbf,
    0x0f0c461c,
  ],
];

const TCP = 6;
const UDP = 17;

function ports(source: number, destination: number): number[] {
  return [source >> 8, source & 255, destination >> 8, destination & 255];
}

function layer4(protocol: number, from: number, to: number): number[] {
  const body = new Array(protocol === TCP ? 20 : 20).fill(0);
  ports(from, to).forEach((byte, i) => body[i] = byte);
  if (protocol === TCP) body[12] = 0x50;
  else body.splice(4, 2, 0, 20);
  return body;
}

const TO_CARD = [2, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 0, 0, 0, 0, 9];

function ipv4(
  from: string,
  to: string,
  payload: number[],
  options: { protocol?: number; fragment?: number; extra?: number[] } = {},
): Uint8Array {
  const { protocol = UDP, fragment = 0, extra = [] } = options;
  const total = 20 + extra.length + payload.length;
  const header = [
    0x45 + extra.length / 4,
    0,
    total >> 8,
    total & 255,
    0x12,
    0x34,
    fragment >> 8,
    fragment & 255,
    64,
    protocol,
    0,
    0,
    ...from.split(".").map(Number),
    ...to.split(".").map(Number),
    ...extra,
  ];
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) {
    sum += (header[i] << 8) | header[i + 1];
  }
  sum = (sum & 0xffff) + (sum >> 16);
  const checksum = ~(sum + (sum >> 16)) & 0xffff;
  header[10] = checksum >> 8;
  header[11] = checksum & 255;
  return padded([...TO_CARD, 8, 0, ...header, ...payload]);
}

function ipv6(from: string, to: string, next: number, payload: number[]) {
  const address = (text: string) =>
    text.split(":").flatMap((part) => {
      const value = parseInt(part, 16);
      return [value >> 8, value & 255];
    });
  const length = payload.length;
  return padded([
    ...TO_CARD,
    0x86,
    0xdd,
    0x60,
    0,
    0,
    0,
    length >> 8,
    length & 255,
    next,
    64,
    ...address(from),
    ...address(to),
    ...payload,
  ]);
}

function padded(bytes: number[]): Uint8Array {
  const frame = new Uint8Array(Math.max(bytes.length, 60));
  frame.set(bytes);
  return frame;
}

function rssRig(fields: number, reta: (i: number) => number = () => 0): Rig {
  const rig = new Rig({ rxQueues: 4 });
  rig.bringUp();
  rig.write("RXCTRL", 0);
  for (let i = 0; i < 10; i++) {
    const word = KEY.slice(i * 8, i * 8 + 8);
    const bytes = [0, 2, 4, 6].map((k) => parseInt(word.slice(k, k + 2), 16));
    const value = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) |
      (bytes[3] << 24);
    rig.write("RSSRK", value, i);
  }
  for (let i = 0; i < 32; i++) {
    let word = 0;
    for (let k = 0; k < 4; k++) word |= reta(i * 4 + k) << (k * 8);
    rig.write("RETA", word, i);
  }
  rig.write("MRQC", fields | 1);
  rig.enableReceive();
  return rig;
}

const FIELD = {
  tcp4: 1 << 16,
  ip4: 1 << 17,
  ip6: 1 << 20,
  tcp6: 1 << 21,
  udp4: 1 << 22,
  udp6: 1 << 23,
};

/** RSS type and hash that the card reports for the frame. */
function hash(rig: Rig, frame: Uint8Array): [number, number] {
  const i = rig.read("RDH");
  rig.hand.toCard.push(frame);
  rig.step();
  const [info, value] = rig.rx(0, i);
  rig.postRx(0, i);
  rig.write("RDT", i);
  return [info & 15, value];
}

Deno.test("Card hashes IPv4 flows as published", () => {
  const rig = rssRig(FIELD.tcp4 | FIELD.ip4 | FIELD.udp4);
  for (const [from, fromPort, to, toPort, withPorts, without] of IPV4) {
    const tcp = ipv4(from, to, layer4(TCP, fromPort, toPort), {
      protocol: TCP,
    });
    assertEquals(hash(rig, tcp), [1, withPorts]);
    const udp = ipv4(from, to, layer4(UDP, fromPort, toPort));
    assertEquals(hash(rig, udp), [7, withPorts]);
    const other = ipv4(from, to, layer4(UDP, 1, 2), { protocol: 47 });
    assertEquals(hash(rig, other), [2, without]);
  }
  assertEquals(rig.messages(), []);
});

Deno.test("Card hashes IPv6 flows as published", () => {
  const rig = rssRig(FIELD.tcp6 | FIELD.ip6 | FIELD.udp6);
  rig.set("FCTRL", 1 << 8);
  for (const [from, fromPort, to, toPort, withPorts, without] of IPV6) {
    const tcp = ipv6(from, to, TCP, layer4(TCP, fromPort, toPort));
    assertEquals(hash(rig, tcp), [3, withPorts]);
    const udp = ipv6(from, to, UDP, layer4(UDP, fromPort, toPort));
    assertEquals(hash(rig, udp), [8, withPorts]);
    assertEquals(hash(rig, ipv6(from, to, 59, [])), [5, without]);
    const options = [
      TCP,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...layer4(TCP, fromPort, toPort),
    ];
    assertEquals(hash(rig, ipv6(from, to, 0, options)), [3, withPorts]);
  }
});

Deno.test("Card finds the ports behind IPv4 options", () => {
  const rig = rssRig(FIELD.udp4 | FIELD.ip4);
  const [from, fromPort, to, toPort, withPorts] = IPV4[0];
  const extra = [1, 1, 1, 0];
  const frame = ipv4(from, to, layer4(UDP, fromPort, toPort), { extra });
  assertEquals(hash(rig, frame), [7, withPorts]);
});

Deno.test("Card hashes only the fields that MRQC names", () => {
  const [from, fromPort, to, toPort, withPorts, without] = IPV4[0];
  const udp = ipv4(from, to, layer4(UDP, fromPort, toPort));
  const fragment = ipv4(from, to, layer4(UDP, fromPort, toPort), {
    fragment: 0x2000,
  });
  assertEquals(hash(rssRig(FIELD.ip4), udp), [2, without]);
  assertEquals(hash(rssRig(FIELD.tcp4), udp), [0, 0]);
  const rig = rssRig(FIELD.udp4 | FIELD.ip4);
  assertEquals(hash(rig, udp), [7, withPorts]);
  assertEquals(hash(rig, fragment), [2, without], "fragments have no ports");
});

Deno.test("Card spreads by the redirection table", () => {
  const rig = rssRig(FIELD.udp4, (i) => i % 4);
  for (const [from, fromPort, to, toPort, withPorts] of IPV4) {
    const queue = (withPorts & 127) % 4;
    const before = rig.read("RDH", queue);
    rig.hand.toCard.push(ipv4(from, to, layer4(UDP, fromPort, toPort)));
    rig.step();
    assertEquals(rig.read("RDH", queue), before + 1);
  }
});

Deno.test("Card takes a new key and table while it runs", () => {
  const rig = rssRig(FIELD.udp4);
  const [from, fromPort, to, toPort, withPorts] = IPV4[0];
  const udp = ipv4(from, to, layer4(UDP, fromPort, toPort));
  assertEquals(hash(rig, udp)[1], withPorts);
  rig.write("RSSRK", 0, 0);
  assertEquals(hash(rig, udp)[1] === withPorts, false);
});
