/**
 * Virtio devices from before version 1.0: their registers against the specification's table (Virtio 1.2, 4.1.4.10), the
 * layout of their rings (2.7.2), and a whole device of the test that is found by both.
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { Batch } from "../../../../../src/memory/batch.ts";
import type { VirtioPortsBusDescription } from "../../../../../src/bus/description.ts";
import { PortWindow } from "../../../../../src/bus/vfio/ports.ts";
import { VirtioPortNotifier } from "../../../../../src/bus/virtio/pci/notifier.ts";
import type { VirtqueueSetup } from "../../../../../src/bus/virtio/transport.ts";
import type { DeviceOptions } from "../../../../../src/config.ts";
import { DmaMemory } from "../../../../../src/dma/memory.ts";
import { VirtioDevice } from "../../../../../src/drivers/virtio/device.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../../../src/bus/virtio/feature_bits.ts";
import { acceptedFeatures } from "../../../../../src/drivers/virtio/features.ts";
import {
  ringBytes,
  virtqueueLayout,
} from "../../../../../src/drivers/virtio/virtqueue/layout.ts";
import { VirtioPciLegacyTransport } from "../../../../../src/bus/virtio/pci/legacy.ts";
import { openPciTransport } from "../../../../../src/bus/virtio/pci/open.ts";
import {
  ConfigError,
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
  NotSupportedError,
} from "../../../../../src/errors.ts";
import { Packet } from "../../../../../src/memory/packet.ts";
import {
  LegacyBus,
  type LegacyOptions,
} from "../../../../support/virtio/legacy_bus.ts";
import { randomFrom } from "../../../../support/virtio/rig.ts";
import { QEMU_LEGACY } from "../../../../support/virtio/pci_bus.ts";
import { configOf } from "../../../../support/virtio/device_rig.ts";
import { inHaste, until } from "../../../../support/until.ts";

const NAMES: readonly VirtioFeatureName[] = [
  ...(["any-layout", "mac", "status", "mergeable", "indirect"] as const),
  ...(["event-index", "control-queue", "rx-filters"] as const),
];
/** Besides what has a name: bit 30, which QEMU offers and nobody accepts, and bit 24. */
const OFFERED = featureBits(NAMES) | 1n << 30n | 1n << 24n;
const NO_VECTOR = 0xffff;
const LIVE = 7;

const SETUP: VirtqueueSetup = {
  size: 256,
  vector: 1,
  descriptors: 0xfff_ffff_f000n,
  driver: 0xfff_ffff_f000n + 4096n,
  device: 0xfff_ffff_f000n + 8192n,
};

/** A device that was reset, and whose interrupts are routed. */
async function ready(options: Partial<LegacyOptions> = {}) {
  const bus = new LegacyBus({ offered: OFFERED, ...options });
  const transport = new VirtioPciLegacyTransport(bus);
  await transport.reset();
  bus.interrupts.route([1, 2, 3]);
  bus.writes.length = 0;
  return { bus, transport };
}

Deno.test("a device with the legacy interface alone is driven where there is no IOMMU", () => {
  const behind = new LegacyBus({ offered: OFFERED });
  assertEquals(behind.ids.device, 0x1000);
  assertThrows(
    () => openPciTransport(behind),
    NotSupportedError,
    "disable-modern=off,disable-legacy=on,iommu_platform=on",
  );
  const bus = new LegacyBus({ offered: OFFERED, physical: true });
  assertInstanceOf(openPciTransport(bus), VirtioPciLegacyTransport);
  assertEquals(bus.writes, []);
  // Section 4.1.2.3: such devices have revision 0.
  const config = QEMU_LEGACY.slice();
  config[0x08] = 1;
  assertThrows(
    () => openPciTransport(new LegacyBus({ offered: 0n, config })),
    DeviceFaultError,
    "no common configuration",
  );
});

