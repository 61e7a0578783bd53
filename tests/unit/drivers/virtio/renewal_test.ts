/** A virtio device that is reset under its users: what comes back, what is lost, and who has to be asked. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { VirtioQueueBus } from "../../../../src/bus/virtio/transport.ts";
import type { QueuePair } from "../../../../src/device_api.ts";
import { attachPair } from "../../../../src/drivers/registry.ts";
import { featureBits } from "../../../../src/bus/virtio/feature_bits.ts";
import {
  State,
  unlessUsedElsewhere,
} from "../../../../src/drivers/virtio/virtqueue/state.ts";
import { DeviceFaultError } from "../../../../src/errors.ts";
import { Packet } from "../../../../src/memory/packet.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import { until } from "../../../support/until.ts";
import {
  CONTROLLED,
  PLAIN,
  type Rig,
  roundTrip,
  withVirtio,
} from "../../../support/virtio/device_rig.ts";

const ALONE = [...CONTROLLED, "ring-reset"] as const;

/** Leaves frames with the device, which never says that it sent them. */
function leaveBehind(
  { device, virtio }: Rig,
  queue: number,
  count: number,
  { rx, tx }: QueuePair = device.queue(queue),
): void {
  const batch = new Batch(64);
  const packet = new Packet();
  for (let i = 0; i < count; i++) {
    batch.push(packet.at(rx.pool.allocate()).handle);
    packet.write(new Uint8Array(60));
  }
  assertEquals(tx.send(batch), count);
  assertEquals(virtio.swallow(queue), count);
}

/** A queue pair as another isolate has it, though in this one. */
function asWorker({ device, virtio }: Rig, queue: number): QueuePair {
  const bus: VirtioQueueBus = {
    notify: (virtqueue) => {
      const inUse = virtio.live && virtio.enabled.includes(virtqueue);
      if (inUse) virtio.notify(virtqueue);
    },
    unmaskInterrupt: () => false,
  };
  return attachPair(device.describeQueue(queue), { kind: "virtio", bus });
}

function receiveNothing({ rx }: QueuePair): void {
  assertEquals(rx.receive(new Batch(8)), 0);
}

/** How often the device was reset. */
function resets({ virtio }: Rig): number {
  return virtio.calls.filter((call) => call === "reset").length;
}

function isUp({ device }: Rig): boolean {
  return device.link().up;
}

Deno.test("a device that needs a reset gets one, and all that it was told", async () => {
  const options = { offers: [...CONTROLLED, "rss"] as const, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    device.setPromiscuous(true);
    device.setMacAddress("02:00:00:00:00:55");
    device.addMacFilter("02:00:00:00:00:0a");
    device.setRssTable([1]);
    leaveBehind(rig, 1, 3);
    const before = virtio.commands.splice(0);
    virtio.needsReset = true;
    assertEquals(device.link(), { up: false, speed: 0 });
    await until("it is back", () => isUp(rig));
    assertEquals(resets(rig), 2);
    const kinds = virtio.commands.map(([group, command]) => [group, command]);
    assertEquals(kinds, [[4, 1], [0, 0], [0, 1], [1, 1], [1, 0]]);
    assertEquals(virtio.commands[0], before.at(-1));
    assertEquals([...virtio.commands[1][2]], [1]);
    const [one, two] = [0, 1].map((queue) => device.queue(queue).rx);
    assertEquals([one, two].map(({ counters }) => counters.get("abandoned")), [
      0,
      3,
    ]);
    for (const queue of [0, 1]) {
      assertEquals(roundTrip(rig, queue, [queue, 9]), [queue, 9]);
    }
    // Nothing but what fills the receive ring and is being sent is away from home.
    assertEquals(one.pool.inUse, two.pool.inUse);
  });
});

