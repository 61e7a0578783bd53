/**
 * A virtio device on PCI, by the interface from before version 1.0 (virtio 1.2, 4.1.4.10): I/O ports in base address
 * register 0, and rings that are named by the number of their first page in RAM.
 *
 * Such a device goes around an IOMMU, so that it is driven only where there is none.
 *
 * @module
 */
import type { BarBusDevice, IoPorts } from "../../bus.ts";
import type { VirtioPortsBusDescription } from "../../description.ts";
import type { VirtioTransport, VirtqueueSetup } from "../transport.ts";
import { DeviceFaultError, NotSupportedError } from "../../../errors.ts";
import { msixSwitch } from "./capabilities.ts";
import {
  type Field,
  type FieldAccess,
  ISR_CONFIGURATION,
  Legacy,
  LEGACY_BYTES,
  LEGACY_BYTES_WITH_MSIX,
  readField,
  Status,
  writeField,
} from "./registers.ts";
import {
  addStatus,
  assertInterrupts,
  type PciDevice,
  resetStatus,
  writeVector,
} from "./common_steps.ts";

/** Where the legacy interface is. */
const BAR = 0;
/** What a register of a device reads as that is gone. */
const GONE = 0xff;
/** Receive, transmit, control: more pairs are counted by device configuration (5.1.2). */
const MOST_UNCOUNTED = 3;
/** What a virtqueue's page is counted in (4.1.5.1.3.1). */
const PAGE_BYTES = 4096n;
/** Pages that 32 bits can name: 16 TiB. */
const PAGES = 1n << 32n;

/** A {@linkcode VirtioTransport} over PCI, by the legacy interface. */
export class VirtioPciLegacyTransport implements VirtioTransport {
  readonly name = "PCI, legacy";
  readonly legacy = true;
  readonly macAddress = undefined;
  readonly hasConfig = true;
  readonly queuesAlone = false;
  /** There is none: each field that changes is read as a whole (2.5.4). */
  readonly configGeneration = 0;
  readonly #bus: BarBusDevice;
  readonly #ports: IoPorts;
  readonly #registers: FieldAccess;
  readonly #steps: PciDevice;
  readonly #isMsixEnabled: () => boolean;
  /** By virtqueue: the page that it is to begin in. */
  readonly #pages = new Map<number, number>();
  #offered = 0n;

