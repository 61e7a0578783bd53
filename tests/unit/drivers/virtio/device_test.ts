/** A virtio device that comes up, on a device that the test plays: what is negotiated, said of it, and refused. */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { DeviceOptions } from "../../../../src/config.ts";
import type { Device, LinkState } from "../../../../src/device_api.ts";
import { openDriver } from "../../../../src/drivers/registry.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { VIRTIO_FEATURE_NAMES } from "../../../../src/drivers/virtio/features.ts";
import {
  ConfigError,
  DeviceFaultError,
  NotSupportedError,
} from "../../../../src/errors.ts";
import { IrqLine } from "../../../../src/irq/line.ts";
import { INDEX_MASK } from "../../../../src/memory/mempool.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import { until } from "../../../support/until.ts";
import {
  assertClean,
  configOf,
  CONTROLLED,
  PLAIN,
  rejects,
  roundTrip,
  withVirtio,
} from "../../../support/virtio/device_rig.ts";
import {
  type FakeOptions,
  type FakeVirtio,
  FakeVirtioBus,
} from "../../../support/virtio/transport.ts";

for (const ring of [[], ["packed"]] as VirtioFeatureName[][]) {
  const kind = ring[0] ?? "split";
  Deno.test(`frames go round on ${kind} rings`, async () => {
    await withVirtio({ offers: [...PLAIN, ...ring] }, {}, (rig) => {
      for (let round = 0; round < 40; round++) {
        assertEquals(
          roundTrip(rig, 0, [1, 2, round, 4, 5]),
          [1, 2, round, 4, 5],
        );
      }
    });
  });
}

Deno.test("a device comes up in the order of the specification", async () => {
  const options = { offers: CONTROLLED, pairs: 2 };
  await withVirtio(options, { queues: 2 }, ({ device, bus, virtio }) => {
    assertEquals(virtio.calls, [
      ...["reset", "accept"],
      ...["set up 0", "enable 0", "set up 1", "enable 1"],
      ...["set up 2", "enable 2", "set up 3", "enable 3"],
      ...["set up 4", "enable 4", "start"],
    ]);
    assertEquals([device.driver, device.model], ["virtio", "virtio-net"]);
    assertEquals(device.features.virtio, virtio.acceptedNames);
    assertEquals(device.macAddress, "02:00:00:00:00:07");
    assertEquals([bus.routed.length, virtio.configVector], [3, 2]);
    const vectors = [0, 1, 2, 3, 4].map((q) => virtio.setupOf(q)?.vector);
    assertEquals(vectors, [0, undefined, 1, undefined, undefined]);
    // The rings may have been filled before they were enabled: the device is told once it is live.
    assertEquals(virtio.notified.slice(0, 4), [0, 1, 2, 3]);
  });
});

Deno.test("what keeps every frame sendable on any card is accepted, the rest on request", async () => {
  const offers = VIRTIO_FEATURE_NAMES;
  const usual = offers.filter((name) =>
    ![
      ...["guest-checksum", "guest-tso4", "guest-tso6", "vlan-filter"],
      ...["guest-offloads", "notification-data", "any-layout"],
    ].includes(name)
  );
  await withVirtio({ offers }, {}, ({ device }) => {
    const { features } = device;
    assertEquals(features.virtio, usual);
    assertEquals(features.rxChecksum, false);
    assertEquals(features.txChecksum && features.segmentation, true);
    assertEquals([features.rssQueues, features.retaSize], [1, 128]);
  });
  const virtio = {
    with: ["guest-checksum", "guest-tso4", "vlan-filter"],
    without: ["packed", "control-queue", "checksum"],
  };
  await withVirtio({ offers }, { virtio }, ({ device }) => {
    const { features } = device;
    // Nor what needs what was refused.
    assertEquals(features.virtio, [
      ...["guest-checksum", "mtu", "mac", "guest-tso4", "mergeable", "status"],
      ...["indirect", "event-index", "version-1", "access-platform"],
      ...["in-order", "order-platform", "ring-reset", "speed"],
    ]);
    assertEquals(features.rxChecksum, true);
    assertEquals(features.txChecksum || features.segmentation, false);
    assertEquals([features.rssQueues, features.macFilters], [0, 0]);
  });
});

