/**
 * The seam between the virtio driver and whatever carries its device: PCI, or a vhost-user socket.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { BusDevice, QueueBus, RegisterQueueBus } from "../bus.ts";
import type { BusDescription } from "../description.ts";

/** What to look at when a virtio device does not answer. */
export const VIRTIO_ADVICE =
  "the hypervisor or the backend that plays the device is hung, or the device is gone: look at its log";

/** Where one virtqueue lies for the device, as I/O virtual addresses (2.7, 2.8). */
export interface VirtqueueAddresses {
  /** Descriptor table, or packed ring. */
  readonly descriptors: bigint;
  /** Available ring, or driver event suppression. */
  readonly driver: bigint;
  /** Used ring, or device event suppression. */
  readonly device: bigint;
}

/** How one virtqueue is set up. */
export interface VirtqueueSetup extends VirtqueueAddresses {
  /** Descriptors: a power of two in a split ring. */
  readonly size: number;
  /** Which of the routed interrupt vectors it raises; undefined for none. */
  readonly vector: number | undefined;
}

/** A virtio device in an isolate that only uses its queues. */
export interface VirtioQueueBus extends QueueBus {
  /** Tells the device that there is something new in a virtqueue. */
  notify(virtqueue: number): void;
  /**
   * After an INTx interrupt: takes the line down, which all causes share, and lets the next one through. True when
   * device configuration was among the causes. False, and nothing to do, for the other kinds.
   */
  unmaskInterrupt(): boolean;
}

/** A virtio device, whatever carries it. The driver alone decides what is done in which order (3.1). */
export interface VirtioTransport extends VirtioQueueBus {
  /** What carries it, for messages: "PCI", "vhost-user". */
  readonly name: string;
  /**
   * True for the legacy interface, which is older than version 1.0 (2.2.3, 2.7.2): split rings of exactly
   * {@linkcode largestSize} descriptors, in one piece whose beginning alone the device is told. Default: false.
   */
  readonly legacy?: boolean;
  /** Feature bits that the device offers. Known after the first {@linkcode reset}. */
  readonly offered: bigint;
  /** Virtqueues that the device has, the control queue included: of several pairs only once their use is accepted. */
  readonly virtqueueCount: number;
  /** Whether device configuration, and so the control queue, is there: a vhost-user backend has none. */
  readonly hasConfig: boolean;
  /**
   * The device's address where its configuration cannot say it: as the user chose it, or made up. Undefined where only
   * configuration has one.
   */
  readonly macAddress: Uint8Array | undefined;
  /** Whether the user chose it, so that it stands before one in the device's configuration. */
  readonly macIsChosen?: boolean;
  /**
   * Resets the device and waits until it says so (4.1.4.3.2), or connects to it. Then ACKNOWLEDGE and DRIVER are set.
   * Rejects when the device or its backend does not answer in time, or the bus is closed meanwhile; it may be called
   * again then.
   */
  reset(): Promise<void>;
  /**
   * Accepts features and sets FEATURES_OK.
   * @throws {NotSupportedError} when the device does not take the choice (3.1.1).
   */
  acceptFeatures(features: bigint): Promise<void>;
  /** Tells the device that the driver has given up on it (FAILED, 2.1.1). Does not throw. */
  giveUp(): Promise<void>;
  /** Most descriptors of a virtqueue; 0 where there is no such queue. */
  largestSize(virtqueue: number): number;
  /** Says where a virtqueue lies. It is not used before {@linkcode enable}. */
  setUp(virtqueue: number, setup: VirtqueueSetup): Promise<void>;
  /** Says which of the routed interrupt vectors tells of configuration changes (4.1.5.1.2); undefined for none. */
  routeConfig(vector: number | undefined): Promise<void>;
  /** Starts a virtqueue. */
  enable(virtqueue: number): Promise<void>;
  /**
   * True where one virtqueue can be stopped and set up again while others run (RING_RESET, 2.6.1). Known once features
   * are accepted.
   */
  readonly queuesAlone: boolean;
  /** Where {@linkcode queuesAlone}: stops one virtqueue and waits until the device no longer uses it. */
  stop(virtqueue: number): Promise<void>;
  /** Sets DRIVER_OK: the device is live. */
  start(): Promise<void>;
  /** Stops all of it: the device touches no memory when this resolves. Does not wait for a backend that has gone. */
  shutDown(): Promise<void>;
  /** True when the device needs a reset (2.1.1, DEVICE_NEEDS_RESET), or its backend has gone. */
  readonly needsReset: boolean;
  /** Reads `size` bytes of device configuration, little-endian. Only where {@linkcode hasConfig}. */
  readConfig(offset: number, size: 1 | 2 | 4): number;
  /** Changes whenever device configuration changed (2.5.1). */
  readonly configGeneration: number;
  /** What another isolate needs to notify it, once its virtqueues are set up. */
  describe(): BusDescription;
}

/** A virtio device that is not on PCI. */
export interface VirtioBusDevice extends BusDevice {
  /** What kind of bus it is on. */
  readonly kind: "virtio";
  /** The device. */
  readonly virtio: VirtioTransport;
}

/** A bus in an isolate that only uses a device's queues. */
export type OpenedBus =
  | { readonly kind: "registers"; readonly bus: RegisterQueueBus }
  | { readonly kind: "virtio"; readonly bus: VirtioQueueBus };