for (const packed of [[], ["packed"]] as const) {
  const kind = packed[0] ?? "split";
  Deno.test(`a worker starts its rings afresh itself (${kind})`, async () => {
    await withVirtio({ offers: [...ALONE, ...packed] }, {}, async (rig) => {
      const { device, virtio } = rig;
      const worker = asWorker(rig, 0);
      receiveNothing(worker);
      assertEquals(roundTrip(rig, 0, [1, 2, 3], worker), [1, 2, 3]);
      leaveBehind(rig, 0, 5, worker);
      virtio.needsReset = true;
      await until("it was reset", () => resets(rig) === 2);
      assertEquals(worker.rx.counters.get("abandoned"), 0);
      receiveNothing(worker);
      assertEquals(worker.rx.counters.get("abandoned"), 5);
      await until("it is back", () => isUp(rig));
      receiveNothing(worker);
      for (let round = 0; round < 200; round++) {
        assertEquals(roundTrip(rig, 0, [4, 5], worker), [4, 5]);
      }
      assertEquals(device.readStats().txPackets, 408);
    });
  });
}

Deno.test("the next user of a queue starts both halves afresh, whoever used them before", async () => {
  await withVirtio({ offers: ALONE }, {}, async (rig) => {
    const { device } = rig;
    const pair = asWorker(rig, 0);
    receiveNothing(pair);
    const words = new Int32Array(device.describeQueue(0).control);
    words[State.TxUser] = 4712;
    device.stopQueue(0);
    device.resumeQueue(0);
    rig.virtio.needsReset = true;
    await until("it was reset", () => resets(rig) === 2);
    receiveNothing(pair);
    await until("it is back", () => isUp(rig));
    assertEquals(rig.virtio.enabled.slice(0, 2), [0, 1]);
    assertEquals(roundTrip(rig, 0, [7], pair), [7]);
  });
});

Deno.test("an isolate that gives a pair away leaves both halves to the next", async () => {
  await withVirtio({ offers: ALONE }, {}, (rig) => {
    const { device } = rig;
    const words = new Int32Array(device.describeQueue(0).control);
    device.queue(0).tx.send(new Batch(8));
    receiveNothing(device.queue(0));
    assert(words[State.TxUser] !== 0 && words[State.RxUser] !== 0);
    device.describeQueue(0);
    assertEquals([words[State.TxUser], words[State.RxUser]], [0, 0]);
  });
});

Deno.test("each half is started afresh by the isolate that uses it", async () => {
  await withVirtio({ offers: ALONE }, {}, async (rig) => {
    const { device } = rig;
    const { rx, tx } = asWorker(rig, 0);
    receiveNothing({ rx, tx });
    leaveBehind(rig, 0, 5, { rx, tx });
    const words = new Int32Array(device.describeQueue(0).control);
    const ANOTHER = 4712;
    const sender = words[State.TxUser];
    words[State.TxUser] = ANOTHER;
    rig.virtio.needsReset = true;
    await until("it was reset", () => resets(rig) === 2);
    receiveNothing({ rx, tx });
    assertEquals(words[State.RxRenewed], words[State.Epoch]);
    assertEquals(tx.pending, 5, "not ours to empty");
    assert(!isUp(rig));
    // Now as the other isolate.
    words[State.TxUser] = sender;
    assertEquals(tx.send(new Batch(8)), 0);
    assertEquals(tx.pending, 0);
    await until("it is back", () => isUp(rig));
    receiveNothing({ rx, tx });
    assertEquals(roundTrip(rig, 0, [7], { rx, tx }), [7]);

    const receiver = words[State.RxUser];
    words[State.RxUser] = ANOTHER;
    rig.virtio.needsReset = true;
    await until("it was reset again", () => resets(rig) === 3);
    assertEquals(tx.send(new Batch(8)), 0);
    assertEquals(words[State.TxRenewed], words[State.Epoch]);
    assert(words[State.RxRenewed] !== words[State.Epoch]);
    words[State.RxUser] = receiver;
    receiveNothing({ rx, tx });
    await until("it is back again", () => isUp(rig));
    receiveNothing({ rx, tx });
    assertEquals(roundTrip(rig, 0, [8], { rx, tx }), [8]);
  });
});

