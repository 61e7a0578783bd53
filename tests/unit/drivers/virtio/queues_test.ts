/** What the halves of a virtio queue pair do, one thing at a time. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { renewPair } from "../../../../src/drivers/virtio/virtqueue/pair.ts";
import { DeviceFaultError } from "../../../../src/errors.ts";
import { Mempool } from "../../../../src/memory/mempool.ts";
import {
  numbered,
  type RigOptions,
  type VirtioRig,
  withVirtio,
} from "../../../support/virtio/rig.ts";
import { State } from "../../../../src/drivers/virtio/virtqueue/state.ts";

const RINGS: readonly (readonly VirtioFeatureName[])[] = [
  [],
  ["event-index"],
  ["in-order"],
  ["packed"],
  ["packed", "event-index"],
  ["packed", "in-order"],
];

/** The same on every kind of ring. */
function onEveryRing(
  name: string,
  test: (rig: VirtioRig) => void,
  { features = [], ...options }: RigOptions = {},
): void {
  for (const ring of RINGS) {
    const all = [...ring, ...features];
    Deno.test(`${name} (${all.join(", ") || "split"})`, () => {
      withVirtio({ ...options, features: all }, test);
    });
  }
}

/** Receives one frame of the number, and sends it back. */
function forward(rig: VirtioRig, number: number): void {
  const frame = numbered(number, 60);
  assert(rig.deliver(frame));
  const batch = new Batch(4);
  assertEquals(rig.rx.receive(batch), 1);
  assertEquals(rig.bytesOf(batch.handles[0]), frame);
  assertEquals(rig.tx.send(batch), 1);
  const sent = rig.collect()!;
  assertEquals(sent.bytes, frame);
  rig.txDevice.give(sent.buffer, 0);
}

onEveryRing("an empty ring gives nothing", (rig) => {
  assertEquals(rig.rx.receive(new Batch(4)), 0);
  assertEquals(rig.tx.send(new Batch(4)), 0);
  assertEquals(rig.tx.reclaim(), 0);
  assertEquals(rig.collect(), undefined);
});

onEveryRing("indexes go over 2¹⁶, packet by packet", (rig) => {
  const batch = new Batch(1);
  for (let number = 0; number < 66_000; number++) {
    const buffer = rig.rxDevice.take()!;
    const [{ address }] = buffer.elements;
    rig.memory.at(address + 12, 4).setUint32(0, number);
    rig.rxDevice.give(buffer, 12 + 60);
    assertEquals(rig.rx.receive(batch), 1);
    assertEquals(rig.tx.send(batch), 1);
    const sent = rig.txDevice.take()!;
    const [{ address: from }] = sent.elements;
    assertEquals(rig.memory.at(from + 12, 4).getUint32(0), number);
    rig.txDevice.give(sent, 0);
  }
  assertEquals(rig.rx.counters.get("rxPackets"), 66_000);
  rig.tx.reclaim();
  assertEquals(rig.pool.inUse, 64);
}, { debug: false });

onEveryRing("a full ring takes no more, and loses nothing", (rig) => {
  const handles = Array.from(
    { length: 70 },
    (_, i) => rig.packet(numbered(i, 60)),
  );
  const batch = rig.batchOf(handles);
  assertEquals(rig.tx.send(batch), 64);
  assertEquals(rig.tx.pending, 64);
  batch.removeFirst(64);
  assertEquals(rig.tx.send(batch), 0);
  for (let i = 0; i < 64; i++) {
    const sent = rig.collect()!;
    assertEquals(sent.bytes, numbered(i, 60));
    rig.txDevice.give(sent.buffer, 0);
  }
  assertEquals(rig.tx.send(batch), 6);
  assertEquals(rig.tx.pending, 6);
});

onEveryRing(
  "a ring without buffers is filled when packets come back",
  (rig) => {
    const batch = new Batch(64);
    const kept: number[] = [];
    for (let i = 0; i < 72; i++) {
      if (i === 64) assertEquals(rig.deliver(numbered(i, 60)), true);
      else assert(rig.deliver(numbered(i, 60)));
      assertEquals(rig.rx.receive(batch), 1);
      kept.push(batch.handles[0]);
    }
    // 72 packets with the user, 8 in the ring.
    assertEquals(rig.pool.available, 0);
    assert(rig.rx.counters.get("rxNoBuffer") > 0);
    for (const handle of kept) rig.pool.free(handle);
    assertEquals(rig.rx.receive(batch), 0);
    assertEquals(rig.pool.available, 80 - 64);
    forward(rig, 1);
  },
  { entries: 80 },
);

