/**
 * Our ixgbe driver on a served card that sends itself what it sends: every register access is a message, and memory is
 * shared by descriptor, or goes through messages too.
 */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import { completeConfig, type DeviceOptions } from "../../../src/config.ts";
import type { Device } from "../../../src/device_api.ts";
import { openDriver } from "../../../src/drivers/registry.ts";
import { Mempool } from "../../../src/memory/mempool.ts";
import {
  batchOf,
  bytesOf,
  numberedFrame,
  STATION,
} from "../../support/intel/ixgbe_rig.ts";
import { SharedServer } from "../../support/vfio_user/served_card.ts";
import { VfioUserBus } from "../../support/vfio_user/bus.ts";

const STATUS = 0x00008;
const DEADLINE_MS = 20_000;
const AT_ONCE = 32;

const server = new SharedServer({ mac: STATION });

/** A driver on the card. Afterwards the card has nothing to complain about. */
function test(
  name: string,
  { keep = false, ...options }: DeviceOptions & { keep?: boolean },
  run: (device: Device, bus: VfioUserBus) => Promise<void> | void,
): void {
  server.test(`vfio-user: ${name}`, async (card) => {
    const before = card.log.length;
    const bus = new VfioUserBus(card.path, keep);
    const device = await openDriver(
      bus,
      completeConfig({ irqTimeoutMs: 0, hugepages: "never", ...options }),
    );
    try {
      await run(device, bus);
    } finally {
      await device.close();
    }
    const said = card.log.slice(before).filter((line) => !/has/.test(line));
    assertEquals(said, []);
  });
}

/** Sends frames, and returns what comes back, as many as they are. */
function circulate(
  device: Device,
  bus: VfioUserBus,
  frames: readonly Uint8Array[],
): Uint8Array[] {
  const pair = device.queue(0);
  const received: Uint8Array[] = [];
  const batch = new Batch(AT_ONCE);
  const deadline = performance.now() + DEADLINE_MS;
  for (let at = 0; at < frames.length; at += AT_ONCE) {
    const some = frames.slice(at, at + AT_ONCE);
    assertEquals(pair.tx.send(batchOf(pair, some)), some.length);
    while (received.length < at + some.length) {
      assert(performance.now() < deadline, `${received.length} frames`);
      // Whoever keeps its memory must answer the card meanwhile.
      bus.registers.read32(STATUS);
      const count = pair.rx.receive(batch);
      for (const handle of batch.handles.subarray(0, count)) {
        received.push(bytesOf(handle));
        Mempool.freeChain(handle);
      }
    }
  }
  return received;
}

function frames(count: number, length: (i: number) => number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => numberedFrame(i, length(i)));
}

test("frames of all sizes through memory that is shared", {}, (device, bus) => {
  const sent = frames(1600, (i) => 60 + i % 1455);
  assertEquals(circulate(device, bus, sent), sent);
  assertEquals(bus.client.served, { read: 0, written: 0 }, "no copies");
});

test("a pool that grows, its file with it", {}, async (device, bus) => {
  const { rx } = device.queue(0);
  const before = rx.pool.capacity;
  await device.extendRxMempool(0, 4096);
  assertEquals(rx.pool.capacity, before + 4096);
  const sent = frames(3000, () => 60);
  assertEquals(circulate(device, bus, sent), sent);
});

test("memory that stays with the client", { keep: true }, (device, bus) => {
  const sent = frames(200, (i) => 60 + 7 * i);
  assertEquals(circulate(device, bus, sent), sent);
  const { read, written } = bus.client.served;
  assert(read > sent.length && written > sent.length, "every frame asked for");
});

test("interrupts", { irqTimeoutMs: 5000 }, (device, bus) => {
  const sent = frames(40, () => 60);
  assertEquals(circulate(device, bus, sent), sent);
});
