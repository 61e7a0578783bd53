/**
 * Interrupt vectors: how many a device needs, and which eventfd each one raises.
 *
 * @module
 */
import type { BusDevice } from "../../bus/bus.ts";
import type { DeviceConfig } from "../../config.ts";
import { ConfigError, NotSupportedError } from "../../errors.ts";
import type { DeviceMemory } from "./device_memory.ts";

/** How a driver uses vectors. */
export interface VectorUse {
  /** The driver's name. */
  readonly driver: string;
  /** One vector serves the only queue and everything else. */
  readonly sharedVector: boolean;
  /** Vector 0 is the link's and no queue has one, because all of them poll. */
  readonly linkVectorOnly: boolean;
}

/**
 * Checks that a device has the vectors that its queues need.
 *
 * @throws {ConfigError} when the user asks for another kind of interrupts than the device has.
 * @throws {NotSupportedError} when there are too few vectors, or the driver cannot use their kind.
 */
export function checkVectors(
  { address, interrupts: { kind, count } }: BusDevice,
  { interrupts, queues }: DeviceConfig,
  { driver, sharedVector, linkVectorOnly }: VectorUse,
): void {
  if (interrupts !== "auto" && interrupts !== kind) {
    throw new ConfigError(
      "interrupts",
      `${address} has ${kind} interrupts, not ${interrupts}`,
    );
  }
  if ((kind === "msi" || kind === "intx") && !sharedVector) {
    throw new NotSupportedError(
      `the ${driver} driver needs MSI-X, ${address} has ${kind} interrupts`,
    );
  }
  if (count > queues || linkVectorOnly) return;
  if (sharedVector && queues === 1) return;
  throw new NotSupportedError(
    `${queues} queues need ${
      queues + 1
    } interrupt vectors, ${address} has ${count} (${kind}): use fewer queues, or poll (irqTimeoutMs: 0) where the driver can do without`,
  );
}

/**
 * The eventfd of each vector. A shared one wakes the queue, which passes news of the link on; but a queue that only
 * polls never looks, so that the link gets the vector.
 */
export function vectorFds(
  { queues, link }: DeviceMemory,
  { irqTimeoutMs }: DeviceConfig,
  { sharedVector, linkVectorOnly }: VectorUse,
): number[] {
  if (linkVectorOnly) return [link.fd];
  const fds = queues.map(({ irq }) => irq.fd);
  if (!sharedVector) return [...fds, link.fd];
  return irqTimeoutMs === 0 ? [link.fd] : fds;
}
