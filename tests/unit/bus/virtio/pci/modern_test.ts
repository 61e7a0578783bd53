/** A virtio device on PCI: finding its structures whatever it says, and what is written to them. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { MappedRegisters } from "../../../../../src/bus/vfio/registers.ts";
import { VirtioPciNotifier } from "../../../../../src/bus/virtio/pci/notifier.ts";
import type { VirtqueueSetup } from "../../../../../src/bus/virtio/transport.ts";
import {
  findStructures,
  StructureType,
} from "../../../../../src/bus/virtio/pci/capabilities.ts";
import { VirtioPciTransport } from "../../../../../src/bus/virtio/pci/modern.ts";
import { openPciTransport } from "../../../../../src/bus/virtio/pci/open.ts";
import {
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
  NotSupportedError,
} from "../../../../../src/errors.ts";
import { inHaste } from "../../../../support/until.ts";
import {
  addressWritten,
  At,
  C,
  OFFERED,
  QEMU_ROOT_BUS,
  QEMU_ROOT_PORT,
  VirtioPciBus,
  type VirtioPciBusOptions,
} from "../../../../support/virtio/pci_bus.ts";

const RING_RESET = 1n << 40n;
const NO_VECTOR = 0xffff;
const NEEDS_RESET = 64;
const STATUS = { acknowledge: 1, driver: 3, accepted: 11, live: 15 } as const;

const SETUP: VirtqueueSetup = {
  size: 128,
  vector: 2,
  descriptors: 0x12_3456_7000n,
  driver: 0xff_f123_4800n,
  device: 0x1_8000_0000n,
};

/** A device whose features are accepted already. */
async function ready(
  options: VirtioPciBusOptions = {},
): Promise<{ bus: VirtioPciBus; transport: VirtioPciTransport }> {
  const bus = new VirtioPciBus(options);
  const transport = new VirtioPciTransport(bus);
  await transport.reset();
  await transport.acceptFeatures(transport.offered);
  return { bus, transport };
}

/** QEMU's device with other bytes in its configuration space. */
function changed(...changes: readonly [at: number, ...bytes: number[]][]) {
  const config = QEMU_ROOT_BUS.slice();
  for (const [at, ...bytes] of changes) config.set(bytes, at);
  return config;
}

/** Where the capabilities of {@linkcode QEMU_ROOT_BUS} are. */
const Cap = {
  first: 0x34,
  common: 0x40,
  interruptStatus: 0x50,
  device: 0x60,
  notify: 0x70,
  window: 0x84,
  msix: 0x98,
} as const;
const NEXT = 1;
const LENGTH = 2;
const TYPE = 3;
const BAR = 4;
const OFFSET = 8;
const SIZE = 12;
const MULTIPLIER = 16;

Deno.test("the structures of QEMU's device are found, on either bus", () => {
  for (const config of [QEMU_ROOT_BUS, QEMU_ROOT_PORT]) {
    const places = findStructures(new VirtioPciBus({ config }).config);
    const expected = [
      { type: StructureType.notify, offset: 0x3000, notifyMultiplier: 4 },
      { type: StructureType.device, offset: 0x2000, notifyMultiplier: 0 },
      {
        type: StructureType.interruptStatus,
        offset: 0x1000,
        notifyMultiplier: 0,
      },
      { type: StructureType.common, offset: 0, notifyMultiplier: 0 },
    ];
    assertEquals(
      places,
      expected.map((place) => ({ ...place, bar: 4, length: 0x1000 })),
    );
  }
});

Deno.test("a device is reset, waited for, and told of its driver", async () => {
  const bus = new VirtioPciBus({ slow: 5 });
  const transport = new VirtioPciTransport(bus);
  assertEquals(bus.writes, []);
  await transport.reset();
  assertEquals(bus.written(C.DEVICE_STATUS), [
    0,
    STATUS.acknowledge,
    STATUS.driver,
  ]);
  assertEquals(transport.offered, OFFERED);
  assertEquals(transport.virtqueueCount, 3);
  assert(transport.hasConfig);
});

Deno.test("a device that does not finish its reset is not waited for without end", async () => {
  const bus = new VirtioPciBus();
  bus.hangs = true;
  const transport = new VirtioPciTransport(bus);
  await inHaste(() =>
    assertRejects(() => transport.reset(), DeviceTimeoutError, "device_status")
  );
});