for (const offers of [ALONE, CONTROLLED]) {
  const how = offers === ALONE ? "alone" : "with all others";
  Deno.test(`a worker that follows late is started late, ${how}`, async () => {
    await withVirtio({ offers, pairs: 2 }, { queues: 2 }, async (rig) => {
      const { virtio } = rig;
      const worker = asWorker(rig, 1);
      receiveNothing(worker);
      virtio.needsReset = true;
      await until("it goes on without it", () => isUp(rig));
      assertEquals(virtio.enabled.includes(2), false);
      assertEquals(roundTrip(rig, 0, [7]), [7]);
      const before = resets(rig);
      receiveNothing(worker);
      await until("the worker's queue is started", () => {
        receiveNothing(worker);
        return virtio.enabled.includes(2) && isUp(rig);
      });
      assertEquals(resets(rig) - before, offers === ALONE ? 0 : 1);
      receiveNothing(worker);
      assertEquals(roundTrip(rig, 1, [8], worker), [8]);
      assertEquals(roundTrip(rig, 0, [9]), [9]);
    });
  });
}

Deno.test("one queue is halted and restarted while the other runs", async () => {
  const options = { offers: ALONE, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    leaveBehind(rig, 1, 4);
    virtio.calls.length = 0;
    await device.haltQueue(1);
    await device.haltQueue(1);
    assertEquals(virtio.calls, ["stop 2", "stop 3"]);
    assertEquals(roundTrip(rig, 0, [1]), [1]);
    await device.restartQueue(1);
    assertEquals(virtio.calls.slice(2), [
      ...["set up 2", "enable 2", "set up 3", "enable 3"],
    ]);
    for (const queue of [0, 1]) {
      assertEquals(roundTrip(rig, queue, [2, queue]), [2, queue]);
    }
    assertEquals(resets(rig), 0);
    assertEquals(device.queue(0).rx.counters.get("abandoned"), 0);
  });
});

Deno.test("where a queue cannot be stopped alone, all are reset and the others come back", async () => {
  const options = { offers: CONTROLLED, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    leaveBehind(rig, 0, 2);
    leaveBehind(rig, 1, 4);
    await device.haltQueue(1);
    assertEquals(resets(rig), 2);
    assertEquals(virtio.enabled, [0, 1, 4]);
    assertEquals(roundTrip(rig, 0, [1]), [1]);
    leaveBehind(rig, 0, 1);
    await device.restartQueue(1);
    assertEquals(resets(rig), 3);
    for (const queue of [0, 1]) {
      assertEquals(roundTrip(rig, queue, [2, queue]), [2, queue]);
    }
    // Those of the restarted queue were taken back with its pool.
    const abandoned = [0, 1].map((queue) =>
      device.queue(queue).rx.counters.get("abandoned")
    );
    assertEquals(abandoned, [3, 0]);
  });
});

for (const offers of [ALONE, CONTROLLED]) {
  const how = offers === ALONE ? "alone" : "with all others";
  Deno.test(`a queue that was lied to stands still until it is restarted, ${how}`, async () => {
    await withVirtio({ offers, pairs: 2 }, { queues: 2 }, async (rig) => {
      const { device, virtio } = rig;
      const { rx, tx } = device.queue(1);
      const batch = new Batch(8);
      virtio.lie(1);
      for (let i = 0; i < 2; i++) {
        assertThrows(() => rx.receive(batch), DeviceFaultError, "32767");
        assertThrows(() => tx.send(batch), DeviceFaultError, "queue 1");
      }
      assertEquals(roundTrip(rig, 0, [1]), [1]);
      await device.restartQueue(1);
      for (const queue of [0, 1]) assertEquals(roundTrip(rig, queue, [2]), [2]);
    });
  });
}

