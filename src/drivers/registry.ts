/**
 * Which driver drives which card.
 *
 * @module
 */
import type { BarBusDevice, PciBusDevice } from "../bus/bus.ts";
import type { OpenedBus, VirtioBusDevice } from "../bus/virtio/transport.ts";
import type { DeviceConfig } from "../config.ts";
import type { Device, QueueDescription, QueuePair } from "../device_api.ts";
import { NotSupportedError } from "../errors.ts";
import {
  formatIds,
  type PciIds,
  VENDOR_INTEL,
  VENDOR_VIRTIO,
} from "../pci/ids.ts";
import type { BaseDevice } from "./device/base_device.ts";
import { IntelCard } from "./intel/card.ts";
import { E1000 } from "./intel/e1000/family.ts";
import type { IntelChip, IntelFamily } from "./intel/family.ts";
import { IGB } from "./intel/igb/family.ts";
import { IXGBE } from "./intel/ixgbe/family.ts";
import { DRIVER as VIRTIO, VirtioDevice } from "./virtio/device.ts";
import { openPciTransport } from "../bus/virtio/pci/open.ts";
import { createRxQueue, createTxQueue } from "./virtio/virtqueue/pair.ts";

/** A card that a driver here knows. */
export interface Model {
  /** PCI vendor. */
  readonly vendor: number;
  /** PCI device. */
  readonly device: number;
  /** What to call it. */
  readonly name: string;
  /** Its driver. */
  readonly driver: string;
}

interface Entry extends Model {
  open(bus: PciBusDevice, config: DeviceConfig): BaseDevice;
}

/** Makes a queue pair in an isolate that got its description and opened its bus. */
type Attach = (description: QueueDescription, bus: OpenedBus) => QueuePair;

/** A driver: its cards, and how its queues are attached. */
interface Driver {
  readonly name: string;
  readonly entries: readonly Entry[];
  readonly attach: Attach;
}

function intel<Chip extends IntelChip>(family: IntelFamily<Chip>): Driver {
  return {
    name: family.driver,
    entries: family.cards.map(([device, name, model]) => ({
      vendor: VENDOR_INTEL,
      device,
      name,
      driver: family.driver,
      open: (bus, config) => new IntelCard(bus, config, family, model),
    })),
    attach: (description, opened) => {
      if (opened.kind !== "registers") throw wrongBus(description, opened);
      const { bus } = opened;
      return family.makePair(description, bus, () => bus.unmaskInterrupt());
    },
  };
}

function virtio(device: number, name: string): Entry {
  return {
    vendor: VENDOR_VIRTIO,
    device,
    name,
    driver: VIRTIO,
    open: (bus, config) =>
      new VirtioDevice(bus, config, openPciTransport(withBars(bus))),
  };
}

/** The registers of a virtio device may lie in any base address register. */
function withBars(bus: PciBusDevice): BarBusDevice {
  if (bus.kind === "bars") return bus;
  throw new NotSupportedError(
    `${bus.address} is on a bus that maps base address register 0 alone`,
  );
}

/** All drivers. A family of Intel cards is one line here and a folder of its own. */
const DRIVERS: readonly Driver[] = [
  intel(E1000),
  intel(IGB),
  intel(IXGBE),
  {
    name: VIRTIO,
    entries: [
      virtio(0x1000, "Virtio network device (transitional or legacy)"),
      virtio(0x1041, "Virtio network device"),
    ],
    attach: (description, opened) => {
      if (opened.kind !== "virtio") throw wrongBus(description, opened);
      return {
        rx: createRxQueue(description, opened.bus),
        tx: createTxQueue(description, opened.bus),
      };
    },
  },
];

function wrongBus({ driver }: QueueDescription, { kind }: OpenedBus): Error {
  return new TypeError(`a queue of ${driver} is not reached by ${kind}`);
}

const ENTRIES = DRIVERS.flatMap(({ entries }) => entries);

/** Every card that a driver here knows. */
export const MODELS: readonly Model[] = ENTRIES;

/** The card with these ids; undefined when no driver here knows it. */
export function findModel(
  ids: Pick<PciIds, "vendor" | "device">,
): Model | undefined {
  return findEntry(ids);
}

function findEntry(
  { vendor, device }: Pick<PciIds, "vendor" | "device">,
): Entry | undefined {
  return ENTRIES.find((entry) =>
    entry.vendor === vendor && entry.device === device
  );
}

/**
 * Opens and starts the device on a bus, which belongs to it from then on; when it fails, everything is given back.
 *
 * @throws {NotSupportedError} when no driver knows it.
 * @throws {ConfigError} for what the chip cannot do.
 * @throws {DeviceTimeoutError} when the chip does not do what its datasheet promises.
 */
export async function openDriver(
  bus: PciBusDevice | VirtioBusDevice,
  config: DeviceConfig,
): Promise<Device> {
  let device: BaseDevice | undefined;
  try {
    device = createDevice(bus, config);
    await device.start();
    return device;
  } catch (error) {
    await (device ?? bus).close();
    throw error;
  }
}

function createDevice(
  bus: PciBusDevice | VirtioBusDevice,
  config: DeviceConfig,
): BaseDevice {
  if (bus.kind === "virtio") return new VirtioDevice(bus, config, bus.virtio);
  const entry = findEntry(bus.ids);
  if (entry !== undefined) return entry.open(bus, config);
  throw new NotSupportedError(
    `${bus.address} (${
      formatIds(bus.ids)
    }) is a card that no driver here knows`,
  );
}

/** Makes a queue pair usable in the isolate that got its description and opened the registers. */
export function attachPair(
  description: QueueDescription,
  bus: OpenedBus,
): QueuePair {
  const driver = DRIVERS.find(({ name }) => name === description.driver);
  if (driver !== undefined) return driver.attach(description, bus);
  throw new NotSupportedError(`there is no driver ${description.driver}`);
}
