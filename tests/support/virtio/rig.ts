/**
 * A virtio queue pair between the driver's halves and a device of the test, all in one thread.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import type { VirtioQueueBus } from "../../../src/bus/virtio/transport.ts";
import { completeConfig, type DeviceOptions } from "../../../src/config.ts";
import type { LocalQueue } from "../../../src/drivers/queue/rx_queue.ts";
import {
  QueueControl,
  Word,
} from "../../../src/drivers/queue/control_block.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../src/bus/virtio/feature_bits.ts";
import {
  acceptedFeatures,
  accepts,
} from "../../../src/drivers/virtio/features.ts";
import {
  ringBytes,
  virtqueueAddresses,
} from "../../../src/drivers/virtio/virtqueue/layout.ts";
import {
  createRxQueue,
  createTxQueue,
} from "../../../src/drivers/virtio/virtqueue/pair.ts";
import type { VirtioRxQueue } from "../../../src/drivers/virtio/virtqueue/rx.ts";
import type { VirtioTxQueue } from "../../../src/drivers/virtio/virtqueue/tx.ts";
import { IrqLine } from "../../../src/irq/line.ts";
import { INDEX_MASK, Mempool } from "../../../src/memory/mempool.ts";
import { QueueCounters } from "../../../src/stats.ts";
import {
  type BackendFeatures,
  type BackendQueue,
  PackedBackend,
  type QueuePlace,
  SplitBackend,
  type Taken,
} from "./backend.ts";
import { DeviceMemory } from "./memory.ts";
import { State } from "../../../src/drivers/virtio/virtqueue/state.ts";

/** How a rig is made. */
export interface RigOptions extends DeviceOptions {
  /** Features besides VERSION_1. */
  readonly features?: readonly VirtioFeatureName[];
  /** True for a device without VERSION_1: the rings and headers of before (2.7.2, 5.1.6.1). */
  readonly legacy?: boolean;
  /** Packets in the pool. */
  readonly entries?: number;
}

/** What the device says in the header of a frame, where not the usual. */
export interface HeaderFields {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly gsoSize?: number;
  readonly csumStart?: number;
  readonly csumOffset?: number;
  readonly buffers?: number;
  readonly hash?: number;
  readonly hashType?: number;
}

/** A packet as the device got it. */
export interface SentPacket {
  readonly bytes: Uint8Array;
  readonly header: DataView;
  readonly buffer: Taken;
}

const NUMBER = 1;

/** A queue pair and its device. */
export class VirtioRig {
  readonly memory = new DeviceMemory();
  readonly queue: LocalQueue;
  readonly pool: Mempool;
  readonly control: QueueControl;
  rx: VirtioRxQueue;
  tx: VirtioTxQueue;
  readonly headerBytes: number;
  readonly mergeable: boolean;
  /** The device's side; fresh ones after {@linkcode renew}. */
  rxDevice!: BackendQueue;
  txDevice!: BackendQueue;
  readonly #lines = [IrqLine.create(), IrqLine.create()];
  readonly #bus: VirtioQueueBus;
  readonly #names: readonly VirtioFeatureName[];
  /** Taken, and not used because a frame needed more. */
  readonly #spare: Taken[] = [];

  constructor(options: RigOptions = {}) {
    const { features: names = [], legacy, entries = 512, ...rest } = options;
    const version: VirtioFeatureName = legacy ? "any-layout" : "version-1";
    const features = acceptedFeatures(featureBits([version, ...names]));
    const config = completeConfig({
      rxDepth: 64,
      txDepth: 64,
      irqTimeoutMs: 0,
      debug: true,
      ...rest,
    });
    const { rxDepth, txDepth } = config;
    this.#names = names;
    this.mergeable = names.includes("mergeable");
    this.headerBytes = names.includes("hash-report")
      ? 20
      : legacy && !this.mergeable
      ? 10
      : 12;
    this.pool = Mempool.create({
      entries,
      entrySize: config.entrySize,
      debug: config.debug ?? false,
      memory: { backing: "plain" },
    }, this.memory.domain);
    const rxBytes = ringBytes(features, rxDepth, "rx");
    const buffer = new SharedArrayBuffer(
      rxBytes + ringBytes(features, txDepth, "tx"),
    );
    const rxIova = this.memory.addRings(buffer);
    this.queue = {
      driver: "virtio",
      model: "test",
      index: NUMBER,
      rings: { buffer, rxOffset: 0, txOffset: rxBytes },
      pool: this.pool.description,
      reachable: this.memory.domain.pools.buffer,
      counters: QueueCounters.allocate(),
      control: QueueControl.allocate(rxDepth, txDepth),
      irqFd: this.#lines[0].fd,
      wakeFd: this.#lines[1].fd,
      config,
      virtio: {
        ...{ features, rxIova, txIova: rxIova + BigInt(rxBytes) },
        maxFrame: config.maxFrameSize,
      },
    };
    this.control = new QueueControl(this.queue.control, rxDepth, txDepth);
    const bus = {
      notify: (virtqueue: number) => this.#notified(virtqueue),
      unmaskInterrupt: () => false,
    };
    this.#bus = bus;
    this.connect();
    this.rx = createRxQueue(this.queue, bus);
    this.tx = createTxQueue(this.queue, bus);
    this.tx.resetRing();
    this.rx.resetRing();
  }

