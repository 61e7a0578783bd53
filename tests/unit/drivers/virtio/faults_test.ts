/** Every wrong that a device can do to a ring, and what the user of the queue is told. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { DeviceFaultError } from "../../../../src/errors.ts";
import {
  type BackendQueue,
  PackedBackend,
  SplitBackend,
} from "../../../support/virtio/backend.ts";
import {
  numbered,
  type RigOptions,
  type VirtioRig,
  withVirtio,
} from "../../../support/virtio/rig.ts";

const RINGS: readonly (readonly VirtioFeatureName[])[] = [
  [],
  ["in-order"],
  ["packed"],
  ["packed", "in-order"],
];

function onEveryRing(
  name: string,
  test: (rig: VirtioRig, features: readonly VirtioFeatureName[]) => void,
  { features = [], ...options }: RigOptions = {},
): void {
  for (const ring of RINGS) {
    const all = [...ring, ...features];
    Deno.test(`${name} (${all.join(", ") || "split"})`, () => {
      // The driver goes other ways where it need not catch misuse.
      for (const debug of [true, false]) {
        withVirtio(
          { ...options, debug, features: all },
          (rig) => test(rig, all),
        );
      }
    });
  }
}

/** Says that a buffer was used, whatever is true. */
function use(queue: BackendQueue, id: number, written: number): void {
  if (queue instanceof SplitBackend) {
    queue.writeEntry(queue.usedIndex, id, written);
    queue.writeIndex(queue.usedIndex + 1);
  } else if (queue instanceof PackedBackend) {
    const { at, wrap } = queue.usedPlace;
    queue.writeUsed(at, id, written, wrap);
  }
}

function assertFault(rig: VirtioRig, what: string): void {
  const batch = new Batch(8);
  for (let i = 0; i < 2; i++) {
    assertThrows(() => rig.rx.receive(batch), DeviceFaultError, what);
    assertThrows(() => rig.tx.reclaim(), DeviceFaultError, what);
    assertThrows(() => rig.tx.send(batch), DeviceFaultError, what);
  }
  rig.renew();
  assert(rig.deliver(numbered(1, 60)));
  assertEquals(rig.rx.receive(batch), 1);
  batch.free();
  rig.rx.receive(batch);
  assertEquals(rig.pool.inUse, 64);
}

function assertRxFault(rig: VirtioRig, what: string): void {
  assertThrows(() => rig.rx.receive(new Batch(8)), DeviceFaultError, what);
  assertFault(rig, what);
}

function assertTxFault(rig: VirtioRig, what: string): void {
  assertThrows(() => rig.tx.reclaim(), DeviceFaultError, what);
  assertFault(rig, what);
}

function send(rig: VirtioRig, packets: number): void {
  const handles = Array.from(
    { length: packets },
    (_, i) => rig.packet(numbered(i, 60)),
  );
  assertEquals(rig.tx.send(rig.batchOf(handles)), packets);
}

onEveryRing("a receive buffer with an id that there is not", (rig) => {
  use(rig.rxDevice, 64, 72);
  assertRxFault(rig, "used buffer 64, which it did not have (receive queue 1)");
});

onEveryRing("a receive buffer with the largest id", (rig) => {
  const largest = rig.rxDevice instanceof SplitBackend ? 0xffff_ffff : 0xffff;
  use(rig.rxDevice, largest, 72);
  assertRxFault(rig, `used buffer ${largest}`);
});

onEveryRing(
  "a transmit packet with an id that there is not",
  (rig, features) => {
    send(rig, 2);
    use(rig.txDevice, 64, 0);
    if (features.includes("in-order") && !features.includes("packed")) {
      // The index says it all: which ones follows from their order.
      assertEquals(rig.tx.reclaim(), 1);
      return;
    }
    assertTxFault(
      rig,
      "used buffer 64, which it did not have (transmit queue 1)",
    );
  },
);

onEveryRing("a transmit packet that was never sent", (rig, features) => {
  send(rig, 2);
  use(rig.txDevice, 2, 0);
  if (features.includes("in-order") && !features.includes("packed")) {
    assertEquals(rig.tx.reclaim(), 1);
    return;
  }
  assertTxFault(rig, "used buffer 2, which it did not have (transmit queue 1)");
});

onEveryRing(
  "a transmit packet by one of its later descriptors",
  (rig, features) => {
    const parts = [1, 2, 3].map((number) => numbered(number, 50));
    assertEquals(rig.tx.send(rig.batchOf([rig.chain(parts)])), 1);
    use(rig.txDevice, 1, 0);
    if (features.includes("in-order") && !features.includes("packed")) {
      assertEquals(rig.tx.reclaim(), 3);
      return;
    }
    assertTxFault(
      rig,
      "used buffer 1, which it did not have (transmit queue 1)",
    );
  },
);

onEveryRing(
  "a receive buffer that the pool could not replace, again",
  (rig, features) => {
    // The ring has 64 buffers and the pool no other.
    const kept = new Batch(1);
    const number = rig.control.rxIds[0];
    rig.deliver(numbered(1, 60));
    assertEquals(rig.rx.receive(kept), 1);
    use(rig.rxDevice, number, 72);
    const what = `used buffer ${number}, which it did not have`;
    assertThrows(() => rig.rx.receive(new Batch(1)), DeviceFaultError, what);
    assertEquals(rig.pool.available, 0, "it is only with the user");
    kept.free();
    assert(features.length >= 0);
    assertFault(rig, what);
  },
  { entries: 64 },
);

