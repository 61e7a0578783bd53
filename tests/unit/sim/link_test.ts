import { assert, assertEquals, assertMatch } from "@std/assert";
import { Rig } from "../../support/intel/sim_rig.ts";

const UP = 1 << 30;
const SPEED_10G = 3 << 28;

Deno.test("Card has link a while after the laser is switched on", () => {
  const rig = new Rig();
  rig.set("ESDP", 1 << 3);
  rig.step(100);
  assert(!rig.card.linkUp, "SDP3 holds the laser off");
  rig.clear("ESDP", 1 << 3);
  assert(rig.card.deadline(rig.now) < Infinity);
  rig.step(1);
  assert(!rig.card.linkUp);
  rig.step(100);
  assert(rig.card.linkUp);
  rig.read("LINKS");
  assertEquals(rig.read("LINKS"), UP | SPEED_10G);
  assertEquals(rig.read("STATUS") & (1 << 7), 1 << 7);
  rig.set("ESDP", 1 << 3);
  assert(!rig.card.linkUp);
});

Deno.test("Card shows a loss of link once, even after it is back", () => {
  const rig = new Rig();
  rig.bringUp();
  assertEquals(rig.read("LINKS") & UP, UP);
  rig.card.setLink(false);
  rig.card.setLink(true);
  rig.step(20);
  assertEquals(rig.read("LINKS") & UP, 0, "latched");
  assertEquals(rig.read("LINKS") & UP, UP);
});

Deno.test("Card drops the link to negotiate when AUTOC says so", () => {
  const rig = new Rig();
  rig.bringUp();
  rig.set("AUTOC", 1 << 12);
  assert(!rig.card.linkUp);
  assertEquals(rig.read("AUTOC") & (1 << 12), 0, "clears by itself");
  rig.step(20);
  assert(rig.card.linkUp);
});

Deno.test("Card links at one gigabit in the modes that are for it", () => {
  const rig = new Rig();
  rig.bringUp();
  rig.clear("AUTOC", 7 << 13);
  rig.step(20);
  rig.read("LINKS");
  assertEquals(rig.read("LINKS"), UP | (2 << 28));
});

function mdio(rig: Rig, device: number, address: number, write?: number) {
  const target = device << 16;
  const run = (command: number) => {
    rig.write("MSCA", command | (1 << 30));
    while ((rig.read("MSCA") & (1 << 30)) !== 0);
  };
  run(target | address);
  if (write !== undefined) {
    rig.write("MSRWD", write);
    run(target | (1 << 26));
  } else run(target | (3 << 26));
  return rig.read("MSRWD") >>> 16;
}

Deno.test("Card X540 has a PHY that negotiates over MDIO", () => {
  const rig = new Rig({ model: "x540" });
  rig.step(20);
  rig.lockPhy();
  assertEquals(mdio(rig, 1, 2), 0x0154);
  assertEquals(mdio(rig, 7, 1) & 0x24, 0x24, "link, negotiation complete");
  mdio(rig, 7, 0, 0x1200);
  assert(!rig.card.linkUp);
  assertEquals(mdio(rig, 7, 1) & 4, 0);
  rig.step(20);
  assert(rig.card.linkUp);
  assertEquals(rig.messages(), []);
});

Deno.test("Card X540's PHY keeps its settings over CTRL.RST, not over CTRL.LRST", () => {
  const [REACHES_10G, RST, LRST] = [1 << 12, 1 << 26, 1 << 3];
  const rig = new Rig({ model: "x540" });
  rig.write("EIMC", 0x7fffffff);
  rig.lockPhy();
  mdio(rig, 7, 0x20, 0);
  for (const [reset, offer] of [[RST, 0], [LRST, REACHES_10G]]) {
    rig.write("CTRL", reset);
    rig.step(20);
    assertEquals(mdio(rig, 7, 0x20), offer);
    assert(rig.card.linkUp);
  }
  assertEquals(rig.messages(), []);
});

Deno.test("Card X540 takes CTRL.RST without the PHY semaphore", () => {
  const rig = new Rig({ model: "x540" });
  rig.write("EIMC", 0x7fffffff);
  rig.write("CTRL", 1 << 26);
  assertEquals(rig.messages(), [], "it leaves the PHY alone");
});

Deno.test("Card records MDIO commands without the PHY semaphore", () => {
  const rig = new Rig({ model: "x540" });
  mdio(rig, 1, 2);
  assertMatch(rig.messages()[0], /order: MSCA.*semaphore/);
});

Deno.test("Card 82599 finds nobody on its MDIO port", () => {
  const rig = new Rig();
  rig.read("SWSM");
  rig.write("SWSM", 2);
  rig.write("SW_FW_SYNC", 2);
  assertEquals(mdio(rig, 1, 2), 0xffff);
});

Deno.test("Card X540's PHY is found as IEEE 802.3 clause 45 has it", () => {
  const rig = new Rig({ model: "x540" });
  rig.lockPhy();
  assertEquals(mdio(rig, 1, 8) >>> 14, 2, "a device is there");
  const present = mdio(rig, 1, 5) | (mdio(rig, 1, 6) << 16);
  assertEquals(present, (1 << 1) | (1 << 3) | (1 << 4) | (1 << 7) | (1 << 30));
  assertEquals(mdio(rig, 1, 11) & 0x24, 0x24, "10GBASE-T and 1000BASE-T");
  assertEquals(mdio(rig, (5 << 5) | 1, 8), 0xffff, "nobody at address 5");
  assertEquals(rig.messages(), []);
});

Deno.test("Card X540 links at the best speed that is offered", () => {
  const rig = new Rig({ model: "x540" });
  const speed = () => {
    mdio(rig, 7, 0, 0x1200);
    rig.step(20);
    rig.read("LINKS");
    return (rig.read("LINKS") >>> 28) & 3;
  };
  rig.lockPhy();
  assertEquals(speed(), 3, "10 Gbit/s");
  mdio(rig, 7, 0x20, 0);
  assertEquals(speed(), 2, "1 Gbit/s");
  mdio(rig, 7, 0xc400, 0);
  assertEquals(speed(), 1, "100 Mbit/s");
  assertEquals(rig.messages(), []);
});

Deno.test("Card's negotiation leaves its first state when it is restarted", () => {
  const rig = new Rig();
  rig.bringUp();
  assertEquals(rig.read("ANLP1") & 0xf0000, 0);
  rig.set("AUTOC", 1 << 12);
  assert((rig.read("ANLP1") & 0xf0000) !== 0);
});

Deno.test("Card has its laser lit at power-on, and leaves it as it is at a software reset", () => {
  const rig = new Rig();
  rig.step(100);
  assert(rig.card.linkUp, "drivers that never touch ESDP have link");
  for (const [pin, up] of [[1 << 3, false], [0, true]] as const) {
    rig.write("ESDP", (rig.read("ESDP") & ~(1 << 3)) | pin);
    rig.write("CTRL", rig.read("CTRL") | (1 << 26));
    rig.step(100);
    assertEquals(rig.card.linkUp, up);
  }
});
