/**
 * What the fast path of receiving leaves to the slow one, and when it must look up.
 */
import { assert, assertEquals, assertFalse } from "@std/assert";
import {
  INTEL_MODELS,
  IntelRings,
} from "../../../../../bench/rings/intel_rings.ts";
import { Batch } from "../../../../../src/memory/batch.ts";
import { Word } from "../../../../../src/drivers/queue/control_block.ts";

const RING = 64;
const SIZE = 4;

for (const chip of INTEL_MODELS) {
  const busyRings = () => {
    const rings = new IntelRings(chip, RING, 60);
    const { rx, tx } = rings.pair;
    const batch = new Batch(SIZE);
    return {
      ...{ rings, rx, batch },
      /** The queue is never seen empty. */
      forward: (times: number) => {
        for (let i = 0; i < times; i++) {
          rings.step(SIZE);
          assertEquals(rx.receive(batch), SIZE);
          assertEquals(tx.send(batch), SIZE);
        }
      },
    };
  };

  Deno.test(`${chip.driver}: a busy queue follows its pool's size within a round of the ring`, () => {
    const { rings, forward } = busyRings();
    forward(1);
    rings.pool.resize(rings.pool.capacity + 64);
    forward(RING / SIZE);
    assert(rings.pool.settled);
    rings.close();
  });

  Deno.test(`${chip.driver}: a busy queue follows its pool's size at once when it is asked to look`, () => {
    const { rings, forward } = busyRings();
    forward(1);
    rings.pool.resize(rings.pool.capacity + 64);
    forward(1);
    assertFalse(rings.pool.settled);
    rings.control.askToLook();
    forward(1);
    assert(rings.pool.settled);
    forward(RING);
    rings.close();
  });

  Deno.test(`${chip.driver}: a busy queue stops at once when it is told to, and goes on`, () => {
    const { rings, rx, batch, forward } = busyRings();
    forward(1);
    rings.control.ask(Word.Stop, 1);
    rings.step(SIZE);
    assertEquals(rx.receive(batch), 0);
    assert(rx.stopped);
    rings.control.ask(Word.Stop, 0);
    assertEquals(rx.receive(batch), SIZE);
    assertEquals(rings.pair.tx.send(batch), SIZE);
    forward(RING);
    rings.close();
  });
}
