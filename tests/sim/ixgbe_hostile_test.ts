/** A card that writes what cannot be: no crash, no lost buffer, no stall. */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import { RDT } from "../../src/drivers/intel/ixgbe/registers.ts";
import { QueueControl, Word } from "../../src/drivers/queue/control_block.ts";
import { offsetOf } from "../../src/drivers/intel/register.ts";
import {
  bytesOf,
  feed,
  type IxgbeRig,
  numberedFrame,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";

const DEPTH = 64;
const DD = 1;
const EOP = 2;
const RXE = 1 << 29;

/** The receive ring, for a test to write into as a card would. */
function ringOf({ device }: IxgbeRig): Uint32Array {
  const { buffer, rxOffset } = device.describeQueue(0).rings;
  return new Uint32Array(buffer, rxOffset, DEPTH * 4);
}

/** Pretends that the card has finished the next descriptors, with these statuses and lengths. */
function pretend(rig: IxgbeRig, done: [status: number, length: number][]) {
  const ring = ringOf(rig);
  let next = new Int32Array(rig.device.describeQueue(0).control)[Word.RxNext];
  for (const [status, length] of done) {
    ring[next * 4 + 3] = length;
    ring[next * 4 + 2] = status | DD;
    next = (next + 1) % DEPTH;
  }
}

/** Receives once with room for all; returns the lengths. */
function receive(rig: IxgbeRig): number[] {
  const batch = new Batch(DEPTH);
  rig.pair.rx.receive(batch);
  const lengths = [...batch.handles.subarray(0, batch.length)].map((handle) =>
    bytesOf(handle).length
  );
  batch.free();
  return lengths;
}

function withHostile(test: (rig: IxgbeRig) => void): Promise<void> {
  const options = { rxDepth: DEPTH, maxFrameSize: 9000, poolEntries: 256 };
  return withIxgbe(options, (rig) => {
    rig.bus.deaf.add(offsetOf(RDT));
    test(rig);
    assertEquals(rig.pair.rx.pool.inUse, DEPTH, "no buffer is lost");
  });
}

const CASES: [
  what: string,
  done: [number, number][],
  lengths: number[],
  errors: number,
][] = [
  ["a length beyond the buffer", [[EOP, 2049], [EOP, 60]], [60], 1],
  ["a length beyond all memory", [[EOP, 0xffff], [EOP, 60]], [60], 1],
  ["a length of zero", [[EOP, 0], [EOP, 60]], [60], 1],
  ["a frame marked as damaged", [[EOP | RXE, 60], [EOP, 61]], [61], 1],
  [
    "a chain that is longer than any frame",
    [[0, 2048], [0, 2048], [0, 2048], [0, 2048], [0, 2048], [EOP, 100], [
      EOP,
      60,
    ]],
    [60],
    1,
  ],
  [
    "a chain with a damaged end",
    [[0, 2048], [EOP | RXE, 100], [EOP, 60]],
    [60],
    1,
  ],
  [
    "a chain with an empty part",
    [[0, 2048], [0, 0], [EOP, 100], [EOP, 60]],
    [60],
    1,
  ],
  ["a good chain", [[0, 2048], [EOP, 100], [EOP, 60]], [2148, 60], 0],
];

for (const [what, done, lengths, errors] of CASES) {
  Deno.test(`ixgbe survives ${what}`, async () => {
    await withHostile((rig) => {
      for (let round = 0; round < 20; round++) {
        pretend(rig, done);
        assertEquals(receive(rig), lengths);
      }
      assertEquals(rig.pair.rx.counters.get("rxErrors"), 20 * errors);
    });
  });
}

Deno.test("ixgbe survives a ring full of descriptors without an end", async () => {
  await withHostile((rig) => {
    for (let round = 0; round < 5; round++) {
      pretend(rig, Array.from({ length: DEPTH - 1 }, () => [0, 2048]));
      assertEquals(receive(rig), []);
    }
    assert(rig.pair.rx.counters.get("rxErrors") >= 1);
    pretend(rig, [[EOP, 60], [EOP, 61]]);
    assertEquals(receive(rig), [61]);
  });
});

Deno.test("ixgbe looks at no descriptor that the card was not given", async () => {
  await withHostile((rig) => {
    pretend(rig, Array.from({ length: DEPTH }, () => [EOP, 60]));
    assertEquals(receive(rig).length, DEPTH - 1);
    assertEquals(receive(rig).length, 1);
    assertEquals(receive(rig).length, 0);
  });
});

Deno.test("ixgbe survives a descriptor without a buffer", async () => {
  await withIxgbe({ rxDepth: DEPTH, debug: false }, (rig) => {
    const { pair, device } = rig;
    rig.bus.deaf.add(offsetOf(RDT));
    const { control } = device.describeQueue(0);
    const { rxSlots } = new QueueControl(
      control,
      DEPTH,
      rig.device.txQueueDepth,
    );
    const lost = rxSlots[0];
    rxSlots[0] = 0;
    pretend(rig, [[EOP, 60], [EOP, 61]]);
    assertEquals(receive(rig), [61]);
    assertEquals(pair.rx.counters.get("rxErrors"), 1);
    pair.rx.pool.free(lost);
    assertEquals(pair.rx.pool.inUse, DEPTH);
  });
});

Deno.test("ixgbe goes on with a real card after a pretended one", async () => {
  await withIxgbe({ rxDepth: DEPTH }, async (rig) => {
    const tail = offsetOf(RDT);
    rig.bus.deaf.add(tail);
    pretend(rig, [[EOP, 9999], [0, 60]]);
    receive(rig);
    rig.bus.deaf.delete(tail);
    rig.device.stopQueue(0);
    await rig.device.restartQueue(0);
    const frames = Array.from({ length: 100 }, (_, n) => numberedFrame(n));
    assertEquals(feed(rig, frames), frames);
  });
});
