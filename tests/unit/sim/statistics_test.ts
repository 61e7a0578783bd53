import { assertEquals, assertMatch } from "@std/assert";
import { FATES, WireCounters } from "../../../src/bus/sim/wire_counters.ts";
import { makeFrame, Rig } from "../../support/intel/sim_rig.ts";

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

/** Where the card put the frames of its wire: what is not 0. */
function fates(rig: Rig): Record<string, number> {
  const counters = new WireCounters(
    rig.hand.counters.buffer as SharedArrayBuffer,
  );
  const all = FATES.map((name) => [name, counters.get(name)] as const);
  return Object.fromEntries(all.filter(([, count]) => count !== 0));
}

Deno.test("Card counts each frame of its wire once, wherever it goes", () => {
  const rig = new Rig({ dropEnable: false });
  rig.bringUp();
  const pause = makeFrame(60, [1, 0x80, 0xc2, 0, 0, 1]);
  pause.set([0x88, 0x08, 0, 1], 12);
  const unknownControl = pause.slice();
  unknownControl.set([1, 1], 14);
  const spoilt = (length: number) => {
    rig.hand.spoilNext = true;
    receive(rig, makeFrame(length));
  };
  receive(rig, makeFrame(), makeFrame(59), makeFrame(1515), makeFrame(9000));
  for (const length of [60, 59, 1515]) spoilt(length);
  receive(rig, pause, unknownControl, makeFrame(60, [2, 9, 9, 9, 9, 9]));
  receive(rig, makeFrame(60, [1, 0, 0x5e, 0, 0, 1]));
  assertEquals(fates(rig), {
    ...{ delivered: 1, tooShort: 2, tooLong: 3, damaged: 1 },
    ...{ control: 2, filtered: 2 },
  });
  const registers = ["RUC", "RFC", "ROC", "RJC", "CRCERRS"] as const;
  assertEquals(registers.map((name) => rig.read(name)), [1, 1, 2, 1, 1]);
  // The ring has room for one frame less than it has descriptors.
  const free = rig.ringSize - 2;
  receive(rig, ...Array.from({ length: free + 3 }, () => makeFrame()));
  assertEquals(fates(rig).delivered, 1 + free);
  assertEquals(fates(rig).waiting, 3);
  rig.softwareReset();
  assertEquals(fates(rig).waiting, undefined);
  assertEquals(fates(rig).reset, 3);
});

Deno.test("Card counts what its queues and its packet buffer have no room for", () => {
  const drops = up();
  const frames = drops.ringSize + 4;
  receive(drops, ...Array.from({ length: frames }, () => makeFrame()));
  assertEquals(fates(drops), { delivered: drops.ringSize - 1, missed: 5 });
  const holds = new Rig({ dropEnable: false });
  holds.bringUp();
  const many = 1000;
  receive(holds, ...Array.from({ length: many }, () => makeFrame(1514)));
  while (holds.hand.toCard.length > 0) holds.step();
  const { delivered, waiting, missed, ...rest } = fates(holds);
  assertEquals([delivered, rest], [holds.ringSize - 1, {}]);
  assertEquals(delivered + waiting + missed, many);
  assertEquals(holds.read("RXMPC"), missed);
});

Deno.test("Card does not count as its wire's what it sends to itself", () => {
  const rig = up();
  rig.set("HLREG0", 1 << 15);
  rig.postTx(0, 0, makeFrame());
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.read("QPRC"), 1);
  assertEquals(fates(rig), {});
});
