import { assert, assertEquals, assertFalse } from "@std/assert";
import { AdaptiveSwitch } from "../../../src/irq/adaptive.ts";

const CONFIG = { pollAbove: 20_000, sleepBelow: 8_000, windowMs: 50 };

/** Feeds windows of 100 ms with a rate of frames; returns the mode after each. */
function modes(rates: number[], intervalUs = 10): boolean[] {
  const adaptive = new AdaptiveSwitch(CONFIG, intervalUs, 0);
  let frames = 0;
  return rates.map((rate, i) => {
    frames += rate / 10;
    adaptive.decide(100 * (i + 1), frames);
    return adaptive.polling;
  });
}

Deno.test("AdaptiveSwitch polls above the upper threshold and sleeps below the lower", () => {
  assertEquals(modes([1_000, 50_000, 1_000]), [false, true, false]);
});

Deno.test("AdaptiveSwitch keeps its mode between the thresholds", () => {
  assertEquals(modes([15_000, 15_000]), [false, false]);
  assertEquals(modes([50_000, 15_000, 9_000]), [true, true, true]);
});

Deno.test("AdaptiveSwitch does not count more interrupts than the card raises", () => {
  // 100 µs between interrupts: at most 10,000 a second, below the threshold.
  assertEquals(modes([5_000_000], 100), [false]);
  assertEquals(modes([5_000_000], 0), [true]);
});

Deno.test("AdaptiveSwitch decides once a window", () => {
  const adaptive = new AdaptiveSwitch(CONFIG, 10, 0);
  assertFalse(adaptive.decide(49, 1e6));
  assert(adaptive.decide(50, 1e6));
  assertFalse(adaptive.decide(99, 1e6));
  assert(adaptive.decide(100, 1e6));
});