Deno.test("features are accepted in two halves, then virtqueues are set up, then it is live", async () => {
  const { bus, transport } = await ready();
  assertEquals(bus.written(C.DRIVER_FEATURE_SELECT), [0, 1]);
  assertEquals(
    bus.written(C.DRIVER_FEATURE),
    [Number(OFFERED & 0xffffffffn), Number(OFFERED >> 32n)],
  );
  await transport.setUp(1, SETUP);
  assertEquals(bus.written(C.QUEUE_SELECT).at(-1), 1);
  assertEquals(bus.written(C.QUEUE_SIZE), [SETUP.size]);
  assertEquals(bus.written(C.QUEUE_MSIX_VECTOR), [SETUP.vector!]);
  assertEquals(addressWritten(bus, C.QUEUE_DESC), SETUP.descriptors);
  assertEquals(addressWritten(bus, C.QUEUE_DRIVER), SETUP.driver);
  assertEquals(addressWritten(bus, C.QUEUE_DEVICE), SETUP.device);
  assertEquals(bus.written(C.QUEUE_ENABLE), []);
  await transport.enable(1);
  assertEquals(bus.written(C.QUEUE_ENABLE), [1]);
  await transport.start();
  assertEquals(
    bus.written(C.DEVICE_STATUS).slice(3),
    [STATUS.accepted, STATUS.live],
  );
});

Deno.test("every field is accessed as a whole", async () => {
  const { bus, transport } = await ready();
  await transport.setUp(0, SETUP);
  await transport.routeConfig(0);
  await transport.enable(0);
  await transport.stop(0);
  transport.notify(0);
  for (const [offset, , size] of bus.writes) {
    const words = offset < C.CONFIG_MSIX_VECTOR ||
      offset >= C.QUEUE_DESC && offset < C.QUEUE_RESET;
    const expected = words ? 4 : offset === C.DEVICE_STATUS ? 1 : 2;
    assertEquals(size, expected, `at ${offset}`);
  }
});

Deno.test("a device that does not take the features says so", async () => {
  const transport = new VirtioPciTransport(
    new VirtioPciBus({ refused: RING_RESET }),
  );
  await transport.reset();
  assertThrows(
    () => transport.acceptFeatures(OFFERED),
    NotSupportedError,
    "does not take the features",
  );
});

Deno.test("largest sizes are those after the reset, whatever was set up since", async () => {
  const { transport } = await ready();
  await transport.setUp(0, SETUP);
  assertEquals([0, 1, 2, 3].map((q) => transport.largestSize(q)), [
    256,
    256,
    64,
    0,
  ]);
  await transport.reset();
  assertEquals(transport.largestSize(0), 256);
});

Deno.test("a vector that the device has no room for is refused", async () => {
  const { bus, transport } = await ready({ vectors: 2 });
  assertThrows(
    () => transport.setUp(0, SETUP),
    NotSupportedError,
    "no room for interrupt vector 2 of virtqueue 0",
  );
  assertThrows(
    () => transport.routeConfig(2),
    NotSupportedError,
    "no room for interrupt vector 2 of configuration changes",
  );
  await transport.setUp(0, { ...SETUP, vector: 1 });
  await transport.setUp(1, { ...SETUP, vector: undefined });
  await transport.routeConfig(undefined);
  assertEquals(bus.written(C.QUEUE_MSIX_VECTOR).slice(1), [1, NO_VECTOR]);
  assertEquals(bus.written(C.CONFIG_MSIX_VECTOR).at(-1), NO_VECTOR);
});

Deno.test("one virtqueue is stopped and waited for while another is in use", async () => {
  const { bus, transport } = await ready({ slow: 3 });
  assert(transport.queuesAlone);
  for (const virtqueue of [0, 1]) {
    await transport.setUp(virtqueue, SETUP);
    await transport.enable(virtqueue);
  }
  await Promise.all([transport.stop(0), transport.stop(1)]);
  assertEquals(bus.written(C.QUEUE_RESET), [1, 1]);
  await transport.stop(0);
  assertEquals(bus.written(C.QUEUE_RESET), [1, 1], "it was stopped already");
  await transport.setUp(0, SETUP);
  await transport.enable(0);
  assertEquals(bus.written(C.QUEUE_ENABLE), [1, 1, 1]);
});

