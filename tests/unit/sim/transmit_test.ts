import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  ENABLE,
  makeFrame,
  Rig,
  RING_SIZE,
} from "../../support/intel/sim_rig.ts";

const DD = 1;

function up(options: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(options);
  rig.bringUp();
  return rig;
}

function done(rig: Rig, q: number, i: number): boolean {
  return (rig.u32[rig.txDescriptor(q, i) + 3] & DD) !== 0;
}

Deno.test("Card sends the frame of one descriptor and reports it done", () => {
  const rig = up();
  const frame = makeFrame(99);
  rig.postTx(0, 0, frame);
  rig.step();
  assertEquals(rig.hand.fromCard, [], "not before the tail moves");
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.hand.fromCard, [frame]);
  assert(done(rig, 0, 0));
  assertEquals(rig.read("TDH"), 1);
  assertEquals(rig.messages(), []);
});

Deno.test("Card reports only descriptors that ask for it", () => {
  const rig = up();
  for (let i = 0; i < 4; i++) rig.postTx(0, i, makeFrame(), { rs: i === 3 });
  rig.write("TDT", 4);
  rig.step();
  assertEquals([0, 1, 2, 3].map((i) => done(rig, 0, i)), [
    false,
    false,
    false,
    true,
  ]);
});

Deno.test("Card joins the descriptors of a frame", () => {
  const rig = up();
  const frame = makeFrame(4001);
  rig.postTx(0, 0, frame.slice(0, 2000), {
    eop: false,
    rs: false,
    payload: 4001,
  });
  rig.postTx(0, 1, frame.slice(2000, 2001), { eop: false, rs: false });
  rig.write("TDT", 2);
  rig.step();
  assertEquals(rig.hand.fromCard.length, 0, "its end is not posted yet");
  rig.postTx(0, 2, frame.slice(2001));
  rig.write("TDT", 3);
  rig.step();
  assertEquals(rig.hand.fromCard, [frame]);
  assertEquals(rig.messages(), []);
});

Deno.test("Card wraps round the transmit ring", () => {
  const rig = up();
  for (let n = 0; n < RING_SIZE * 3; n++) {
    const i = n % RING_SIZE;
    rig.postTx(0, i, makeFrame(60 + n));
    rig.write("TDT", (i + 1) % RING_SIZE);
    rig.step();
    assertEquals(rig.hand.fromCard.pop()!.length, 60 + n);
  }
  assertEquals(rig.messages(), []);
});

Deno.test("Card serves its transmit queues in turn", () => {
  const rig = up({ txQueues: 2 });
  for (let q = 0; q < 2; q++) {
    for (let i = 0; i < 8; i++) rig.postTx(q, i, makeFrame(60 + q));
    rig.write("TDT", 8, q);
  }
  assertEquals(rig.step(0.01, 4), 4);
  const lengths = rig.hand.fromCard.map((f) => f.length);
  assertEquals(lengths.sort(), [60, 60, 61, 61]);
});

Deno.test("Card pads short frames, and records them when it must not", () => {
  const rig = up();
  rig.postTx(0, 0, makeFrame(20));
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.hand.fromCard[0].length, 60);
  rig.clear("HLREG0", 1 << 10);
  rig.postTx(0, 1, makeFrame(20));
  rig.write("TDT", 2);
  rig.step();
  assertEquals(rig.hand.fromCard[1].length, 20);
  assertMatch(rig.messages()[0], /TXPADEN/);
});

Deno.test("Card sends nothing without link", () => {
  const rig = up();
  rig.card.setLink(false);
  rig.postTx(0, 0, makeFrame());
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.hand.fromCard.length, 0);
  rig.card.setLink(true);
  rig.step(20);
  assertEquals(rig.hand.fromCard.length, 1);
});

Deno.test("Card loops back inside by HLREG0.LPBK, without link", () => {
  const rig = up();
  rig.card.setLink(false);
  rig.set("HLREG0", 1 << 15);
  const frame = makeFrame(80);
  rig.postTx(0, 0, frame);
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.hand.fromCard.length, 0);
  assertEquals(rig.rxData(0, 0, 80), frame);
  rig.write("RXCTRL", 0);
  rig.postTx(0, 1, frame);
  rig.write("TDT", 2);
  rig.step();
  assertEquals(rig.read("RDH"), 1, "the receiver is off");
});

