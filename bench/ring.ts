/**
 * What the driver itself costs: receive, touch, transmit and reclaim on one ring pair in memory, in one thread.
 *
 * The card is a few lines here: it marks receive descriptors as filled and transmit descriptors as sent, and costs
 * about a nanosecond a packet, which is in the figures.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { Batch } from "../src/batch.ts";
import { completeConfig } from "../src/config.ts";
import type { RegisterQueueBus } from "../src/bus/bus.ts";
import type { QueueDescription, QueuePair } from "../src/device_api.ts";
import { QueueControl, Word } from "../src/drivers/queue_control.ts";
import { attachPair } from "../src/drivers/registry.ts";
import { IrqLine } from "../src/irq/line.ts";
import { Mempool } from "../src/mempool.ts";
import { QueueCounters } from "../src/stats.ts";
import { PackedRings, SplitRings } from "./virtio_rings.ts";

const RING = 512;
const FRAME_BYTES = 60;
const BATCHES = [1, 4, 32, 256];
const ROUNDS = 7;
const PACKETS_PER_ROUND = 2_000_000;

/** Words of an advanced descriptor (82599 datasheet 7.1.6.2 and 7.2.3.2.4), as this card writes them back. */
const WORDS = 4;
const RX_STATUS = 2;
const RX_LENGTH = 3;
/** DD and EOP. */
const RX_DONE = 0x3;
const TX_COMMAND = 2;
const TX_REPORT_STATUS = 1 << 27;
const TX_STATUS = 3;
const TX_DONE = 1;

/** A queue pair without a device, and the card that plays its part. */
interface Rings {
  readonly pool: Mempool;
  readonly pair: QueuePair;
  /** The card's side: fills `count` receive descriptors and sends what stands in the transmit ring. */
  step(count: number): void;
  close(): void;
}

/** One line of the result. */
export interface RingPoint {
  /** Which driver. */
  readonly driver: string;
  /** Packets in a batch. */
  readonly batch: number;
  /** Descriptors in each ring. */
  readonly ring: number;
  /** Bytes of a frame. */
  readonly size: number;
  /** Nanoseconds a packet, the median of the rounds. */
  readonly ns: number;
  /** The best and the worst round. */
  readonly spread: readonly [number, number];
}

/** An ixgbe queue pair, and the card that plays its part. */
class IxgbeRings implements Rings {
  readonly pool = Mempool.create({ entries: 4 * RING, debug: false });
  readonly #lines = [IrqLine.create(), IrqLine.create()];
  readonly #rings = new SharedArrayBuffer(2 * RING * WORDS * 4);
  readonly #rx = new Uint32Array(this.#rings, 0, RING * WORDS);
  readonly #tx = new Uint32Array(this.#rings, RING * WORDS * 4);
  readonly #control = QueueControl.allocate(RING, RING);
  readonly #words = new Int32Array(this.#control);
  readonly pair: QueuePair;
  #rxHead = 0;
  #txHead = 0;

  constructor() {
    const description: Omit<QueueDescription, "bus"> = {
      driver: "ixgbe",
      model: "82599",
      index: 0,
      rings: {
        buffer: this.#rings,
        rxOffset: 0,
        txOffset: this.#tx.byteOffset,
      },
      pool: this.pool.description,
      counters: QueueCounters.allocate(),
      control: this.#control,
      irqFd: this.#lines[0].fd,
      wakeFd: this.#lines[1].fd,
      config: completeConfig({
        rxDepth: RING,
        txDepth: RING,
        irqTimeoutMs: 0,
      }),
    };
    // All descriptors begin as holes, which the first receive fills.
    this.#words[Word.RxHoles] = RING;
    const bus: RegisterQueueBus = {
      read32: () => 0,
      write32: () => {},
      unmaskInterrupt: () => false,
    };
    this.pair = attachPair(description as QueueDescription, bus);
    this.pair.rx.receive(new Batch(1));
  }

  step(count: number): void {
    const rx = this.#rx;
    let head = this.#rxHead;
    for (let i = 0; i < count; i++) {
      const at = head * WORDS;
      rx[at] = 0;
      rx[at + RX_LENGTH] = FRAME_BYTES;
      rx[at + RX_STATUS] = RX_DONE;
      head = (head + 1) & (RING - 1);
    }
    this.#rxHead = head;
    const tx = this.#tx;
    const tail = this.#words[Word.TxNext];
    let sent = this.#txHead;
    while (sent !== tail) {
      const at = sent * WORDS;
      if ((tx[at + TX_COMMAND] & TX_REPORT_STATUS) !== 0) {
        tx[at + TX_STATUS] = TX_DONE;
      }
      sent = (sent + 1) & (RING - 1);
    }
    this.#txHead = sent;
  }

  close(): void {
    for (const line of this.#lines) line.close();
    this.pool.destroy();
  }
}

const DRIVERS: Readonly<Record<string, () => Rings>> = {
  "ixgbe": () => new IxgbeRings(),
  "virtio split": () => new SplitRings(RING, []),
  "virtio split, mergeable, in order": () =>
    new SplitRings(RING, ["mergeable", "in-order"]),
  "virtio packed": () => new PackedRings(RING, ["packed"]),
  "virtio packed, mergeable, in order": () =>
    new PackedRings(RING, ["packed", "mergeable", "in-order"]),
};

/** Forwards `packets` packets; returns nanoseconds a packet. */
function round(rings: Rings, batch: Batch, packets: number): number {
  const { pool, pair: { rx, tx } } = rings;
  const start = performance.now();
  for (let done = 0; done < packets; done += batch.capacity) {
    rings.step(batch.capacity);
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) {
      pool.u8[pool.offset(batch.handles[i])] ^= 1;
    }
    if (tx.send(batch) !== batch.capacity) throw new Error("a packet is gone");
  }
  return (performance.now() - start) * 1e6 / packets;
}

function measure(driver: string, size: number): RingPoint {
  const rings = DRIVERS[driver]();
  const batch = new Batch(size);
  round(rings, batch, PACKETS_PER_ROUND);
  const times = Array.from(
    { length: ROUNDS },
    () => round(rings, batch, PACKETS_PER_ROUND),
  ).sort((a, b) => a - b).map((ns) => Math.round(ns * 10) / 10);
  rings.close();
  return {
    driver,
    batch: size,
    ring: RING,
    size: FRAME_BYTES,
    ns: times[ROUNDS >> 1],
    spread: [times[0], times[ROUNDS - 1]],
  };
}

if (import.meta.main) {
  const { json } = parseArgs(Deno.args, { boolean: ["json"] });
  const points = BATCHES.flatMap((size) =>
    Object.keys(DRIVERS).map((driver) => measure(driver, size))
  );
  console.table(
    points.map(({ spread: [best, worst], ...point }) => ({
      ...point,
      best,
      worst,
    })),
  );
  if (json) console.log(JSON.stringify({ name: "ring", points }));
}