Deno.test("a virtqueue that does not stop is not waited for without end", async () => {
  const { bus, transport } = await ready();
  await transport.setUp(0, SETUP);
  await transport.enable(0);
  bus.hangs = true;
  await inHaste(() =>
    assertRejects(() => transport.stop(0), DeviceTimeoutError, "queue_reset")
  );
});

Deno.test("without RING_RESET virtqueues do not stop alone", async () => {
  const offered = OFFERED & ~RING_RESET;
  const { transport } = await ready({ offered });
  assert(!transport.queuesAlone);
  // A device whose common configuration ends before queue_reset cannot mean what it offers.
  const config = changed([Cap.common + SIZE, 0x38, 0]);
  const short = await ready({ config });
  assertEquals(short.transport.offered, offered);
});

Deno.test("a device that needs a reset, or has gone, is seen, and shut down", async () => {
  const { bus, transport } = await ready();
  assert(!transport.needsReset);
  bus.deviceStatus = NEEDS_RESET;
  assert(transport.needsReset);
  bus.deviceStatus = 0;
  await transport.shutDown();
  assertEquals(bus.written(C.DEVICE_STATUS).at(-1), 0);
  bus.gone = true;
  assert(transport.needsReset);
  const before = bus.writes.length;
  await transport.shutDown();
  assertEquals(bus.writes.length, before);
});

Deno.test("device configuration is read within its bounds", async () => {
  const device = Uint8Array.from({ length: 24 }, (_, i) => i + 1);
  const config = changed([Cap.device + SIZE, 24, 0]);
  const { bus, transport } = await ready({ device, config });
  assertEquals(transport.readConfig(0, 1), 1);
  assertEquals(transport.readConfig(6, 2), 0x0807);
  assertEquals(transport.readConfig(20, 4), 0x18171615);
  for (const [offset, size] of [[24, 1], [23, 2], [22, 4]] as const) {
    assertThrows(
      () => transport.readConfig(offset, size),
      DeviceFaultError,
      "it has 24 bytes",
    );
  }
  assertEquals(transport.configGeneration, 0);
  bus.generation = 7;
  assertEquals(transport.configGeneration, 7);
  const without = changed([Cap.device + TYPE, 9]);
  const none = await ready({ config: without });
  assert(!none.transport.hasConfig);
  assertThrows(() => none.transport.readConfig(0, 1), DeviceFaultError);
});

Deno.test("virtqueues are notified where the device wants it, from any isolate", async () => {
  const page = 0x1000;
  const layouts = [
    // One place for all.
    { multiplier: 0, off: () => 5, expected: [0, 0, 0] },
    { multiplier: 4, off: (q: number) => 2 - q, expected: [8, 4, 0] },
    // page-per-vq=on in QEMU.
    { multiplier: page, off: (q: number) => q, expected: [0, page, 2 * page] },
  ];
  for (const { multiplier, off, expected } of layouts) {
    const config = changed(
      [Cap.notify + MULTIPLIER, multiplier & 0xff, multiplier >> 8],
      [Cap.notify + SIZE, 0, 0x30],
    );
    const bars = { 4: At.notify + 3 * page };
    const { bus, transport } = await ready({ config, bars, notifyOff: off });
    for (const virtqueue of [0, 1, 2]) {
      await transport.setUp(virtqueue, { ...SETUP, size: 64 });
      transport.notify(virtqueue);
      assertEquals(bus.writes.at(-1), [
        At.notify + expected[virtqueue],
        virtqueue,
        2,
      ]);
    }
    const description = transport.describe();
    assertEquals(description.interruptStatus, undefined);
    const notifier = new VirtioPciNotifier(structuredClone(description));
    const halves = new Uint16Array(description.buffer);
    for (const virtqueue of [2, 1, 0]) {
      notifier.notify(virtqueue);
      assertEquals(halves[(At.notify + expected[virtqueue]) / 2], virtqueue);
    }
    assertEquals(notifier.unmaskInterrupt(), false);
    assertEquals(transport.unmaskInterrupt(), false);
  }
});

