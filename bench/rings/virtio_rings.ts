/**
 * A virtio queue pair without a device, and the few lines that play its part, for `ring.ts`.
 *
 * @module
 */
import type { VirtioQueueBus } from "../../src/bus/virtio/transport.ts";
import { completeConfig } from "../../src/config.ts";
import type { QueuePair } from "../../src/device_api.ts";
import type { LocalQueue } from "../../src/drivers/queue/rx_queue.ts";
import { QueueControl } from "../../src/drivers/queue/control_block.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../src/bus/virtio/feature_bits.ts";
import { acceptedFeatures } from "../../src/drivers/virtio/features.ts";
import {
  type VirtqueueLayout,
  virtqueueLayout,
} from "../../src/drivers/virtio/virtqueue/layout.ts";
import {
  createRxQueue,
  createTxQueue,
} from "../../src/drivers/virtio/virtqueue/pair.ts";
import { inPlace } from "./in_place.ts";
import { IrqLine } from "../../src/irq/line.ts";
import { Mempool } from "../../src/memory/mempool.ts";
import { QueueCounters } from "../../src/stats.ts";

/** What the device writes for a frame of 60 bytes: the header, and then the frame. */
const FRAME = 12 + 60;
/** `num_buffers` in the header's third word. */
const ONE_BUFFER = 1 << 16;
/** A packed descriptor's AVAIL and USED bits in its last word, and its flag for buffers that are written. */
const AVAIL = 1 << 23;
const USED = 1 << 31;
const BOTH = AVAIL | USED;
const WRITE = 2 << 16;

/** A queue pair and the device that polls its rings, as all do that are fast. */
abstract class VirtioRings {
  readonly pool;
  readonly pair: QueuePair;
  protected readonly rx: RingMemory;
  protected readonly tx: RingMemory;
  readonly #lines = [IrqLine.create(), IrqLine.create()];

  /**
   * @param depth Entries of each ring, a power of two.
   * @param names What the device offers besides VERSION_1.
   * @param notify Takes notifications. Without it the device wants none.
   */
  constructor(
    protected readonly depth: number,
    names: readonly VirtioFeatureName[],
    notify?: (virtqueue: number) => void,
  ) {
    const features = acceptedFeatures(featureBits(["version-1", ...names]));
    const domain = inPlace();
    this.pool = Mempool.create({ entries: 4 * depth, debug: false }, domain);
    const rx = virtqueueLayout(features, depth, "rx");
    const tx = virtqueueLayout(features, depth, "tx");
    const buffer = new SharedArrayBuffer(rx.bytes + tx.bytes);
    this.rx = new RingMemory(buffer, 0, rx);
    this.tx = new RingMemory(buffer, rx.bytes, tx);
    const queue: LocalQueue = {
      driver: "virtio",
      model: "virtio",
      index: 0,
      rings: { buffer, rxOffset: 0, txOffset: rx.bytes },
      pool: this.pool.description,
      reachable: domain.pools.buffer,
      counters: QueueCounters.allocate(),
      control: QueueControl.allocate(depth, depth),
      irqFd: this.#lines[0].fd,
      wakeFd: this.#lines[1].fd,
      config: completeConfig({
        rxDepth: depth,
        txDepth: depth,
        irqTimeoutMs: 0,
      }),
      virtio: {
        features,
        rxIova: 0n,
        txIova: BigInt(rx.bytes),
        maxFrame: 1518,
      },
    };
    const bus: VirtioQueueBus = {
      notify: notify ?? (() => {}),
      unmaskInterrupt: () => false,
    };
    const rxQueue = createRxQueue(queue, bus);
    const txQueue = createTxQueue(queue, bus);
    rxQueue.resetRing();
    txQueue.resetRing();
    this.pair = { rx: rxQueue, tx: txQueue };
    if (notify === undefined) this.beQuiet();
  }

  /** Tells the driver that nobody waits for notifications. */
  protected abstract beQuiet(): void;
  /** The device's side: fills `count` receive buffers and sends what stands in the transmit ring. */
  abstract step(count: number): void;

  close(): void {
    for (const line of this.#lines) line.close();
    this.pool.destroy();
  }
}

class RingMemory {
  readonly descriptors;
  readonly driver;
  readonly device;
  readonly device32;

  constructor(
    buffer: SharedArrayBuffer,
    offset: number,
    layout: VirtqueueLayout,
  ) {
    const { driver, device, tables } = layout;
    this.descriptors = new Int32Array(buffer, offset, driver / 4);
    this.driver = new Uint16Array(
      buffer,
      offset + driver,
      (device - driver) / 2,
    );
    this.device = new Uint16Array(
      buffer,
      offset + device,
      (tables - device) / 2,
    );
    this.device32 = new Int32Array(
      buffer,
      offset + device,
      (tables - device) / 4,
    );
  }
}

/** A device on split rings. */
export class SplitRings extends VirtioRings {
  #received = 0;
  #sent = 0;

  protected override beQuiet(): void {
    this.rx.device[0] = 1;
    this.tx.device[0] = 1;
  }

  override step(count: number): void {
    const received = this.#received;
    this.#received = this.#use(this.rx, received, received + count, FRAME);
    this.#sent = this.#use(this.tx, this.#sent, this.tx.driver[1], 0);
  }

  /** Uses the buffers between two indexes, and writes `length` bytes into each. */
  #use(memory: RingMemory, from: number, to: number, length: number): number {
    const { descriptors, driver, device, device32 } = memory;
    const { words } = this.pool;
    const mask = this.depth - 1;
    let index = from;
    while (((index ^ to) & 0xffff) !== 0) {
      const place = index & mask;
      const id = driver[2 + place];
      if (length > 0) words[(descriptors[id * 4] >>> 2) + 2] = ONE_BUFFER;
      device32[1 + place * 2] = id;
      device32[2 + place * 2] = length;
      index = (index + 1) & 0xffff;
    }
    device[1] = index;
    return index;
  }
}

/** A device on packed rings. */
export class PackedRings extends VirtioRings {
  #received = { next: 0, bits: BOTH };
  #sent = { next: 0, bits: BOTH };

  protected override beQuiet(): void {
    this.rx.device[1] = 1;
    this.tx.device[1] = 1;
  }

  override step(count: number): void {
    this.#use(this.rx, this.#received, count, WRITE);
    this.#use(this.tx, this.#sent, this.depth, 0);
  }

  /** Uses up to `most` available descriptors. */
  #use(
    { descriptors }: RingMemory,
    position: { next: number; bits: number },
    most: number,
    flag: number,
  ): void {
    const { words } = this.pool;
    let { next, bits } = position;
    for (let n = 0; n < most; n++) {
      const at = next * 4;
      const word = descriptors[at + 3];
      // Available: AVAIL as the wrap counter, USED not.
      if (((word ^ bits) & BOTH) !== USED) break;
      if (flag !== 0) {
        words[(descriptors[at] >>> 2) + 2] = ONE_BUFFER;
        descriptors[at + 2] = FRAME;
      }
      descriptors[at + 3] = (word & 0xffff) | bits | flag;
      if (++next === this.depth) {
        next = 0;
        bits ^= BOTH;
      }
    }
    position.next = next;
    position.bits = bits;
  }
}