function contextual(rig: Rig, options: number, more = 0): Uint8Array {
  const frame = new Uint8Array(60);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  frame.set([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0], 14);
  frame.set([192, 168, 0, 1, 192, 168, 0, 199], 26);
  frame.set([4, 0, 0x13, 0x89, 0, 26, 0, 0, 1, 2, 3], 34);
  // The field starts with the sum of the pseudo header.
  let sum = 0xc0a8 + 1 + 0xc0a8 + 199 + 17 + 26;
  sum = (sum & 0xffff) + (sum >> 16);
  frame.set([sum >> 8, sum & 255], 40);
  const d = rig.txDescriptor(0, 0);
  rig.u32[d] = (0x2005 << 16) | (14 << 9) | 20;
  rig.u32[d + 1] = 0;
  rig.u32[d + 2] = (2 << 20) | (1 << 29) | (1 << 10);
  rig.u32[d + 3] = 0;
  rig.postTx(0, 1, frame, { more });
  rig.u32[rig.txDescriptor(0, 1) + 3] |= options << 8;
  rig.write("TDT", 2);
  rig.step();
  return rig.hand.fromCard[0];
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

Deno.test("Card inserts checksums by a context", () => {
  const rig = up();
  const sent = contextual(rig, 3);
  assertEquals(sumOf(sent.slice(14, 34)), 0xffff);
  const pseudo = Uint8Array.from([...sent.slice(26, 34), 0, 17, 0, 26]);
  assertEquals(
    sumOf(Uint8Array.from([...pseudo, ...sent.slice(34, 60)])),
    0xffff,
  );
  assertEquals(rig.messages(), []);
});

Deno.test("Card inserts the VLAN tag of a context", () => {
  const sent = contextual(up(), 0, 1 << 30);
  assertEquals([...sent.slice(12, 18)], [0x81, 0, 0x20, 0x05, 8, 0]);
  assertEquals(sent.length, 64);
});

const wrong: [string, RegExp, (rig: Rig) => void][] = [
  ["a PAYLEN that is not the sum", /PAYLEN is 61.*60/, (rig) => {
    rig.postTx(0, 0, makeFrame(60), { payload: 61 });
  }],
  ["IFCS clear", /IFCS/, (rig) => {
    rig.postTx(0, 0, makeFrame());
    rig.u32[rig.txDescriptor(0, 0) + 2] &= ~(1 << 25);
  }],
  ["segmentation without context", /context 0, never given/, (rig) => {
    rig.postTx(0, 0, makeFrame(), { more: 1 << 31 });
  }],
  ["reserved bits", /reserved/, (rig) => {
    rig.postTx(0, 0, makeFrame(), { more: 1 << 26 });
  }],
  ["DD set", /DD/, (rig) => {
    rig.postTx(0, 0, makeFrame());
    rig.u32[rig.txDescriptor(0, 0) + 3] |= 1;
  }],
  ["an offload without context", /context 0, never given/, (rig) => {
    rig.postTx(0, 0, makeFrame());
    rig.u32[rig.txDescriptor(0, 0) + 3] |= 1 << 8;
  }],
  ["no length", /no length/, (rig) => {
    rig.postTx(0, 0, new Uint8Array(0));
  }],
  ["data out of reach", /dma-fault: transmit queue 0: data/, (rig) => {
    rig.postTx(0, 0, makeFrame());
    rig.u32[rig.txDescriptor(0, 0) + 1] = 99;
  }],
];

for (const [name, pattern, post] of wrong) {
  Deno.test(`Card records a transmit descriptor with ${name}`, () => {
    const rig = up();
    post(rig);
    rig.write("TDT", 1);
    rig.step();
    assertMatch(rig.messages()[0], pattern);
    assertEquals(rig.read("TDH"), 1, "and goes on");
  });
}

Deno.test("Card records RS before the end of a frame", () => {
  const rig = up();
  rig.postTx(0, 0, makeFrame(), { eop: false, payload: 120 });
  rig.postTx(0, 1, makeFrame());
  rig.write("TDT", 2);
  rig.step();
  assertMatch(rig.messages()[0], /RS on a descriptor without EOP/);
});

Deno.test("Card records a full ring without an end, once", () => {
  const rig = up();
  for (let i = 0; i < RING_SIZE; i++) {
    rig.postTx(0, i, makeFrame(), { eop: false, rs: false });
  }
  rig.write("TDT", RING_SIZE - 1);
  rig.step();
  rig.step();
  assertEquals(rig.card.violationCount, 1);
  assertMatch(rig.messages()[0], /EOP/);
});

Deno.test("Card holds write-backs until WTHRESH, and never for ever", () => {
  const rig = up();
  rig.write("TXDCTL", ENABLE | (4 << 16));
  for (let i = 0; i < 6; i++) rig.postTx(0, i, makeFrame());
  rig.write("TDT", 3);
  assertEquals(rig.step(), 3);
  assert(!done(rig, 0, 2));
  rig.write("TDT", 4);
  rig.step();
  assert(done(rig, 0, 0) && done(rig, 0, 3));
  rig.write("TDT", 6);
  rig.step();
  assert(!done(rig, 0, 5));
  rig.step();
  assert(done(rig, 0, 5), "an idle step writes back what waits");
  assertEquals(rig.messages(), []);
});

Deno.test("Card records WTHRESH with frames that do not ask for reports", () => {
  const rig = up();
  rig.write("TXDCTL", ENABLE | (4 << 16));
  rig.postTx(0, 0, makeFrame(), { rs: false });
  rig.write("TDT", 1);
  rig.step();
  assertMatch(rig.messages()[0], /WTHRESH/);
});

Deno.test("Card writes its head to memory when asked to", () => {
  const rig = new Rig({ txQueues: 0 });
  rig.bringUp();
  const place = rig.txBuffer(0, 31);
  const [low, high] = rig.iova(place);
  rig.write("TDWBAL", low | 1);
  rig.write("TDWBAH", high);
  rig.startTx(0);
  rig.postTx(0, 0, makeFrame());
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.u32[place / 4], 1);
  assert(!done(rig, 0, 0));
  assertEquals(rig.messages(), []);
});
