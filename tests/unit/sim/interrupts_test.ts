import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeFrame, Rig } from "../../support/intel/sim_rig.ts";

const MSIX = 1 << 4;
const OCD = 1 << 5;
const EIAME = 1 << 30;
const LSC = 1 << 20;

/** Queue 0 receives on vector 3, sends on 4; link changes come on 5. */
function up(gpie = MSIX | EIAME): Rig {
  const rig = new Rig();
  rig.bringUp();
  rig.write("GPIE", gpie);
  rig.write("IVAR", 0x8483);
  rig.write("IVAR_MISC", 0x8500);
  rig.read("EICR");
  return rig;
}

function receive(rig: Rig, ms = 0.01): void {
  rig.hand.toCard.push(makeFrame());
  rig.step(ms);
}

Deno.test("Card fires the vector that IVAR gives to a queue", () => {
  const rig = up();
  rig.write("EIMS", 0x18);
  receive(rig);
  assertEquals(rig.interrupts, [3]);
  rig.postTx(0, 0, makeFrame());
  rig.write("TDT", 1);
  rig.step();
  assertEquals(rig.interrupts, [3, 4]);
  assertEquals(rig.messages(), []);
});

Deno.test("Card fires once for all frames of a step", () => {
  const rig = up();
  rig.write("EIMS", 8);
  for (let i = 0; i < 9; i++) rig.hand.toCard.push(makeFrame());
  rig.step();
  assertEquals(rig.interrupts, [3]);
});

Deno.test("Card does not fire what is masked or without a valid vector", () => {
  const rig = up();
  receive(rig);
  rig.write("EIMS", 0x10);
  receive(rig);
  assertEquals(rig.interrupts, []);
  rig.write("IVAR", 0x0003);
  rig.write("EIMS", 0xffff);
  rig.interrupts.length = 0;
  receive(rig);
  assertEquals(rig.interrupts, []);
});

Deno.test("Card fires at unmasking when the cause has occurred before", () => {
  const rig = up();
  receive(rig);
  rig.write("EIMS", 8);
  assertEquals(rig.interrupts, [3]);
});

Deno.test("Card sets masks by EIMS and clears them only by EIMC", () => {
  const rig = up();
  rig.write("EIMS", 8);
  rig.write("EIMS", LSC);
  assertEquals(rig.read("EIMS"), LSC | 8);
  rig.write("EIMS", 0);
  assertEquals(rig.read("EIMS"), LSC | 8, "zeros do nothing");
  rig.write("EIMC", 8);
  assertEquals(rig.read("EIMS"), LSC);
  receive(rig);
  assertEquals(rig.interrupts, []);
});

Deno.test("Card clears causes by itself where EIAC says so", () => {
  const rig = up();
  rig.write("EIMS", 8);
  receive(rig);
  assertEquals(rig.read("EICR"), 8, "not in EIAC: stays until it is read");
  assertEquals(rig.read("EICR"), 0);
  rig.write("EIAC", 8);
  receive(rig);
  assertEquals(rig.interrupts, [3, 3]);
  assertEquals(rig.read("EICR"), 0);
});

Deno.test("Card masks by itself what EIAM names, and fires after EIMS", () => {
  const rig = up();
  rig.write("EIAC", 8);
  rig.write("EIAM", 8);
  rig.write("EIMS", 8);
  receive(rig);
  assertEquals(rig.read("EIMS"), 0);
  receive(rig);
  assertEquals(rig.interrupts, [3], "masked");
  rig.write("EIMS", 8);
  assertEquals(rig.interrupts, [3, 3], "the frame meanwhile is not lost");
});

Deno.test("Card leaves the mask alone without GPIE.EIAME", () => {
  const rig = up(MSIX);
  rig.write("EIAM", 8);
  rig.write("EIMS", 8);
  receive(rig);
  assertEquals(rig.read("EIMS"), 8);
});