Deno.test("a device is reset, waited for, and told of its driver: bits 0 to 31 are all there is", async () => {
  const bus = new LegacyBus({ offered: OFFERED | 1n << 31n, slow: 5 });
  const transport = new VirtioPciLegacyTransport(bus);
  await transport.reset();
  assertEquals(bus.writes, [
    ["DEVICE_STATUS", 0],
    ["DEVICE_STATUS", 1],
    ["DEVICE_STATUS", 3],
  ]);
  assertEquals(transport.offered, OFFERED | 1n << 31n);
  await transport.acceptFeatures(featureBits(NAMES));
  await transport.start();
  assertEquals(bus.writes.slice(3), [
    ["DRIVER_FEATURES", Number(featureBits(NAMES))],
    // There is no FEATURES_OK.
    ["DEVICE_STATUS", LIVE],
  ]);
  assert(transport.legacy && transport.hasConfig && !transport.queuesAlone);
});

Deno.test("a virtqueue is told by its page, once its vector is set", async () => {
  const { bus, transport } = await ready();
  await transport.setUp(1, SETUP);
  assertEquals(bus.written("QUEUE_ADDRESS"), []);
  await transport.enable(1);
  assertEquals(bus.writes, [
    ["QUEUE_SELECT", 1],
    ["QUEUE_VECTOR", 1],
    ["QUEUE_SELECT", 1],
    ["QUEUE_ADDRESS", 0xffff_ffff],
  ]);
  await transport.routeConfig(2);
  assertEquals(bus.writes.at(-1), ["CONFIG_VECTOR", 2]);
  transport.notify(1);
  assertEquals(bus.writes.at(-1), ["QUEUE_NOTIFY", 1]);
  assertThrows(() => transport.stop(1), NotSupportedError, "with all others");
});

Deno.test("a ring that cannot be told by its page is refused", async () => {
  const { bus, transport } = await ready();
  for (const descriptors of [0x1000_0000_0000n, 0x1_0000_0800n, 0x1001n]) {
    assertThrows(
      () => transport.setUp(0, { ...SETUP, descriptors }),
      NotSupportedError,
      "pages of 4096 bytes below 16 TiB",
    );
  }
  assertEquals(bus.written("QUEUE_ADDRESS"), []);
});

Deno.test("a device that does not take the page is refused", async () => {
  for (const takes of [() => 0, (page: number) => page - 1]) {
    const { transport } = await ready({ takes });
    await transport.setUp(0, SETUP);
    assertThrows(
      () => transport.enable(0),
      DeviceFaultError,
      "does not take page 4294967295 for virtqueue 0",
    );
  }
});

Deno.test("virtqueues have the size that the device says, or are not there", async () => {
  const { transport } = await ready({ sizes: [1024, 32768] });
  const sizes = [0, 1, 2, 77].map((q) => transport.largestSize(q));
  assertEquals(sizes, [1024, 32768, 0, 0]);
  assertEquals(transport.virtqueueCount, 2);
  assertThrows(
    () => transport.setUp(0, SETUP),
    NotSupportedError,
    "has 1024 descriptors: the legacy interface does not take 256",
  );
  const many = await ready({ sizes: Array.from({ length: 70 }, () => 256) });
  assertEquals(many.transport.virtqueueCount, 3);
  for (const size of [3, 255, 257, 65535]) {
    const { transport } = await ready({ sizes: [size, size] });
    assertThrows(
      () => transport.largestSize(0),
      DeviceFaultError,
      `virtqueue 0 has ${size} descriptors, no power of two`,
    );
  }
});

Deno.test("device configuration gives way to the vectors while MSI-X is enabled", async () => {
  const { bus, transport } = await ready();
  const mac = () => [0, 1, 2, 3, 4, 5].map((at) => transport.readConfig(at, 1));
  for (const fds of [[1, 2, 3], [], [4]]) {
    bus.interrupts.route(fds);
    assertEquals(mac(), [2, 0, 0, 0, 0, 7]);
    assertEquals(transport.readConfig(6, 2), 1);
  }
  bus.interrupts.route([]);
  // Where the vectors were is the device's address now.
  await transport.routeConfig(1);
  await transport.setUp(0, SETUP);
  assertEquals([bus.written("CONFIG_VECTOR"), bus.written("QUEUE_VECTOR")], [
    [],
    [],
  ]);
});

