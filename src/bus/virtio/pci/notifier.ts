/**
 * Notifications to a virtio device on PCI, and its interrupt status, in any isolate.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { unmaskIntx } from "../../vfio/ioctl.ts";
import { PortWindow } from "../../vfio/ports.ts";
import { MappedRegisters } from "../../vfio/registers.ts";
import type {
  VirtioPciBusDescription,
  VirtioPortsBusDescription,
} from "../../description.ts";
import type { VirtioQueueBus } from "../transport.ts";

/** The bit of interrupt status that tells of changes of device configuration (virtio 1.2, 4.1.4.5). */
const CONFIGURATION_CHANGED = 1 << 1;

/** The notifications of a virtio device on PCI (virtio 1.2, 4.1.5.2), in any isolate. */
export class VirtioPciNotifier implements VirtioQueueBus {
  readonly #registers: MappedRegisters;
  readonly #offsets: readonly number[];
  readonly #status: MappedRegisters | undefined;
  readonly #statusOffset: number;

  /** @param description Where they are mapped. */
  constructor(description: VirtioPciBusDescription) {
    const { notifyOffsets, interruptStatus } = description;
    this.#registers = new MappedRegisters(description);
    this.#offsets = notifyOffsets;
    this.#status = interruptStatus && new MappedRegisters(interruptStatus.bar);
    this.#statusOffset = interruptStatus?.offset ?? 0;
  }

  notify(virtqueue: number): void {
    this.#registers.write16(this.#offsets[virtqueue], virtqueue);
  }

  unmaskInterrupt(): boolean {
    if (this.#status === undefined) return false;
    const causes = this.#status.read8(this.#statusOffset);
    this.#status.unmaskInterrupt();
    return (causes & CONFIGURATION_CHANGED) !== 0;
  }
}

/** The notifications of a virtio device by its legacy interface (virtio 1.2, 4.1.4.10), in any isolate. */
export class VirtioPortNotifier implements VirtioQueueBus {
  readonly #ports: PortWindow;
  readonly #description: VirtioPortsBusDescription;

  /** @param description Where its ports are. */
  constructor(description: VirtioPortsBusDescription) {
    this.#ports = new PortWindow(description);
    this.#description = description;
  }

  notify(virtqueue: number): void {
    this.#ports.write16(this.#description.notifyOffset, virtqueue);
  }

  unmaskInterrupt(): boolean {
    const { deviceFd, intx, interruptStatusOffset } = this.#description;
    if (!intx) return false;
    const causes = this.#ports.read8(interruptStatusOffset);
    unmaskIntx(deviceFd);
    return (causes & CONFIGURATION_CHANGED) !== 0;
  }
}
