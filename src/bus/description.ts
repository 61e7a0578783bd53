/**
 * What another isolate needs to reach a device: structured-clonable.
 *
 * @module
 */

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

/** How another isolate notifies a virtio device on PCI: structured-clonable. */
export interface VirtioPciBusDescription
  extends Omit<VfioBusDescription, "kind"> {
  /** Which bus. */
  readonly kind: "virtio-pci";
  /** Where each virtqueue's notification is written, from `byteOffset` on. */
  readonly notifyOffsets: readonly number[];
  /** What is read to take an INTx line down (4.1.4.5); undefined for the other kinds of interrupts. */
  readonly interruptStatus: InterruptStatusDescription | undefined;
}

/** A virtio device's interrupt status on PCI: structured-clonable. */
export interface InterruptStatusDescription {
  /** The base address register that it is in. */
  readonly bar: VfioBusDescription;
  /** Where in it. */
  readonly offset: number;
}

/** I/O ports of a device, through its file. */
export interface PortsDescription {
  /** The device's file. */
  readonly deviceFd: number;
  /** Where the ports begin in it. */
  readonly fileOffset: number;
  /** How many there are. */
  readonly byteLength: number;
  /** Whether its interrupt is an INTx line, which the kernel masks each time. */
  readonly intx: boolean;
}

/** How another isolate notifies a virtio device by its legacy interface, which is I/O ports: structured-clonable. */
export interface VirtioPortsBusDescription extends PortsDescription {
  /** Which bus. */
  readonly kind: "virtio-ports";
  /** The port to which the number of a virtqueue is written. */
  readonly notifyOffset: number;
  /** The port that is read to take an INTx line down (4.1.4.5). */
  readonly interruptStatusOffset: number;
}

/** How another isolate notifies a vhost-user backend: structured-clonable. */
export interface VhostUserBusDescription {
  /** Which bus. */
  readonly kind: "vhost-user";
  /** The kick eventfd of each virtqueue. */
  readonly kickFds: readonly number[];
}

/** How another isolate reaches a device: structured-clonable. */
export type BusDescription =
  | SimBusDescription
  | VfioBusDescription
  | VirtioPciBusDescription
  | VirtioPortsBusDescription
  | VhostUserBusDescription;
