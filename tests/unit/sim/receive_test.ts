import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeFrame, Rig, RING_SIZE } from "../../support/intel/sim_rig.ts";

const DD = 1;
const EOP = 2;
const VP = 8;
const BROADCAST = [255, 255, 255, 255, 255, 255];
const GROUP = [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03];
const STRANGER = [2, 9, 9, 9, 9, 9];

function up(options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(options);
  rig.bringUp();
  return rig;
}

/** Whether the card stores the frame in queue 0. */
function takes(rig: Rig, frame: Uint8Array): boolean {
  const before = rig.read("RDH");
  rig.hand.toCard.push(frame);
  rig.step();
  return rig.read("RDH") !== before;
}

Deno.test("Card receives a frame into the buffer of the first descriptor", () => {
  const rig = up();
  const frame = makeFrame(100);
  assert(takes(rig, frame));
  const [, , status, length] = rig.rx(0, 0);
  assertEquals(status & (DD | EOP), DD | EOP);
  assertEquals(length, 100);
  assertEquals(rig.rxData(0, 0, 100), frame);
  assertEquals(rig.rx(0, 1)[2], 0, "the next one is untouched");
  assertEquals(rig.messages(), []);
});

Deno.test("Card writes to a buffer at any alignment, and nothing beyond", () => {
  for (const shift of [1, 2, 3]) {
    const rig = up();
    rig.u32[rig.rxDescriptor(0, 0)] += shift;
    const frame = makeFrame(61 + shift);
    rig.hand.toCard.push(frame);
    rig.step();
    const got = rig.rxData(0, 0, 61 + 2 * shift + 4);
    assertEquals(got.slice(shift, shift + frame.length), frame);
    assertEquals([...got.slice(shift + frame.length)], [0, 0, 0, 0]);
  }
});

Deno.test("Card wraps round the ring", () => {
  const rig = up();
  for (let n = 0; n < RING_SIZE * 3; n++) {
    const i = n % RING_SIZE;
    assert(takes(rig, makeFrame(60 + n)), `frame ${n}`);
    assertEquals(rig.rx(0, i)[3], 60 + n);
    rig.postRx(0, i);
    rig.write("RDT", i);
  }
  assertEquals(rig.messages(), []);
});

Deno.test("Card filters unicast by its receive addresses", () => {
  const rig = up();
  assert(takes(rig, makeFrame()));
  assert(!takes(rig, makeFrame(60, STRANGER)));
  rig.write("RAL", 0x09090902, 5);
  rig.write("RAH", 0x80000909, 5);
  assert(takes(rig, makeFrame(60, STRANGER)));
  rig.write("RAH", 0x00000909, 5);
  assert(!takes(rig, makeFrame(60, STRANGER)), "address valid is clear");
  rig.set("FCTRL", 1 << 9);
  assert(takes(rig, makeFrame(60, STRANGER)), "unicast promiscuous");
});

Deno.test("Card filters broadcast by FCTRL.BAM", () => {
  const rig = up();
  assert(takes(rig, makeFrame(60, BROADCAST)));
  rig.clear("FCTRL", 1 << 10);
  assert(!takes(rig, makeFrame(60, BROADCAST)));
});

Deno.test("Card filters multicast by its hash table, for each offset", () => {
  const rig = up();
  assert(!takes(rig, makeFrame(60, GROUP)));
  const pair = GROUP[4] | (GROUP[5] << 8);
  [4, 3, 2, 0].forEach((shift, offset) => {
    const bit = (pair >> shift) & 0xfff;
    rig.write("MCSTCTRL", offset);
    rig.write("MTA", 1 << (bit & 31), bit >> 5);
    assert(!takes(rig, makeFrame(60, GROUP)), "filter is off");
    rig.write("MCSTCTRL", 4 | offset);
    const i = rig.read("RDH");
    assert(takes(rig, makeFrame(60, GROUP)), `offset ${offset}`);
    assert((rig.rx(0, i)[2] & 0x80) !== 0, "PIF marks the inexact match");
    rig.write("MTA", 0, bit >> 5);
    assert(!takes(rig, makeFrame(60, GROUP)));
  });
  rig.set("FCTRL", 1 << 8);
  assert(takes(rig, makeFrame(60, GROUP)), "multicast promiscuous");
});

function tagged(tag: number): Uint8Array {
  const frame = makeFrame(64);
  frame.set([0x81, 0, tag >> 8, tag & 255, 0x88, 0xb5], 12);
  return frame;
}

Deno.test("Card filters VLANs by its table", () => {
  const rig = up();
  assert(takes(rig, tagged(0x2005)));
  rig.set("VLNCTRL", 1 << 30);
  assert(!takes(rig, tagged(0x2005)));
  rig.write("VFTA", 1 << 5, 0);
  assert(takes(rig, tagged(0x2005)));
  assert(takes(rig, makeFrame()), "an untagged frame passes");
  rig.set("VLNCTRL", 1 << 29);
  assert(takes(rig, tagged(0x0005)));
  assert(!takes(rig, tagged(0x1005)), "CFI differs");
});