Deno.test("a worker's queue is restarted with all others where it cannot be alone", async () => {
  const options = { offers: CONTROLLED, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    const [other, dead] = [0, 1].map((queue) => asWorker(rig, queue));
    receiveNothing(other);
    receiveNothing(dead);
    leaveBehind(rig, 0, 3, other);
    const loop = setInterval(() => receiveNothing(other), 1);
    try {
      await device.haltQueue(1);
      assertEquals(virtio.enabled, [0, 1, 4]);
      await device.restartQueue(1);
      assertEquals(virtio.enabled, [0, 1, 2, 3, 4]);
    } finally {
      clearInterval(loop);
    }
    assertEquals(resets(rig), 3);
    assertEquals(other.rx.counters.get("abandoned"), 3);
    const next = asWorker(rig, 1);
    receiveNothing(other);
    assertEquals(roundTrip(rig, 0, [4], other), [4]);
    assertEquals(roundTrip(rig, 1, [5], next), [5]);
  });
});

Deno.test("a queue that does not stop costs a reset", async () => {
  const options = { offers: ALONE, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    virtio.failing.add("stop");
    await device.haltQueue(1);
    assertEquals(resets(rig), 2);
    assertEquals(virtio.enabled, [0, 1, 4]);
    virtio.failing.clear();
    await device.restartQueue(1);
    for (const queue of [0, 1]) assertEquals(roundTrip(rig, queue, [3]), [3]);
  });
});

Deno.test("a queue whose device goes away while it stops waits for no other", async () => {
  const options = { offers: ALONE, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    virtio.failing.add("reset");
    const stop = virtio.stop;
    virtio.stop = () => {
      virtio.needsReset = true;
      return Promise.reject(new Error("went away"));
    };
    await device.haltQueue(1);
    assertEquals(virtio.calls.at(-1), "shut down");
    virtio.stop = stop;
    await until("it is looked for", () => resets(rig) > 1);
    virtio.failing.clear();
    await until("it is back", () => isUp(rig));
    assertEquals(virtio.enabled, [0, 1, 4]);
    await device.restartQueue(1);
    for (const queue of [0, 1]) assertEquals(roundTrip(rig, queue, [3]), [3]);
  });
});

Deno.test("a queue that is restarted while the device is away comes back with it", async () => {
  const options = { offers: ALONE, pairs: 2 };
  await withVirtio(options, { queues: 2 }, async (rig) => {
    const { device, virtio } = rig;
    virtio.failing.add("reset");
    virtio.needsReset = true;
    await until("it is looked for", () => resets(rig) > 1);
    await device.restartQueue(1);
    device.setPromiscuous(true);
    device.setMacAddress("02:00:00:00:00:55");
    await until("it is looked for again", () => resets(rig) > 2);
    virtio.commands.length = 0;
    virtio.failing.clear();
    await until("it is back", () => isUp(rig));
    assertEquals(virtio.enabled, [0, 1, 2, 3, 4]);
    const last = virtio.commands.at(-1)!;
    assertEquals([last[0], last[1], last[2][5]], [1, 1, 0x55]);
    for (const queue of [0, 1]) assertEquals(roundTrip(rig, queue, [3]), [3]);
  });
});

Deno.test("a device that does not come up after a reset is tried again", async () => {
  await withVirtio(
    { offers: CONTROLLED, pairs: 2 },
    { queues: 2 },
    async (rig) => {
      const { device, virtio } = rig;
      virtio.failing.add("start");
      const halted = await device.haltQueue(1).then(() => "halted", String);
      assert(halted.includes("fails to start"), halted);
      virtio.failing.clear();
      await until("it is back", () => isUp(rig));
      assertEquals(virtio.enabled, [0, 1, 4]);
      assertEquals(roundTrip(rig, 0, [3]), [3]);
    },
  );
});