  /**
   * Nothing is written to the device before {@linkcode reset}.
   *
   * @param bus The device on its bus, with physical addresses.
   * @throws {NotSupportedError} when it has no I/O ports.
   * @throws {DeviceFaultError} when it says what cannot be true.
   */
  constructor(bus: BarBusDevice) {
    assertInterrupts(bus);
    this.#bus = bus;
    this.#isMsixEnabled = msixSwitch(bus.config);
    const ports = bus.openPorts(BAR);
    const { byteLength } = ports.description;
    if (byteLength <= LEGACY_BYTES_WITH_MSIX) {
      throw new DeviceFaultError(
        `BAR ${BAR} of ${bus.address} has ${byteLength} ports: device configuration begins at ${LEGACY_BYTES_WITH_MSIX}`,
      );
    }
    this.#ports = ports;
    this.#registers = {
      read: ({ offset, size }) => readField(ports.registers, offset, size),
      write: ({ offset, size }, value) =>
        writeField(ports.registers, offset, size, value),
    };
    this.#steps = { bus, registers: this.#registers };
  }

  get offered(): bigint {
    return this.#offered;
  }

  /** Virtqueues of one pair, and what may be the control queue: nothing here counts them. */
  get virtqueueCount(): number {
    let count = 0;
    while (count < MOST_UNCOUNTED && this.largestSize(count) > 0) count++;
    return count;
  }

  /** True when it has gone: a device with the legacy interface cannot ask for a reset (2.1.2). */
  get needsReset(): boolean {
    return this.#registers.read(Legacy.device_status) === GONE;
  }

  async reset(): Promise<void> {
    await resetStatus(this.#steps, Legacy.device_status);
    this.#pages.clear();
    this.#addStatus(Status.ACKNOWLEDGE);
    this.#addStatus(Status.DRIVER);
    this.#offered = BigInt(this.#registers.read(Legacy.device_features));
  }

  /** There is no FEATURES_OK: the device has no say (3.1.2). */
  acceptFeatures(features: bigint): Promise<void> {
    this.#registers.write(Legacy.driver_features, Number(features));
    return Promise.resolve();
  }

  /** As many as a virtqueue has, neither more nor fewer. */
  giveUp(): Promise<void> {
    this.#addStatus(Status.FAILED);
    return Promise.resolve();
  }

  largestSize(virtqueue: number): number {
    this.#registers.write(Legacy.queue_select, virtqueue);
    const size = this.#registers.read(Legacy.queue_size);
    if ((size & (size - 1)) === 0) return size;
    throw new DeviceFaultError(
      `virtqueue ${virtqueue} has ${size} descriptors, no power of two`,
    );
  }

  setUp(virtqueue: number, setup: VirtqueueSetup): Promise<void> {
    const size = this.largestSize(virtqueue);
    if (setup.size !== size) {
      throw new NotSupportedError(
        `virtqueue ${virtqueue} of ${this.#bus.address} has ${size} descriptors: the legacy interface does not take ${setup.size}`,
      );
    }
    this.#pages.set(virtqueue, pageOf(virtqueue, setup.descriptors));
    this.#route(
      Legacy.queue_msix_vector,
      setup.vector,
      `virtqueue ${virtqueue}`,
    );
    return Promise.resolve();
  }

  routeConfig(vector: number | undefined): Promise<void> {
    this.#route(Legacy.config_msix_vector, vector, "configuration changes");
    return Promise.resolve();
  }

  /** The device may use the virtqueue as soon as it knows its page (4.1.5.1.3.1). */
  enable(virtqueue: number): Promise<void> {
    const page = this.#pages.get(virtqueue)!;
    this.#registers.write(Legacy.queue_select, virtqueue);
    this.#registers.write(Legacy.queue_address, page);
    const taken = this.#registers.read(Legacy.queue_address);
    if (taken === page) return Promise.resolve();
    throw new DeviceFaultError(
      `${this.#bus.address} does not take page ${page} for virtqueue ${virtqueue}: it says ${taken}`,
    );
  }

  stop(virtqueue: number): Promise<void> {
    throw new NotSupportedError(
      `virtqueue ${virtqueue} of ${this.#bus.address} stops with all others: the legacy interface has no reset of one`,
    );
  }

  start(): Promise<void> {
    this.#addStatus(Status.DRIVER_OK);
    return Promise.resolve();
  }

  async shutDown(): Promise<void> {
    if (this.needsReset) return;
    await resetStatus(this.#steps, Legacy.device_status);
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    // The vectors move it while they are there (4.1.4.10).
    const start = this.#isMsixEnabled() ? LEGACY_BYTES_WITH_MSIX : LEGACY_BYTES;
    const { byteLength } = this.#ports.description;
    if (start + offset + size <= byteLength) {
      return this.#registers.read({ offset: start + offset, size });
    }
    throw new DeviceFaultError(
      `device configuration ends before its field at ${offset}: it has ${
        byteLength - start
      } bytes`,
    );
  }

  notify(virtqueue: number): void {
    const { registers } = this.#ports;
    registers.write16(Legacy.queue_notify.offset, virtqueue);
  }

  unmaskInterrupt(): boolean {
    if (this.#bus.interrupts.kind !== "intx") return false;
    const causes = this.#registers.read(Legacy.isr_status);
    this.#bus.interrupts.unmask();
    return (causes & ISR_CONFIGURATION) !== 0;
  }

  describe(): VirtioPortsBusDescription {
    return {
      ...this.#ports.description,
      kind: "virtio-ports",
      notifyOffset: Legacy.queue_notify.offset,
      interruptStatusOffset: Legacy.isr_status.offset,
    };
  }

  #addStatus(bit: number): void {
    addStatus(this.#steps, Legacy.device_status, bit);
  }

  #route(field: Field, vector: number | undefined, what: string): void {
    // Without MSI-X, device configuration stands in the place of the vectors.
    if (this.#isMsixEnabled()) writeVector(this.#steps, field, vector, what);
  }
}

function pageOf(virtqueue: number, address: bigint): number {
  const page = address / PAGE_BYTES;
  if (address % PAGE_BYTES === 0n && page < PAGES) return Number(page);
  throw new NotSupportedError(
    `virtqueue ${virtqueue} lies at 0x${
      address.toString(16)
    }: the legacy interface names pages of 4096 bytes below 16 TiB`,
  );
}