  /** The next user of the queue pair, as in another isolate. */
  handOver(): void {
    this.control.words[Word.Owner] = 0;
    this.rx = createRxQueue(this.queue, this.#bus);
    this.tx = createTxQueue(this.queue, this.#bus);
  }

  /** A device that knows nothing of what was before. */
  connect(): void {
    this.#spare.length = 0;
    this.rxDevice = this.#device("rx");
    this.txDevice = this.#device("tx");
  }

  /** What a device object does after a reset: asks the user of the rings to start afresh, and waits until it did. */
  renew(): void {
    const { words } = this.control;
    words[State.Epoch]++;
    assertEquals(this.rx.receive(new Batch(1)), 0);
    assertEquals(words[State.RxRenewed], words[State.Epoch]);
    this.connect();
  }

  #notified(virtqueue: number): void {
    assert(virtqueue === 2 * NUMBER || virtqueue === 2 * NUMBER + 1, "5.1.2");
    (virtqueue === 2 * NUMBER ? this.rxDevice : this.txDevice).notify();
  }

  #device(direction: "rx" | "tx"): BackendQueue {
    const { virtio, config } = this.queue;
    const { features, rxIova, txIova } = virtio!;
    const size = direction === "rx" ? config.rxDepth : config.txDepth;
    const iova = direction === "rx" ? rxIova : txIova;
    const addresses = virtqueueAddresses(features, size, iova);
    const place: QueuePlace = {
      descriptors: Number(addresses.descriptors),
      driver: Number(addresses.driver),
      device: Number(addresses.device),
      size,
    };
    const agreed: BackendFeatures = {
      packed: accepts(features, "packed"),
      indirect: accepts(features, "indirect"),
      eventIndex: accepts(features, "event-index"),
      inOrder: accepts(features, "in-order"),
    };
    const Backend = agreed.packed ? PackedBackend : SplitBackend;
    return new Backend(this.memory, place, agreed, direction === "rx");
  }

  /** Writes a frame into as many receive buffers as it takes; false where the device has too few. */
  deliver(frame: Uint8Array, header: HeaderFields = {}): boolean {
    const parts = this.fill(frame, header);
    if (parts === undefined) return false;
    for (const { buffer, written } of parts) {
      this.rxDevice.give(buffer, written);
    }
    return true;
  }

  /** Writes a frame into buffers, which are not given back yet; undefined where the device has too few. */
  fill(
    frame: Uint8Array,
    header: HeaderFields = {},
  ): { buffer: Taken; written: number }[] | undefined {
    const all = new Uint8Array(this.headerBytes + frame.length);
    all.set(frame, this.headerBytes);
    const parts: { buffer: Taken; written: number }[] = [];
    for (let at = 0; at < all.length;) {
      const buffer = this.#spare.shift() ?? this.rxDevice.take();
      if (buffer === undefined) {
        this.#spare.push(...parts.map(({ buffer }) => buffer));
        return undefined;
      }
      const [{ address, length }] = buffer.elements;
      assertEquals(buffer.elements.length, 1);
      const written = Math.min(length, all.length - at);
      assert(this.mergeable || written === all.length - at, "fits one buffer");
      parts.push({ buffer, written });
      this.memory.bytes(address, written).set(all.subarray(at, at + written));
      at += written;
    }
    const [{ address }] = parts[0].buffer.elements;
    const view = this.memory.at(address, this.headerBytes);
    view.setUint8(0, header.flags ?? 0);
    view.setUint8(1, header.gsoType ?? 0);
    view.setUint16(4, header.gsoSize ?? 0, true);
    view.setUint16(6, header.csumStart ?? 0, true);
    view.setUint16(8, header.csumOffset ?? 0, true);
    if (this.headerBytes > 10) {
      view.setUint16(10, header.buffers ?? parts.length, true);
    }
    if (this.headerBytes > 12) {
      view.setUint32(12, header.hash ?? 0, true);
      view.setUint16(16, header.hashType ?? 0, true);
    }
    return parts;
  }

