/**
 * Finding and opening devices.
 *
 * @module
 */
import { openQueueBus } from "./bus/attach.ts";
import { isSimAddress, SIM_ADDRESSES } from "./bus/sim/address.ts";
import { SimBusDevice, type SimControls } from "./bus/sim/device.ts";
import { VfioBusDevice, whyNotVfio } from "./bus/vfio/device.ts";
import {
  isVhostUserAddress,
  VHOST_USER_ADDRESSES,
} from "./bus/vhost_user/address.ts";
import { VhostUserBusDevice } from "./bus/vhost_user/device.ts";
import { completeConfig, type DeviceOptions } from "./config.ts";
import type { Device, QueueDescription, QueuePair } from "./device_api.ts";
import { attachPair, findModel, openDriver } from "./drivers/registry.ts";
import { assertBarriers } from "./dma/barrier.ts";
import { assertSettings } from "./environment.ts";
import { IxlError, NotSupportedError } from "./errors.ts";
import { loadNative } from "./ffi/native.ts";
import { parsePciAddress } from "./pci/address.ts";
import { formatIds } from "./pci/ids.ts";
import { listPciEthernet, type PciFunction } from "./pci/sysfs.ts";
import { assertPlatform } from "./platform.ts";

export type * from "./device_api.ts";

/** Which device to open, and how. */
export interface OpenOptions extends DeviceOptions {
  /** `sim:…` for a software card, `vhost-user:…` for a backend, or a PCI address. */
  readonly address: string;
}

const simControlsByDevice = new WeakMap<Device, SimControls>();

/**
 * Opens and starts a network card: when this returns, frames flow.
 *
 * @throws {IxlError} "device-not-found" when the address names nothing, "permission" when FFI is not allowed,
 * "device-busy" when somebody else has it.
 * @throws {ConfigError} when a value is out of range.
 * @throws {DeviceTimeoutError} when the card does not do what its datasheet promises.
 *
 * @example
 * ```ts
 * import { openDevice } from "@ixl/deno";
 *
 * await using device = await openDevice({ address: "sim:loopback" });
 * console.log(device.model, device.linkSpeed); // "82599" 10000
 * ```
 */
export async function openDevice(options: OpenOptions): Promise<Device> {
  assertPlatform();
  assertSettings();
  await loadNative();
  assertBarriers();
  const { address, ...rest } = options;
  const config = completeConfig(rest);
  if (isVhostUserAddress(address)) {
    return await openDriver(VhostUserBusDevice.open(address), config);
  }
  if (isSimAddress(address)) {
    const bus = await SimBusDevice.open(address);
    const device = await openDriver(bus, config);
    simControlsByDevice.set(device, bus);
    return device;
  }
  const bus = VfioBusDevice.open(pciAddress(address), config);
  return await openDriver(bus, config);
}

function pciAddress(address: string): string {
  const pci = parsePciAddress(address);
  if (pci !== undefined) return pci;
  throw new IxlError(
    "device-not-found",
    `there is no network card "${address}": \`ixl list\` shows what there is, and sim:loopback is always there`,
  );
}

/**
 * Makes a queue pair usable in this isolate from what `describeQueue()` gave in another; which must not use it
 * meanwhile. Queue workers started by `run()` have it already.
 *
 * @throws {NotSupportedError} when the description is of a driver that this version does not have.
 */
export function attachQueue(description: QueueDescription): QueuePair {
  assertBarriers();
  return attachPair(description, openQueueBus(description.bus));
}

/**
 * The controls of a software card: its cable, what its wire counted, and what the driver did wrong.
 * @throws {NotSupportedError} for a real card.
 */
export function simControls(device: Device): SimControls {
  const controls = simControlsByDevice.get(device);
  if (controls) return controls;
  throw new NotSupportedError(`${device.address} is no software card`);
}

/** A device that could be opened, or why it cannot. */
export interface DeviceListing {
  /** What to pass to {@linkcode openDevice}. */
  readonly address: string;
  /** What it is. */
  readonly name: string;
  /** Vendor and device id, `8086:10fb`; empty for what is not on the PCI bus. */
  readonly ids: string;
  /** The kernel driver that has it, if any. */
  readonly kernelDriver: string | undefined;
  /** NUMA node, -1 where there is one only. */
  readonly numaNode: number;
  /** Number of its IOMMU group: cards of one group are opened together or not at all. */
  readonly iommuGroup: string | undefined;
  /** The link as the kernel's driver sees it; undefined while none has the card. */
  readonly link: string | undefined;
  /** Why it cannot be opened; undefined when it can. */
  readonly reason: string | undefined;
}

function whyNotOpenable(card: PciFunction): string | undefined {
  if (findModel(card.ids) === undefined) {
    return `${card.address} (${
      formatIds(card.ids)
    }) is known to no driver here`;
  }
  return whyNotVfio(card)?.message;
}

/** The forms of other addresses, and every Ethernet card on the PCI bus. */
export function listDevices(): DeviceListing[] {
  const forms = [...SIM_ADDRESSES, ...VHOST_USER_ADDRESSES];
  const others = forms.map(([address, name]): DeviceListing => ({
    address,
    name,
    ids: "",
    kernelDriver: undefined,
    numaNode: -1,
    iommuGroup: undefined,
    link: undefined,
    reason: undefined,
  }));
  const pci = listPciEthernet().map((card): DeviceListing => ({
    address: card.address,
    name: findModel(card.ids)?.name ?? "unknown network card",
    ids: formatIds(card.ids),
    kernelDriver: card.driver,
    numaNode: card.numaNode,
    iommuGroup: card.iommuGroup,
    link: card.link,
    reason: whyNotOpenable(card),
  }));
  return [...others, ...pci];
}
