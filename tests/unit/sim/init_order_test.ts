import { assert, assertEquals, assertMatch } from "@std/assert";
import { ENABLE, makeFrame, Rig } from "../../support/intel/sim_rig.ts";

/** A card on which memory and bus mastering are on and nothing else is. */
function fresh(model: "82599" | "x540" = "82599"): Rig {
  const rig = new Rig({ model });
  rig.card.writeConfig(4, 6, 2);
  return rig;
}

function up(): Rig {
  const rig = new Rig();
  rig.bringUp();
  assertEquals(rig.messages(), []);
  return rig;
}

/** Each: what the driver does wrong, what the card says of it. */
const mistakes: [string, RegExp, () => Rig][] = [
  ["a ring base written while the queue runs", /RDBAL\[0\].*enabled/, () => {
    const rig = up();
    rig.write("RDBAL", rig.iova(1 << 16)[0]);
    return rig;
  }],
  ["a ring length written while the queue runs", /TDLEN\[0\].*enabled/, () => {
    const rig = up();
    rig.write("TDLEN", 1024);
    return rig;
  }],
  ["a head written while the queue runs", /RDH\[0\].*enabled/, () => {
    const rig = up();
    rig.write("RDH", 0);
    return rig;
  }],
  ["a ring changed before the queue has stopped", /RDLEN\[0\].*reads 0/, () => {
    const rig = up();
    rig.clear("RXDCTL", ENABLE);
    rig.write("RDLEN", 1024);
    return rig;
  }],
  ["SRRCTL's layout changed while the queue runs", /SRRCTL\[0\]/, () => {
    const rig = up();
    rig.write("SRRCTL", rig.read("SRRCTL") + 1);
    return rig;
  }],
  ["a tail before RXDCTL.ENABLE reads back", /RDT\[0\] = 5 before/, () => {
    const rig = up();
    rig.stopRx(0);
    rig.set("RXDCTL", ENABLE);
    rig.write("RDT", 5);
    return rig;
  }],
  ["a tail before TXDCTL.ENABLE reads back", /TDT\[1\] = 5 before/, () => {
    const rig = up();
    rig.write("TDBAL", rig.iova(1 << 19)[0], 1);
    rig.write("TDBAH", 1, 1);
    rig.write("TDLEN", 1024, 1);
    rig.set("TXDCTL", ENABLE, 1);
    rig.write("TDT", 5, 1);
    return rig;
  }],
  ["a tail beyond the ring", /RDT\[0\] = 32 is beyond the ring/, () => {
    const rig = up();
    rig.write("RDT", 32);
    return rig;
  }],
  ["a tail that catches the head", /TDT\[0\] = 0 passes the head/, () => {
    const rig = up();
    rig.card.setLink(false);
    for (let i = 0; i < 32; i++) rig.postTx(0, i, makeFrame());
    rig.write("TDT", 20);
    rig.write("TDT", 0);
    return rig;
  }],
  ["a ring length not of 128 bytes", /RDLEN\[3\] = 1000/, () => {
    const rig = up();
    rig.write("RDLEN", 1000, 3);
    return rig;
  }],
  ["a ring base not of 128 bytes", /TDBAL\[3\] = 0x40 is not/, () => {
    const rig = up();
    rig.write("TDBAL", 64, 3);
    return rig;
  }],
  ["a queue enabled without a ring", /RXDCTL\[3\].*sound ring/, () => {
    const rig = up();
    rig.set("RXDCTL", ENABLE, 3);
    rig.read("RXDCTL", 3);
    assertEquals(rig.read("RXDCTL", 3) & ENABLE, 0, "it stays off");
    return rig;
  }],
  ["RXEN without halting the security path", /RXEN.*SECRXCTRL/, () => {
    const rig = up();
    rig.write("RXCTRL", 0);
    rig.write("RXCTRL", 1);
    return rig;
  }],
  ["RXEN with frames beyond the longest", /MAXFRS at 15873 bytes/, () => {
    const rig = up();
    rig.write("RXCTRL", 0);
    rig.set("HLREG0", 1 << 2); // JUMBOEN
    rig.write("MAXFRS", 15873 << 16);
    rig.enableReceive();
    return rig;
  }],
  ["RXEN before any queue runs", /RXEN.*no receive queue/, () => {
    const rig = fresh();
    rig.softwareReset();
    rig.receiveSetup();
    rig.enableReceive();
    return rig;
  }],
  ["RXEN with the CRC stripped in one place only", /RXEN.*CRCStrip/, () => {
    const rig = up();
    rig.write("RXCTRL", 0);
    rig.clear("RDRXCTL", 2);
    rig.enableReceive();
    return rig;
  }],
  [
    "a transmit queue before DMATXCTL.TE",
    /TXDCTL\[0\].*before DMATXCTL/,
    () => {
      const rig = fresh();
      rig.softwareReset();
      rig.write("TDLEN", 512);
      rig.set("TXDCTL", ENABLE);
      rig.read("TXDCTL");
      assertEquals(rig.read("TXDCTL") & ENABLE, 0, "it stays off");
      return rig;
    },
  ],
  ["a transmit queue with the arbiter stopped", /TXDCTL\[1\].*ARBDIS/, () => {
    const rig = up();
    rig.set("RTTDCS", 1 << 6);
    rig.write("TDBAL", rig.iova(1 << 19)[0], 1);
    rig.write("TDLEN", 1024, 1);
    rig.set("TXDCTL", ENABLE, 1);
    return rig;
  }],
  ["DTXMXSZRQ with the arbiter running", /DTXMXSZRQ.*ARBDIS/, () => {
    const rig = up();
    rig.write("DTXMXSZRQ", 0xfff);
    return rig;
  }],
  ["a queue before EEC.ARD was read", /RXDCTL\[0\].*EEC\.ARD/, () => {
    const rig = fresh();
    rig.write("EIMC", 0x7fffffff);
    rig.read("RDRXCTL");
    rig.step(2);
    rig.read("RDRXCTL");
    rig.startRx(0);
    return rig;
  }],
  ["a queue before RDRXCTL.DMAIDONE was read", /DMAIDONE/, () => {
    const rig = fresh();
    while ((rig.read("EEC") & (1 << 9)) === 0);
    rig.startRx(0);
    return rig;
  }],
  ["packet buffers beyond the memory", /RXPBSIZE sums to 640 KB/, () => {
    const rig = up();
    rig.write("RXCTRL", 0);
    rig.write("RXPBSIZE", 128 << 10, 1);
    return rig;
  }],
  ["packet buffers changed while receiving", /RXPBSIZE changed/, () => {
    const rig = up();
    rig.write("RXPBSIZE", 256 << 10);
    return rig;
  }],
  ["MRQC changed while receiving", /MRQC changed/, () => {
    const rig = up();
    rig.write("MRQC", 1);
    return rig;
  }],
  ["a reset with interrupts enabled", /CTRL\.RST with interrupts/, () => {
    const rig = fresh();
    rig.write("EIMS", 1);
    rig.write("CTRL", 1 << 26);
    return rig;
  }],
  ["a reset in the middle of DMA", /CTRL\.RST after DMA/, () => {
    const rig = up();
    rig.hand.toCard.push(makeFrame());
    rig.step();
    rig.write("EIMC", 0x7fffffff);
    rig.write("CTRL", 1 << 26);
    return rig;
  }],
  ["an X540 PHY reset without the semaphore", /CTRL\.LRST without the/, () => {
    const rig = fresh("x540");
    rig.write("EIMC", 0x7fffffff);
    rig.write("CTRL", 1 << 3);
    return rig;
  }],
  ["DCA_RXCTRL bit 12 left set", /DCA_RXCTRL\[0\] bit 12/, () => {
    const rig = new Rig();
    rig.bringUp();
    rig.set("DCA_RXCTRL", 1 << 12);
    rig.hand.toCard.push(makeFrame());
    rig.step();
    return rig;
  }],
  ["CTRL_EXT.NS_DIS left clear", /NS_DIS/, () => {
    const rig = up();
    rig.clear("CTRL_EXT", 1 << 16);
    rig.hand.toCard.push(makeFrame());
    rig.step();
    return rig;
  }],
];