Deno.test("Card reads EICR by its clearing rules", () => {
  const rig = up();
  rig.write("EICS", LSC | 8);
  assertEquals(rig.read("EICR"), LSC | 8);
  assertEquals(rig.read("EICR"), 0);
  rig.write("GPIE", MSIX | OCD);
  rig.write("EICS", LSC | 8);
  assertEquals(rig.read("EICR"), LSC | 8);
  assertEquals(rig.read("EICR"), 8, "OCD: queue causes are kept");
  rig.write("EICR", 8);
  assertEquals(rig.read("EICR"), 0, "written ones clear");
});

Deno.test("Card fires what EICS sets", () => {
  const rig = up();
  rig.write("EIMS", LSC | 8);
  rig.write("EICS", 8);
  rig.write("EICS", LSC);
  assertEquals(rig.interrupts, [3, 5]);
});

Deno.test("Card has vectors above 15 in the extended registers", () => {
  const rig = up();
  rig.write("IVAR", 0x80 | 40);
  rig.write("EIMS_EX", 1 << 8, 1);
  receive(rig);
  assertEquals(rig.interrupts, [40]);
  assertEquals(rig.read("EIMS_EX", 1), 1 << 8);
  rig.write("EIMC_EX", 1 << 8, 1);
  receive(rig);
  assertEquals(rig.interrupts, [40]);
  rig.write("EIMS_EX", 1 << 8, 1);
  assertEquals(rig.interrupts, [40, 40]);
  rig.write("EICS_EX", 1 << 8, 1);
  assertEquals(rig.interrupts, [40, 40, 40]);
  assertEquals(rig.read("EIMS_EX", 0), 0);
  rig.write("EIMS", 8);
  assertEquals(rig.read("EIMS_EX", 0), 8, "the lower sixteen are the same");
});

Deno.test("Card throttles by EITR and fires at the deadline", () => {
  const rig = up();
  rig.write("EIAC", 8);
  rig.write("EIMS", 8);
  rig.write("EITR", 50 << 3, 3); // 50 units of 2 µs
  receive(rig, 1);
  const first = rig.now;
  receive(rig, 0.02);
  receive(rig, 0.02);
  assertEquals(rig.interrupts, [3]);
  const deadline = rig.card.deadline(rig.now);
  assert(Math.abs(deadline - (first + 0.1)) < 1e-9, `${deadline}`);
  rig.now = deadline;
  rig.step(0);
  assertEquals(rig.interrupts, [3, 3]);
  assertEquals(rig.card.deadline(rig.now), Infinity);
});

Deno.test("Card counts throttling anew when EITR is written without CNT_WDIS", () => {
  const rig = up();
  rig.write("EIAC", 8);
  rig.write("EIMS", 8);
  rig.write("EITR", 500 << 3, 3);
  receive(rig);
  receive(rig);
  assertEquals(rig.interrupts, [3]);
  rig.write("EITR", (1 << 31) | (400 << 3), 3);
  assertEquals(rig.interrupts, [3]);
  rig.write("EITR", 400 << 3, 3);
  assertEquals(rig.interrupts, [3, 3]);
});

Deno.test("Card takes back a throttled interrupt whose cause is masked", () => {
  const rig = up();
  rig.write("EIAC", 8);
  rig.write("EIMS", 8);
  rig.write("EITR", 50 << 3, 3);
  receive(rig);
  receive(rig);
  rig.write("EIMC", 8);
  rig.step(10);
  assertEquals(rig.interrupts, [3]);
  rig.write("EIMS", 8);
  assertEquals(rig.interrupts, [3, 3]);
});

Deno.test("Card never loses an interrupt, whatever the timing", () => {
  const rig = up();
  rig.write("EIAC", 8);
  rig.write("EIAM", 8);
  rig.write("EITR", 20 << 3, 3);
  rig.write("EIMS", 8);
  let state = 12345;
  const random = () => (state = (state * 1103515245 + 12345) >>> 0) / 2 ** 32;
  let i = 0;
  for (let round = 0; round < 2000; round++) {
    receive(rig, random() * 0.1);
    if (rig.interrupts.length > 0 && random() < 0.5) {
      rig.interrupts.length = 0;
      for (; (rig.rx(0, i)[2] & 1) !== 0; i = (i + 1) % rig.ringSize) {
        rig.postRx(0, i);
        rig.write("RDT", i);
      }
      rig.write("EIMS", 8);
    }
    if ((rig.rx(0, i)[2] & 1) === 0) continue;
    // A frame waits: an interrupt has come, or is on its way.
    if (rig.interrupts.length === 0) {
      rig.now = Math.max(rig.now, rig.card.deadline(rig.now));
      rig.step(0);
    }
    assertEquals(rig.interrupts, [3], `round ${round}`);
  }
});

