/**
 * How often the device hears of a batch: a register write or a notification costs more than many packets.
 */
import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import {
  INTEL_MODELS,
  IntelRings,
} from "../../../../../bench/rings/intel_rings.ts";
import type { Rings } from "../../../../../bench/rings/rings.ts";
import {
  PackedRings,
  SplitRings,
} from "../../../../../bench/rings/virtio_rings.ts";
import { Batch } from "../../../../../src/memory/batch.ts";

const RING = 128;
const FRAME_BYTES = 60;
const BATCHES = [1, 7, 32, 100];
/** Enough for the rings to wrap. */
const ROUNDS = 300;

/** Forwards batches; counts what the device hears of each half, all of which goes to `heard`. */
function listen(rings: Rings, size: number, heard: number[]): HeardOf {
  const { rx, tx } = rings.pair;
  const batch = new Batch(size);
  const received: number[] = [];
  const sent: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rings.step(size);
    heard.length = 0;
    assertEquals(rx.receive(batch), size);
    received.push(...heard);
    assertLessOrEqual(heard.length, 1, `receiving ${size}, round ${round}`);
    heard.length = 0;
    assertEquals(tx.send(batch), size);
    sent.push(...heard);
    assertEquals(heard.length, 1, `sending ${size}, round ${round}`);
  }
  assertEquals(new Set(received).size, 1);
  assertEquals(new Set(sent).size, 1);
  // An idle queue may show the rest of its buffers, once.
  assertEquals(rx.receive(batch), 0);
  heard.length = 0;
  assertEquals(rx.receive(batch), 0);
  assertEquals(tx.send(batch), 0);
  assertEquals(heard, [], "nothing received, nothing sent");
  return { received: received.length, sent: sent.length };
}

interface HeardOf {
  readonly received: number;
  readonly sent: number;
}

for (const chip of INTEL_MODELS) {
  Deno.test(`${chip.driver} writes one register for each batch received and one for each sent`, () => {
    for (const size of BATCHES) {
      const heard: number[] = [];
      const rings = new IntelRings(chip, RING, FRAME_BYTES, {
        read32: () => {
          throw new Error("the data path reads no register");
        },
        write32: (offset) => heard.push(offset),
        unmaskInterrupt: () => false,
      });
      assertEquals(listen(rings, size, heard), {
        received: ROUNDS,
        sent: ROUNDS,
      });
      rings.close();
    }
  });
}

for (const Kind of [SplitRings, PackedRings]) {
  const kind = Kind === SplitRings ? "split" : "packed";
  Deno.test(`virtio notifies once for each batch sent and at most once for each received, ${kind} rings`, () => {
    for (const size of BATCHES) {
      const heard: number[] = [];
      const features = kind === "packed" ? ["packed"] as const : [];
      const rings = new Kind(RING, features, (queue) => heard.push(queue));
      const { received } = listen(rings, size, heard);
      assertGreater(received, 0);
      rings.close();
    }
  });
}