Deno.test("a device that comes back with less stays away", async () => {
  await withVirtio({ offers: [...PLAIN, "packed"] }, {}, async (rig) => {
    const { virtio } = rig;
    const all = virtio.offered;
    virtio.offered &= ~featureBits(["packed"]);
    virtio.needsReset = true;
    await until("it was tried twice", () => resets(rig) > 2);
    assertEquals(isUp(rig), false);
    virtio.offered = all;
    await until("it is back", () => isUp(rig));
    assertEquals(roundTrip(rig, 0, [3]), [3]);
  });
});

Deno.test("a device can be closed while it is away", async () => {
  await withoutLeaks(async () => {
    await withVirtio({ offers: PLAIN }, {}, async (rig) => {
      rig.virtio.failing.add("reset");
      rig.virtio.needsReset = true;
      await until("it is looked for", () => resets(rig) > 1);
      leaveUnsent(rig);
    });
  });
});

/** Packets in a ring that no device looks at. */
function leaveUnsent({ device }: Rig): void {
  const { rx, tx } = device.queue(0);
  const batch = new Batch(4);
  const packet = new Packet().at(rx.pool.allocate());
  packet.write(new Uint8Array(60));
  batch.push(packet.handle);
  assertEquals(tx.send(batch), 1);
}

Deno.test("statistics are the sums of the queues' counters, since the last time", async () => {
  const options = { offers: CONTROLLED, pairs: 2 };
  await withVirtio(options, { queues: 2 }, (rig) => {
    const { device } = rig;
    roundTrip(rig, 0, [1, 2, 3]);
    roundTrip(rig, 1, [1]);
    const stats = device.readStats();
    assertEquals([stats.rxPackets, stats.txPackets], [4, 4]);
    assertEquals([stats.rxBytes, stats.txBytes], [240, 240]);
    roundTrip(rig, 1, [1]);
    assertEquals(device.readStats(stats).rxPackets, 5);
    roundTrip(rig, 0, [1]);
    device.resetStats();
    assertEquals(device.readStats().txPackets, 0);
  });
});

Deno.test("a queue whose pool is just enough comes back after a restart that resets the device", async () => {
  const options = { offers: CONTROLLED, pairs: 2 };
  const config = { queues: 2, rxDepth: 64, txDepth: 64, poolEntries: 65 };
  await withVirtio(options, config, async (rig) => {
    const { device } = rig;
    const { pool } = device.queue(1).rx;
    for (let i = 0; i < 3; i++) {
      await device.restartQueue(1);
      assertEquals(pool.inUse, 64);
      assertEquals(roundTrip(rig, 1, [i]), [i]);
    }
  });
});

Deno.test("a device that was restarted after a failure is looked after as before", async () => {
  const options = { offers: [...CONTROLLED, "announce"] as const, pairs: 3 };
  await withVirtio(options, { queues: 3 }, async (rig) => {
    const { device, virtio } = rig;
    virtio.failing.add("reset");
    await assertRejects(() => device.haltQueue(1));
    virtio.failing.clear();
    await device.haltQueue(2);
    await until("it is up", () => isUp(rig));
    virtio.answer = ([group]) => {
      if (group === 3) virtio.changeStatus(1);
      return {};
    };
    virtio.changeStatus(3);
    await until("announced", () => device.link().announcements === 1);
    for (const queue of [1, 2]) {
      await device.restartQueue(queue);
      assertEquals(roundTrip(rig, queue, [queue]), [queue]);
    }
  });
});

Deno.test("a half that cannot be started afresh is left to others", () => {
  const words = new Int32Array(new SharedArrayBuffer(256));
  assertThrows(
    () =>
      unlessUsedElsewhere(words, State.RxUser, () => {
        throw new Error("no memory");
      }),
    Error,
    "no memory",
  );
  assertEquals(words[State.RxUser], 0);
});