Deno.test("device configuration is read within its ports", async () => {
  const { bus, transport } = await ready({ ports: 32 });
  assertEquals(transport.readConfig(4, 4), 0x0001_0700);
  assertThrows(
    () => transport.readConfig(8, 1),
    DeviceFaultError,
    "it has 8 bytes",
  );
  bus.interrupts.route([]);
  assertEquals(transport.readConfig(8, 4), 1);
  for (const ports of [0, 8, 20, 24]) {
    assertThrows(
      () => new VirtioPciLegacyTransport(new LegacyBus({ offered: 0n, ports })),
      DeviceFaultError,
      `has ${ports} ports`,
    );
  }
});

Deno.test("a vector that the device has no room for is refused", async () => {
  const { bus, transport } = await ready({ vectors: 1 });
  assertThrows(
    () => transport.setUp(0, SETUP),
    NotSupportedError,
    "no room for interrupt vector 1 of virtqueue 0",
  );
  assertThrows(
    () => transport.routeConfig(1),
    NotSupportedError,
    "no room for interrupt vector 1 of configuration changes",
  );
  await transport.setUp(0, { ...SETUP, vector: undefined });
  assertEquals(bus.writes.at(-1), ["QUEUE_VECTOR", NO_VECTOR]);
});

Deno.test("INTx: reading the status takes the line down before the next interrupt is let through", async () => {
  const { bus, transport } = await ready({ kind: "intx" });
  await transport.setUp(0, SETUP);
  await transport.routeConfig(0);
  assertEquals(bus.written("QUEUE_VECTOR"), []);
  for (const [causes, configuration] of [[1, false], [2, true], [3, true]]) {
    bus.interruptStatus = Number(causes);
    assertEquals(transport.unmaskInterrupt(), configuration);
    assertEquals(bus.line.splice(0), ["read", "unmasked"]);
  }
  const msix = await ready();
  assertEquals(msix.transport.unmaskInterrupt(), false);
  assertEquals(msix.bus.line, []);
});

Deno.test("a device that does not finish its reset is not waited for without end", async () => {
  const { bus, transport } = await ready();
  await transport.start();
  bus.hangs = true;
  await inHaste(() =>
    assertRejects(() => transport.reset(), DeviceTimeoutError, "device_status")
  );
});

Deno.test("a device that has gone is seen, and nothing is written to it", async () => {
  const { bus, transport } = await ready();
  assert(!transport.needsReset);
  await transport.shutDown();
  assertEquals(bus.writes.splice(0), [["DEVICE_STATUS", 0]]);
  bus.gone = true;
  assert(transport.needsReset);
  await transport.shutDown();
  assertEquals(bus.writes, []);
});

Deno.test("a device that is to interrupt by MSI is not driven", () => {
  const bus = new LegacyBus({ offered: OFFERED, kind: "msi" });
  assertThrows(
    () => new VirtioPciLegacyTransport(bus),
    NotSupportedError,
    "MSI-X or INTx",
  );
});

Deno.test("the capability MSI-X is looked for in a list that has an end", () => {
  const config = QEMU_LEGACY.slice();
  config.set([5, 0x40], 0x40);
  const bus = new LegacyBus({ offered: OFFERED, config });
  assertThrows(
    () => new VirtioPciLegacyTransport(bus),
    DeviceFaultError,
    "comes back to 64",
  );
});

