/**
 * The registers of an 82576 or I350 that nothing happens behind: what a driver writes is recorded, and what it waits
 * for comes.
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
import type { PciIds } from "../../../src/pci/ids.ts";

const Offset = {
  CTRL: 0x0000,
  STATUS: 0x0008,
  MDIC: 0x0020,
  RAL: 0x5400,
  RAH: 0x5404,
  SWSM: 0x5b50,
} as const;
const CTRL_GIO_DIS = 1 << 2;
const CTRL_RST = 1 << 26;
const STATUS_LU = 1 << 1;
const STATUS_SPEED_1000 = 2 << 6;
const STATUS_GIO_ENABLED = 1 << 19;
const MDIC_READ = 2;
const MDIC_READY = 1 << 28;
const SMBI = 1;
const BMCR = 0;
const BMCR_RESTART = 1 << 9;

/** What a test can choose. */
export interface GigabitBusOptions {
  /** PCI device id. */
  readonly device: number;
  /** Interrupt vectors. */
  readonly vectors?: number;
  /** What kind of interrupts these are. Default "msix". */
  readonly kind?: InterruptVectors["kind"];
}

/** A card of registers alone. */
export class GigabitBus implements RegisterBusDevice {
  readonly kind = "registers" as const;
  readonly address: string = "test:0";
  readonly numaNode: number = -1;
  readonly removal = undefined;
  readonly ids: PciIds;
  readonly dma: DmaDomain;
  /** A test may put something before it. */
  registers: Registers;
  readonly config: ConfigSpace = { read: () => 0, write: () => {} };
  readonly interrupts: InterruptVectors;
  /** What stands in the registers. */
  readonly words: Map<number, number> = new Map();
  /** Register writes, in order. */
  readonly writes: [offset: number, value: number][] = [];
  /** The PHY's registers. */
  readonly phy: Map<number, number> = new Map();
  /** Eventfds that vectors are routed to. */
  routed: readonly number[] = [];
  /** Bytes that the card can reach now. */
  mapped = 0;
  busMaster = false;
  closed = 0;
  #linkUp = false;

  constructor({ device, vectors = 25, kind = "msix" }: GigabitBusOptions) {
    this.ids = {
      ...{ vendor: 0x8086, device, revision: 1 },
      ...{ subsystemVendor: 0, subsystemDevice: 0 },
    };
    this.dma = new MappedDomain({
      map: (_memory, _offset, length) => void (this.mapped += length),
      unmap: (_iova, length) => void (this.mapped -= length),
    });
    this.words.set(Offset.RAL, 0x0000_0002);
    this.words.set(Offset.RAH, 0x8000_0100);
    this.registers = {
      read32: (offset) => this.#read(offset),
      write32: (offset, value) => this.#write(offset, value >>> 0),
    };
    this.interrupts = {
      kind,
      count: vectors,
      route: (fds) => void (this.routed = fds),
      unmask: () => {},
    };
  }

  /** What was written to a register, in order. */
  written(offset: number): number[] {
    return this.writes.filter(([at]) => at === offset).map(([, value]) =>
      value
    );
  }

  setBusMaster(enabled: boolean): void {
    this.busMaster = enabled;
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
    return Promise.resolve();
  }

  #read(offset: number): number {
    const value = this.words.get(offset) ?? 0;
    if (offset === Offset.SWSM) this.words.set(offset, value | SMBI);
    if (offset !== Offset.STATUS) return value;
    const quiet = (this.words.get(Offset.CTRL) ?? 0) & CTRL_GIO_DIS;
    return value | (quiet ? 0 : STATUS_GIO_ENABLED) |
      (this.#linkUp ? STATUS_LU | STATUS_SPEED_1000 : 0);
  }

  #write(offset: number, value: number): void {
    this.writes.push([offset, value]);
    if (offset === Offset.STATUS) return;
    this.words.set(offset, value);
    if (offset === Offset.CTRL && value & CTRL_RST) this.#reset();
    if (offset === Offset.MDIC) this.#mdic(value);
  }

  /** A reset forgets all but what comes from the EEPROM. */
  #reset(): void {
    const ral = this.words.get(Offset.RAL)!;
    const rah = this.words.get(Offset.RAH)!;
    this.words.clear();
    this.words.set(Offset.RAL, ral);
    this.words.set(Offset.RAH, rah);
    this.#linkUp = false;
  }

  #mdic(value: number): void {
    const register = value >>> 16 & 0x1f;
    let data = value & 0xffff;
    if ((value >>> 26 & 3) === MDIC_READ) data = this.phy.get(register) ?? 0;
    else this.phy.set(register, data);
    if (register === BMCR && data & BMCR_RESTART) this.#linkUp = true;
    this.words.set(Offset.MDIC, (value & ~0xffff | data | MDIC_READY) >>> 0);
  }
}
