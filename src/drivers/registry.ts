/**
 * Which driver drives which card.
 *
 * @module
 */
import type {
  BarBusDevice,
  PciBusDevice,
  QueueBus,
  RegisterQueueBus,
} from "../bus/bus.ts";
import type {
  VirtioBusDevice,
  VirtioQueueBus,
} from "../bus/virtio/transport.ts";
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
import {
  CHIP_82540EM,
  CHIP_82545EM,
  CHIP_82574L,
  CHIP_82583V,
  type ChipModel as E1000Model,
} from "./intel/e1000/chip.ts";
import { DRIVER as E1000, E1000Device } from "./intel/e1000/device.ts";
import { E1000RxQueue, E1000TxQueue } from "./intel/e1000/queues.ts";
import {
  CHIP_82576,
  CHIP_I350,
  type ChipModel as IgbModel,
} from "./intel/igb/chip.ts";
import { DRIVER as IGB, IgbDevice } from "./intel/igb/device.ts";
import { IgbRxQueue, IgbTxQueue } from "./intel/igb/queues.ts";
import {
  CHIP_82599,
  CHIP_X540,
  CHIP_X550,
  type ChipModel,
} from "./intel/ixgbe/chip.ts";
import { DRIVER as IXGBE, IxgbeDevice } from "./intel/ixgbe/device.ts";
import { IxgbeRxQueue, IxgbeTxQueue } from "./intel/ixgbe/queues.ts";
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

function igb(device: number, name: string, chip: IgbModel): Entry {
  return {
    vendor: VENDOR_INTEL,
    device,
    name,
    driver: IGB,
    open: (bus, config) => new IgbDevice(bus, config, chip),
  };
}

function ixgbe(device: number, name: string, chip: ChipModel): Entry {
  return {
    vendor: VENDOR_INTEL,
    device,
    name,
    driver: IXGBE,
    open: (bus, config) => new IxgbeDevice(bus, config, chip),
  };
}

function e1000(device: number, name: string, chip: E1000Model): Entry {
  return {
    vendor: VENDOR_INTEL,
    device,
    name,
    driver: E1000,
    open: (bus, config) => new E1000Device(bus, config, chip),
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
  if ("mapBar" in bus) return bus as BarBusDevice;
  throw new NotSupportedError(
    `${bus.address} is on a bus that maps base address register 0 alone`,
  );
}

const ENTRIES: readonly Entry[] = [
  e1000(0x100e, "Intel 82540EM (PRO/1000 MT)", CHIP_82540EM),
  e1000(0x100f, "Intel 82545EM (PRO/1000 MT)", CHIP_82545EM),
  e1000(0x10d3, "Intel 82574L (Gigabit CT)", CHIP_82574L),
  e1000(0x10f6, "Intel 82574LA", CHIP_82574L),
  e1000(0x150c, "Intel 82583V", CHIP_82583V),
  igb(0x10c9, "Intel 82576 (ET)", CHIP_82576),
  igb(0x10e6, "Intel 82576 (EF, fibre)", CHIP_82576),
  igb(0x10e7, "Intel 82576 (SerDes)", CHIP_82576),
  igb(0x10e8, "Intel 82576 (ET, quad)", CHIP_82576),
  igb(0x150a, "Intel 82576NS", CHIP_82576),
  igb(0x1518, "Intel 82576NS (SerDes)", CHIP_82576),
  igb(0x150d, "Intel 82576 (SerDes, quad)", CHIP_82576),
  igb(0x1526, "Intel 82576 (ET2, quad)", CHIP_82576),
  igb(0x1521, "Intel I350 (copper)", CHIP_I350),
  igb(0x1522, "Intel I350 (fibre)", CHIP_I350),
  igb(0x1523, "Intel I350 (SerDes)", CHIP_I350),
  igb(0x1524, "Intel I350 (SGMII)", CHIP_I350),
  igb(0x1546, "Intel I350 (device 1546)", CHIP_I350),
  ixgbe(0x10fb, "Intel 82599ES (X520, SFP+)", CHIP_82599),
  ixgbe(0x1507, "Intel 82599ES (SFP+, extended)", CHIP_82599),
  ixgbe(0x1529, "Intel 82599 (SFP+ FCoE)", CHIP_82599),
  ixgbe(0x154a, "Intel 82599 (quad SFP+)", CHIP_82599),
  ixgbe(0x154d, "Intel 82599ES (X520, SFP+)", CHIP_82599),
  ixgbe(0x1557, "Intel 82599EN (X520-1, SFP+)", CHIP_82599),
  ixgbe(0x1528, "Intel X540-T2 (10GBASE-T)", CHIP_X540),
  ixgbe(0x1560, "Intel X540-T1 (10GBASE-T)", CHIP_X540),
  ixgbe(0x1563, "Intel X550-T2 (10GBASE-T)", CHIP_X550),
  ixgbe(0x15d1, "Intel X550-T1 (10GBASE-T)", CHIP_X550),
  virtio(0x1000, "Virtio network device (transitional or legacy)"),
  virtio(0x1041, "Virtio network device"),
];

type Attach<Bus extends QueueBus> = (
  description: QueueDescription,
  bus: Bus,
) => QueuePair;

/** How each driver of a card makes its queues from their description. */
const ATTACH: Readonly<Record<string, Attach<RegisterQueueBus>>> = {
  [E1000]: (description, bus) => ({
    rx: new E1000RxQueue(description, bus),
    tx: new E1000TxQueue(description, bus),
  }),
  [IGB]: (description, bus) => ({
    rx: new IgbRxQueue(description, bus),
    tx: new IgbTxQueue(description, bus),
  }),
  [IXGBE]: (description, bus) => ({
    rx: new IxgbeRxQueue(description, bus),
    tx: new IxgbeTxQueue(description, bus),
  }),
};

const attachVirtio: Attach<VirtioQueueBus> = (description, bus) => ({
  rx: createRxQueue(description, bus),
  tx: createTxQueue(description, bus),
});

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
  if ("virtio" in bus) return new VirtioDevice(bus, config, bus.virtio);
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
  bus: QueueBus,
): QueuePair {
  if (description.driver === VIRTIO) {
    return attachVirtio(description, bus as VirtioQueueBus);
  }
  const attach = ATTACH[description.driver];
  if (attach !== undefined) return attach(description, bus as RegisterQueueBus);
  throw new NotSupportedError(`there is no driver ${description.driver}`);
}