const REFUSED: [
  what: string,
  error:
    | typeof ConfigError
    | typeof NotSupportedError
    | typeof DeviceFaultError,
  text: string,
  options: FakeOptions,
  config: DeviceOptions,
  change?: (virtio: FakeVirtio) => void,
][] = [
  ["a feature that does not exist", ConfigError, "turbo", { offers: PLAIN }, {
    virtio: { with: ["turbo"] },
  }],
  ["a legacy device", NotSupportedError, "VERSION_1", { offers: PLAIN }, {}, (
    virtio,
  ) => virtio.offered = 0n],
  [
    "a device that does not take the choice",
    NotSupportedError,
    "FEATURES_OK",
    {
      offers: PLAIN,
    },
    {},
    (virtio) => virtio.failing.add("accept"),
  ],
  ["more queues than there are", ConfigError, "queues", {
    offers: CONTROLLED,
    pairs: 2,
  }, { queues: 3 }],
  ["several queues without the feature", ConfigError, "queues", {
    offers: [...PLAIN, "control-queue"],
    pairs: 2,
  }, { queues: 2 }],
  ["too few interrupt vectors", NotSupportedError, "vectors", {
    offers: CONTROLLED,
    pairs: 2,
    vectors: 2,
  }, { queues: 2, irqTimeoutMs: 100 }],
  ["an explicit ring that is too deep", ConfigError, "rxDepth", {
    offers: PLAIN,
  }, { rxDepth: 512 }],
  ["an explicit split ring of no power of two", ConfigError, "txDepth", {
    offers: PLAIN,
  }, { txDepth: 200 }],
  ["taking VLAN tags out", ConfigError, "vlanStrip", { offers: PLAIN }, {
    vlanStrip: true,
  }],
  ["frames above the MTU", ConfigError, "maxFrameSize", {
    offers: [...PLAIN, "mtu"],
  }, { maxFrameSize: 1519 }],
  ["frames above one buffer", ConfigError, "entrySize", {
    offers: ["mac"],
  }, { maxFrameSize: 2049 }],
  ["a multicast address", DeviceFaultError, "mac", { offers: PLAIN }, {}, (
    virtio,
  ) => virtio.config.setUint8(0, 1)],
  [
    "no queue pair at all",
    DeviceFaultError,
    "max_virtqueue_pairs",
    {
      offers: CONTROLLED,
    },
    {},
    (virtio) => virtio.config.setUint16(8, 0, true),
  ],
  [
    "an MTU that is none",
    DeviceFaultError,
    "mtu",
    {
      offers: [...PLAIN, "mtu"],
    },
    {},
    (virtio) => virtio.config.setUint16(10, 67, true),
  ],
  [
    "a short indirection table",
    DeviceFaultError,
    "indirection_table",
    {
      offers: [...CONTROLLED, "rss"],
    },
    {},
    (virtio) => virtio.config.setUint16(18, 64, true),
  ],
  [
    "a short key",
    DeviceFaultError,
    "rss_max_key_size",
    {
      offers: [...CONTROLLED, "rss"],
    },
    {},
    (virtio) => virtio.config.setUint8(17, 39),
  ],
  ["one virtqueue", DeviceFaultError, "1 virtqueues", { offers: PLAIN }, {}, (
    virtio,
  ) => virtio.virtqueueCount = 1],
  [
    "virtqueues of no size",
    DeviceFaultError,
    "no virtqueue 0",
    {
      offers: PLAIN,
    },
    {},
    (virtio) => virtio.largest = 0,
  ],
  [
    "a control queue without room",
    DeviceFaultError,
    "no command fits",
    {
      offers: [...CONTROLLED, "packed"],
    },
    {},
    (virtio) => {
      virtio.largestSize = (queue: number) => queue < 2 ? 256 : 1;
    },
  ],
  [
    "a configuration that never holds still",
    DeviceFaultError,
    "changes faster",
    { offers: PLAIN },
    {},
    (virtio) => virtio.onRead = () => void virtio.configGeneration++,
  ],
  [
    "a command that is refused",
    DeviceFaultError,
    "refused",
    {
      offers: CONTROLLED,
    },
    {},
    (virtio) => virtio.answer = () => ({ ack: 1 }),
  ],
];

