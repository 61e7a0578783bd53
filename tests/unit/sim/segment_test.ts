import { assert, assertEquals, assertMatch } from "@std/assert";
import { crc32c } from "../../../src/sim/checksum.ts";
import { Rig } from "../../support/intel/sim_rig.ts";

const ETHERNET = 14;
const IPV4 = 20;
const IPV6 = 40;
const TCP = 20;
const UDP = 8;
const TSE = 1 << 31;
const VLE = 1 << 30;
const FIN = 1 << 0;
const PSH = 1 << 3;
const ACK = 1 << 4;
const CWR = 1 << 7;
const START = 0xffff_fff0;

interface Send {
  version?: 4 | 6;
  protocol?: "tcp" | "udp";
  payload: number;
  mss: number;
  flags?: number;
  /** Bytes of TCP options. */
  options?: number;
  vlan?: number;
}

/** The one's complement sum of RFC 1071, from scratch. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Headers as software gives them: the pseudo header's sum has no length. */
function makeSend(send: Send): { bytes: Uint8Array; headers: number } {
  const { version = 4, protocol = "tcp", payload, options = 0 } = send;
  const ip = version === 4 ? IPV4 : IPV6;
  const l4Header = protocol === "tcp" ? TCP + options : UDP;
  const headers = ETHERNET + ip + l4Header;
  const bytes = new Uint8Array(headers + payload);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 9, 2, 0xaa, 0xbb, 0xcc, 0xdd, 1]);
  const number = protocol === "tcp" ? 6 : 17;
  if (version === 4) {
    view.setUint16(12, 0x0800);
    bytes.set([0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, number], ETHERNET);
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2], ETHERNET + 12);
  } else {
    view.setUint16(12, 0x86dd);
    bytes.set([0x60, 0, 0, 0, 0, 0, number, 64], ETHERNET);
    for (let i = 0; i < 32; i++) bytes[ETHERNET + 8 + i] = i * 7;
  }
  const l4 = ETHERNET + ip;
  view.setUint16(l4, 1000);
  view.setUint16(l4 + 2, 2000);
  if (protocol === "tcp") {
    view.setUint32(l4 + 4, START);
    bytes[l4 + 12] = (l4Header / 4) << 4;
    bytes[l4 + 13] = send.flags ?? ACK;
    for (let i = 0; i < options; i++) bytes[l4 + TCP + i] = 1;
  }
  const addresses = version === 4
    ? bytes.subarray(ETHERNET + 12, l4)
    : bytes.subarray(ETHERNET + 8, l4);
  const pseudo = sumOf(Uint8Array.from([...addresses, 0, number]));
  view.setUint16(l4 + (protocol === "tcp" ? 16 : 6), pseudo);
  for (let i = headers; i < bytes.length; i++) bytes[i] = i * 13;
  return { bytes, headers };
}

/** Posts a context and the send in pieces, and returns what left the card. */
function segment(rig: Rig, send: Send, pieces = 2048): Uint8Array[] {
  const { version = 4, protocol = "tcp", mss, vlan } = send;
  const { bytes, headers } = makeSend(send);
  const ip = version === 4 ? IPV4 : IPV6;
  const context = rig.txDescriptor(0, 0);
  rig.u32[context] = ip | (ETHERNET << 9) | ((vlan ?? 0) << 16);
  rig.u32[context + 1] = 0;
  rig.u32[context + 2] = (2 << 20) | (1 << 29) |
    (version === 4 ? 1 << 10 : 0) | ((protocol === "tcp" ? 1 : 0) << 11);
  rig.u32[context + 3] = ((headers - ETHERNET - ip) << 8) | (mss << 16);
  let i = 1;
  for (let at = 0; at < bytes.length; at += pieces) {
    const eop = at + pieces >= bytes.length;
    rig.postTx(0, i, bytes.slice(at, at + pieces), {
      eop,
      rs: eop,
      more: TSE | (vlan === undefined ? 0 : VLE),
    });
    rig.u32[rig.txDescriptor(0, i) + 3] = (send.payload << 14) |
      (version === 4 ? 1 << 8 : 0) | (1 << 9);
    i++;
  }
  rig.write("TDT", i);
  rig.step();
  return rig.hand.fromCard.splice(0);
}