onEveryRing("more bytes than the buffer has", (rig) => {
  use(rig.rxDevice, 0, 2061);
  assertRxFault(rig, "wrote 2061 bytes, of at most 2060, into a buffer");
});

onEveryRing("as many bytes as a length can say", (rig) => {
  use(rig.rxDevice, 0, 0xffff_ffff);
  assertRxFault(rig, "wrote 4294967295 bytes");
});

onEveryRing("less than a header", (rig) => {
  use(rig.rxDevice, 0, 11);
  assertRxFault(rig, "wrote 11 bytes");
});

onEveryRing("nothing", (rig) => {
  use(rig.rxDevice, 0, 0);
  assertRxFault(rig, "wrote 0 bytes");
});

onEveryRing("a frame in no buffers", (rig) => {
  rig.deliver(numbered(1, 60), { buffers: 0 });
  assertRxFault(rig, "spread a frame over 0 buffers");
}, { features: ["mergeable"] });

onEveryRing("a frame in more buffers than there are", (rig) => {
  rig.deliver(numbered(1, 60), { buffers: 65 });
  assertRxFault(rig, "spread a frame over 65 buffers where 1 to 64");
}, { features: ["mergeable"] });

onEveryRing("a frame whose second buffer is empty", (rig) => {
  rig.deliver(numbered(1, 60), { buffers: 2 });
  assertEquals(rig.rx.receive(new Batch(1)), 0);
  use(rig.rxDevice, 1, 0);
  assertRxFault(rig, "wrote 0 bytes");
}, { features: ["mergeable"] });

onEveryRing(
  "a frame that says that it has more buffers swallows those after it, no more",
  (rig) => {
    const batch = new Batch(8);
    rig.deliver(numbered(1, 60), { buffers: 3 });
    rig.deliver(numbered(2, 60));
    assertEquals(rig.rx.receive(batch), 0);
    rig.deliver(numbered(3, 60));
    assertEquals(rig.rx.receive(batch), 1);
    assertEquals(rig.bytesOf(batch.handles[0]).length, 60 + 2 * 72);
    batch.free();
    rig.deliver(numbered(4, 60));
    assertEquals(rig.rx.receive(batch), 1);
    assertEquals(rig.bytesOf(batch.handles[0]), numbered(4, 60));
  },
  { features: ["mergeable"] },
);

for (const features of [[], ["in-order"], ["event-index"]] as const) {
  const name = features.join(", ") || "split";
  Deno.test(`a used index that goes too far, or back (${name})`, () => {
    withVirtio({ features }, (rig) => {
      const queue = rig.rxDevice as SplitBackend;
      queue.writeIndex(65);
      assertRxFault(rig, "used 65 buffers while it had 64 (receive queue 1)");
      assert(rig.deliver(numbered(1, 60)));
      const batch = new Batch(1);
      rig.rx.receive(batch);
      batch.free();
      (rig.rxDevice as SplitBackend).writeIndex(0);
      assertRxFault(rig, "used 65534 buffers");
      send(rig, 3);
      (rig.txDevice as SplitBackend).writeIndex(4);
      assertTxFault(rig, "used 4 buffers while it had 3 (transmit queue 1)");
    });
  });
}

Deno.test("a run of buffers that ends behind those that the device has", () => {
  for (const features of [["in-order"], ["packed", "in-order"]] as const) {
    withVirtio({ features, entries: 64 }, (rig) => {
      const kept = new Batch(4);
      for (let i = 0; i < 4; i++) rig.deliver(numbered(i, 60));
      assertEquals(rig.rx.receive(kept), 4);
      // Places 4 to 63 have buffers, and 0 to 3 have none: a run from 4 to 1.
      use(rig.rxDevice, 1, 72);
      const what = "used buffer 1, which it did not have";
      assertThrows(() => rig.rx.receive(new Batch(64)), DeviceFaultError, what);
      kept.free();
      assertFault(rig, what);
    });
  }
});

Deno.test("a run of packets that ends behind those that were sent", () => {
  withVirtio({ features: ["packed", "in-order"] }, (rig) => {
    send(rig, 5);
    use(rig.txDevice, 5, 0);
    assertTxFault(rig, "used buffer 5, which it did not have");
  });
});

Deno.test("a used descriptor of the round before is not taken for a new one", () => {
  withVirtio({ features: ["packed"] }, (rig) => {
    const batch = new Batch(1);
    for (let i = 0; i < 64; i++) {
      rig.deliver(numbered(i, 60));
      assertEquals(rig.rx.receive(batch), 1);
      batch.free();
    }
    const queue = rig.rxDevice as PackedBackend;
    const { at, wrap } = queue.usedPlace;
    queue.writeUsed(at, 0, 72, !wrap);
    assertEquals(rig.rx.receive(batch), 0);
  });
});

Deno.test("a device that gives bad frames faster than they are taken does not keep us", () => {
  const features = ["packed", "guest-checksum"] as const;
  withVirtio({ debug: false, features }, (rig) => {
    const { rx } = rig;
    const take = rx["takeUsed"];
    let looks = 0;
    rx["takeUsed"] = (handles) => {
      assert(++looks < 1000, "it still looks");
      assert(rig.deliver(numbered(1, 60), { gsoType: 2 }));
      return take.call(rx, handles);
    };
    const batch = new Batch(8);
    assertEquals(rx.receive(batch), 0);
    rx["takeUsed"] = take;
    assert(rig.deliver(numbered(2, 60)));
    assertEquals(rx.receive(batch), 1);
    assertEquals(rx.counters.get("rxErrors"), looks);
  });
});
