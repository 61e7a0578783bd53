/**
 * The memory and the eventfds of an open device: what must be given back whatever happens.
 *
 * @module
 */
import type { BusDevice } from "../../bus/bus.ts";
import type { DeviceConfig } from "../../config.ts";
import type { RingsDescription } from "../../device_api.ts";
import { type DmaBacking, DmaMemory } from "../../dma/memory.ts";
import { ConfigError } from "../../errors.ts";
import { IrqLine } from "../../irq/line.ts";
import { Mempool } from "../../memory/mempool.ts";
import { QueueCounters } from "../../stats.ts";
import { QueueControl } from "../queue/control_block.ts";

/** Packets of a pool beyond what fills both rings: batches in the hands of user code. */
const ENTRIES_FOR_BATCHES = 1024;
/** The granularity of a pool's default size. */
const ENTRIES_STEP = 64;

const BACKINGS = {
  auto: "auto",
  require: "hugepages",
  never: "plain",
} as const satisfies Record<DeviceConfig["hugepages"], DmaBacking | "auto">;

/** Bytes of memory besides packets. */
export interface MemorySizes {
  /** Of each receive ring. */
  readonly rxRing: number;
  /** Of each transmit ring. */
  readonly txRing: number;
  /** For commands to the device; 0 for none. */
  readonly commands: number;
}

/** A part of the memory that a device reaches. */
export interface MemoryPart {
  /** The shared memory. */
  readonly buffer: SharedArrayBuffer;
  /** Where the part begins in it. */
  readonly byteOffset: number;
  /** Where it begins for the device. */
  readonly iova: bigint;
}

/** What one queue pair has. */
export interface QueueMemory {
  /** Its packets. */
  readonly pool: Mempool;
  /** Its control block. */
  readonly control: QueueControl;
  /** Its counters. */
  readonly counters: SharedArrayBuffer;
  /** Where its rings are for software. */
  readonly rings: RingsDescription;
  /** Where its receive ring is for the device. */
  readonly rxIova: bigint;
  /** Where its transmit ring is for the device. */
  readonly txIova: bigint;
  /** Its interrupt. */
  readonly irq: IrqLine;
  /** Wakes the isolate that sleeps on it. */
  readonly wake: IrqLine;
}

/** Everything of a device that is not in the chip. */
export class DeviceMemory {
  /** Per queue pair. */
  readonly queues: QueueMemory[] = [];
  /** The interrupt for link changes and all that is not a queue's. */
  readonly link: IrqLine;
  /** Every pool that was made for the device. */
  readonly pools: Mempool[] = [];
  readonly #undo: (() => void)[] = [];
  #commands: MemoryPart | undefined;
  #inUse = false;

  private constructor() {
    this.link = IrqLine.create();
    this.#undo.push(() => this.#end(this.link));
  }

  /** For commands to the device. */
  get commands(): MemoryPart {
    return this.#commands!;
  }

  /**
   * Allocates rings, pools, control blocks and eventfds, and lets the device reach rings and pools.
   */
  static allocate(
    bus: BusDevice,
    config: DeviceConfig,
    sizes: MemorySizes,
  ): DeviceMemory {
    const memory = new DeviceMemory();
    try {
      memory.#allocate(bus, config, sizes);
      return memory;
    } catch (error) {
      memory.free();
      throw error;
    }
  }

  /** Makes a pool that the device reaches, which goes with the other memory. */
  addPool(bus: BusDevice, config: DeviceConfig, entries?: number): Mempool {
    const pool = createPool(bus, config, entries);
    this.pools.push(pool);
    this.#undo.push(() => pool.destroy());
    return pool;
  }

  /**
   * Gives everything back. No device may use it any more. A second call does nothing.
   * @param inUse True when another isolate may still use a queue: then its eventfds are retired.
   */
  free(inUse = false): void {
    this.#inUse = inUse;
    const failures: unknown[] = [];
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
      try {
        undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #allocate(bus: BusDevice, config: DeviceConfig, sizes: MemorySizes): void {
    const { queues, rxDepth, txDepth } = config;
    const perQueue = sizes.rxRing + sizes.txRing;
    const rings = DmaMemory.allocate({
      bytes: queues * perQueue + sizes.commands,
      backing: backingFor(bus, config),
      contiguous: bus.dma.contiguous ?? false,
      fileBacked: bus.dma.fileBacked ?? false,
      numaNode: bus.numaNode,
      label: "ixl-rings",
    });
    this.#undo.push(() => rings.free());
    const iova = bus.dma.attach(rings);
    this.#undo.push(() => bus.dma.detach(rings));
    this.#commands = {
      buffer: rings.buffer,
      byteOffset: rings.byteOffset + queues * perQueue,
      iova: iova + BigInt(queues * perQueue),
    };
    for (let i = 0; i < queues; i++) {
      const rx = i * perQueue;
      const tx = rx + sizes.rxRing;
      const pool = this.addPool(bus, config);
      this.queues.push({
        pool,
        control: new QueueControl(
          QueueControl.allocate(rxDepth, txDepth),
          rxDepth,
          txDepth,
        ),
        counters: QueueCounters.allocate(),
        rings: {
          buffer: rings.buffer,
          rxOffset: rings.byteOffset + rx,
          txOffset: rings.byteOffset + tx,
        },
        rxIova: iova + BigInt(rx),
        txIova: iova + BigInt(tx),
        irq: this.#line(),
        wake: this.#line(),
      });
    }
  }

  #line(): IrqLine {
    const line = IrqLine.create();
    this.#undo.push(() => this.#end(line));
    return line;
  }

  #end(line: IrqLine): void {
    if (this.#inUse) line.retire();
    else line.close();
  }
}

function backingFor(
  { address, dma }: BusDevice,
  { hugepages }: DeviceConfig,
): DmaBacking | "auto" {
  if (!dma.ordinaryPages) return BACKINGS[hugepages];
  if (hugepages !== "require") return "plain";
  throw new ConfigError(
    "hugepages",
    `"require" contradicts memory=pages in ${address}: leave one of them out`,
  );
}

/** @param entries A fixed size. Without it the pool has the size of a queue's. */
function createPool(
  bus: BusDevice,
  config: DeviceConfig,
  entries?: number,
): Mempool {
  const { rxDepth, txDepth, entrySize, debug } = config;
  const enough = rxDepth + txDepth + ENTRIES_FOR_BATCHES;
  const maxEntries = entries ?? config.poolMaxEntries;
  return Mempool.create({
    entries: entries ??
      (config.poolEntries ||
        Math.ceil(enough / ENTRIES_STEP) * ENTRIES_STEP),
    entrySize,
    ...(maxEntries ? { maxEntries } : {}),
    ...(debug === undefined ? {} : { debug }),
    memory: {
      backing: backingFor(bus, config),
      numaNode: bus.numaNode,
      label: "ixl-pool",
    },
  }, bus.dma);
}
