/**
 * Reaching a device's registers from another isolate.
 *
 * @module
 */
import type { BusDescription, QueueBus } from "./bus.ts";
import { SimRegisters } from "./sim/channel.ts";
import { MappedRegisters } from "./vfio/registers.ts";

/** Opens the registers that `BusDevice.describe()` described. */
export function openQueueBus(description: BusDescription): QueueBus {
  return description.kind === "sim"
    ? new SimRegisters(description)
    : new MappedRegisters(description);
}