Deno.test("INTx: reading the status takes the line down before the next interrupt is let through", async () => {
  const { bus, transport } = await ready({ kind: "intx", vectors: 1 });
  await transport.setUp(0, { ...SETUP, vector: 0 });
  await transport.routeConfig(0);
  assertEquals(bus.written(C.QUEUE_MSIX_VECTOR), []);
  assertEquals(bus.written(C.CONFIG_MSIX_VECTOR), []);
  for (const [causes, configuration] of [[1, false], [2, true], [3, true]]) {
    bus.interruptStatus = Number(causes);
    assertEquals(transport.unmaskInterrupt(), configuration);
    assertEquals(bus.line.splice(0), ["read", "unmasked"]);
  }
  const { interruptStatus } = transport.describe();
  assertEquals(interruptStatus?.offset, At.interruptStatus);
  assertEquals(interruptStatus?.bar.intx, true);
  assertEquals(
    new MappedRegisters(interruptStatus!.bar).read8(At.interruptStatus),
    0,
  );
});

Deno.test("a device without an MSI-X or INTx interrupt is not driven", () => {
  assertThrows(
    () => new VirtioPciTransport(new VirtioPciBus({ kind: "msi" })),
    NotSupportedError,
    "MSI-X or INTx",
  );
});

Deno.test("a transitional device is driven by its modern interface", () => {
  const config = changed([0x02, 0x00, 0x10], [0x08, 0]);
  for (const physical of [false, true]) {
    const bus = new VirtioPciBus({ config, physical });
    assertEquals(bus.ids.device, 0x1000);
    const transport = openPciTransport(bus);
    assertInstanceOf(transport, VirtioPciTransport);
    assertEquals(transport.virtqueueCount, 3);
  }
});

Deno.test("a device that goes around the IOMMU is refused, unless there is none", async () => {
  const offered = 1n << 32n;
  const behind = new VirtioPciTransport(new VirtioPciBus({ offered }));
  await assertRejects(
    () => behind.reset(),
    NotSupportedError,
    "iommu_platform=on",
  );
  const without = await ready({ offered, physical: true });
  assertEquals(without.transport.offered, offered);
});

Deno.test("a structure behind I/O ports is passed over for the next", async () => {
  // With modern-pio-notify=on in QEMU: the notification of the first capability is in BAR 2.
  const config = changed(
    [Cap.window + TYPE, StructureType.notify],
    [Cap.window + BAR, 2],
    [Cap.window + SIZE, 4],
  );
  const [first] = findStructures(new VirtioPciBus({ config }).config);
  assertEquals([first.type, first.bar], [StructureType.notify, 2]);
  const { bus, transport } = await ready({ config });
  await transport.setUp(0, SETUP);
  transport.notify(0);
  assertEquals(bus.writes.at(-1), [At.notify, 0, 2]);
});

