/**
 * Counters that go beyond 32 bits, whoever adds to them.
 */
import { assertEquals } from "@std/assert";
import { INTEL_MODELS, IntelRings } from "../../bench/rings/intel_rings.ts";
import { Batch } from "../../src/memory/batch.ts";
import { QueueCounters, Slot } from "../../src/stats.ts";

const NEARLY_2_32 = 2 ** 32 - 1000;
const BIG_STEP = 2 ** 30;

/** Brings a counter to a value, in steps that `add()` takes. */
function raise(
  counters: QueueCounters,
  name: "rxBytes" | "txBytes" | "user",
  to: number,
): void {
  for (let left = to; left > 0; left -= BIG_STEP) {
    counters.add(name, Math.min(left, BIG_STEP));
  }
}

Deno.test("a counter counts beyond 2³², and another view of its memory reads the same", () => {
  const counters = new QueueCounters(QueueCounters.allocate());
  const reader = new QueueCounters(counters.buffer);
  for (let total = 0; total < 40 * BIG_STEP; total += BIG_STEP - 1) {
    assertEquals(reader.get("user"), total);
    counters.add("user", BIG_STEP - 1);
  }
  assertEquals(reader.get("rxBytes"), 0);
  assertEquals(reader.snapshot().user, counters.get("user"));
});

Deno.test("a count is exact before it is settled, as far as 2³¹ beyond", () => {
  const counters = new QueueCounters(QueueCounters.allocate());
  raise(counters, "user", 5 * BIG_STEP);
  counters.settle(Slot.user);
  counters.lows[Slot.user] += 2 ** 31 - 1;
  assertEquals(counters.get("user"), 5 * BIG_STEP + 2 ** 31 - 1);
});

for (const chip of INTEL_MODELS) {
  Deno.test(`${chip.driver}: bytes go beyond 2³² on the fast paths`, () => {
    const rings = new IntelRings(chip, 64, 60);
    const { rx, tx } = rings.pair;
    const batch = new Batch(16);
    const forward = (times: number) => {
      for (let i = 0; i < times; i++) {
        rings.step(16);
        assertEquals(rx.receive(batch), 16);
        assertEquals(tx.send(batch), 16);
      }
    };
    forward(10);
    const before = 10 * 16 * 60;
    raise(rx.counters, "rxBytes", NEARLY_2_32);
    raise(tx.counters, "txBytes", NEARLY_2_32);
    forward(10);
    const bytes = NEARLY_2_32 + 2 * before;
    assertEquals(rx.counters.get("rxBytes"), bytes);
    assertEquals(tx.counters.get("txBytes"), bytes);
    rings.close();
  });
}
