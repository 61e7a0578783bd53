/**
 * The configuration space of the software card, against the PCI and PCIe specifications and chapter 9.
 */
import { assertEquals } from "@std/assert";
import { Card } from "../../../src/sim/card.ts";
import { DmaTable } from "../../../src/sim/dma_table.ts";
import { HandWire, Rig } from "../../support/intel/sim_rig.ts";

const COMMAND = 0x04;
const STATUS = 0x06;
const POWER_CONTROL = 0x44;
const EICS = 0x00808;
const EICR = 0x00800;
const EIMS = 0x00880;
const D3_HOT = 3;

/** A base address register after all ones were written to it: its size in the lowest bit that stuck. */
function sizeBar({ card }: Rig, offset: number): number {
  const before = card.readConfig(offset, 4);
  card.writeConfig(offset, 0xffffffff, 4);
  const mask = card.readConfig(offset, 4) & ~0xf;
  card.writeConfig(offset, before, 4);
  return -mask >>> 0;
}

Deno.test("the BARs have the sizes and kinds of the real part", () => {
  const rig = new Rig();
  const kind = (offset: number) => rig.card.readConfig(offset, 4) & 0xf;
  assertEquals([kind(0x10), kind(0x20)], [4, 4], "64 bits, memory");
  assertEquals([sizeBar(rig, 0x10), sizeBar(rig, 0x20)], [0x20000, 0x4000]);
  for (const upper of [0x14, 0x24]) {
    rig.card.writeConfig(upper, 0xffffffff, 4);
    assertEquals(rig.card.readConfig(upper, 4), 0xffffffff);
  }
  for (const absent of [0x18, 0x1c, 0x30]) {
    rig.card.writeConfig(absent, 0xffffffff, 4);
    assertEquals(rig.card.readConfig(absent, 4), 0, "no I/O, no ROM");
  }
});

Deno.test("an address written to a BAR stays, its kind too", () => {
  const rig = new Rig();
  rig.card.writeConfig(0x10, 0xfebc1234, 4);
  assertEquals(rig.card.readConfig(0x10, 4) >>> 0, 0xfebc0004);
  rig.card.writeConfig(0x12, 0xfe, 1);
  assertEquals(rig.card.readConfig(0x10, 4) >>> 0, 0xfefe0004, "by bytes");
});

Deno.test("the capabilities beyond 256 bytes are error reports and the serial number", () => {
  const rig = new Rig();
  const found: [id: number, version: number][] = [];
  for (let at = 0x100; at !== 0;) {
    const header = rig.card.readConfig(at, 4) >>> 0;
    found.push([header & 0xffff, (header >>> 16) & 0xf]);
    at = header >>> 20;
  }
  assertEquals(found, [[1, 1], [3, 1]]);
  const bytes = Array.from(
    { length: 8 },
    (_, i) => rig.card.readConfig(0x14b - i, 1).toString(16).padStart(2, "0"),
  );
  assertEquals(bytes.join("-"), "02-aa-bb-ff-ff-cc-dd-01");
});

Deno.test("read-only fields, reserved bits and status bits keep their values", () => {
  const rig = new Rig();
  const words = Array.from(
    { length: 1024 },
    (_, i) => rig.card.readConfig(4 * i, 4),
  );
  // Not those that are there to be written, nor what resets the function.
  const written = new Set([0x04, 0x0c, 0x10, 0x14, 0x20, 0x24, 0x3c, 0x44]);
  for (
    const at of [0x50, 0x54, 0x58, 0x5c, 0x60, 0x70, 0xa8, 0xb0, 0xc8, 0xd0]
  ) {
    written.add(at);
  }
  for (const at of [0x108, 0x10c, 0x114, 0x118]) written.add(at);
  words.forEach((before, i) => {
    if (written.has(4 * i)) return;
    rig.card.writeConfig(4 * i, 0xffffffff, 4);
    assertEquals(rig.card.readConfig(4 * i, 4), before, `at ${4 * i}`);
  });
});

Deno.test("MSI can be set up: one message, 64 bits, maskable", () => {
  const { card } = new Rig();
  assertEquals(card.readConfig(0x52, 2), 0x0180);
  card.writeConfig(0x54, 0xfee00003, 4);
  card.writeConfig(0x58, 1, 4);
  card.writeConfig(0x5c, 0x4021, 2);
  card.writeConfig(0x60, 0xffffffff, 4);
  card.writeConfig(0x52, 0xffff, 2);
  assertEquals(card.readConfig(0x54, 4) >>> 0, 0xfee00000, "aligned");
  assertEquals(card.readConfig(0x58, 4), 1);
  assertEquals(card.readConfig(0x5c, 2), 0x4021);
  assertEquals(card.readConfig(0x60, 4), 1, "one mask");
  assertEquals(card.readConfig(0x52, 2), 0x01f1, "enable and count");
});

Deno.test("an interrupt shows in the status register until its cause goes", () => {
  const rig = new Rig();
  const shows = () => (rig.card.readConfig(STATUS, 2) & 0x8) !== 0;
  assertEquals([shows(), rig.card.interruptLine], [false, false]);
  rig.card.write(EIMS, 1, 4);
  rig.card.write(EICS, 1, 4);
  assertEquals([shows(), rig.card.interruptLine], [true, true]);
  rig.card.writeConfig(COMMAND, 0x406, 2);
  assertEquals(
    [shows(), rig.card.interruptLine],
    [true, false],
    "interrupt disable",
  );
  rig.card.writeConfig(COMMAND, 0x6, 2);
  rig.card.read(EICR, 4);
  assertEquals([shows(), rig.card.interruptLine], [false, false], "EICR read");
});

Deno.test("in D3 only configuration space answers, and D0 begins with a reset", () => {
  const rig = new Rig();
  const RAL = 0x0a200;
  rig.card.step(0, 5);
  const permanent = rig.card.read(RAL, 4);
  rig.card.write(RAL, 0x12345678, 4);
  rig.card.writeConfig(POWER_CONTROL, D3_HOT, 2);
  assertEquals(rig.card.read(RAL, 4), 0xffffffff);
  assertEquals(rig.card.readConfig(0, 2), 0x8086);
  rig.card.writeConfig(POWER_CONTROL, 0, 2);
  rig.card.writeConfig(COMMAND, 2, 2);
  rig.card.step(0, 10);
  assertEquals(rig.card.read(RAL, 4), permanent);
});

for (
  const [interrupts, expected] of [
    ["msix", [1, 5, 0x11, 0x10]],
    ["msi", [1, 5, 0x10]],
    ["intx", [1, 0x10]],
  ] as const
) {
  Deno.test(`a card declares the interrupts up to ${interrupts}`, () => {
    const card = new Card({
      model: "82599",
      macAddress: "02:aa:bb:cc:dd:01",
      dma: new DmaTable(),
      wire: new HandWire(),
      interrupts,
      interrupt: () => {},
    });
    const found: number[] = [];
    for (let at = card.readConfig(0x34, 1); at !== 0;) {
      found.push(card.readConfig(at, 1));
      at = card.readConfig(at + 1, 1);
    }
    assertEquals(found, [...expected]);
  });
}
