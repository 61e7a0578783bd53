/**
 * What a device on PCI goes through by either of its interfaces (virtio 1.2, 3.1.1, 4.1.5.1).
 *
 * @module
 */
import type { BarBusDevice } from "../../bus.ts";
import { DeviceTimeoutError, NotSupportedError } from "../../../errors.ts";
import { until } from "../../../wait.ts";
import { VIRTIO_ADVICE } from "../transport.ts";
import { type Field, type FieldAccess, NO_VECTOR } from "./registers.ts";

/** Devices that are hardware may take their time. */
const RESET_TIMEOUT_MS = 3000;

/** A device, for messages, and its registers. */
export interface PciDevice {
  /** The device. */
  readonly bus: BarBusDevice;
  /** Where its status is, and where vectors are written. */
  readonly registers: FieldAccess;
}

/**
 * Resets a device and waits until it says so (4.1.4.3.2).
 * @throws {DeviceTimeoutError} when it does not.
 */
export async function resetStatus(
  { bus, registers }: PciDevice,
  status: Field,
): Promise<void> {
  registers.write(status, 0);
  const done = await until(
    () => registers.read(status) === 0,
    RESET_TIMEOUT_MS,
  );
  if (done) return;
  throw new DeviceTimeoutError(
    `device_status (section 4.1.4.3) of ${bus.address} becoming 0`,
    RESET_TIMEOUT_MS,
    VIRTIO_ADVICE,
  );
}

/** Sets a bit of the status besides those that are set (2.1.1). */
export function addStatus(
  { registers }: PciDevice,
  status: Field,
  bit: number,
): void {
  registers.write(status, registers.read(status) | bit);
}

/**
 * Writes the number of an MSI-X vector, or of none, and looks whether the device has room for it (4.1.5.1.2).
 * @throws {NotSupportedError} when it has not.
 */
export function writeVector(
  { bus, registers }: PciDevice,
  field: Field,
  vector: number | undefined,
  what: string,
): void {
  const wanted = vector ?? NO_VECTOR;
  registers.write(field, wanted);
  if (registers.read(field) === wanted) return;
  throw new NotSupportedError(
    `${bus.address} has no room for interrupt vector ${vector} of ${what}: use fewer queues, or poll (irqTimeoutMs: 0)`,
  );
}

/** @throws {NotSupportedError} for a device that is to interrupt otherwise than virtio devices can. */
export function assertInterrupts(
  { address, interrupts: { kind } }: BarBusDevice,
): void {
  if (kind === "msix" || kind === "intx") return;
  throw new NotSupportedError(
    `virtio devices have MSI-X or INTx interrupts, ${address} is to use ${kind}`,
  );
}