Deno.test("Card strips the VLAN tag into the descriptor", () => {
  const rig = up();
  rig.set("RXDCTL", 1 << 30);
  const frame = tagged(0x2005);
  assert(takes(rig, frame));
  const [, , status, last] = rig.rx(0, 0);
  assertEquals(status & VP, VP);
  assertEquals(last, (0x2005 << 16) | 60);
  const stripped = [...frame.slice(0, 12), ...frame.slice(16)];
  assertEquals([...rig.rxData(0, 0, 60)], stripped);
  assert(takes(rig, makeFrame()));
  assertEquals(rig.rx(0, 1)[2] & VP, 0);
});

Deno.test("Card spreads a long frame over descriptors, EOP on the last", () => {
  const rig = up();
  rig.write("RXCTRL", 0);
  rig.set("HLREG0", 4);
  rig.write("MAXFRS", 9000 << 16);
  rig.enableReceive();
  const frame = makeFrame(5000);
  assert(takes(rig, frame));
  const pieces = [2048, 2048, 904];
  pieces.forEach((size, i) => {
    const [first, second, status, last] = rig.rx(0, i);
    assertEquals(last & 0xffff, size);
    assertEquals(status & DD, DD);
    assertEquals((status & EOP) !== 0, i === 2);
    if (i < 2) assertEquals([first, second, status], [0, 0, DD]);
    assertEquals(
      rig.rxData(0, i, size),
      frame.slice(i * 2048, i * 2048 + size),
    );
  });
  assertEquals(rig.messages(), []);
});

Deno.test("Card drops frames of a wrong length and counts why", () => {
  const rig = up();
  assert(!takes(rig, makeFrame(59)));
  assert(!takes(rig, makeFrame(1515)));
  assert(takes(rig, makeFrame(1514)));
  assertEquals(rig.read("RUC"), 1);
  assertEquals(rig.read("ROC"), 1);
  rig.hand.spoilNext = true;
  assert(!takes(rig, makeFrame()));
  assertEquals(rig.read("CRCERRS"), 1);
  rig.set("FCTRL", 2);
  rig.hand.spoilNext = true;
  assert(takes(rig, makeFrame()), "store bad packets");
  assert((rig.rx(0, 1)[2] & (1 << 29)) !== 0, "RXE");
});

Deno.test("Card allows a tag beyond the longest frame", () => {
  const rig = up();
  const frame = makeFrame(1518);
  frame.set([0x81, 0, 0, 5], 12);
  assert(takes(rig, frame));
  assert(!takes(rig, makeFrame(1518)));
});

Deno.test("Card drops for want of descriptors when DROP_EN is set", () => {
  const rig = up();
  for (let i = 0; i < RING_SIZE + 4; i++) rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.read("RDH"), RING_SIZE - 1);
  assertEquals(rig.read("QPRDC"), 5);
  assertEquals(rig.read("QPRC"), RING_SIZE - 1);
  assertEquals(rig.read("GPRC"), RING_SIZE + 4, "counts the dropped ones too");
});

Deno.test("Card stalls without DROP_EN, then misses when its buffer is full", () => {
  const rig = up({ dropEnable: false });
  const count = RING_SIZE - 1 + 10;
  for (let i = 0; i < count; i++) rig.hand.toCard.push(makeFrame(60 + i));
  rig.step();
  assertEquals(rig.read("RDH"), RING_SIZE - 1);
  assertEquals(rig.read("QPRDC"), 0);
  for (let i = 0; i < 10; i++) {
    rig.postRx(0, i);
    rig.write("RDT", i);
  }
  rig.step();
  const last = (RING_SIZE - 1 + 9) % RING_SIZE;
  assertEquals(rig.rx(0, last)[3], 60 + count - 1, "in order, none lost");
  for (let i = 0; i < 600; i++) rig.hand.toCard.push(makeFrame(1514));
  for (let i = 0; i < 5; i++) rig.step();
  const missed = rig.read("RXMPC");
  assert(missed > 200 && missed < 300, `${missed} of 600 beyond 512 KB`);
  assertEquals(rig.read("QPRDC"), 0);
  assertEquals(rig.messages(), []);
});

Deno.test("Card waits for room with a patient wire and loses nothing", () => {
  const rig = up();
  rig.hand.patient = true;
  for (let i = 0; i < 100; i++) rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.hand.toCard.length, 100 - (RING_SIZE - 1));
  assertEquals(rig.read("QPRDC"), 0);
});