for (const [what, error, text, options, config, change] of REFUSED) {
  Deno.test(`${what} is refused, and everything given back`, async () => {
    const caught = await rejects(options, config, change);
    assert(caught instanceof error, String(caught));
    assert(caught.message.includes(text), caught.message);
  });
}

for (const step of ["reset", "set up", "enable", "start"]) {
  Deno.test(`a device that fails to ${step} is given back`, async () => {
    await withoutLeaks(async () => {
      const error = await rejects(
        { offers: PLAIN },
        {},
        (virtio) => virtio.failing.add(step).add("shut down"),
      );
      assert(error.message.includes(step), error.message);
    });
  });
}

Deno.test("a device that cannot be shut down is given back", async () => {
  await withoutLeaks(async () => {
    await withVirtio({ offers: CONTROLLED }, {}, ({ virtio }) => {
      virtio.failing.add("shut down");
    });
  });
});

Deno.test("depths that nobody chose become what the device can do", async () => {
  await withVirtio({ offers: PLAIN, size: 250 }, {}, ({ device, virtio }) => {
    assertEquals([device.rxQueueDepth, device.txQueueDepth], [128, 128]);
    assertEquals(virtio.setupOf(0)?.size, 128);
    assertEquals(device.config.rxDepth, 128);
  });
  const packed = { offers: [...PLAIN, "packed"] as const, size: 250 };
  await withVirtio(packed, { txDepth: 104 }, (rig) => {
    const { device, virtio } = rig;
    assertEquals([device.rxQueueDepth, device.txQueueDepth], [250, 104]);
    assertEquals(virtio.setupOf(1)?.size, 104);
    for (let round = 0; round < 300; round++) {
      assertEquals(roundTrip(rig, 0, [round & 255, 7]), [round & 255, 7]);
    }
  });
});

Deno.test("a packet in more parts than a ring has descriptors is dropped", async () => {
  await withVirtio({ offers: PLAIN, size: 16 }, {}, (rig) => {
    const { rx: { pool }, tx } = rig.device.queue(0);
    const chain = (parts: number) => {
      let first = 0;
      for (let n = 0; n < parts; n++) {
        const handle = pool.allocate();
        pool.lengths[handle & INDEX_MASK] = 20;
        pool.nextSegments[handle & INDEX_MASK] = first;
        first = handle;
      }
      return first;
    };
    const before = pool.inUse;
    const batch = new Batch(4);
    batch.push(chain(17));
    assertEquals(tx.send(batch), 1);
    assertEquals(tx.counters.get("txErrors"), 1);
    assertEquals(pool.inUse, before);
    batch.length = 0;
    batch.push(chain(16));
    assertEquals(tx.send(batch), 1);
    assertEquals(tx.pending, 16);
  });
});

Deno.test("the MTU bounds the frames", async () => {
  await withVirtio({ offers: [...PLAIN, "mtu"] }, {}, ({ device }) => {
    assertEquals([device.maxFrameSize, device.features.maxFrameSize], [
      1518,
      1518,
    ]);
  });
  const bus = new FakeVirtioBus({ offers: [...PLAIN, "mtu"] });
  bus.virtio.config.setUint16(10, 1000, true);
  const device = await openDriver(bus, configOf({}));
  assertEquals(device.maxFrameSize, 1018);
  assertLongest(device, 1018);
  await device.close();
  assertClean(bus);
});

Deno.test("an MTU beyond the only buffer of a frame is not accepted", async () => {
  const offers = ["mac", "status", "mtu"] as const;
  for (
    const [mtu, entrySize, isAccepted] of [
      ...[[1500, 0, true], [9000, 0, false]] as const,
      ...[[9000, 9216, true], [2030, 0, true], [2031, 0, false]] as const,
    ]
  ) {
    const bus = new FakeVirtioBus({ offers });
    bus.virtio.config.setUint16(10, mtu, true);
    const device = await openDriver(bus, configOf({ entrySize }));
    assertEquals(device.features.virtio?.includes("mtu"), isAccepted, `${mtu}`);
    await device.close();
    assertClean(bus);
  }
});