Deno.test("I/O ports are read and written as a whole through the device's file, from any isolate", () => {
  const file = DmaMemory.allocate({ bytes: 4096, backing: "memfd" });
  const view = new DataView(file.buffer, file.byteOffset, 4096);
  const fileOffset = 1024;
  const ports = new PortWindow({
    ...{ deviceFd: file.fd!, fileOffset },
    ...{ byteLength: 64, intx: false },
  });
  ports.write32(0, 0xfedc_ba98);
  ports.write16(4, 0x1234);
  ports.write8(6, 0x56);
  assertEquals(view.getUint32(fileOffset, true), 0xfedc_ba98);
  assertEquals(view.getUint32(fileOffset + 4, true), 0x56_1234);
  assertEquals(ports.read32(0), 0xfedc_ba98);
  assertEquals(ports.read16(2), 0xfedc);
  assertEquals(ports.read8(3), 0xfe);
  const description = structuredClone(describe(file.fd!, fileOffset));
  const notifier = new VirtioPortNotifier(description);
  for (const virtqueue of [2, 0, 513]) {
    notifier.notify(virtqueue);
    assertEquals(view.getUint16(fileOffset + 0x10, true), virtqueue);
  }
  assertEquals(notifier.unmaskInterrupt(), false);
  // Nobody answers there.
  assertEquals(ports.read8(8000), 0xff);
  ports.close();
  ports.write32(0, 0);
  assertEquals(ports.read32(0), 0xffff_ffff);
  assertEquals(view.getUint32(fileOffset, true), 0xfedc_ba98);
  file.free();
});

/** What a transport says of a device whose ports are there. */
function describe(
  deviceFd: number,
  fileOffset: number,
): VirtioPortsBusDescription {
  const bus = new LegacyBus({ offered: OFFERED });
  const { description } = bus.openPorts(0);
  const openPorts = bus.openPorts.bind(bus);
  bus.openPorts = (index) => ({
    ...openPorts(index),
    description: { ...description, deviceFd, fileOffset },
  });
  return new VirtioPciLegacyTransport(bus).describe();
}

const PLAIN = acceptedFeatures(featureBits(["any-layout"]));

Deno.test("rings lie as the formula of section 2.7.2 has it", () => {
  const align = (at: number) => (at + 4095) & ~4095;
  for (let size = 2; size <= 32768; size *= 2) {
    const { descriptors, driver, device, tables } = virtqueueLayout(
      PLAIN,
      size,
      "rx",
    );
    assertEquals([descriptors, driver], [0, 16 * size]);
    assertEquals(device, align(16 * size + 2 * (3 + size)));
    assert(tables >= device + 6 + 8 * size);
    const bytes = ringBytes(PLAIN, size, "rx");
    assertEquals(bytes, align(device) + align(6 + 8 * size));
  }
  const indirect = acceptedFeatures(featureBits(["any-layout", "indirect"]));
  const bytes = ringBytes(indirect, 256, "tx");
  assertEquals([bytes % 4096, bytes >= 12288 + 256 * 256], [0, true]);
});

/** Opens a device, runs a test, closes it, and looks at what is left. */
async function withDevice(
  options: Partial<LegacyOptions>,
  config: DeviceOptions,
  test: (device: VirtioDevice, bus: LegacyBus) => void | Promise<void>,
): Promise<void> {
  const bus = new LegacyBus({ offered: OFFERED, ...options });
  const transport = new VirtioPciLegacyTransport(bus);
  const device = new VirtioDevice(bus, configOf(config), transport);
  try {
    await device.start();
    await test(device, bus);
  } finally {
    await device.close();
  }
  assertEquals([bus.mapped, bus.closed], [0, 1]);
  assertEquals(bus.writes.at(-1), ["DEVICE_STATUS", 0]);
}

