/**
 * Reaching a device from another isolate.
 *
 * @module
 */
import type { BusDescription } from "./description.ts";
import type { OpenedBus } from "./virtio/transport.ts";
import { SimRegisters } from "./sim/channel.ts";
import { VirtioPortNotifier } from "./virtio/pci/notifier.ts";
import { MappedRegisters } from "./vfio/registers.ts";
import { VirtioPciNotifier } from "./virtio/pci/notifier.ts";
import { VhostUserNotifier } from "./vhost_user/notifier.ts";

/** Opens what `BusDevice.describe()` described. */
export function openQueueBus(description: BusDescription): OpenedBus {
  switch (description.kind) {
    case "sim":
      return { kind: "registers", bus: new SimRegisters(description) };
    case "vfio":
      return { kind: "registers", bus: new MappedRegisters(description) };
    case "virtio-pci":
      return { kind: "virtio", bus: new VirtioPciNotifier(description) };
    case "virtio-ports":
      return { kind: "virtio", bus: new VirtioPortNotifier(description) };
    case "vhost-user":
      return { kind: "virtio", bus: new VhostUserNotifier(description) };
  }
}