/** What a device says that cannot be true, and what is said of it. */
const LIES: readonly (VirtioPciBusOptions & { what: string; says: string })[] =
  [
    {
      what: "a list of capabilities without an end",
      config: changed([Cap.common + NEXT, Cap.notify]),
      says: "comes back to 112",
    },
    {
      what: "a capability that follows itself",
      config: changed([Cap.msix + NEXT, Cap.msix]),
      says: "comes back to 152",
    },
    {
      what: "a capability in the header",
      config: changed([Cap.common + NEXT, 0x10]),
      says: "leads to the header (16)",
    },
    {
      what: "a capability that is too short",
      config: changed([Cap.common + LENGTH, 15]),
      says: "has 15 bytes at 64",
    },
    {
      what: "a notification without its multiplier",
      config: changed([Cap.notify + LENGTH, 16]),
      says: "has 16 bytes at 112",
    },
    {
      what: "a capability beyond configuration space",
      config: changed([Cap.common + NEXT, 0xf4], [0xf4, 9, 0, 16, 1]),
      says: "has 16 bytes at 244",
    },
    {
      what: "a common configuration beyond its BAR",
      config: changed([Cap.common + OFFSET, 0, 0x40]),
      says: "the common configuration is 4096 bytes at 16384 of BAR 4",
    },
    {
      what: "a length that wraps",
      config: changed([Cap.device + SIZE, 0xff, 0xff, 0xff, 0xff]),
      says: "the device configuration is 4294967295 bytes",
    },
    {
      what: "an offset that wraps",
      config: changed([Cap.notify + OFFSET, 0xfe, 0xff, 0xff, 0xff]),
      says: "the notification structure is 4096 bytes at 4294967294",
    },
    {
      what: "a common configuration that is too short",
      config: changed([Cap.common + SIZE, 0x37, 0]),
      says: "it needs 56",
    },
    {
      what: "a notification of one byte",
      config: changed([Cap.notify + SIZE, 1, 0]),
      says: "it needs 2",
    },
    {
      what: "a common configuration that is not aligned",
      config: changed([Cap.common + OFFSET, 2]),
      says: "no multiple of 4",
    },
    {
      what: "a notification that is not aligned",
      config: changed([Cap.notify + OFFSET, 1]),
      says: "no multiple of 2",
    },
    {
      what: "no common configuration",
      config: changed([Cap.common + TYPE, 9]),
      says: "no common configuration",
    },
    {
      what: "a reserved BAR",
      config: changed([Cap.notify + BAR, 6]),
      says: "no notification structure",
    },
    {
      what: "a BAR that is not there",
      config: changed([Cap.interruptStatus + BAR, 0]),
      says: "no interrupt status",
    },
    {
      what: "no capabilities",
      config: changed([0x06, 0, 0]),
      says: "no common configuration",
    },
    {
      what: "a virtqueue notified beyond the structure",
      notifyOff: () => 0x400,
      says: "virtqueue 0 is notified at 4096 of 4096 bytes",
    },
    {
      what: "a virtqueue notified at an odd address",
      config: changed([Cap.notify + MULTIPLIER, 1]),
      notifyOff: () => 3,
      says: "virtqueue 0 is notified at 3",
    },
    {
      what: "a virtqueue notified far beyond",
      config: changed([Cap.notify + MULTIPLIER, 0xfe, 0xff, 0xff, 0xff]),
      notifyOff: () => 0xffff,
      says: "virtqueue 0 is notified at",
    },
    {
      what: "a virtqueue that is too large",
      sizes: [0xffff],
      says: "virtqueue 0 has 65535 descriptors",
    },
  ];

for (const { what, says, ...options } of LIES) {
  Deno.test(`a device that claims ${what} is refused`, async () => {
    await assertRejects(
      async () => {
        const { transport } = await ready(options);
        transport.largestSize(0);
      },
      DeviceFaultError,
      says,
    );
  });
}

Deno.test("a card that has gone is refused", async () => {
  const ones = new Uint8Array(256).fill(0xff);
  assertThrows(
    () => new VirtioPciTransport(new VirtioPciBus({ config: ones })),
    DeviceFaultError,
  );
  const bus = new VirtioPciBus();
  const transport = new VirtioPciTransport(bus);
  bus.gone = true;
  await inHaste(() =>
    assertRejects(() => transport.reset(), DeviceTimeoutError)
  );
});

/** A generator of numbers that are the same in each run (xorshift). */
function* numbers(seed: number): Generator<number, never> {
  let state = seed;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

Deno.test("whatever configuration space says, nothing is accessed beyond a BAR", async () => {
  const random = numbers(4711);
  const next = (below: number) => random.next().value % below;
  let refused = 0;
  const ROUNDS = 3000;
  for (let round = 0; round < ROUNDS; round++) {
    const config = QEMU_ROOT_BUS.slice();
    for (let i = next(4) + 1; i > 0; i--) {
      config[Cap.common + next(0x60)] = next(256);
    }
    const offs = Array.from({ length: 3 }, () => next(0x10000));
    const notifyOff = (virtqueue: number) =>
      round % 2 === 0 ? virtqueue : offs[virtqueue];
    try {
      const { transport } = await ready({ config, notifyOff });
      for (const virtqueue of [0, 1, 2]) {
        await transport.setUp(virtqueue, { ...SETUP, size: 64 });
        transport.notify(virtqueue);
      }
      transport.describe();
      if (transport.hasConfig) transport.readConfig(0, 1);
    } catch (error) {
      // The bus itself asserts that no access leaves a BAR.
      assert(error instanceof IxlError, String(error));
      refused++;
    }
  }
  assert(refused > ROUNDS / 10 && refused < ROUNDS, `${refused} refused`);
});
