import { assert, assertEquals, assertMatch } from "@std/assert";
import { at, ENABLE, Rig } from "../support/sim_rig.ts";

const RST = 1 << 26;

Deno.test("Card reads its identity from the configuration space", () => {
  const rig = new Rig();
  assertEquals(rig.card.readConfig(0, 2), 0x8086);
  assertEquals(rig.card.readConfig(2, 2), 0x10fb);
  assertEquals(rig.card.readConfig(0, 4), 0x10fb8086);
  assertEquals(rig.card.readConfig(0x0b, 1), 2, "class: network");
  assertEquals(new Rig({ model: "x540" }).card.readConfig(2, 2), 0x1528);
});

Deno.test("Card walks its capability list to the MSI-X table", () => {
  const { card } = new Rig();
  let at = card.readConfig(0x34, 1);
  const found: number[] = [];
  while (at !== 0) {
    found.push(card.readConfig(at, 1));
    at = card.readConfig(at + 1, 1);
  }
  assertEquals(found, [1, 5, 0x11, 0x10]);
  assertEquals(card.readConfig(0x72, 2) & 0x7ff, 63);
});

Deno.test("Card answers nothing while memory decoding is off", () => {
  const rig = new Rig();
  rig.card.writeConfig(4, 0, 2);
  assertEquals(rig.read("STATUS"), 0xffffffff);
  rig.write("FCTRL", 1 << 10);
  rig.card.writeConfig(4, 2, 2);
  assertEquals(rig.read("FCTRL"), 0);
});

Deno.test("Card resets by CTRL.RST, whose bit clears by itself", () => {
  const rig = new Rig();
  rig.card.writeConfig(4, 6, 2);
  rig.write("EIMC", 0x7fffffff);
  rig.write("FCTRL", 1 << 10);
  rig.write("CTRL", RST);
  assert((rig.read("CTRL") & RST) !== 0, "the first read shows it");
  assertEquals(rig.read("CTRL") & RST, 0);
  assertEquals(rig.read("FCTRL"), 0);
  assertEquals(rig.card.readConfig(4, 2), 6, "PCI is not reset");
  assertEquals(rig.messages(), []);
});

Deno.test("Card records a write that comes before the reset is over", () => {
  const rig = new Rig();
  rig.write("EIMC", 0x7fffffff);
  rig.write("CTRL", RST);
  rig.write("FCTRL", 1 << 10);
  assertMatch(rig.messages()[0], /order: .*before CTRL\.RST read back clear/);
});

Deno.test("Card resets by a function level reset", () => {
  const rig = new Rig();
  rig.card.writeConfig(4, 6, 2);
  rig.write("FCTRL", 1 << 10);
  rig.card.writeConfig(0xa8, 1 << 15, 2);
  assertEquals(rig.read("FCTRL"), 0);
  assertEquals(rig.card.readConfig(4, 2) & 4, 0, "bus mastering is off again");
});

Deno.test("Card loads its MAC address once the EEPROM auto-read is done", () => {
  const rig = new Rig();
  assertEquals(rig.read("RAH"), 0);
  assertEquals(rig.read("EEC") & (1 << 9), 0);
  while ((rig.read("EEC") & (1 << 9)) === 0);
  assertEquals(rig.read("RAL"), 0xccbbaa02);
  assertEquals(rig.read("RAH"), 0x800001dd);
  assertEquals(rig.card.read(at("RAL") - 0xa200 + 0x5400, 4), 0xccbbaa02);
});

function readWord(rig: Rig, address: number): number {
  rig.write("EERD", (address << 2) | 1);
  let value = 0;
  do value = rig.read("EERD"); while ((value & 2) === 0);
  return value >>> 16;
}

Deno.test("Card has an EEPROM whose checksum is right", () => {
  const rig = new Rig();
  let sum = 0;
  for (let i = 0; i <= 0x3f; i++) sum += readWord(rig, i);
  for (let i = 3; i < 0x0f; i++) {
    const pointer = readWord(rig, i);
    if (pointer === 0xffff || pointer === 0) continue;
    const length = readWord(rig, pointer);
    for (let k = 1; k <= length; k++) sum += readWord(rig, pointer + k);
  }
  assertEquals(sum & 0xffff, 0xbaba);
  const san = readWord(rig, 0x28);
  assertEquals(readWord(rig, san), 0xaa02);
});