  /** Takes the next packet from the transmit queue, if there is one, and checks its header (5.1.6.2.1). */
  collect(): SentPacket | undefined {
    const buffer = this.txDevice.take();
    if (buffer === undefined) return undefined;
    const total = buffer.elements.reduce((sum, { length }) => sum + length, 0);
    const all = new Uint8Array(total);
    let at = 0;
    for (const { address, length } of buffer.elements) {
      all.set(this.memory.bytes(address, length), at);
      at += length;
    }
    const header = new DataView(all.buffer, 0, this.headerBytes);
    this.#checkHeader(header);
    return { bytes: all.subarray(this.headerBytes), header, buffer };
  }

  #checkHeader(header: DataView): void {
    const flags = header.getUint8(0);
    const gsoType = header.getUint8(1);
    assert(flags <= 1, "5.1.6.2.1: DATA_VALID and RSC_INFO must not be set");
    if (flags === 1) assert(this.#names.includes("checksum"), "5.1.6.2.1");
    if (gsoType !== 0) {
      assertEquals(flags, 1, "5.1.6.2.1: segmentation needs NEEDS_CSUM");
      assert(
        this.#names.includes(gsoType === 1 ? "tso4" : "tso6"),
        "5.1.6.2.1",
      );
      assert(header.getUint16(4, true) > 0, "5.1.6.2.1: gso_size");
    } else {
      assertEquals(header.getUint16(2, true), 0, "hdr_len");
      assertEquals(header.getUint16(4, true), 0, "gso_size");
    }
    if (flags === 0) {
      assertEquals(header.getUint16(6, true), 0, "csum_start");
      assertEquals(header.getUint16(8, true), 0, "csum_offset");
    }
    if (header.byteLength > 10) {
      assertEquals(header.getUint16(10, true), 0, "5.1.6.2.1: num_buffers");
    }
    for (let i = 12; i < header.byteLength; i++) {
      assertEquals(header.getUint8(i), 0, "hash fields");
    }
  }

  /** Packets in a batch. */
  batchOf(handles: readonly number[]): Batch {
    const batch = new Batch(handles.length);
    for (const handle of handles) batch.push(handle);
    return batch;
  }

  /** A packet in one buffer. */
  packet(bytes: Uint8Array): number {
    const handle = this.pool.allocate();
    assert(handle !== 0, "the pool has a packet");
    this.pool.u8.set(bytes, this.pool.offset(handle));
    this.pool.lengths[handle & INDEX_MASK] = bytes.length;
    return handle;
  }

  /** A packet in several buffers. */
  chain(parts: readonly Uint8Array[]): number {
    const handles = parts.map((part) => this.packet(part));
    for (let i = 1; i < handles.length; i++) {
      this.pool.nextSegments[handles[i - 1] & INDEX_MASK] = handles[i];
    }
    return handles[0];
  }

  /** All bytes of a packet. */
  bytesOf(handle: number): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let segment = handle; segment !== 0;) {
      const start = this.pool.offset(segment);
      const index = segment & INDEX_MASK;
      parts.push(
        this.pool.u8.slice(start, start + this.pool.lengths[index]),
      );
      segment = this.pool.nextSegments[index];
    }
    const all = new Uint8Array(
      parts.reduce((sum, { length }) => sum + length, 0),
    );
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Takes and clears the pair's interrupt. */
  get interrupted(): boolean {
    return this.#lines[0].clear();
  }

  close(): void {
    for (const line of this.#lines) line.close();
    this.pool.destroy();
  }
}

/** Runs a test on a rig, which is closed in any case. */
export function withVirtio(
  options: RigOptions,
  test: (rig: VirtioRig) => void,
): void {
  const rig = new VirtioRig(options);
  try {
    test(rig);
  } finally {
    rig.close();
  }
}

/** Mulberry32: the same numbers for the same seed. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A frame that says which it is, of any length from 18 on. */
export function numbered(number: number, length: number): Uint8Array {
  const frame = new Uint8Array(length);
  for (let i = 0; i < length; i++) frame[i] = number * 7 + i;
  new DataView(frame.buffer).setUint32(14, number);
  return frame;
}

/** Every combination of the features that change how rings are used. */
export function featureCombinations(): VirtioFeatureName[][] {
  const names: VirtioFeatureName[] = [
    ...([
      "packed",
      "mergeable",
      "event-index",
      "indirect",
      "in-order",
    ] as const),
  ];
  return Array.from(
    { length: 1 << names.length },
    (_, bits) => names.filter((_, i) => (bits & (1 << i)) !== 0),
  );
}
