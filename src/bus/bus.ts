/**
 * The seam between drivers and the world. The same driver runs on a real card, on the software card and, for
 * virtio, over a socket.
 *
 * @module
 */
import type { DmaDomain } from "../dma/domain.ts";
import type { IrqLine } from "../irq/line.ts";
import type { PciIds } from "../pci/ids.ts";

/** A window of 32-bit registers, in memory order: a read returns after all writes of the same isolate arrived. */
export interface Registers {
  /** Reads the register at a byte offset. */
  read32(offset: number): number;
  /** Writes the register at a byte offset. Does not wait until the write has arrived. */
  write32(offset: number, value: number): void;
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
  /** How they reach us. */
  readonly kind: "msix" | "msi" | "intx";
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

/** A device's registers in an isolate that only uses its queues. */
export interface QueueBus extends Registers {
  /** After an INTx interrupt: lets the next one through. Nothing to do for the other kinds. */
  unmaskInterrupt(): void;
}

/** How another isolate reaches the registers of a software card: structured-clonable. */
export interface SimBusDescription {
  /** Which bus. */
  readonly kind: "sim";
  /** Commands to the card: for one isolate alone. */
  readonly channel: SharedArrayBuffer;
  /** Shared by everybody on the bus. */
  readonly world: SharedArrayBuffer;
  /** Eventfd that wakes the card. */
  readonly doorbellFd: number;
}

/** How another isolate reaches the registers of a real card: structured-clonable. */
export interface VfioBusDescription {
  /** Which bus. */
  readonly kind: "vfio";
  /** Memory over which BAR 0 is laid. */
  readonly buffer: SharedArrayBuffer;
  /** Where BAR 0 begins in it. */
  readonly byteOffset: number;
  /** Bytes of BAR 0. */
  readonly byteLength: number;
  /** The device's file. */
  readonly deviceFd: number;
  /** Whether its interrupt is an INTx line, which the kernel masks each time. */
  readonly intx: boolean;
}

/** How another isolate reaches a device's registers: structured-clonable. */
export type BusDescription = SimBusDescription | VfioBusDescription;

/** One device on a bus, opened exclusively. */
export interface BusDevice {
  /** How the user named it: a PCI address or `sim:…`. */
  readonly address: string;
  /** Vendor, device and subsystem. */
  readonly ids: PciIds;
  /** NUMA node of the slot, or -1. */
  readonly numaNode: number;
  /** Base address register 0. */
  readonly registers: Registers;
  /** PCI configuration space. */
  readonly config: ConfigSpace;
  /** Where its DMA goes. */
  readonly dma: DmaDomain;
  /** Its interrupts. */
  readonly interrupts: InterruptVectors;
  /** Raised when the kernel wants the device back, because it is being removed; undefined where that cannot be. */
  readonly removal: IrqLine | undefined;
  /** Lets the device start DMA and interrupts of its own, or stops that. */
  setBusMaster(enabled: boolean): void;
  /** Function level reset, where the bus has one; false where only the chip's own reset is there. */
  reset(): boolean;
  /** What another isolate needs to reach the registers. Each call is for one isolate. */
  describe(): BusDescription;
  /** Gives everything back. Bus mastering must be off and memory detached before. */
  close(): Promise<void>;
}
