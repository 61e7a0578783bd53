/**
 * An open virtio device on a device that the test plays.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import {
  completeConfig,
  type DeviceConfig,
  type DeviceOptions,
} from "../../../src/config.ts";
import type { Device, QueuePair } from "../../../src/device_api.ts";
import { openDriver } from "../../../src/drivers/registry.ts";
import type { VirtioFeatureName } from "../../../src/bus/virtio/feature_bits.ts";
import type { IxlError } from "../../../src/errors.ts";
import { Packet } from "../../../src/memory/packet.ts";
import {
  type FakeOptions,
  type FakeVirtio,
  FakeVirtioBus,
} from "./transport.ts";

/** What every device offers. */
export const PLAIN: readonly VirtioFeatureName[] = [
  "mac",
  "status",
  "mergeable",
];
/** With a control queue, filters and several queues. */
export const CONTROLLED: readonly VirtioFeatureName[] = [
  ...PLAIN,
  "control-queue",
  "rx-filters",
  "set-mac",
  "multiqueue",
];

/** An open device, and what it is open on. */
export interface Rig {
  readonly device: Device;
  readonly bus: FakeVirtioBus;
  readonly virtio: FakeVirtio;
}

/** Opens a device, runs a test, closes it, and looks at what is left. */
export async function withVirtio(
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

/** A configuration without hugepages that polls. */
export function configOf(options: DeviceOptions): DeviceConfig {
  return completeConfig({ hugepages: "never", irqTimeoutMs: 0, ...options });
}

/** Nothing is left of a device. */
export function assertClean(bus: FakeVirtioBus): void {
  assertEquals([bus.mapped, bus.busMaster, bus.closed], [0, false, 1]);
  assertEquals(bus.routed, []);
}

/** Opens a device that does not come up, and looks at what is left. */
export async function rejects(
  options: FakeOptions,
  config: DeviceOptions,
  change: (virtio: FakeVirtio) => void = () => {},
): Promise<IxlError> {
  const bus = new FakeVirtioBus(options);
  change(bus.virtio);
  const error = await assertRejects(() => openDriver(bus, configOf(config)));
  assertClean(bus);
  return error as IxlError;
}

/** Sends frames with a byte of their own and returns the bytes that came back. */
export function roundTrip(
  { device, virtio }: Rig,
  queue: number,
  values: number[],
  { rx, tx }: QueuePair = device.queue(queue),
): number[] {
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