Deno.test("a device is told when the driver gives up on it", async () => {
  const cases: [FakeOptions, DeviceOptions, (virtio: FakeVirtio) => void][] = [
    [{ offers: PLAIN }, {}, (virtio) => virtio.failing.add("accept")],
    [{ offers: PLAIN }, { queues: 9 }, () => {}],
    [{ offers: [...PLAIN, "mtu"] }, {}, (virtio) => {
      virtio.config.setUint16(10, 1, true);
    }],
  ];
  for (const [options, config, change] of cases) {
    let calls: readonly string[] = [];
    await rejects(options, config, (virtio) => {
      change(virtio);
      calls = virtio.calls;
    });
    assertEquals(calls.at(-1), "give up");
  }
});

Deno.test("frames longer than was asked for are sent, as far as the device takes them", async () => {
  const options = { maxFrameSize: 600 };
  await withVirtio({ offers: [...PLAIN, "mtu"] }, options, ({ device }) => {
    assertLongest(device, 1518);
  });
  await withVirtio({ offers: PLAIN }, options, ({ device }) => {
    assertLongest(device, device.features.maxFrameSize);
  });
});

/** Frames up to `longest` are sent, longer ones dropped and counted; in one buffer and in several. */
function assertLongest(device: Device, longest: number): void {
  const { rx: { pool }, tx } = device.queue(0);
  const batch = new Batch(1);
  const send = (bytes: number) => {
    const handle = pool.allocate();
    let last = handle;
    for (let left = bytes;;) {
      const length = Math.min(left, pool.entrySize);
      pool.lengths[pool.index(last)] = length;
      left -= length;
      if (left === 0) break;
      last = pool.nextSegments[pool.index(last)] = pool.allocate();
    }
    batch.length = 0;
    batch.push(handle);
    const before = tx.counters.get("txErrors");
    assertEquals(tx.send(batch), 1);
    return tx.counters.get("txErrors") === before;
  };
  assertEquals([send(longest), send(longest + 1)], [true, false]);
}

Deno.test("without an address in its configuration a device has another", async () => {
  const backend = { offers: ["mergeable"] as const, hasConfig: false };
  await withVirtio(backend, {}, ({ device }) => {
    assertEquals(device.macAddress, "02:00:00:00:00:09");
    assertEquals(device.link(), { up: true, speed: 10_000 });
  });
  const addresses = new Set<string>();
  for (let i = 0; i < 2; i++) {
    await withVirtio({ offers: ["status"] }, {}, ({ device }) => {
      // Locally administered, unicast.
      assertEquals(parseInt(device.macAddress.slice(0, 2), 16) & 3, 2);
      addresses.add(device.macAddress);
    });
  }
  assertEquals(addresses.size, 2);
});

Deno.test("a backend without control queue has all its pairs", async () => {
  const options = { offers: PLAIN.slice(2), hasConfig: false, pairs: 3 };
  await withVirtio(options, { queues: 3 }, (rig) => {
    assertEquals(rig.device.features.maxQueues, 3);
    for (const queue of [0, 1, 2]) {
      assertEquals(roundTrip(rig, queue, [queue]), [queue]);
    }
  });
});

Deno.test("polling does with one vector, and that is the link's", async () => {
  const options = { offers: CONTROLLED, pairs: 2, vectors: 1 };
  await withVirtio(options, { queues: 2 }, ({ bus, virtio }) => {
    assertEquals([bus.routed.length, virtio.configVector], [1, 0]);
    assertEquals(virtio.setupOf(0)?.vector, undefined);
  });
});

Deno.test("a configuration that changes while it is read is read again", async () => {
  const bus = new FakeVirtioBus({ offers: PLAIN });
  let reads = 0;
  bus.virtio.onRead = () => {
    if (++reads !== 3) return;
    bus.virtio.config.setUint8(5, 8);
    bus.virtio.configGeneration++;
  };
  const device = await openDriver(bus, configOf({}));
  assertEquals(device.macAddress, "02:00:00:00:00:08");
  await device.close();
});

