/**
 * The seam between drivers and the world. The same driver runs on a real card, on the software card and, for
 * virtio, over a socket.
 *
 * @module
 */
import type { DmaDomain } from "../dma/domain.ts";
import type { IrqLine } from "../irq/line.ts";
import type { PciIds } from "../pci/ids.ts";
import type {
  BusDescription,
  PortsDescription,
  VfioBusDescription,
} from "./description.ts";

/** A window of 32-bit registers, in memory order: a read returns after all writes of the same isolate arrived. */
export interface Registers {
  /** Reads the register at a byte offset. */
  read32(offset: number): number;
  /** Writes the register at a byte offset. Does not wait until the write has arrived. */
  write32(offset: number, value: number): void;
}

/** Registers of a BAR, of any width, in memory order. */
export interface RegisterWindow extends Registers {
  /** Reads a byte. */
  read8(offset: number): number;
  /** Writes a byte. */
  write8(offset: number, value: number): void;
  /** Reads 16 bits at an even offset. */
  read16(offset: number): number;
  /** Writes 16 bits at an even offset. */
  write16(offset: number, value: number): void;
}

/** PCI configuration space. */
export interface ConfigSpace {
  /** Reads `size` bytes, little-endian. */
  read(offset: number, size: 1 | 2 | 4): number;
  /** Writes `size` bytes, little-endian. */
  write(offset: number, value: number, size: 1 | 2 | 4): void;
}

/** The interrupts that a device can raise. */
export interface InterruptVectors {
  /** How they reach us; "eventfd" where a process raises them itself. */
  readonly kind: "msix" | "msi" | "intx" | "eventfd";
  /** How many vectors there are. */
  readonly count: number;
  /**
   * Routes vector i to the eventfd `fds[i]`, all in one call; -1 leaves a vector unused. Calling it again
   * replaces the routes, an empty list takes all away.
   */
  route(fds: readonly number[]): void;
  /** After an INTx interrupt: lets the next one through. Nothing to do for the other kinds. */
  unmask(): void;
}

/** A device in an isolate that only uses its queues. */
export interface QueueBus {
  /** After an INTx interrupt: lets the next one through. Nothing to do for the other kinds. */
  unmaskInterrupt(): void;
}

/** A card's registers in an isolate that only uses its queues. */
export interface RegisterQueueBus extends QueueBus, Registers {}

/** One device on a bus, opened exclusively. */
export interface BusDevice {
  /** How the user named it: a PCI address, `sim:…` or `vhost-user:…`. */
  readonly address: string;
  /** Vendor, device and subsystem. */
  readonly ids: PciIds;
  /** NUMA node of the slot, or -1. */
  readonly numaNode: number;
  /** Where its DMA goes. */
  readonly dma: DmaDomain;
  /** Its interrupts. */
  readonly interrupts: InterruptVectors;
  /** Raised when the kernel wants the device back, because it is being removed; undefined where that cannot be. */
  readonly removal: IrqLine | undefined;
  /** Raised when the bus reports an error after which the device cannot be trusted; undefined where that cannot be. */
  readonly failure?: IrqLine | undefined;
  /** Lets the device start DMA and interrupts of its own, or stops that. */
  setBusMaster(enabled: boolean): void;
  /** Function level reset, where the bus has one; false where only the device's own reset is there. */
  reset(): boolean;
  /** What another isolate needs to reach the device. Each call is for one isolate. */
  describe(): BusDescription;
  /**
   * Gives everything back. Bus mastering must be off and memory detached before.
   *
   * @param inUse True when another isolate may still use what {@linkcode describe} gave: then the numbers of files in it
   * must not become those of other files.
   */
  close(inUse?: boolean): Promise<void>;
}

/** A device with registers and a PCI configuration space. */
interface PciDevice extends BusDevice {
  /** Base address register 0. */
  readonly registers: Registers;
  /** PCI configuration space. */
  readonly config: ConfigSpace;
}

/** A PCI device whose base address register 0 is the only one that can be reached. */
export interface RegisterBusDevice extends PciDevice {
  /** What kind of bus it is on. */
  readonly kind: "registers";
}

/** A PCI device whose other base address registers can be reached too, until it is closed. */
export interface BarBusDevice extends PciDevice {
  /** What kind of bus it is on. */
  readonly kind: "bars";
  /** Maps a base address register. Throws a NotSupportedError where there is none. */
  mapBar(index: number): MappedBar;
  /** Opens a base address register of I/O ports. Throws a NotSupportedError where there is none. */
  openPorts(index: number): IoPorts;
}

/** A device on PCI. */
export type PciBusDevice = RegisterBusDevice | BarBusDevice;

/** A base address register, mapped. */
export interface MappedBar {
  /** Its registers in this isolate. */
  readonly registers: RegisterWindow;
  /** What another isolate needs to reach it. */
  readonly description: VfioBusDescription;
}

/** A base address register of I/O ports: each access is a call of the kernel. */
export interface IoPorts {
  /** Its registers in this isolate. They read as ones where the device has gone. */
  readonly registers: RegisterWindow;
  /** What another isolate needs to reach it. */
  readonly description: PortsDescription;
}
