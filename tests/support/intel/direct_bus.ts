/**
 * A software card on a bus of its own, in the isolate of the test: frames move when the test says so.
 */
import type { BusDescription } from "../../../src/bus/description.ts";
import type {
  ConfigSpace,
  InterruptVectors,
  RegisterBusDevice,
  Registers,
} from "../../../src/bus/bus.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { IrqLine } from "../../../src/irq/line.ts";
import type { PciIds } from "../../../src/pci/ids.ts";
import { Card, type Model } from "../../../src/sim/card.ts";
import { DmaTable } from "../../../src/sim/dma_table.ts";
import type { Wire } from "../../../src/sim/wires/wire.ts";

const VECTORS = 64;
const COMMAND = 0x04;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;
const STEP_INTERVAL_MS = 1;
const FRAMES_PER_STEP = 64;

/** What several cards in one test share. */
export class DirectWorld {
  readonly table = new DmaTable();
  /** Bytes that cards can reach now. */
  mapped = 0;
  readonly dma: DmaDomain = new MappedDomain({
    map: (memory, offset, length, iova) => {
      this.table.map(iova, memory.buffer, memory.byteOffset + offset, length);
      this.mapped += length;
    },
    unmap: (iova, length) => {
      this.table.unmap(iova, length);
      this.mapped -= length;
    },
  });
}

/** How the card is made. */
export interface DirectBusOptions {
  readonly wire: Wire;
  readonly model?: Model;
  readonly world?: DirectWorld;
  readonly macAddress?: string;
}

/** One card, stepped by reads, by a timer while the test waits, and by {@linkcode step}. */
export class DirectBus implements RegisterBusDevice {
  readonly kind = "registers" as const;
  readonly address: string = "test:0";
  readonly removal = undefined;
  readonly numaNode: number = -1;
  readonly world: DirectWorld;
  readonly card: Card;
  readonly dma: DmaDomain;
  readonly registers: Registers;
  readonly config: ConfigSpace;
  readonly ids: PciIds;
  readonly interrupts: InterruptVectors;
  /** Vectors that fired, in order. */
  readonly fired: number[] = [];
  /** Register writes, in order, where a test wants to know. */
  readonly writes: [offset: number, value: number][] = [];
  /** In the place of a register's value, for a card that is broken. */
  readonly broken: Map<number, number> = new Map();
  /** Registers whose writes do not reach the card, for a test that plays the card itself. */
  readonly deaf: Set<number> = new Set();
  closed = 0;
  #lines: (IrqLine | undefined)[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: DirectBusOptions) {
    this.world = options.world ?? new DirectWorld();
    this.dma = this.world.dma;
    this.card = new Card({
      model: options.model ?? "82599",
      macAddress: options.macAddress ?? "02:00:00:00:00:01",
      dma: this.world.table,
      wire: options.wire,
      interrupt: (vector) => {
        this.fired.push(vector);
        this.#lines[vector]?.raise();
      },
    });
    const { card } = this;
    this.config = {
      read: (offset, size) => card.readConfig(offset, size),
      write: (offset, value, size) => card.writeConfig(offset, value, size),
    };
    this.config.write(COMMAND, COMMAND_MEMORY, 2);
    this.ids = readIds(this.config);
    this.registers = {
      read32: (offset) => {
        card.step(0, performance.now());
        return this.broken.get(offset) ?? card.read(offset, 4);
      },
      write32: (offset, value) => {
        this.writes.push([offset, value >>> 0]);
        if (!this.deaf.has(offset)) card.write(offset, value, 4);
      },
    };
    this.interrupts = {
      kind: "msix",
      count: VECTORS,
      route: (fds) => {
        this.#lines = fds.map((fd) => fd < 0 ? undefined : new IrqLine(fd));
      },
      unmask: () => {},
    };
    this.#timer = setInterval(() => this.step(), STEP_INTERVAL_MS);
  }

  /** True while the card may touch memory. */
  get busMaster(): boolean {
    return (this.config.read(COMMAND, 2) & COMMAND_BUS_MASTER) !== 0;
  }

  /** How many vectors are routed. */
  get routed(): number {
    return this.#lines.length;
  }

  /** Moves up to `frames` frames in each direction. Returns how many moved. */
  step(frames = FRAMES_PER_STEP): number {
    return this.card.step(frames, performance.now());
  }

  /** Steps until nothing moves any more. */
  settle(): void {
    while (this.step() > 0);
  }

  setBusMaster(enabled: boolean): void {
    const command = this.config.read(COMMAND, 2) & ~COMMAND_BUS_MASTER;
    this.config.write(COMMAND, command | (enabled ? COMMAND_BUS_MASTER : 0), 2);
  }

  reset(): boolean {
    return false;
  }

  /** Such a description crosses to no other isolate. */
  describe(): BusDescription {
    const nothing = new SharedArrayBuffer(4);
    return { kind: "sim", channel: nothing, world: nothing, doorbellFd: -1 };
  }

  close(): Promise<void> {
    this.closed++;
    clearInterval(this.#timer);
    return Promise.resolve();
  }
}

function readIds(config: ConfigSpace): PciIds {
  return {
    vendor: config.read(0x00, 2),
    device: config.read(0x02, 2),
    revision: config.read(0x08, 1),
    subsystemVendor: config.read(0x2c, 2),
    subsystemDevice: config.read(0x2e, 2),
  };
}
