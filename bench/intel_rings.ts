/**
 * A queue pair of an Intel card on rings in memory, and the card that plays its part: the driver's own code, without a
 * device.
 *
 * @module
 */
import { Batch } from "../src/batch.ts";
import type { RegisterQueueBus } from "../src/bus/bus.ts";
import { completeConfig, type DeviceConfig } from "../src/config.ts";
import type { QueueDescription, QueuePair } from "../src/device_api.ts";
import { QueueControl, Word } from "../src/drivers/queue_control.ts";
import { attachPair } from "../src/drivers/registry.ts";
import { IrqLine } from "../src/irq/line.ts";
import { Mempool } from "../src/mempool.ts";
import { QueueCounters } from "../src/stats.ts";

/** Words of a descriptor. */
const WORDS = 4;
/** DD and EOP, in all formats. */
const RX_DONE = 0x3;
const TX_COMMAND = 2;
const TX_REPORT_STATUS = 1 << 27;
const TX_STATUS = 3;
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

/** The rings, and what lies behind them. */
export class IntelRings {
  /** Where packets lie. */
  readonly pool: Mempool;
  /** The driver's queue pair. */
  readonly pair: QueuePair;
  /** Both rings, the receive ring first. */
  readonly buffer: SharedArrayBuffer;
  readonly #lines = [IrqLine.create(), IrqLine.create()];
  readonly #rx: Uint32Array;
  readonly #tx: Uint32Array;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #rxStatus: number;
  readonly #rxLength: number;
  readonly #frameBytes: number;
  #rxHead = 0;
  #txHead = 0;

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
    const legacy = layout === "legacy";
    this.#rxStatus = legacy ? 3 : 2;
    this.#rxLength = legacy ? 2 : 3;
    this.#mask = ring - 1;
    this.#frameBytes = frameBytes;
    this.pool = Mempool.create({
      entries: ENTRIES_PER_DESCRIPTOR * ring,
      debug: false,
    });
    const buffer = new SharedArrayBuffer(2 * ring * WORDS * 4);
    this.buffer = buffer;
    this.#rx = new Uint32Array(buffer, 0, ring * WORDS);
    this.#tx = new Uint32Array(buffer, ring * WORDS * 4);
    const control = QueueControl.allocate(ring, ring);
    this.#words = new Int32Array(control);
    const description: Omit<QueueDescription, "bus"> = {
      driver,
      model,
      index: 0,
      rings: { buffer, rxOffset: 0, txOffset: this.#tx.byteOffset },
      pool: this.pool.description,
      counters: QueueCounters.allocate(),
      control,
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
    this.#words[Word.RxHoles] = ring;
    this.pair = attachPair(description as QueueDescription, bus);
    this.pair.rx.receive(new Batch(1));
  }

  /** The card's side: fills `count` receive descriptors and sends what stands in the transmit ring. */
  step(count: number): void {
    const rx = this.#rx;
    const mask = this.#mask;
    const statusWord = this.#rxStatus;
    const lengthWord = this.#rxLength;
    const frameBytes = this.#frameBytes;
    let head = this.#rxHead;
    for (let i = 0; i < count; i++) {
      const at = head * WORDS;
      rx[at] = 0;
      rx[at + lengthWord] = frameBytes;
      rx[at + statusWord] = RX_DONE;
      head = (head + 1) & mask;
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
      sent = (sent + 1) & mask;
    }
    this.#txHead = sent;
  }

  /** Gives everything back. */
  close(): void {
    for (const line of this.#lines) line.close();
    this.pool.destroy();
  }
}