for (const [name, pattern, make] of mistakes) {
  Deno.test(`Card records ${name}`, () => {
    const rig = make();
    const messages = rig.messages();
    assert(messages.length > 0, "nothing was recorded");
    assertMatch(messages[0], pattern);
    assertMatch(messages[0], /^order: .*\(.*\d\.\d.*\)/, "cites its section");
  });
}

Deno.test("Card lets a driver wait in place of asking, and count on masks being clear", () => {
  const rig = fresh();
  rig.write("EIMC", 0x7fffffff);
  rig.set("CTRL", 1 << 26);
  while ((rig.read("CTRL") & (1 << 26)) !== 0);
  rig.step(10);
  rig.receiveSetup();
  rig.startRx(0);
  rig.enableReceive();
  assertEquals(rig.read("EIMS"), 0);
  assertEquals(rig.messages(), []);
});

Deno.test("Card keeps the first hundred violations and counts the rest", () => {
  const rig = fresh();
  for (let i = 0; i < 250; i++) rig.card.read(0x1fffc, 4);
  assertEquals(rig.card.violations.length, 100);
  assertEquals(rig.card.violationCount, 250);
});

Deno.test("Card lets a queue be stopped, changed and started again", () => {
  const rig = up();
  rig.hand.toCard.push(makeFrame());
  rig.step();
  rig.stopRx(0);
  rig.startRx(0);
  assertEquals(rig.read("RDH"), 0, "it starts at the ring's base");
  rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.read("RDH"), 1);
  assertEquals(rig.messages(), []);
});

Deno.test("Card comes up again after a reset in full traffic", () => {
  const rig = up();
  for (let round = 0; round < 3; round++) {
    rig.hand.toCard.push(makeFrame());
    rig.step();
    rig.stopRx(0);
    rig.clear("TXDCTL", ENABLE);
    while ((rig.read("TXDCTL") & ENABLE) !== 0);
    rig.bringUp();
    rig.hand.toCard.push(makeFrame());
    rig.step();
    assertEquals(rig.read("RDH"), 1);
  }
  assertEquals(rig.messages(), []);
});
