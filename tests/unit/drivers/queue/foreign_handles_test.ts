/** Handles that are no packet's: no device is told of them, and those before them in the batch are sent. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  INTEL_MODELS,
  IntelRings,
} from "../../../../bench/rings/intel_rings.ts";
import { Batch } from "../../../../src/memory/batch.ts";
import { PoolError } from "../../../../src/errors.ts";
import {
  INDEX_BITS,
  INDEX_MASK,
  type Mempool,
} from "../../../../src/memory/mempool.ts";
import { withVirtio } from "../../../support/virtio/rig.ts";

/** What stands in for a packet of this pool, and what is said of it. */
const WRONG: readonly (readonly [
  what: string,
  (pool: Mempool) => number,
  message: RegExp,
])[] = [
  [
    "the first handle beyond its pool",
    ({ id, maxEntries }) => (id << INDEX_BITS | maxEntries) >>> 0,
    /is beyond the \d+ packets of pool/,
  ],
  [
    "the last index that a handle can have",
    ({ id }) => (id << INDEX_BITS | INDEX_MASK) >>> 0,
    /is beyond the \d+ packets of pool/,
  ],
  [
    "a handle of a pool that does not exist",
    () => 1000 << INDEX_BITS | 1,
    /belongs to no pool/,
  ],
];

function assertRefused(
  send: (batch: Batch) => number,
  good: number,
  wrong: number,
  message: RegExp,
): void {
  const batch = new Batch(2);
  batch.push(good);
  batch.push(wrong);
  assertEquals(send(batch), 1);
  const rest = new Batch(1);
  rest.push(wrong);
  const error = assertThrows(() => send(rest), PoolError);
  assertEquals(message.test(error.message), true, error.message);
}

for (const [what, wrongFor, message] of WRONG) {
  for (const packed of [false, true]) {
    Deno.test(`virtio ${packed ? "packed" : "split"} does not send ${what}`, () => {
      withVirtio({ features: packed ? ["packed"] : [] }, (rig) => {
        const frame = new Uint8Array(60).fill(7);
        const wrong = wrongFor(rig.pool);
        const send = (batch: Batch) => rig.tx.send(batch);
        assertRefused(send, rig.packet(frame), wrong, message);
        const sent = rig.collect()!;
        assertEquals(sent.bytes, frame);
        assertEquals(rig.collect(), undefined);
        rig.txDevice.give(sent.buffer, 0);
        assertEquals(rig.tx.reclaim(), 1);
      });
    });
  }

  for (const chip of INTEL_MODELS) {
    Deno.test(`${chip.driver} does not send ${what}`, () => {
      const rings = new IntelRings(chip, 64, 60);
      const { rx, tx } = rings.pair;
      const batch = new Batch(1);
      rings.step(1);
      assertEquals(rx.receive(batch), 1);
      const wrong = wrongFor(rings.pool);
      assertRefused((b) => tx.send(b), batch.handles[0], wrong, message);
      assertEquals(tx.pending, 1);
      rings.close();
    });
  }
}