function up(): Rig {
  const rig = new Rig();
  rig.bringUp();
  return rig;
}

const word = (frame: Uint8Array, at: number) =>
  (frame[at] << 8) | frame[at + 1];

/** The sum over pseudo header and segment: 0xffff when the checksum is right. */
function l4Sum(frame: Uint8Array, version: 4 | 6, protocol: number): number {
  const l4 = ETHERNET + (version === 4 ? IPV4 : IPV6);
  const addresses = version === 4
    ? frame.subarray(ETHERNET + 12, l4)
    : frame.subarray(ETHERNET + 8, l4);
  const length = frame.length - l4;
  return sumOf(Uint8Array.from([
    ...addresses,
    ...[0, protocol, length >>> 8, length & 0xff],
    ...frame.subarray(l4),
  ]));
}

Deno.test("Card cuts a large TCP send into segments that a receiver accepts", () => {
  const rig = up();
  const send: Send = { payload: 5000, mss: 1448, options: 12 };
  const frames = segment(rig, send);
  const { bytes, headers } = makeSend(send);
  assertEquals(frames.map((f) => f.length - headers), [1448, 1448, 1448, 656]);
  let done = 0;
  frames.forEach((frame, n) => {
    const size = frame.length - headers;
    assertEquals(frame.slice(0, ETHERNET), bytes.slice(0, ETHERNET));
    assertEquals(
      frame.slice(headers),
      bytes.slice(headers + done, headers + done + size),
    );
    assertEquals(word(frame, ETHERNET + 2), frame.length - ETHERNET);
    assertEquals(word(frame, ETHERNET + 4), (0xffff + n) & 0xffff, "IP id");
    assertEquals(sumOf(frame.slice(ETHERNET, ETHERNET + IPV4)), 0xffff);
    const sequence = word(frame, 38) * 0x10000 + word(frame, 40);
    assertEquals(sequence >>> 0, (START + done) >>> 0, "sequence wraps");
    assertEquals(l4Sum(frame, 4, 6), 0xffff, "TCP checksum");
    done += size;
  });
  assertEquals(rig.messages(), []);
});

Deno.test("Card cuts IPv6 and UDP", () => {
  const rig = up();
  const frames = segment(rig, { version: 6, payload: 3001, mss: 1000 });
  assertEquals(frames.length, 4);
  for (const frame of frames) {
    assertEquals(word(frame, ETHERNET + 4), frame.length - ETHERNET - IPV6);
    assertEquals(l4Sum(frame, 6, 6), 0xffff);
  }
  const rig2 = up();
  const datagrams = segment(rig2, { protocol: "udp", payload: 2500, mss: 999 });
  assertEquals(datagrams.map((f) => f.length - 42), [999, 999, 502]);
  for (const frame of datagrams) {
    assertEquals(word(frame, 38), frame.length - ETHERNET - IPV4);
    assertEquals(l4Sum(frame, 4, 17), 0xffff);
  }
  assertEquals([...rig.messages(), ...rig2.messages()], []);
});

Deno.test("Card sets TCP flags by the segment's place", () => {
  const flags = (rig: Rig, payload: number, given: number) =>
    segment(rig, { payload, mss: 500, flags: given }).map((f) => f[47]);
  const all = FIN | PSH | ACK | CWR;
  assertEquals(flags(up(), 1500, all), [
    ACK | CWR,
    ACK | CWR,
    FIN | PSH | ACK,
  ]);
  assertEquals(flags(up(), 500, all), [all], "one segment keeps them");
  const rig = up();
  rig.write("DTXTCPFLGL", 0x0f76_0ff6);
  assertEquals(flags(rig, 1500, all), [ACK | CWR, ACK, FIN | PSH | ACK]);
});

