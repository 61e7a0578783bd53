/**
 * A virtio device on PCI, by its modern interface (virtio 1.2, 4.1).
 *
 * @module
 */
import type { BarBusDevice } from "../../bus.ts";
import type {
  InterruptStatusDescription,
  VirtioPciBusDescription,
} from "../../description.ts";
import {
  VIRTIO_ADVICE,
  type VirtioTransport,
  type VirtqueueSetup,
} from "../transport.ts";
import {
  DeviceFaultError,
  DeviceTimeoutError,
  NotSupportedError,
} from "../../../errors.ts";
import { until } from "../../../wait.ts";
import { featureBit } from "../feature_bits.ts";
import {
  findStructures,
  type StructurePlace,
  StructureType,
} from "./capabilities.ts";
import {
  Common,
  COMMON_BYTES,
  COMMON_BYTES_WITH_RESET,
  type Field,
  ISR_CONFIGURATION,
  ISR_STATUS,
  Status,
  Structure,
  type StructureRules,
} from "./registers.ts";
import {
  addStatus,
  assertInterrupts,
  type PciDevice,
  resetStatus,
  writeVector,
} from "./common_steps.ts";

const QUEUE_RESET_TIMEOUT_MS = 1000;
/** What a register of a device reads as that is gone. */
const GONE = 0xff;
const MOST_DESCRIPTORS = 32768;
/** A notification is the number of a virtqueue, in 16 bits (4.1.5.2). */
const NOTIFICATION_BYTES = 2;
const ACCESS_PLATFORM = featureBit("access-platform");
const RING_RESET = featureBit("ring-reset");

/** Sections 4.1.4.3 to 4.1.4.6, each in its paragraph "Device Requirements". */
const RULES = {
  common: {
    type: StructureType.common,
    name: "common configuration",
    alignment: 4,
    least: COMMON_BYTES,
  },
  notify: {
    type: StructureType.notify,
    name: "notification structure",
    alignment: 2,
    least: NOTIFICATION_BYTES,
  },
  interruptStatus: {
    type: StructureType.interruptStatus,
    name: "interrupt status",
    alignment: 1,
    least: ISR_STATUS.size,
  },
  device: {
    type: StructureType.device,
    name: "device configuration",
    alignment: 4,
    least: 1,
  },
} as const satisfies Record<string, StructureRules>;

/** What the device said of a virtqueue. */
interface Virtqueue {
  readonly largestSize: number;
  /** Where it is notified, in the base address register. */
  readonly notifyOffset: number;
}

/** A {@linkcode VirtioTransport} over PCI, by the modern interface. */
export class VirtioPciTransport implements VirtioTransport {
  readonly name = "PCI";
  readonly macAddress = undefined;
  readonly #bus: BarBusDevice;
  readonly #common: Structure;
  readonly #steps: PciDevice;
  readonly #notify: Structure;
  readonly #interruptStatus: Structure;
  readonly #device: Structure | undefined;
  /** By virtqueue; forgotten where it may have changed. */
  readonly #virtqueues = new Map<number, Virtqueue>();
  /** The same as in {@linkcode Virtqueue}, for the data path. */
  readonly #notifyOffsets: number[] = [];
  #offered = 0n;
  #accepted = 0n;

  /**
   * Finds the device's structures; nothing is written to it before {@linkcode reset}.
   *
   * @param bus The device on its bus.
   * @throws {DeviceFaultError} when it says what cannot be true.
   */
  constructor(bus: BarBusDevice) {
    assertInterrupts(bus);
    this.#bus = bus;
    const places = findStructures(bus.config);
    this.#common = required(bus, places, RULES.common);
    this.#notify = required(bus, places, RULES.notify);
    this.#interruptStatus = required(bus, places, RULES.interruptStatus);
    this.#device = Structure.map(bus, places, RULES.device);
    this.#steps = { bus, registers: this.#common };
  }

  get offered(): bigint {
    return this.#offered;
  }

  get virtqueueCount(): number {
    return this.#common.read(Common.num_queues);
  }

  get hasConfig(): boolean {
    return this.#device !== undefined;
  }

