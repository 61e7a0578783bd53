/**
 * Reaching a device from another isolate.
 *
 * @module
 */
import type { BusDescription } from "./description.ts";
import type { QueueBus } from "./bus.ts";
import { SimRegisters } from "./sim/channel.ts";
import { VirtioPortNotifier } from "./virtio/pci/notifier.ts";
import { MappedRegisters } from "./vfio/registers.ts";
import { VirtioPciNotifier } from "./virtio/pci/notifier.ts";
import { VhostUserNotifier } from "./vhost_user/notifier.ts";

/** Opens what `BusDevice.describe()` described: a RegisterQueueBus of a card, a VirtioQueueBus of a virtio device. */
export function openQueueBus(description: BusDescription): QueueBus {
  switch (description.kind) {
    case "sim":
      return new SimRegisters(description);
    case "vfio":
      return new MappedRegisters(description);
    case "virtio-pci":
      return new VirtioPciNotifier(description);
    case "virtio-ports":
      return new VirtioPortNotifier(description);
    case "vhost-user":
      return new VhostUserNotifier(description);
  }
}
