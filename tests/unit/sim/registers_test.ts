import { assert, assertEquals, assertMatch } from "@std/assert";
import { at, ENABLE, Rig } from "../../support/intel/sim_rig.ts";

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

Deno.test("Card's EEPROM points to what drivers look for", () => {
  const rig = new Rig();
  assertEquals(readWord(rig, 0x2c) & 3, 3, "any module, no FCoE");
  const firmware = readWord(rig, 0x0f);
  assert(readWord(rig, readWord(rig, firmware + 4) + 7) > 5, "version 0.6");
  assertEquals(readWord(rig, firmware + 2), 0xffff, "no link firmware");
  assertEquals(readWord(rig, 0x15), 0xfafa);
  const assembly = readWord(rig, 0x16);
  let text = "";
  for (let i = 1; i < readWord(rig, assembly); i++) {
    const word = readWord(rig, assembly + i);
    text += String.fromCharCode(word >>> 8, word & 0xff);
  }
  assertEquals(text, "IXLSIM-001");
});

Deno.test("Card's EEPROM lists the SFP+ modules that the board initialises", () => {
  const rig = new Rig();
  let at = readWord(rig, 0x2b) + 1;
  const kinds: number[] = [];
  for (; readWord(rig, at) !== 0xffff; at += 2) {
    kinds.push(readWord(rig, at));
    const data = readWord(rig, at + 1);
    assertEquals(readWord(rig, data + 1), 0xffff, "nothing to write");
  }
  assertEquals(kinds, [3, 5], "copper, and short or long range optics");
});

Deno.test("Card X540 writes its EEPROM's shadow by EEWR", () => {
  const rig = new Rig({ model: "x540" });
  rig.write("EEWR", (0x1234 << 16) | (0x38 << 2) | 1);
  assertEquals(rig.read("EEWR") & 2, 0, "under way");
  assertEquals(rig.read("EEWR") & 2, 2);
  assertEquals(readWord(rig, 0x38), 0x1234);
});

Deno.test("Card ignores the low bits of a ring's base and length", () => {
  const rig = new Rig();
  for (const name of ["RDBAL", "TDBAL"] as const) {
    rig.write(name, 0xffffffff, 5);
    assertEquals(rig.read(name, 5), 0xffffff80);
  }
  for (const name of ["RDLEN", "TDLEN"] as const) {
    rig.write(name, 0xfffff, 5);
    assertEquals(rig.read(name, 5), 0xfff80);
  }
});

Deno.test("Card reads its tails as they were written", () => {
  const rig = new Rig();
  for (const value of [0x5a5a, 0xffff, 0]) {
    rig.write("RDT", value, 2);
    assertEquals(rig.read("RDT", 2), value);
    rig.write("TDT", value, 2);
    assertEquals(rig.read("TDT", 2), value);
  }
});

Deno.test("Card keeps of RAH what there is", () => {
  const rig = new Rig();
  rig.write("RAH", 0x800cffff, 3);
  assertEquals(rig.read("RAH", 3), 0x8000ffff);
  assertEquals(rig.messages(), []);
});

Deno.test("Card's software reset leaves the semaphores alone", () => {
  const rig = new Rig({ model: "x540" });
  rig.write("EIMC", 0x7fffffff);
  rig.lockPhy();
  rig.write("CTRL", RST);
  rig.write("SW_FW_SYNC", rig.read("SW_FW_SYNC") & ~2);
  assertEquals(rig.read("SW_FW_SYNC") & 2, 0);
  assertEquals(rig.messages(), [], "they may be given back at once");
});

Deno.test("Card says that its IPsec is switched off", () => {
  const rig = new Rig();
  assertEquals(rig.read("SECTXSTAT") & 2, 2);
  assertEquals(rig.read("SECRXSTAT") & 2, 2);
});

Deno.test("Card has an address for storage traffic that is not its own", () => {
  const rig = new Rig();
  const words = (at: number) => [0, 1, 2].map((i) => readWord(rig, at + i));
  const storage = words(readWord(rig, 0x28));
  const own = words(
    readWord(rig, 0x09) + 1,
  );
  assertEquals(storage.slice(0, 2), own.slice(0, 2));
  assert(storage[2] !== own[2]);
});