onEveryRing("a device that polls is never notified", (rig) => {
  rig.rx.receive(new Batch(1));
  rig.rxDevice.settle();
  rig.rxDevice.wantNotifications(false);
  rig.txDevice.wantNotifications(false);
  const batch = new Batch(1);
  for (let i = 0; i < 300; i++) {
    forward(rig, i);
    rig.txDevice.settle();
  }
  rig.rx.receive(batch);
  rig.rxDevice.settle();
});

onEveryRing(
  "a device that wants to be notified is, at once on transmit",
  (rig) => {
    rig.txDevice.wantNotifications(true);
    for (let i = 0; i < 100; i++) {
      rig.tx.send(rig.batchOf([rig.packet(numbered(i, 60))]));
      rig.txDevice.settle();
      rig.txDevice.wantNotifications(true);
      rig.txDevice.give(rig.collect()!.buffer, 0);
    }
  },
);

onEveryRing("a polling queue wants no interrupts", (rig) => {
  const batch = new Batch(1);
  for (let i = 0; i < 40_000; i++) {
    const buffer = rig.rxDevice.take()!;
    assertEquals(rig.rxDevice.give(buffer, 72), false, `buffer ${i}`);
    rig.rx.receive(batch);
    batch.free();
    assertEquals(rig.interrupted, false);
  }
}, { debug: false });

onEveryRing("an unmasked queue wants one interrupt, and then none", (rig) => {
  const batch = new Batch(1);
  for (let i = 0; i < 200; i++) {
    rig.rx.ackIrq();
    assertEquals(rig.interrupted, false);
    assert(rig.rxDevice.give(rig.rxDevice.take()!, 72), "wants an interrupt");
    assertEquals(rig.rx.receive(batch), 1);
    batch.free();
    assertEquals(rig.rxDevice.give(rig.rxDevice.take()!, 72), false);
    assertEquals(rig.rx.receive(batch), 1);
    batch.free();
  }
});

onEveryRing("whoever waits for an interrupt has shown all buffers", (rig) => {
  for (let i = 0; i < 5; i++) rig.deliver(numbered(i, 60));
  const batch = new Batch(5);
  assertEquals(rig.rx.receive(batch), 5);
  rig.rx.ackIrq();
  for (let i = 0; i < 64; i++) assert(rig.rxDevice.take(), `buffer ${i}`);
  rig.rxDevice.settle();
});

onEveryRing(
  "a packet that came while the interrupt was masked raises it",
  (rig) => {
    rig.deliver(numbered(1, 60));
    assertEquals(rig.interrupted, false);
    rig.rx.ackIrq();
    assert(rig.interrupted);
    assertEquals(rig.rx.receive(new Batch(1)), 1);
    rig.rx.ackIrq();
    assertEquals(rig.interrupted, false);
  },
);

for (const ring of [["in-order"], ["packed", "in-order"]] as const) {
  Deno.test(`the rest of a run raises the interrupt, too (${ring.join(", ")})`, () =>
    withVirtio({ features: ring, entries: 256 }, (rig) => {
      const buffers = [1, 2, 3].map(() => rig.rxDevice.take()!);
      for (const { elements: [{ address }] } of buffers) {
        rig.memory.at(address, 12).setUint16(10, 1, true);
      }
      rig.rxDevice.giveRun(buffers, rig.pool.entrySize);
      const batch = new Batch(1);
      for (let left = 3; left > 0; left--) {
        rig.rx.ackIrq();
        assert(rig.interrupted, `${left} packets are left`);
        assertEquals(rig.rx.receive(batch), 1);
        batch.free();
      }
      rig.rx.ackIrq();
      assertEquals(rig.interrupted, false);
    }));
}

onEveryRing("a receive that sleeps wakes with a packet", (rig) => {
  const frame = numbered(5, 60);
  rig.deliver(frame);
  const batch = new Batch(1);
  assertEquals(rig.rx.receive(batch), 1);
  const started = performance.now();
  assertEquals(rig.rx.receive(batch), 0);
  assert(performance.now() - started >= 15, "it waited");
}, { irqTimeoutMs: 20 });