  get queuesAlone(): boolean {
    return (this.#accepted & RING_RESET) !== 0n;
  }

  get needsReset(): boolean {
    const status = this.#common.read(Common.device_status);
    return (status & Status.DEVICE_NEEDS_RESET) !== 0;
  }

  get configGeneration(): number {
    return this.#common.read(Common.config_generation);
  }

  async reset(): Promise<void> {
    await this.#resetStatus();
    this.#virtqueues.clear();
    this.#accepted = 0n;
    this.#addStatus(Status.ACKNOWLEDGE);
    this.#addStatus(Status.DRIVER);
    this.#offered = this.#readOffered();
    this.#assertTranslated();
  }

  acceptFeatures(features: bigint): Promise<void> {
    const common = this.#common;
    for (const half of [0, 1]) {
      common.write(Common.driver_feature_select, half);
      const bits = Number(features >> BigInt(32 * half) & 0xffffffffn);
      common.write(Common.driver_feature, bits);
    }
    this.#addStatus(Status.FEATURES_OK);
    const status = common.read(Common.device_status);
    if ((status & Status.FEATURES_OK) === 0) {
      throw new NotSupportedError(
        `${this.#bus.address} does not take the features 0x${
          features.toString(16)
        } of the 0x${this.#offered.toString(16)} that it offers`,
      );
    }
    this.#accepted = features;
    // Which virtqueues there are may depend on it.
    this.#virtqueues.clear();
    return Promise.resolve();
  }

  giveUp(): Promise<void> {
    this.#addStatus(Status.FAILED);
    return Promise.resolve();
  }

  largestSize(virtqueue: number): number {
    if (virtqueue >= this.virtqueueCount) return 0;
    return this.#virtqueue(virtqueue).largestSize;
  }

  setUp(virtqueue: number, setup: VirtqueueSetup): Promise<void> {
    this.#notifyOffsets[virtqueue] = this.#virtqueue(virtqueue).notifyOffset;
    const common = this.#select(virtqueue);
    common.write(Common.queue_size, setup.size);
    if (common.read(Common.queue_size) !== setup.size) {
      throw new NotSupportedError(
        `${this.#bus.address} does not take ${setup.size} descriptors for virtqueue ${virtqueue}`,
      );
    }
    common.writeAddress(Common.queue_desc, setup.descriptors);
    common.writeAddress(Common.queue_driver, setup.driver);
    common.writeAddress(Common.queue_device, setup.device);
    this.#route(
      Common.queue_msix_vector,
      setup.vector,
      `virtqueue ${virtqueue}`,
    );
    return Promise.resolve();
  }

  routeConfig(vector: number | undefined): Promise<void> {
    this.#route(Common.config_msix_vector, vector, "configuration changes");
    return Promise.resolve();
  }

  enable(virtqueue: number): Promise<void> {
    this.#select(virtqueue).write(Common.queue_enable, 1);
    return Promise.resolve();
  }

  async stop(virtqueue: number): Promise<void> {
    const common = this.#select(virtqueue);
    if (common.read(Common.queue_enable) === 0) return;
    common.write(Common.queue_reset, 1);
    // Others may have selected another virtqueue between two looks.
    const stopped = await until(
      () => this.#select(virtqueue).read(Common.queue_reset) === 0,
      QUEUE_RESET_TIMEOUT_MS,
    );
    if (stopped) return;
    throw new DeviceTimeoutError(
      `queue_reset of virtqueue ${virtqueue} (section 4.1.4.3) becoming 0`,
      QUEUE_RESET_TIMEOUT_MS,
      VIRTIO_ADVICE,
    );
  }

  start(): Promise<void> {
    this.#addStatus(Status.DRIVER_OK);
    return Promise.resolve();
  }

