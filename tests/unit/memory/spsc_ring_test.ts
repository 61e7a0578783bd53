import { assert, assertEquals, assertFalse } from "@std/assert";
import { SpscRing } from "../../../src/memory/spsc_ring.ts";

Deno.test("SpscRing keeps order over many turns of the ring", () => {
  const ring = new SpscRing(SpscRing.allocate(8));
  const out = new Uint32Array(8);
  let next = 0;
  let expected = 0;
  for (let turn = 0; turn < 100; turn++) {
    const values = Uint32Array.from({ length: 5 }, () => next++);
    assertEquals(ring.push(values, 0, 5), 5);
    const count = ring.shift(out, 8);
    for (let i = 0; i < count; i++) assertEquals(out[i], expected++);
  }
  assertEquals(ring.length, 0);
});

Deno.test("SpscRing takes no more than fits", () => {
  const ring = new SpscRing(SpscRing.allocate(4));
  const values = new Uint32Array([1, 2, 3, 4, 5, 6]);
  assertEquals(ring.push(values, 0, 6), 4);
  assertFalse(ring.pushOne(7));
  assertEquals(ring.shift(new Uint32Array(1), 1), 1);
  assert(ring.pushOne(7));
});