/** Sends frames and returns what came back. */
function roundTrip(
  device: VirtioDevice,
  bus: LegacyBus,
  frames: readonly Uint8Array[],
  pair = 0,
): { sent: Uint8Array[]; received: Uint8Array[] } {
  const { rx, tx } = device.queue(pair);
  const batch = new Batch(frames.length);
  const packet = new Packet();
  for (const frame of frames) {
    packet.at(rx.pool.allocate()).write(frame);
    batch.push(packet.handle);
  }
  assertEquals(tx.send(batch), frames.length);
  const sent = bus.loop(pair);
  rx.receive(batch);
  const received = Array.from(
    { length: batch.length },
    (_, i) => packet.at(batch.handles[i]).bytes().slice(),
  );
  batch.free();
  return { sent, received };
}

const FRAMES = Array.from(
  { length: 40 },
  (_, i) => Uint8Array.from({ length: 60 + 31 * i }, (_, at) => at + 7 * i),
);

for (
  const [name, without, header] of [
    ["12 bytes", [], 12],
    ["10 bytes, without mergeable buffers", ["mergeable"], 10],
    ["10 bytes, events by flags", ["mergeable", "event-index"], 10],
  ] as const
) {
  Deno.test(`frames go round with a header of ${name}`, async () => {
    await withDevice({}, { virtio: { without } }, (device, bus) => {
      assertEquals(device.features.virtio?.includes("any-layout"), true);
      assertEquals(device.features.virtio?.includes("version-1"), false);
      assertEquals([device.rxQueueDepth, device.txQueueDepth], [256, 256]);
      assertEquals(device.macAddress, "02:00:00:00:00:07");
      for (let round = 0; round < 20; round++) {
        const { sent, received } = roundTrip(device, bus, FRAMES);
        assertEquals(received, FRAMES);
        assertEquals(sent.map((bytes) => bytes.subarray(header)), FRAMES);
        for (const bytes of sent) {
          assertEquals([...bytes.subarray(0, header)], Array(header).fill(0));
        }
      }
      assertEquals(device.readStats().rxPackets, 20 * FRAMES.length);
    });
  });
}

Deno.test("commands are answered, whatever the device says that it wrote", async () => {
  await withDevice({}, {}, (device, bus) => {
    for (const bytes of [1, 0, 7, 0xffff_ffff]) {
      bus.answerBytes = bytes;
      bus.commands.length = 0;
      device.setPromiscuous(true);
      // Class, command, and that it is on (5.1.6.5.1).
      assertEquals(bus.commands[0], [0, 0, 1]);
    }
  });
});

for (const kind of ["msix", "intx"] as const) {
  Deno.test(`interrupts wake the queue and tell of the link (${kind})`, async () => {
    await withDevice({ kind }, { irqTimeoutMs: 5000 }, async (device, bus) => {
      assert(device.link().up);
      bus.setLink(false);
      await until("the link is down", () => !device.link().up);
      bus.setLink(true);
      await until("the link is up", () => device.link().up);
      const { received } = roundTrip(device, bus, FRAMES);
      assertEquals(received, FRAMES);
      const vectors = kind === "msix" ? [0, NO_VECTOR, NO_VECTOR] : [];
      assertEquals(bus.written("QUEUE_VECTOR"), vectors);
      assertEquals(bus.written("CONFIG_VECTOR"), vectors.length ? [1] : []);
    });
  });
}

Deno.test("a queue that is restarted costs a reset of all", async () => {
  await withDevice({}, {}, async (device, bus) => {
    await device.restartQueue(0);
    assertEquals(bus.written("DEVICE_STATUS").filter((s) => s === LIVE), [
      LIVE,
      LIVE,
      LIVE,
    ]);
    assertEquals(roundTrip(device, bus, FRAMES).received, FRAMES);
  });
});

const PAIRS = OFFERED | featureBits(["multiqueue"]);
const TWO_PAIRS = { offered: PAIRS, sizes: [64, 128, 64, 128, 16], pairs: 2 };