Deno.test("Card appends the FCS when it is not told to strip it", () => {
  const rig = up();
  rig.write("RXCTRL", 0);
  rig.clear("HLREG0", 2);
  rig.clear("RDRXCTL", 2);
  rig.enableReceive();
  const text = new TextEncoder().encode("123456789");
  const frame = makeFrame(60);
  frame.set(text, 20);
  assert(takes(rig, frame));
  assertEquals(rig.rx(0, 0)[3], 64);
  // CRC-32 over the frame and its FCS leaves the well-known residue.
  let crc = ~0;
  for (const byte of rig.rxData(0, 0, 64)) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  assertEquals(crc >>> 0, 0xdebb20e3);
  assertEquals(rig.messages(), []);
});

Deno.test("Card receives nothing until RXEN, link and queue are there", () => {
  const rig = up();
  rig.card.setLink(false);
  assert(!takes(rig, makeFrame()));
  assert(!rig.card.receiving);
  rig.card.setLink(true);
  rig.step(20);
  assertEquals(rig.read("RDH"), 1, "the frame waited on the wire");
  rig.write("RXCTRL", 0);
  assert(!takes(rig, makeFrame()));
  rig.enableReceive();
  rig.stopRx(0);
  rig.step();
  assertEquals(rig.read("QPRDC"), 1, "to a queue that is off");
});

Deno.test("Card records a miss when a receive buffer is not mapped", () => {
  const rig = up();
  rig.u32[rig.rxDescriptor(0, 0) + 1] = 7;
  assert(takes(rig, makeFrame()));
  assertMatch(
    rig.messages()[0],
    /dma-fault: receive queue 0: data.*0x00000007/,
  );
  assert(takes(rig, makeFrame()));
  assertEquals(rig.card.violationCount, 1);
});

Deno.test("Card records a miss when the ring is unmapped under it", () => {
  const rig = up();
  assert(takes(rig, makeFrame()));
  rig.dma.unmap(0x1_2340_0000n, 1 << 16);
  assert(!takes(rig, makeFrame()));
  assertMatch(rig.messages()[0], /dma-fault: .*descriptor ring/);
});

Deno.test("Card records every DMA as a miss while bus mastering is off", () => {
  const rig = up();
  rig.card.writeConfig(4, 2, 2);
  assert(!takes(rig, makeFrame()));
  assertMatch(rig.messages()[0], /dma-fault: .*bus mastering is off/);
});

Deno.test("Card moves nothing while GIO is disabled", () => {
  const rig = up();
  rig.set("CTRL", 4);
  assert(!takes(rig, makeFrame()));
  assertEquals(rig.messages(), []);
});

Deno.test("Card records a descriptor posted as it was written back", () => {
  const rig = up();
  rig.u32[rig.rxDescriptor(0, 0) + 2] = 1;
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.messages(), [], "a driver may look at the length instead");
  rig.u32[rig.rxDescriptor(0, 1) + 2] = 1;
  rig.u32[rig.rxDescriptor(0, 1) + 3] = 60;
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertMatch(rig.messages()[0], /descriptor: .*DD/);
});

Deno.test("Card writes legacy descriptors where SRRCTL asks for them", () => {
  const rig = up();
  rig.stopRx(0);
  rig.write("SRRCTL", 0x402 | (1 << 28));
  rig.set("RXDCTL", 1 << 25);
  while ((rig.read("RXDCTL") & (1 << 25)) === 0);
  for (let i = 0; i < RING_SIZE; i++) rig.postRx(0, i);
  rig.write("RDT", 31);
  const address = rig.u32[rig.rxDescriptor(0, 0)];
  assert(takes(rig, makeFrame(77)));
  const [low, , length, status] = rig.rx(0, 0);
  assertEquals([low, length, status & 3], [address, 77, 3]);
  assertEquals(rig.messages(), []);
});

Deno.test("Card X540 drops frames beyond RXDCTL.RLPML", () => {
  const rig = up({ model: "x540" });
  rig.set("RXDCTL", (1 << 15) | 100);
  assert(takes(rig, makeFrame(100)));
  assert(!takes(rig, makeFrame(101)));
});

Deno.test("Card writes any length and tag into a descriptor unchanged", () => {
  const rig = up();
  rig.set("RXDCTL", 1 << 30);
  // With the highest bits set, the word looks like a number that is none.
  const tags = [0x0001, 0x7ff0, 0x7fff, 0xfff0, 0xfff7, 0xffff];
  tags.forEach((tag, i) => {
    const frame = makeFrame(68 + i);
    frame.set([0x81, 0, tag >>> 8, tag & 0xff, 0x88, 0xb5], 12);
    rig.hand.toCard.push(frame);
    rig.step();
    const words = rig.rx(0, i);
    assertEquals(words[3], ((tag << 16) | (64 + i)) >>> 0);
    assertEquals(words[2] & 3, 3, "DD and EOP");
  });
});