Deno.test("Card reads EERD as not done at first", () => {
  const rig = new Rig();
  rig.write("EERD", (0x3f << 2) | 1);
  assertEquals(rig.read("EERD") & 2, 0);
  assertEquals(rig.read("EERD") & 2, 2);
});

Deno.test("Card clears STATUS.GIO after CTRL.GIO_DIS, and sets it by reset", () => {
  const rig = new Rig();
  const gio = () => rig.read("STATUS") & (1 << 19);
  assert(gio() !== 0);
  rig.write("EIMC", 0x7fffffff);
  rig.write("CTRL", 1 << 2);
  assert(gio() !== 0, "requests are still under way");
  assertEquals(gio(), 0);
  rig.write("CTRL", RST);
  assert(gio() !== 0);
});

Deno.test("Card has the semaphore bits that are taken by reading", () => {
  const rig = new Rig();
  assertEquals(rig.read("SWSM") & 1, 0, "the first reader owns it");
  assertEquals(rig.read("SWSM") & 1, 1);
  rig.write("SWSM", 3);
  assertEquals(rig.read("SWSM") & 2, 2);
  rig.write("SW_FW_SYNC", 1);
  assertEquals(rig.read("SW_FW_SYNC"), 1);
  rig.write("SWSM", 0);
  assertEquals(rig.messages(), []);
  rig.write("SW_FW_SYNC", 0);
  assertMatch(rig.messages()[0], /SWESMBI/);
});

Deno.test("Card records accesses to offsets where nothing is", () => {
  const rig = new Rig();
  assertEquals(rig.card.read(0x0000c, 4), 0);
  rig.card.write(0x1fffc, 1, 4);
  rig.card.read(0x20000, 4);
  rig.card.read(-4, 4);
  assertEquals(rig.card.violations.length, 4);
  assert(rig.card.violations.every((v) => v.kind === "register"));
});

Deno.test("Card records narrow and misaligned accesses", () => {
  const rig = new Rig();
  assertEquals(rig.card.read(at("HLREG0") + 1, 1), 0x2c);
  rig.card.write(at("HLREG0"), 0, 2);
  rig.card.read(at("HLREG0") + 2, 4);
  assertEquals(rig.card.violations.length, 3);
  assertEquals(rig.read("HLREG0"), 0x08012c0b, "the write was lost");
});

Deno.test("Card keeps reserved bits and records who changes them", () => {
  const rig = new Rig();
  rig.write("HLREG0", 3);
  assertMatch(rig.messages()[0], /HLREG0.*reserved bits/);
  assertEquals(rig.read("HLREG0"), 0x00002808 | 3);
  rig.card.clearViolations();
  rig.set("HLREG0", 1 << 2);
  rig.write("STATUS", 1);
  assertMatch(rig.messages()[0], /STATUS.*read-only/);
});

Deno.test("Card records features that it does not have", () => {
  const rig = new Rig();
  rig.write("VT_CTL", 0);
  assertEquals(rig.messages(), []);
  rig.write("VT_CTL", 1);
  assertMatch(rig.messages()[0], /VT_CTL.*does not have/);
});

Deno.test("Card aliases the registers of the first sixteen receive queues", () => {
  const rig = new Rig();
  rig.card.write(0x02100 + 4 * 3, 0x402 | (1 << 25), 4);
  assertEquals(rig.card.read(0x01014 + 0x40 * 3, 4), 0x402 | (1 << 25));
  rig.card.write(0x02200 + 4 * 3, 0, 4);
  assertEquals(rig.card.read(0x0100c + 0x40 * 3, 4), 0);
  rig.card.write(0x0d014, 0x401, 4);
  assertEquals(rig.read("SRRCTL", 64), 0x401);
});

Deno.test("Card polls RXDCTL.ENABLE up and down", () => {
  const rig = new Rig();
  rig.bringUp();
  rig.clear("RXDCTL", ENABLE);
  assert((rig.read("RXDCTL") & ENABLE) !== 0, "still running");
  assertEquals(rig.read("RXDCTL") & ENABLE, 0);
  assertEquals(rig.messages(), []);
});

Deno.test("Card obeys the whole bring-up without complaint, both models", () => {
  for (const model of ["82599", "x540"] as const) {
    const rig = new Rig({ model, rxQueues: 4, txQueues: 4 });
    rig.bringUp();
    assert(rig.card.linkUp);
    assertEquals(rig.messages(), []);
  }
});
