import { assertEquals } from "@std/assert";
import { frameCheckSequence } from "../../../src/sim/checksum.ts";
import { Rig } from "../../support/intel/sim_rig.ts";
import { fromHex } from "../../support/frames/hex.ts";

const L4I = 1 << 5;
const IPCS = 1 << 6;
const UDPV = 1 << 10;
const L4E = 1 << 30;
const IPE = 1 << 31;
const VERDICTS = L4I | IPCS | UDPV | L4E | IPE;

// 192.168.0.1:1024 to 192.168.0.199:5001, four bytes; the IPv4 header with its
// checksum b861 is the usual textbook example (RFC 1071 worked by hand).
const HEADER = "45000073000040004011b861c0a80001c0a800c7";
const UDP_DATAGRAM = (() => {
  const body = [4, 0, 0x13, 0x89, 0, 0x5f, 0, 0];
  for (let i = 0; i < 0x5f - 8; i++) body.push(i);
  const pseudo = [192, 168, 0, 1, 192, 168, 0, 199, 0, 17, 0, 0x5f];
  let sum = 0;
  const all = [...pseudo, ...body, 0];
  for (let i = 0; i + 1 < all.length; i += 2) {
    sum += (all[i] << 8) | all[i + 1];
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  body[6] = (~sum >> 8) & 255;
  body[7] = ~sum & 255;
  return body;
})();

function datagram(): Uint8Array {
  return Uint8Array.from([
    ...[2, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 0, 0, 0, 0, 9, 8, 0],
    ...fromHex(HEADER),
    ...UDP_DATAGRAM,
  ]);
}

function verdicts(frame: Uint8Array, rig = new Rig()): number {
  if (!rig.card.linkUp) rig.bringUp();
  const i = rig.read("RDH");
  rig.hand.toCard.push(frame);
  rig.step();
  return rig.rx(0, i)[2] & VERDICTS;
}

Deno.test("Card finds good checksums good", () => {
  assertEquals(verdicts(datagram()), L4I | IPCS);
});

Deno.test("Card finds each damaged byte", () => {
  const rig = new Rig();
  for (let at = 26; at < datagram().length; at++) {
    const frame = datagram();
    frame[at] ^= 0x10;
    const inHeader = at < 34;
    const expected = inHeader ? L4I | IPCS | L4E | IPE : L4I | IPCS | L4E;
    // The UDP length is not part of what the checksum here is taken over.
    const found = verdicts(frame, rig);
    assertEquals(found, expected, `byte ${at}`);
    const i = (rig.read("RDH") + 31) % 32;
    rig.postRx(0, i);
    rig.write("RDT", i);
  }
});

Deno.test("Card 82599 calls a UDP checksum of zero an error, X540 does not", () => {
  const frame = datagram();
  frame[40] = frame[41] = 0;
  assertEquals(verdicts(frame), L4I | IPCS | L4E);
  assertEquals(verdicts(frame, new Rig({ model: "x540" })), IPCS);
});

Deno.test("Card judges no layer 4 checksum in fragments", () => {
  const frame = datagram();
  frame[20] = 0x20; // more fragments, in place of don't fragment
  frame[24] = 0xd8; // and the header checksum with it
  assertEquals(verdicts(frame), IPCS | UDPV);
});

Deno.test("Card gives no verdict where the lengths do not fit", () => {
  const frame = datagram();
  frame[16] = 0x70;
  assertEquals(verdicts(frame), 0);
  frame.fill(0, 14);
  assertEquals(verdicts(frame), 0);
});

Deno.test("Card names the packet type", () => {
  const rig = new Rig();
  verdicts(datagram(), rig);
  assertEquals(rig.rx(0, 0)[0], (1 << 4) | (1 << 9));
});

Deno.test("Card gives the identification in place of the hash without PCSD", () => {
  const rig = new Rig();
  rig.bringUp();
  rig.write("RXCSUM", 0);
  const frame = datagram();
  frame[18] = 0xbe;
  frame[19] = 0xef;
  verdicts(frame, rig);
  assertEquals(rig.rx(0, 0)[1], 0xbeef);
});

Deno.test("frameCheckSequence() gives the published check value", () => {
  const bytes = new TextEncoder().encode("123456789");
  assertEquals(frameCheckSequence(bytes, bytes.length), 0xcbf43926);
});
