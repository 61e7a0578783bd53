/**
 * The parts of the card around its data path: pause frames, EtherType filters, the flow director's registers, the
 * clock.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { makeFrame, Rig } from "../../support/intel/sim_rig.ts";

function up(options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(options);
  rig.bringUp();
  return rig;
}

/** IEEE 802.3, annex 31B: a pause in units of 512 bit times. */
function pauseFrame(quanta: number): Uint8Array {
  const frame = makeFrame(60, [1, 0x80, 0xc2, 0, 0, 1]);
  frame.set([0x88, 0x08, 0, 1, quanta >>> 8, quanta & 0xff], 12);
  return frame;
}

function send(rig: Rig, i: number): void {
  rig.postTx(0, i, makeFrame());
  rig.write("TDT", i + 1);
}

Deno.test("Card stops sending for the time that a pause frame asks for", () => {
  const rig = up();
  rig.write("MFLCN", 1 << 3);
  rig.hand.toCard.push(pauseFrame(0xffff));
  rig.step();
  const paused = rig.now;
  send(rig, 0);
  rig.step(3);
  assertEquals(rig.hand.fromCard.length, 0, "65535 quanta are 3.36 ms");
  const end = rig.card.deadline(rig.now);
  assert(Math.abs(end - paused - 3.355) < 0.01, `${end - paused} ms`);
  rig.step(0.5);
  assertEquals(rig.hand.fromCard.length, 1);
  assertEquals(rig.card.deadline(rig.now), Infinity);
  assertEquals(rig.messages(), []);
});

Deno.test("Card sends on when the pause is taken back", () => {
  const rig = up();
  rig.write("MFLCN", 1 << 3);
  rig.hand.toCard.push(pauseFrame(0xffff), pauseFrame(0));
  rig.step();
  send(rig, 0);
  rig.step();
  assertEquals(rig.hand.fromCard.length, 1);
  assertEquals(rig.read("LXOFFRXCNT"), 1);
  assertEquals(rig.read("LXONRXCNT"), 1);
});

Deno.test("Card only counts pause frames without MFLCN.RFCE", () => {
  const rig = up();
  rig.hand.toCard.push(pauseFrame(0xffff));
  rig.step();
  send(rig, 0);
  rig.step();
  assertEquals(rig.hand.fromCard.length, 1);
  assertEquals(rig.read("LXOFFRXCNT"), 1);
});

Deno.test("Card asks its partner to wait while its packet buffer is full", () => {
  const rig = up({ dropEnable: false });
  rig.write("FCCFG", 1 << 3);
  rig.write("FCTTV", 0x1000);
  rig.write("FCRTV", 0x800);
  rig.write("FCRTH", (1 << 31) | 0x800);
  rig.write("FCRTL", (1 << 31) | 0x400);
  const room = rig.ringSize - 1;
  for (let i = 0; i < room + 21; i++) rig.hand.toCard.push(makeFrame(100));
  rig.step();
  const [xoff] = rig.hand.fromCard.splice(0);
  assertEquals([...xoff.slice(0, 18)], [
    ...[1, 0x80, 0xc2, 0, 0, 1],
    ...[2, 0xaa, 0xbb, 0xcc, 0xdd, 1],
    ...[0x88, 0x08, 0, 1, 0x10, 0],
  ]);
  assertEquals(xoff.length, 60);
  rig.step(0.05);
  assertEquals(rig.hand.fromCard.length, 0, "it still waits");
  rig.step(0.06);
  assertEquals(
    rig.hand.fromCard.splice(0).length,
    1,
    "after 2048 quanta again",
  );
  for (let i = 0; i < room; i++) rig.postRx(0, i);
  rig.write("RDT", room - 1);
  rig.step();
  const [xon] = rig.hand.fromCard.splice(0);
  assertEquals([...xon.slice(16, 18)], [0, 0]);
  assertEquals(rig.read("LXOFFTXC"), 2);
  assertEquals(rig.read("LXONTXC"), 1);
  assertEquals(rig.card.deadline(rig.now), Infinity);
  assertEquals(rig.messages(), []);
});

Deno.test("Card sends no pause frames without FCCFG or the threshold's bit", () => {
  for (const [fccfg, fcrth] of [[0, 1 << 31], [1 << 3, 0]]) {
    const rig = up({ dropEnable: false });
    rig.write("FCCFG", fccfg);
    rig.write("FCRTH", fcrth | 0x20);
    for (let i = 0; i < 60; i++) rig.hand.toCard.push(makeFrame(100));
    rig.step();
    assertEquals(rig.hand.fromCard, []);
  }
});

Deno.test("Card marks and places frames by their EtherType", () => {
  const rig = up({ rxQueues: 4 });
  rig.write("ETQF", 0x8000_88b5, 3);
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.rx(0, 0)[0], 0x8000 | (3 << 4), "filter 3, no queue");
  rig.write("ETQS", 0x8002_0000, 3);
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.rx(2, 0)[0], 0x8000 | (3 << 4));
  rig.write("ETQF", 0x0000_88b5, 3);
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.rx(0, 1)[0], 0, "switched off");
  assertEquals(rig.messages(), []);
});

Deno.test("Card initialises the flow director's table", () => {
  const rig = new Rig();
  const DONE = 1 << 3;
  assertEquals(rig.read("FDIRCTRL") & DONE, 0);
  rig.write("FDIRCTRL", 1);
  assertEquals(rig.read("FDIRCTRL"), 1 | DONE);
  rig.write("FDIRCMD", 3);
  assertEquals(rig.read("FDIRCMD") & 7, 0, "over, and no such filter");
  assertEquals(rig.messages(), []);
});

Deno.test("Card has a clock that TIMINCA drives", () => {
  const rig = up();
  const read = () => rig.read("SYSTIML") + rig.read("SYSTIMH") * 2 ** 32;
  const start = read();
  rig.step(1);
  assertEquals(read(), start, "it stands");
  // At 10 Gbit/s a period is 6.4 ns: count in units of 0.1 ns.
  rig.write("TIMINCA", (1 << 24) | 64);
  const before = read();
  rig.step(1000);
  assertEquals(read() - before, 1e10);
  rig.write("TIMINCA", (2 << 24) | 64);
  const half = read();
  rig.step(1000);
  assertEquals(read() - half, 5e9, "every other period");
  rig.write("SYSTIML", 0);
  rig.write("SYSTIMH", 7);
  assertEquals(read(), 7 * 2 ** 32);
  assertEquals(rig.messages(), []);
});

Deno.test("Card says that a filter which must match will not", () => {
  const rig = up();
  const PERFECT = 1 << 4;
  const ADD = 1;
  rig.write("FDIRCTRL", 1);
  rig.write("FDIRCMD", ADD);
  assertEquals(rig.messages(), [], "signature filters are only hints");
  rig.write("FDIRCTRL", 1 | PERFECT);
  rig.write("FDIRCMD", ADD);
  const [message] = rig.messages();
  assertStringIncludes(message, "feature that this model does not have");
});

Deno.test("Card has the counters of MACsec, which count nothing", () => {
  const rig = up();
  const sent = [0x8a3c, 0x8a40, 0x8a44, 0x8a48, 0x8a4c];
  const received = Array.from({ length: 17 }, (_, i) => 0x8f40 + 4 * i)
    .filter((offset) => offset <= 0x8f80);
  for (const offset of [...sent, ...received]) {
    assertEquals(rig.card.read(offset, 4), 0, offset.toString(16));
  }
  assertEquals(rig.messages(), []);
});
