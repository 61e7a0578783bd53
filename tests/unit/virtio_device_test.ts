/** The virtio device as a whole, on a device that the test plays: what is negotiated, told, answered, and lost. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Batch } from "../../src/batch.ts";
import { completeConfig, type DeviceOptions } from "../../src/config.ts";
import type { Device } from "../../src/device_api.ts";
import { openDriver } from "../../src/drivers/registry.ts";
import type { VirtioFeatureName } from "../../src/drivers/virtio/features.ts";
import { Packet } from "../../src/packet.ts";
import {
  type FakeOptions,
  type FakeVirtio,
  FakeVirtioBus,
} from "../support/virtio_transport.ts";

const PLAIN: readonly VirtioFeatureName[] = ["mac", "status", "mergeable"];
const CONTROLLED: readonly VirtioFeatureName[] = [
  ...PLAIN,
  "control-queue",
  "rx-filters",
  "set-mac",
  "multiqueue",
];

interface Rig {
  readonly device: Device;
  readonly bus: FakeVirtioBus;
  readonly virtio: FakeVirtio;
}

/** Opens a device, runs a test, closes it, and looks at what is left. */
async function withVirtio(
  options: FakeOptions,
  config: DeviceOptions,
  test: (rig: Rig) => void | Promise<void>,
): Promise<void> {
  const bus = new FakeVirtioBus(options);
  const device = await openDriver(bus, configOf(config));
  try {
    await test({ device, bus, virtio: bus.virtio });
  } finally {
    await device.close();
  }
  assertClean(bus);
  assertEquals(bus.virtio.calls.at(-1), "shut down");
}

function configOf(options: DeviceOptions) {
  return completeConfig({ hugepages: "never", irqTimeoutMs: 0, ...options });
}

function assertClean(bus: FakeVirtioBus): void {
  assertEquals([bus.mapped, bus.busMaster, bus.closed], [0, false, 1]);
  assertEquals(bus.routed, []);
}

/** Sends frames with a byte of their own and returns the bytes that came back. */
function roundTrip({ device, virtio }: Rig, queue: number, values: number[]) {
  const { rx, tx } = device.queue(queue);
  const batch = new Batch(64);
  const packet = new Packet();
  for (const value of values) {
    packet.at(rx.pool.allocate()).write(new Uint8Array(60).fill(value));
    batch.push(packet.handle);
  }
  assertEquals(tx.send(batch), values.length);
  virtio.loop();
  rx.receive(batch);
  const seen = Array.from({ length: batch.length }, (_, i) => {
    packet.at(batch.handles[i]);
    assertEquals(packet.length, 60);
    return packet.u8[packet.offset];
  });
  batch.free();
  return seen;
}

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
