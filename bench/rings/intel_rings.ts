/**
 * A queue pair of an Intel card on rings in memory, and the card that plays its part: the driver's own code, without a
 * device.
 *
 * @module
 */
import { Batch } from "../../src/memory/batch.ts";
import type { RegisterQueueBus } from "../../src/bus/bus.ts";
import { completeConfig, type DeviceConfig } from "../../src/config.ts";
import type { QueueDescription, QueuePair } from "../../src/device_api.ts";
import {
  DESCRIPTOR_BYTES,
  DESCRIPTOR_WORDS,
  wordViews,
} from "../../src/drivers/intel/ring/descriptors.ts";
import { QueueControl, Word } from "../../src/drivers/queue/control_block.ts";
import { attachPair } from "../../src/drivers/registry.ts";
import { inPlace } from "./in_place.ts";
import { IrqLine } from "../../src/irq/line.ts";
import { Mempool } from "../../src/memory/mempool.ts";
import { QueueCounters } from "../../src/stats.ts";

/** DD and EOP, in all formats. */
const RX_DONE = 0x3;
const TX_REPORT_STATUS = 1 << 27;
const TX_DONE = 1;
/** Entries of the pool for each descriptor of one ring. */
const ENTRIES_PER_DESCRIPTOR = 4;

/** What a driver's descriptors look like to its card. */
export interface IntelModel {
  /** The driver. */
  readonly driver: "ixgbe" | "igb" | "e1000";
  /** The chip. */
  readonly model: string;
  /** How the C program calls its descriptors. */
  readonly layout: "advanced" | "legacy";
}

/** One chip of each driver. */
export const INTEL_MODELS: readonly IntelModel[] = [
  { driver: "ixgbe", model: "82599", layout: "advanced" },
  { driver: "igb", model: "82576", layout: "advanced" },
  { driver: "e1000", model: "82540EM", layout: "legacy" },
];

/** Registers that are written for nothing. */
const NO_REGISTERS: RegisterQueueBus = {
  read32: () => 0,
  write32: () => {},
  unmaskInterrupt: () => false,
};

interface CardParts {
  readonly rx: Int32Array;
  readonly tx: Int32Array;
  /** The driver's positions: the transmit tail among them. */
  readonly words: Int32Array;
  readonly frameBytes: number;
}

/** The card, in the way of the drivers' fast paths, so that it costs as little here as it does in C. */
function cardOf(
  layout: IntelModel["layout"],
  { rx, tx, words, frameBytes }: CardParts,
): (count: number) => void {
  const mask = rx.length / DESCRIPTOR_WORDS - 1;
  const legacy = layout === "legacy";
  const views = wordViews(rx);
  const [kinds] = views;
  const statuses = views[legacy ? 3 : 2];
  const lengths = views[legacy ? 2 : 3];
  const [, , commands, reports] = wordViews(tx);
  const { TxNext } = Word;
  /** Where it receives, and where it sends. */
  const heads = new Int32Array(2);
  return (count) => {
    let head = heads[0];
    for (let i = 0; i < count; i++) {
      const at = head << 2;
      // Legacy descriptors keep their address there.
      if (!legacy) kinds[at] = 0;
      lengths[at] = frameBytes;
      statuses[at] = RX_DONE;
      head = (head + 1) & mask;
    }
    heads[0] = head;
    const tail = words[TxNext];
    let sent = heads[1];
    while (sent !== tail) {
      const at = sent << 2;
      if ((commands[at] & TX_REPORT_STATUS) !== 0) reports[at] = TX_DONE;
      sent = (sent + 1) & mask;
    }
    heads[1] = sent;
  };
}

/** The rings, and what lies behind them. */
export class IntelRings {
  /** Where packets lie. */
  readonly pool: Mempool;
  /** The driver's queue pair. */
  readonly pair: QueuePair;
  /** What the users of the queue pair share. */
  readonly control: QueueControl;
  /** Both rings, the receive ring first. */
  readonly buffer: SharedArrayBuffer;
  /** The card's side: fills `count` receive descriptors and sends what stands in the transmit ring. */
  readonly step: (count: number) => void;
  readonly #lines = [IrqLine.create(), IrqLine.create()];

  /**
   * @param chip Which driver.
   * @param ring Descriptors of each ring, a power of two.
   * @param frameBytes Bytes of each frame that comes.
   * @param bus Where the driver writes its registers.
   * @param options How the queue is opened.
   */
  constructor(
    { driver, model, layout }: IntelModel,
    ring: number,
    frameBytes: number,
    bus: RegisterQueueBus = NO_REGISTERS,
    options: Partial<DeviceConfig> = {},
  ) {
    const domain = inPlace();
    this.pool = Mempool.create({
      entries: ENTRIES_PER_DESCRIPTOR * ring,
      debug: false,
    }, domain);
    const buffer = new SharedArrayBuffer(2 * ring * DESCRIPTOR_BYTES);
    this.buffer = buffer;
    const rx = new Int32Array(buffer, 0, ring * DESCRIPTOR_WORDS);
    const tx = new Int32Array(buffer, rx.byteLength);
    this.control = new QueueControl(
      QueueControl.allocate(ring, ring),
      ring,
      ring,
    );
    const { words } = this.control;
    const description: Omit<QueueDescription, "bus"> = {
      driver,
      model,
      index: 0,
      rings: { buffer, rxOffset: 0, txOffset: tx.byteOffset },
      pool: this.pool.description,
      reachable: domain.pools.buffer,
      counters: QueueCounters.allocate(),
      control: this.control.buffer,
      irqFd: this.#lines[0].fd,
      wakeFd: this.#lines[1].fd,
      config: completeConfig({
        rxDepth: ring,
        txDepth: ring,
        irqTimeoutMs: 0,
        ...options,
      }),
    };
    // All descriptors begin as holes, which the first receive fills.
    words[Word.RxHoles] = ring;
    this.pair = attachPair(description as QueueDescription, {
      kind: "registers",
      bus,
    });
    this.pair.rx.receive(new Batch(1));
    this.step = cardOf(layout, { rx, tx, words, frameBytes });
  }

  /** Gives everything back. */
  close(): void {
    for (const line of this.#lines) line.close();
    this.pool.destroy();
  }
}