onEveryRing("frames in several buffers come as chains", (rig) => {
  const frame = numbered(3, 1700);
  assert(rig.deliver(frame));
  const batch = new Batch(4);
  assertEquals(rig.rx.receive(batch), 1);
  assertEquals(rig.bytesOf(batch.handles[0]), frame);
  assertEquals(rig.rx.counters.get("rxBytes"), 1700);
  assertEquals(rig.tx.send(batch), 1);
  assertEquals(rig.collect()?.bytes, frame);
}, { features: ["mergeable"], entrySize: 256, maxFrameSize: 1700 });

onEveryRing(
  "every length from 14 bytes to four buffers comes and goes",
  (rig) => {
    const batch = new Batch(1);
    for (let length = 14; length < 4 * 256; length++) {
      const frame = numbered(length, Math.max(length, 18)).subarray(0, length);
      assert(rig.deliver(frame));
      assertEquals(rig.rx.receive(batch), 1);
      assertEquals(rig.bytesOf(batch.handles[0]), frame);
      assertEquals(rig.tx.send(batch), 1);
      const sent = rig.collect()!;
      assertEquals(sent.bytes, frame);
      rig.txDevice.give(sent.buffer, 0);
    }
    assertEquals(rig.tx.counters.get("txErrors"), 0);
  },
  {
    features: ["mergeable", "indirect"],
    entrySize: 256,
    maxFrameSize: 4 * 256,
  },
);

onEveryRing(
  "a frame above the largest is thrown away, and those after it are not",
  (rig) => {
    assert(rig.deliver(numbered(1, 1200)));
    assert(rig.deliver(numbered(2, 60)));
    const batch = new Batch(8);
    assertEquals(rig.rx.receive(batch), 1);
    assertEquals(rig.bytesOf(batch.handles[0]), numbered(2, 60));
    assertEquals(rig.rx.counters.get("rxErrors"), 1);
    batch.free();
    rig.rx.receive(batch);
    assertEquals(rig.pool.inUse, 64);
  },
  { features: ["mergeable"], entrySize: 256, maxFrameSize: 1000 },
);

onEveryRing("packets that cannot be sent are dropped and counted", (rig) => {
  const batch = rig.batchOf([
    rig.packet(new Uint8Array(13)),
    rig.packet(numbered(1, 1527)),
    rig.chain([numbered(1, 1000), numbered(2, 600)]),
    rig.chain(Array.from({ length: 41 }, () => numbered(1, 20))),
    rig.packet(numbered(7, 60)),
  ]);
  assertEquals(rig.tx.send(batch), 5);
  assertEquals(rig.tx.counters.get("txErrors"), 4);
  assertEquals(rig.collect()?.bytes, numbered(7, 60));
  assertEquals(rig.collect(), undefined);
  assertEquals(rig.pool.inUse, 64 + 1);
});

onEveryRing("a chain without indirect descriptors takes one each", (rig) => {
  const parts = [1, 2, 3].map((number) => numbered(number, 50));
  assertEquals(rig.tx.send(rig.batchOf([rig.chain(parts)])), 1);
  assertEquals(rig.tx.pending, 3);
  assertEquals(rig.collect()!.buffer.descriptors, 3);
});

onEveryRing("a chain with indirect descriptors takes one", (rig) => {
  const parts = [1, 2, 3].map((number) => numbered(number, 50));
  assertEquals(rig.tx.send(rig.batchOf([rig.chain(parts)])), 1);
  assertEquals(rig.tx.pending, 1);
  const { buffer } = rig.collect()!;
  assertEquals([buffer.descriptors, buffer.elements.length], [1, 3]);
}, { features: ["indirect"] });

onEveryRing(
  "after a reset everything is there again, and what was sent is counted",
  (rig) => {
    const batch = new Batch(64);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) forward(rig, i);
      assert(rig.deliver(numbered(1, 60)));
      const handles = [
        rig.packet(numbered(1, 60)),
        rig.chain([numbered(1, 100), numbered(2, 100)]),
        rig.packet(numbered(1, 60)),
      ];
      assertEquals(rig.tx.send(rig.batchOf(handles)), 3);
      rig.collect();
      rig.renew();
      assertEquals(rig.tx.counters.get("abandoned"), 3 * (round + 1));
      assertEquals(rig.tx.pending, 0);
      assertEquals(rig.rx.receive(batch), 0);
      assertEquals(rig.pool.inUse, 64);
    }
    forward(rig, 9);
  },
);

