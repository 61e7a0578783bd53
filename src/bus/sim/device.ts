/**
 * A software card as a device on the bus.
 *
 * @module
 */
import type { DmaDomain } from "../../dma/domain.ts";
import { log } from "../../log.ts";
import type { PciIds } from "../../pci/ids.ts";
import type { Violation } from "../../sim/violations.ts";
import type {
  ConfigSpace,
  InterruptVectors,
  RegisterBusDevice,
  Registers,
} from "../bus.ts";
import type { SimBusDescription } from "../description.ts";
import { parseSimAddress, type SimSpec } from "./address.ts";
import { allocateChannel, SimConfigSpace, SimRegisters } from "./channel.ts";
import { SimWorld } from "./world.ts";
import { WireCounters } from "./wire_counters.ts";

const VECTORS = 64;
const VENDOR_AND_DEVICE = 0x00;
const COMMAND = 0x04;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;
const REVISION = 0x08;
const SUBSYSTEM = 0x2c;

export type { Violation, ViolationKind } from "../../sim/violations.ts";

/** What can be done to a software card that cannot be done to a real one. */
export interface SimControls {
  /** What is plugged in counts here, live. */
  readonly wire: WireCounters;
  /** Plugs the cable in or pulls it out. */
  setLink(up: boolean): void;
  /** What the driver did that the datasheet forbids, and DMA that missed. */
  violations(): readonly Violation[];
}

/** A software card, opened. */
export class SimBusDevice implements RegisterBusDevice, SimControls {
  readonly kind = "registers" as const;
  readonly address: string;
  readonly numaNode: number = -1;
  readonly removal = undefined;
  readonly registers: Registers;
  readonly config: ConfigSpace;
  readonly dma: DmaDomain;
  readonly ids: PciIds;
  readonly interrupts: InterruptVectors;
  readonly wire: WireCounters;
  readonly #world: SimWorld;
  readonly #card: number;
  #closed = false;

  private constructor(world: SimWorld, spec: SimSpec) {
    this.#world = world;
    this.#card = world.takeCardNumber();
    this.address = spec.address;
    this.dma = world.dma;
    this.wire = new WireCounters();
    const card = this.#card;
    world.call({ op: "open", card, spec, counters: this.wire.buffer });
    const description = this.describe();
    this.registers = new SimRegisters(description);
    this.config = new SimConfigSpace(description);
    this.ids = readIds(this.config);
    this.interrupts = {
      kind: "msix",
      count: VECTORS,
      route: (fds) => void world.call({ op: "route", card, fds }),
      unmask: () => {},
    };
    this.config.write(COMMAND, COMMAND_MEMORY, 2);
  }

  /** Plugs a card in. Throws when the address is wrong or the wire cannot be made. */
  static async open(address: string): Promise<SimBusDevice> {
    const spec = parseSimAddress(address);
    const world = await SimWorld.acquire();
    try {
      return new SimBusDevice(world, spec);
    } catch (error) {
      await world.release();
      throw error;
    }
  }

  setBusMaster(enabled: boolean): void {
    const command = this.config.read(COMMAND, 2);
    this.config.write(
      COMMAND,
      enabled ? command | COMMAND_BUS_MASTER : command & ~COMMAND_BUS_MASTER,
      2,
    );
  }

  reset(): boolean {
    this.#world.call({ op: "reset", card: this.#card });
    this.config.write(COMMAND, COMMAND_MEMORY, 2);
    return true;
  }

  describe(): SimBusDescription {
    const channel = allocateChannel();
    this.#world.call({ op: "channel", card: this.#card, channel });
    return {
      kind: "sim",
      channel,
      world: this.#world.words,
      doorbellFd: this.#world.doorbell.fd,
    };
  }

  setLink(up: boolean): void {
    this.#world.call({ op: "link", card: this.#card, up });
  }

  violations(): readonly Violation[] {
    return this.#world.call({ op: "violations", card: this.#card })
      .violations ?? [];
  }

  async close(inUse = false): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      for (const { kind, message } of this.violations()) {
        log("warn", this.address, `${kind}: ${message}`);
      }
      this.#world.call({ op: "close", card: this.#card });
    } finally {
      await this.#world.release(inUse);
    }
  }
}

function readIds(config: ConfigSpace): PciIds {
  const id = config.read(VENDOR_AND_DEVICE, 4);
  const subsystem = config.read(SUBSYSTEM, 4);
  return {
    vendor: id & 0xffff,
    device: id >>> 16,
    revision: config.read(REVISION, 1),
    subsystemVendor: subsystem & 0xffff,
    subsystemDevice: subsystem >>> 16,
  };
}
