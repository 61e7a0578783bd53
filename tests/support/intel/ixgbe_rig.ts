/**
 * A driver on a software card in one isolate, for tests of the driver, and what every such test must leave behind:
 * nothing.
 */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import { completeConfig, type DeviceOptions } from "../../../src/config.ts";
import type { Device, QueuePair } from "../../../src/device_api.ts";
import { openDriver } from "../../../src/drivers/registry.ts";
import { Mempool } from "../../../src/memory/mempool.ts";
import { Packet } from "../../../src/memory/packet.ts";
import type { Model } from "../../../src/sim/card.ts";
import { DirectBus } from "./direct_bus.ts";
import { HandWire } from "./sim_rig.ts";

/** The card's address in these tests. */
export const STATION = "02:00:00:00:00:01";

/** A device, its card, and both ends of its cable. */
export interface IxgbeRig {
  readonly device: Device;
  readonly bus: DirectBus;
  /** Both ends of the cable. */
  readonly wire: HandWire;
  /** Queue 0. */
  readonly pair: QueuePair;
}

/** Options of the device, and the chip. */
export interface RigOptions extends DeviceOptions {
  readonly model?: Model;
}

/** Opens a card, runs a test, closes the card, and looks at what is left. */
export async function withIxgbe(
  options: RigOptions,
  test: (rig: IxgbeRig) => void | Promise<void>,
): Promise<void> {
  const { model = "82599", ...deviceOptions } = options;
  const wire = new HandWire();
  const bus = new DirectBus({ wire, model });
  const device = await openDriver(
    bus,
    completeConfig({
      irqTimeoutMs: 0,
      hugepages: "never",
      debug: true,
      ...deviceOptions,
    }),
  );
  try {
    await test({ device, bus, wire, pair: device.queue(0) });
  } finally {
    await device.close();
  }
  assertNothingLeft(bus);
}

/** After the end: no violation of the datasheet, no memory mapped, no DMA, nothing open. */
export function assertNothingLeft(bus: DirectBus): void {
  assertEquals(bus.card.violations.map(({ message }) => message), []);
  assertEquals(bus.world.mapped, 0);
  assertEquals(bus.routed, 0);
  assert(!bus.busMaster);
  assertEquals(bus.closed, 1);
}

/** A frame to `to` with a number in it, its content derived from the number. */
export function numberedFrame(
  number: number,
  length = 60,
  to: string = STATION,
): Uint8Array {
  const frame = new Uint8Array(length);
  for (let i = 14; i < length; i++) frame[i] = (number * 7 + i) & 0xff;
  frame.set(to.split(":").map((octet) => parseInt(octet, 16)));
  frame.set([2, 0, 0, 0, 0, 9, 0x88, 0xb5], 6);
  new DataView(frame.buffer).setUint32(14, number);
  return frame;
}

/** All bytes of a packet, its segments joined. */
export function bytesOf(handle: number): Uint8Array {
  const packet = new Packet().at(handle);
  const bytes = new Uint8Array(packet.totalLength);
  let at = 0;
  for (let next = handle; next !== 0; next = packet.nextSegment) {
    bytes.set(packet.at(next).bytes(), at);
    at += packet.length;
  }
  return bytes;
}

/** Receives all there is, frees it, and returns its bytes. */
export function receiveAll(rig: IxgbeRig, pair = rig.pair): Uint8Array[] {
  return keepAll(rig, pair).map((handle) => {
    const bytes = bytesOf(handle);
    Mempool.freeChain(handle);
    return bytes;
  });
}

/** Receives all there is and keeps it. */
export function keepAll(rig: IxgbeRig, pair = rig.pair): number[] {
  const kept: number[] = [];
  const batch = new Batch(32);
  for (;;) {
    rig.bus.settle();
    const count = pair.rx.receive(batch);
    if (count === 0) return kept;
    kept.push(...batch.handles.subarray(0, count));
  }
}

/** Sends frames to the card, a few at a time so that a short ring holds them; returns what it received. */
export function feed(rig: IxgbeRig, frames: Uint8Array[]): Uint8Array[] {
  const received: Uint8Array[] = [];
  for (let at = 0; at < frames.length; at += 16) {
    rig.wire.toCard.push(...frames.slice(at, at + 16));
    received.push(...receiveAll(rig));
  }
  return received;
}

/** A batch with one packet for each of these frames, from the pair's pool. */
export function batchOf(pair: QueuePair, frames: Uint8Array[]): Batch {
  const batch = new Batch(Math.max(frames.length, 1));
  const packet = new Packet();
  for (const frame of frames) {
    packet.at(pair.rx.pool.allocate()).write(frame);
    batch.push(packet.handle);
  }
  return batch;
}