onEveryRing("the transmit half follows a reset too", (rig) => {
  forward(rig, 1);
  const { words } = rig.control;
  words[State.Epoch]++;
  const batch = rig.batchOf([rig.packet(numbered(1, 60))]);
  assertEquals(rig.tx.send(batch), 0, "the packets are still the caller's");
  assertEquals(words[State.RxRenewed], words[State.Epoch]);
  batch.free();
  rig.connect();
  rig.rx.receive(batch);
  forward(rig, 2);
});

onEveryRing("a half-received frame does not survive a reset", (rig) => {
  const parts = rig.fill(numbered(1, 600))!;
  rig.rxDevice.give(parts[0].buffer, parts[0].written);
  assertEquals(rig.rx.receive(new Batch(1)), 0);
  rig.renew();
  forward(rig, 2);
  rig.tx.reclaim();
  rig.rx.receive(new Batch(1));
  assertEquals(rig.pool.inUse, 64);
}, { features: ["mergeable"], entrySize: 256 });

onEveryRing("another object goes on where one left off", (rig) => {
  for (let i = 0; i < 90; i++) forward(rig, i);
  assert(rig.deliver(numbered(91, 60)));
  rig.tx.send(rig.batchOf([rig.packet(numbered(92, 60))]));
  rig.handOver();
  const batch = new Batch(4);
  assertEquals(rig.rx.receive(batch), 1);
  assertEquals(rig.bytesOf(batch.handles[0]), numbered(91, 60));
  const sent = rig.collect()!;
  assertEquals(sent.bytes, numbered(92, 60));
  rig.txDevice.give(sent.buffer, 0);
  batch.free();
  for (let i = 0; i < 90; i++) forward(rig, i);
});

onEveryRing(
  "a fault is told by both halves until the rings are started afresh",
  (rig) => {
    const batch = new Batch(4);
    // One byte less than a header.
    rig.rxDevice.give(rig.rxDevice.take()!, 11);
    for (let i = 0; i < 3; i++) {
      assertThrows(
        () => rig.rx.receive(batch),
        DeviceFaultError,
        "wrote 11 bytes, of at most 2060, into a buffer (receive queue 1)",
      );
      assertThrows(
        () => rig.tx.send(batch),
        DeviceFaultError,
        "receive queue 1",
      );
    }
    rig.renew();
    forward(rig, 1);
  },
);

onEveryRing(
  "packets before a fault are received, the fault comes after them",
  (rig) => {
    rig.deliver(numbered(1, 60));
    rig.rxDevice.give(rig.rxDevice.take()!, 5000);
    const batch = new Batch(4);
    assertEquals(rig.rx.receive(batch), 1);
    batch.free();
    assertThrows(() => rig.rx.receive(batch), DeviceFaultError, "5000");
  },
);

Deno.test("whoever looks after a queue that nobody uses starts it afresh", () => {
  withVirtio({}, (rig) => {
    forward(rig, 1);
    rig.tx.send(rig.batchOf([rig.packet(numbered(1, 60))]));
    rig.control.words[State.Epoch]++;
    renewPair(rig.queue);
    assertEquals(rig.pool.inUse, 0, "the next receive fills the ring");
    assertEquals(rig.rx.counters.get("abandoned"), 1);
    rig.connect();
    assertEquals(rig.rx.receive(new Batch(1)), 0);
    assertEquals(rig.pool.inUse, 64);
    forward(rig, 2);
  });
});

Deno.test("packets of another pool are sent too, and go back there", () => {
  withVirtio({}, (rig) => {
    const other = Mempool.create({
      entries: 8,
      memory: { backing: "plain" },
    }, rig.memory.domain);
    const handle = other.allocate();
    other.lengths[other.index(handle)] = 100;
    const batch = rig.batchOf([rig.packet(numbered(1, 60)), handle]);
    assertEquals(rig.tx.send(batch), 2);
    assertEquals(other.inUse, 1);
    for (const length of [60, 100]) {
      const sent = rig.collect()!;
      assertEquals(sent.bytes.length, length);
      rig.txDevice.give(sent.buffer, 0);
    }
    rig.tx.reclaim();
    assertEquals(other.inUse, 0);
    other.destroy();
  });
});