Deno.test("Card fires vector 0 for everything when MSI-X is off", () => {
  const rig = up(0);
  rig.write("EIMS", LSC | 8);
  receive(rig);
  assertEquals(rig.interrupts, [0]);
  assertEquals(rig.read("EICR") & 8, 8);
  rig.write("EIAM", 8);
  receive(rig);
  rig.read("EICR");
  assertEquals(rig.read("EIMS"), LSC, "reading EICR masks what EIAM names");
});

Deno.test("Card records an IVAR entry with the reserved bit", () => {
  const rig = up();
  rig.write("IVAR", 0xc3);
  assertMatch(rig.messages()[0], /IVAR.*bit 6 is reserved/);
});

Deno.test("Card interrupts on link changes", () => {
  const rig = up();
  rig.write("EIMS", LSC);
  rig.card.setLink(false);
  assertEquals(rig.interrupts, [5]);
  assertEquals(rig.read("EICR"), LSC);
  rig.card.setLink(true);
  rig.step(20);
  assertEquals(rig.interrupts, [5, 5]);
});

const TCP_TIMER = 1 << 30;
const KICK_START = 1 << 8;
const ENABLE = 1 << 9;
const FINISH = 1 << 10;
const LOOP = 1 << 11;

Deno.test("Card's TCP timer interrupts on its own vector when its time is over", () => {
  const rig = up();
  rig.write("IVAR_MISC", 0x8586);
  rig.write("EIMS", TCP_TIMER | LSC);
  rig.write("TCPTIMER", 20 | ENABLE | KICK_START);
  assertEquals(rig.card.deadline(rig.now), rig.now + 20);
  rig.step(19);
  assertEquals(rig.interrupts, []);
  rig.step(1);
  assertEquals(rig.interrupts, [6]);
  assertEquals(rig.read("EICR"), TCP_TIMER);
  rig.step(100);
  assertEquals(rig.interrupts, [6], "once");
  rig.write("EICS", LSC);
  assertEquals(rig.interrupts, [6, 5]);
  assertEquals(rig.messages(), []);
});

Deno.test("Card's TCP timer starts again by itself with Loop, and ends when told", () => {
  const rig = up();
  rig.write("IVAR_MISC", 0x8586);
  rig.write("EIMS", TCP_TIMER);
  rig.write("EIAC", TCP_TIMER);
  rig.write("TCPTIMER", 5 | ENABLE | KICK_START | LOOP);
  for (let i = 0; i < 3; i++) rig.step(5);
  assertEquals(rig.interrupts, [6, 6, 6]);
  assertEquals(rig.read("EICR"), 0, "EIAC clears it");
  rig.write("TCPTIMER", 5 | ENABLE | FINISH);
  assertEquals(rig.interrupts, [6, 6, 6, 6], "at once");
  rig.step(50);
  assertEquals(rig.interrupts.length, 4);
  rig.write("TCPTIMER", 5 | ENABLE | KICK_START);
  rig.write("TCPTIMER", 5);
  rig.step(50);
  assertEquals(rig.interrupts.length, 4, "stopped");
});

Deno.test("Card shows its causes at EICS without clearing them", () => {
  const rig = up();
  rig.write("EICS", LSC | 8);
  assertEquals(rig.read("EICS"), LSC | 8);
  assertEquals(rig.read("EICS_EX", 0), 8);
  assertEquals(rig.read("EICR"), LSC | 8, "they are still there");
  assertEquals(rig.read("EICS"), 0);
});
