import { assertEquals, assertMatch } from "@std/assert";
import { makeFrame, Rig } from "../support/sim_rig.ts";

function receive(rig: Rig, ...frames: Uint8Array[]): void {
  rig.hand.toCard.push(...frames);
  rig.step();
}

function up(): Rig {
  const rig = new Rig();
  rig.bringUp();
  return rig;
}

Deno.test("Card clears a counter by reading it", () => {
  const rig = up();
  receive(rig, makeFrame(), makeFrame());
  assertEquals(rig.read("GPRC"), 2);
  assertEquals(rig.read("GPRC"), 0);
});

Deno.test("Card counts octets with FCS by port, without by queue", () => {
  const rig = up();
  receive(rig, makeFrame(60), makeFrame(100));
  assertEquals(rig.read("GORCL"), 168);
  assertEquals(rig.read("GORCH"), 0);
  assertEquals(rig.read("QBRC_L"), 160);
  rig.read("QBRC_H");
  assertEquals(rig.read("TORL"), 168);
  assertEquals(rig.read("GORCL"), 0);
});

Deno.test("Card counts what it sends", () => {
  const rig = up();
  rig.postTx(0, 0, makeFrame(60));
  rig.postTx(0, 1, makeFrame(200, [255, 255, 255, 255, 255, 255]));
  rig.write("TDT", 2);
  rig.step();
  assertEquals(rig.read("GPTC"), 2);
  assertEquals(rig.read("GOTCL"), 268);
  assertEquals(rig.read("QPTC"), 2);
  assertEquals(rig.read("QBTC_L"), 260);
  assertEquals(rig.read("BPTC"), 1);
  assertEquals(rig.read("PTC64"), 1);
  assertEquals(rig.read("PTC255"), 1);
});

Deno.test("Card sorts frames by size and address", () => {
  const rig = up();
  rig.set("FCTRL", 1 << 8);
  const sizes = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514];
  receive(
    rig,
    ...sizes.map((size) => makeFrame(size)),
    makeFrame(60, [255, 255, 255, 255, 255, 255]),
    makeFrame(60, [1, 0, 0x5e, 0, 0, 1]),
  );
  assertEquals(rig.read("PRC64"), 3);
  assertEquals(rig.read("PRC127"), 2);
  assertEquals(rig.read("PRC255"), 2);
  assertEquals(rig.read("PRC511"), 2);
  assertEquals(rig.read("PRC1023"), 2);
  assertEquals(rig.read("PRC1522"), 2);
  assertEquals(rig.read("BPRC"), 1);
  assertEquals(rig.read("MPRC"), 1);
});

Deno.test("Card counts queues where RQSMR and TQSM map them", () => {
  const rig = up();
  rig.write("RQSMR", 7);
  rig.write("TQSM", 9);
  receive(rig, makeFrame());
  rig.postTx(0, 0, makeFrame());
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.read("QPRC", 0), 0);
  assertEquals(rig.read("QPRC", 7), 1);
  assertEquals(rig.read("QPTC", 9), 1);
});

Deno.test("Card counts frames for others only as unfiltered", () => {
  const rig = up();
  receive(rig, makeFrame(60, [2, 9, 9, 9, 9, 9]));
  assertEquals(rig.read("GPRC"), 0);
  assertEquals(rig.read("TPR"), 1);
  assertEquals(rig.read("RXNFGPC"), 1);
});

Deno.test("Card records a high counter register read before its low one", () => {
  const rig = up();
  rig.read("GORCH");
  assertMatch(rig.messages()[0], /order: GORCH.*without GORCL/);
  rig.card.clearViolations();
  rig.read("QBRC_L", 3);
  rig.read("QBRC_H", 3);
  assertEquals(rig.messages(), []);
});

Deno.test("Card keeps its counters over a software reset", () => {
  const rig = up();
  receive(rig, makeFrame());
  rig.softwareReset();
  assertEquals(rig.read("GPRC"), 1);
  rig.card.reset();
  assertEquals(rig.read("GPRC"), 0);
});

Deno.test("Card keeps pause frames to itself and counts them", () => {
  const rig = up();
  rig.set("FCTRL", 1 << 8);
  const pause = makeFrame(60, [1, 0x80, 0xc2, 0, 0, 1]);
  pause.set([0x88, 0x08, 0, 1], 12);
  receive(rig, pause);
  assertEquals(rig.read("LXOFFRXCNT"), 1);
  assertEquals(rig.read("QPRC"), 0);
});