Deno.test("link and speed are what the configuration says", async () => {
  const offers = [...PLAIN, "speed"] as const;
  await withVirtio({ offers }, {}, ({ device, virtio }) => {
    assertEquals(device.link(), { up: true, speed: 25_000 });
    virtio.config.setUint32(12, 0xffffffff, true);
    assertEquals(device.linkSpeed, 10_000);
    virtio.changeStatus(0);
    assertEquals(device.link(), { up: false, speed: 0 });
  });
});

Deno.test("linkChanges() tells of the link and of announcements", async () => {
  const offers = [...CONTROLLED, "announce"] as const;
  await withVirtio({ offers }, {}, async ({ device, bus, virtio }) => {
    const seen: LinkState[] = [];
    const watching = (async () => {
      for await (const state of device.linkChanges()) seen.push(state);
    })();
    virtio.changeStatus(0);
    bus.raiseConfig();
    await until("the link is down", () => seen.length === 1);
    virtio.answer = ([group]) => {
      if (group === 3) virtio.changeStatus(1);
      return {};
    };
    virtio.changeStatus(3);
    await until("announced", () => seen.at(-1)?.announcements === 1);
    assertEquals(seen.at(-1)?.up, true);
    const [group, command, data] = virtio.commands.at(-1)!;
    assertEquals([group, command, data.length], [3, 0, 0]);
    await device.close();
    await watching;
  });
});

Deno.test("a device whose configuration never stands still ends no program", async () => {
  const { error } = console;
  const lines: string[] = [];
  console.error = (line: string) => void lines.push(line);
  try {
    const offers = [...CONTROLLED, "announce"] as const;
    await withVirtio({ offers }, {}, async ({ device, bus, virtio }) => {
      const changes = device.linkChanges()[Symbol.asyncIterator]();
      const change = changes.next();
      virtio.onRead = () => void virtio.configGeneration++;
      bus.raiseConfig();
      await until("it is said", () => lines.length > 0);
      // It is watched on, and tells of the next change.
      virtio.onRead = () => {};
      virtio.changeStatus(0);
      bus.raiseConfig();
      assertEquals((await change).value.up, false);
    });
  } finally {
    console.error = error;
  }
});

Deno.test("checkRxIrq() masks the queue's interrupt, ackRxIrq() lets the next one through", async () => {
  const options = { offers: [...PLAIN, "packed"] as const };
  await withVirtio(options, { irqTimeoutMs: -1 }, ({ device, virtio }) => {
    // Event flags of the driver (2.8.10): 0 for all events, 1 for none.
    const flags = () => virtio.driverArea(0).getUint16(2, true);
    assertEquals([flags(), device.checkRxIrq(0)], [1, false]);
    device.ackRxIrq(0);
    assertEquals(flags(), 0);
    new IrqLine(device.rxIrq(0)).raise();
    assertEquals([device.checkRxIrq(0), flags()], [true, 1]);
  });
});

Deno.test("one INTx line serves a queue that sleeps, or the link of one that polls", async () => {
  const intx = { offers: PLAIN, vectors: 1, interrupts: "intx" } as const;
  await withVirtio(intx, { irqTimeoutMs: 5 }, ({ device, bus, virtio }) => {
    assertEquals(bus.routed, [device.rxIrq(0)]);
    assertEquals(device.features.queueInterrupts, false);
    assertEquals(device.describeQueue(0).linkFd === undefined, false);
    assertEquals(device.queue(0).rx.receive(new Batch(1)), 0);
    assertEquals(virtio.unmasked > 0, true);
  });
  await withVirtio(intx, {}, async ({ device, bus, virtio }) => {
    assertEquals([bus.routed.length, virtio.configVector], [1, 0]);
    const changes = device.linkChanges()[Symbol.asyncIterator]();
    const change = changes.next();
    virtio.changeStatus(0);
    bus.raiseConfig();
    assertEquals((await change).value, { up: false, speed: 0 });
    assertEquals(virtio.unmasked, 1);
  });
});