  async shutDown(): Promise<void> {
    if (this.#common.read(Common.device_status) === GONE) return;
    await this.#resetStatus();
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    const device = this.#device;
    if (device !== undefined && offset + size <= device.length) {
      return device.read({ offset, size });
    }
    throw new DeviceFaultError(
      `device configuration ends before its field at ${offset}: it has ${
        device?.length ?? 0
      } bytes`,
    );
  }

  notify(virtqueue: number): void {
    const at = this.#notifyOffsets[virtqueue];
    this.#notify.bar.registers.write16(at, virtqueue);
  }

  unmaskInterrupt(): boolean {
    if (this.#bus.interrupts.kind !== "intx") return false;
    const causes = this.#interruptStatus.read(ISR_STATUS);
    this.#bus.interrupts.unmask();
    return (causes & ISR_CONFIGURATION) !== 0;
  }

  describe(): VirtioPciBusDescription {
    return {
      ...this.#notify.bar.description,
      kind: "virtio-pci",
      notifyOffsets: Array.from(
        { length: this.virtqueueCount },
        (_, virtqueue) => this.#virtqueue(virtqueue).notifyOffset,
      ),
      interruptStatus: this.#describeStatus(),
    };
  }

  #describeStatus(): InterruptStatusDescription | undefined {
    if (this.#bus.interrupts.kind !== "intx") return undefined;
    const { bar: { description }, offset } = this.#interruptStatus;
    return { bar: description, offset };
  }

  #resetStatus(): Promise<void> {
    return resetStatus(this.#steps, Common.device_status);
  }

  #addStatus(bit: number): void {
    addStatus(this.#steps, Common.device_status, bit);
  }

  #readOffered(): bigint {
    const common = this.#common;
    const [low, high] = [0, 1].map((half) => {
      common.write(Common.device_feature_select, half);
      return BigInt(common.read(Common.device_feature));
    });
    const offered = high << 32n | low;
    return common.length < COMMON_BYTES_WITH_RESET
      ? offered & ~RING_RESET
      : offered;
  }

  /**
   * A device that does not offer ACCESS_PLATFORM takes addresses for those of RAM (6.1), and would write over whatever
   * is there.
   */
  #assertTranslated(): void {
    const { address, dma } = this.#bus;
    if (dma.contiguous || (this.#offered & ACCESS_PLATFORM) !== 0n) return;
    throw new NotSupportedError(
      `${address} goes around the IOMMU (it does not offer ACCESS_PLATFORM): start it with iommu_platform=on, which in QEMU needs disable-legacy=on`,
    );
  }

  #select(virtqueue: number): Structure {
    this.#common.write(Common.queue_select, virtqueue);
    return this.#common;
  }

  #virtqueue(index: number): Virtqueue {
    const known = this.#virtqueues.get(index);
    if (known !== undefined) return known;
    const common = this.#select(index);
    const largestSize = common.read(Common.queue_size);
    if (largestSize > MOST_DESCRIPTORS) {
      throw new DeviceFaultError(
        `virtqueue ${index} has ${largestSize} descriptors`,
      );
    }
    const virtqueue = {
      largestSize,
      // A queue that does not exist is never notified, so its offset does not matter.
      notifyOffset: largestSize === 0
        ? this.#notify.offset
        : this.#notifyOffset(index, common.read(Common.queue_notify_off)),
    };
    this.#virtqueues.set(index, virtqueue);
    return virtqueue;
  }

  #notifyOffset(index: number, steps: number): number {
    const { offset, length, notifyMultiplier } = this.#notify;
    const within = steps * notifyMultiplier;
    if (within + NOTIFICATION_BYTES > length || within % 2 !== 0) {
      throw new DeviceFaultError(
        `virtqueue ${index} is notified at ${within} of ${length} bytes`,
      );
    }
    return offset + within;
  }

  #route(field: Field, vector: number | undefined, what: string): void {
    // Without MSI-X there is one line for all causes.
    if (this.#bus.interrupts.kind === "intx") return;
    writeVector(this.#steps, field, vector, what);
  }
}

function required(
  bus: BarBusDevice,
  places: readonly StructurePlace[],
  rules: StructureRules,
): Structure {
  const structure = Structure.map(bus, places, rules);
  if (structure !== undefined) return structure;
  throw new DeviceFaultError(
    `${bus.address} has no ${rules.name} that can be mapped`,
  );
}