Deno.test("Card cuts the largest send, from odd pieces, into loopback too", () => {
  const rig = up();
  const send: Send = { payload: 65160, mss: 8960 };
  const { bytes, headers } = makeSend(send);
  const frames: Uint8Array[] = [];
  const large = new Rig({ ringSize: 128 });
  large.bringUp();
  frames.push(...segment(large, send, 2047));
  const whole = Uint8Array.from(frames.flatMap((f) => [...f.slice(headers)]));
  assertEquals(whole, bytes.slice(headers));
  assertEquals(large.messages(), []);
  rig.set("HLREG0", (1 << 15) | (1 << 2));
  rig.set("FCTRL", 1 << 9);
  assertEquals(segment(rig, { payload: 3000, mss: 1000 }).length, 0);
  assertEquals(rig.read("RDH"), 3);
});

Deno.test("Card tags and counts every segment", () => {
  const rig = up();
  rig.read("GPTC");
  const frames = segment(rig, { payload: 1900, mss: 950, vlan: 0x2005 });
  assertEquals(frames.map((f) => [...f.slice(12, 18)]), [
    [0x81, 0, 0x20, 5, 8, 0],
    [0x81, 0, 0x20, 5, 8, 0],
  ]);
  assertEquals(rig.read("GPTC"), 2);
  assertEquals(rig.u32[rig.txDescriptor(0, 1) + 3] & 1, 1, "reported done");
});

const wrong: [string, RegExp, Send][] = [
  ["without an MSS", /MSS of 0/, { payload: 500, mss: 0 }],
  ["of jumbo segments over 15.5 KB", /15\.5 KB/, { payload: 500, mss: 16000 }],
  ["without payload", /do not fit/, { payload: 0, mss: 1000 }],
];

for (const [name, pattern, send] of wrong) {
  Deno.test(`Card records a segmented send ${name}`, () => {
    const rig = up();
    assertEquals(segment(rig, send), []);
    assertMatch(rig.messages()[0], pattern);
  });
}

Deno.test("Card records a PAYLEN that counts the headers too", () => {
  const rig = up();
  segment(rig, { payload: 600, mss: 500 });
  assertEquals(rig.messages(), []);
  rig.u32[rig.txDescriptor(0, 2) + 3] = 0;
  rig.postTx(0, 2, makeSend({ payload: 600, mss: 500 }).bytes, { more: TSE });
  rig.write("TDT", 3);
  rig.step();
  assertMatch(rig.messages()[0], /PAYLEN is 654.*600/);
});

Deno.test("crc32c() has the values of RFC 3720, B.4", () => {
  const zeros = new Uint8Array(32);
  const ones = new Uint8Array(32).fill(0xff);
  const up = Uint8Array.from({ length: 32 }, (_, i) => i);
  assertEquals(crc32c(zeros, 0, 32), 0x8a9136aa);
  assertEquals(crc32c(ones, 0, 32), 0x62a8ab43);
  assertEquals(crc32c(up, 0, 32), 0x46dd794e);
});

Deno.test("Card inserts the checksum of SCTP", () => {
  const rig = up();
  const l4 = ETHERNET + IPV4;
  const { bytes } = makeSend({ protocol: "udp", payload: 40, mss: 0 });
  bytes[ETHERNET + 9] = 132;
  bytes.fill(0, l4 + 8, l4 + 12);
  const context = rig.txDescriptor(0, 0);
  rig.u32[context] = IPV4 | (ETHERNET << 9);
  rig.u32[context + 2] = (2 << 20) | (1 << 29) | (1 << 10) | (2 << 11);
  rig.u32[context + 3] = 0;
  rig.postTx(0, 1, bytes);
  rig.u32[rig.txDescriptor(0, 1) + 3] |= 1 << 9;
  rig.write("TDT", 2);
  rig.step();
  const [frame] = rig.hand.fromCard;
  const view = new DataView(frame.buffer, frame.byteOffset);
  assertEquals(
    view.getUint32(l4 + 8, true),
    crc32c(bytes, l4, bytes.length),
  );
  assert(view.getUint32(l4 + 8) !== 0);
  assertEquals(rig.messages(), []);
});
