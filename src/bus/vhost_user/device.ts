/**
 * A vhost-user backend as a device on a bus.
 *
 * @module
 */
import type { PciIds } from "../../pci/ids.ts";
import type { InterruptVectors } from "../bus.ts";
import type { VhostUserBusDescription } from "../description.ts";
import type { VirtioBusDevice } from "../virtio/transport.ts";
import { parseVhostUserAddress, type VhostUserSpec } from "./address.ts";
import { VhostUserDomain } from "./domain.ts";
import { Endpoint } from "./endpoint.ts";
import { VhostUserTransport } from "./transport.ts";

/** Eventfds are there for everybody: one for each queue pair that a backend can have, and one more. */
const VECTORS = 129;
/** What a virtio network device calls itself on PCI (4.1.2, 5.1.1). */
const IDS: PciIds = {
  vendor: 0x1af4,
  device: 0x1041,
  revision: 1,
  subsystemVendor: 0x1af4,
  subsystemDevice: 1,
};

/** A backend, which is met when its virtio device is reset. */
export class VhostUserBusDevice implements VirtioBusDevice {
  readonly kind = "virtio" as const;
  readonly address: string;
  readonly ids = IDS;
  readonly numaNode: number = -1;
  readonly dma: VhostUserDomain;
  readonly removal = undefined;
  readonly virtio: VhostUserTransport;
  readonly interrupts: InterruptVectors;

  private constructor(spec: VhostUserSpec) {
    this.address = spec.address;
    this.dma = new VhostUserDomain(spec.ordinaryPages);
    const virtio = new VhostUserTransport(
      spec,
      new Endpoint(spec),
      this.dma,
    );
    this.virtio = virtio;
    this.interrupts = {
      kind: "eventfd",
      count: VECTORS,
      route: (fds) => virtio.route(fds),
      unmask: () => {},
    };
  }

  /**
   * Listens for a backend, or makes ready to connect to one.
   * @throws {ConfigError} when the address is wrong.
   * @throws {IxlError} "device-busy" when somebody else listens there.
   */
  static open(address: string): VhostUserBusDevice {
    return new VhostUserBusDevice(parseVhostUserAddress(address));
  }

  setBusMaster(): void {}

  reset(): boolean {
    return false;
  }

  describe(): VhostUserBusDescription {
    return this.virtio.describe();
  }

  close(inUse = false): Promise<void> {
    return this.virtio.close(inUse);
  }
}