Deno.test("two pairs are used as one is, with the control queue behind them", async () => {
  const config = { queues: 2, irqTimeoutMs: -1 };
  await withDevice({ ...TWO_PAIRS, vectors: 4 }, config, (device, bus) => {
    assertEquals([device.rxQueueDepth, device.txQueueDepth], [64, 128]);
    // Class 4, command 0: how many pairs there are (5.1.6.5.5).
    assertEquals(bus.commands[0], [4, 0, 2, 0]);
    assertEquals(bus.written("QUEUE_VECTOR"), [
      ...[0, NO_VECTOR, 1, NO_VECTOR],
      NO_VECTOR,
    ]);
    for (const pair of [0, 1, 1, 0]) {
      const { received } = roundTrip(device, bus, FRAMES, pair);
      assertEquals(received, FRAMES);
    }
  });
});

/** What cannot be opened, and what is said of it. */
const REFUSED: readonly [
  what: string,
  // deno-lint-ignore no-explicit-any
  error: new (...args: any[]) => IxlError,
  text: string,
  options: Partial<LegacyOptions>,
  config: DeviceOptions,
][] = [
  ["a depth that it has not", ConfigError, "has 256 descriptors", {}, {
    rxDepth: 128,
  }],
  ["no virtqueue to send", DeviceFaultError, "1 virtqueues", {
    sizes: [256, 0],
  }, {}],
  ["no control queue that it offers", DeviceFaultError, "0 descriptors", {
    sizes: [256, 256],
  }, {}],
  ["a size that is no power of two", DeviceFaultError, "has 65535", {
    sizes: [65535, 65535],
  }, {}],
  ["headers apart", NotSupportedError, "ANY_LAYOUT", {
    offered: OFFERED & ~featureBits(["any-layout"]),
  }, {}],
  ["pairs of other sizes", NotSupportedError, "256, 128 descriptors", {
    ...{ ...TWO_PAIRS, sizes: [256, 256, 128, 256, 64], vectors: 4 },
  }, { queues: 2 }],
];

for (const [what, error, text, options, config] of REFUSED) {
  Deno.test(`a device with ${what} is refused, and given back`, async () => {
    const bus = new LegacyBus({ offered: OFFERED, ...options });
    const transport = new VirtioPciLegacyTransport(bus);
    const device = new VirtioDevice(bus, configOf(config), transport);
    await assertRejects(() => device.start(), error, text);
    await device.close();
    assertEquals([bus.mapped, bus.closed], [0, 1]);
  });
}

const CASES = 1000;

Deno.test(`${CASES} devices that say anything of themselves are used or refused (seeded)`, async () => {
  const random = randomFrom(4711);
  const anyOf = <T>(...values: T[]) => values[random(values.length)];
  const anySize = () => anyOf(256, 256, 64, 2, 1, 0, 1024, 3, 65535);
  let used = 0;
  for (let n = 0; n < CASES; n++) {
    const bits = BigInt(random(2 ** 31)) << 1n | BigInt(random(2));
    const bus = new LegacyBus({
      offered: bits |
        featureBits(anyOf<VirtioFeatureName[]>(["any-layout"], [])),
      sizes: Array.from({ length: 2 + random(4) }, anySize),
      ports: anyOf(64, 64, 40, 25),
      vectors: 1 + random(4),
      takes: (page) => random(20) === 0 ? random(2 ** 31) : page,
    });
    for (let at = 0; at < 12; at++) bus.device.setUint8(at, random(256));
    const transport = new VirtioPciLegacyTransport(bus);
    const config = configOf({ queues: 1 + random(2), linkTimeoutMs: 0 });
    const device = new VirtioDevice(bus, config, transport);
    try {
      await device.start();
      device.setPromiscuous(true);
      used++;
    } catch (error) {
      assert(error instanceof IxlError, `case ${n}: ${error}`);
    } finally {
      await device.close();
    }
    assertEquals([bus.mapped, bus.closed], [0, 1], `case ${n}`);
  }
  assert(used > CASES / 50 && used < CASES / 2, `${used} used`);
});
