/**
 * Handing a card from its kernel driver to vfio-pci, and back.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { listFolder, readSmallFile, writeSmallFile } from "../ffi/files.ts";
import {
  findPciEthernet,
  howToAllowNoIommu,
  noIommuMode,
  type PciFunction,
} from "./sysfs.ts";

const DEVICES = "/sys/bus/pci/devices";
const DRIVERS = "/sys/bus/pci/drivers";
const PROBE = "/sys/bus/pci/drivers_probe";
/** What lets user space have a card. */
export const VFIO_DRIVER = "vfio-pci";

/** How {@linkcode bindToVfio} goes about it. */
export interface BindOptions {
  /** Take the card even when its network interface is in use. Default false. */
  readonly force?: boolean;
}

/**
 * Takes a card from its kernel driver and gives it to vfio-pci. Needs root.
 *
 * @param address PCI address in full.
 * @throws {IxlError} "device-busy" when the card's interface carries an address or a route and `force` is not set,
 * "not-supported" when vfio-pci is not loaded or there is no IOMMU; the card is then with its old driver still.
 */
export function bindToVfio(address: string, options: BindOptions = {}): void {
  const card = cardAt(address);
  if (card.driver === VFIO_DRIVER) return;
  assertBindable(card);
  if (!options.force) assertUnused(card);
  const override = `${DEVICES}/${address}/driver_override`;
  writeSmallFile(override, VFIO_DRIVER);
  try {
    leaveDriver(card);
    writeSmallFile(PROBE, address);
    assertDriver(address, VFIO_DRIVER);
  } catch (error) {
    giveBack(address);
    throw error;
  }
}

/**
 * Gives a card back to the kernel's own driver. Needs root.
 *
 * @param address PCI address in full.
 * @throws {IxlError} "device-busy" when a process still has it open.
 */
export function unbindFromVfio(address: string): void {
  const card = cardAt(address);
  if (card.driver !== VFIO_DRIVER) return;
  leaveDriver(card);
  giveBack(address);
}

function giveBack(address: string): void {
  // A line break alone clears the override.
  writeSmallFile(`${DEVICES}/${address}/driver_override`, "\n");
  writeSmallFile(PROBE, address);
}

function cardAt(address: string): PciFunction {
  const card = findPciEthernet(address);
  if (card !== undefined) return card;
  throw new IxlError(
    "device-not-found",
    `there is no network card "${address}": \`ixl list\` shows what there is`,
  );
}

function assertBindable({ address, iommuGroup }: PciFunction): void {
  if (!listFolder(DRIVERS).includes(VFIO_DRIVER)) {
    throw new IxlError(
      "not-supported",
      `the module ${VFIO_DRIVER} is not loaded: modprobe ${VFIO_DRIVER}`,
    );
  }
  if (iommuGroup !== undefined || noIommuMode() === "on") return;
  throw new IxlError(
    "not-supported",
    `${address} has no IOMMU: switch it on in the firmware and start the kernel with intel_iommu=on or amd_iommu=on. Where there is none, VFIO's no-IOMMU mode does without, and lets the card write to any memory: ${howToAllowNoIommu()}`,
  );
}

function assertUnused({ address, interfaces }: PciFunction): void {
  for (const name of interfaces) {
    const use = usesOf(name);
    if (use === undefined) continue;
    throw new IxlError(
      "device-busy",
      `${address} is ${name}, which carries ${use}: take that away first, or say --force`,
    );
  }
}

/** What the kernel uses an interface for: an address or a route, of either family. */
function usesOf(name: string): string | undefined {
  const fields = (file: string) =>
    (readSmallFile(file) ?? "").split("\n").map((line) =>
      line.trim().split(/\s+/)
    );
  const routed = fields("/proc/net/route").some(([device]) => device === name);
  if (routed) return "a route";
  // Link-local addresses come by themselves with every interface that is up.
  const addressed = fields("/proc/net/if_inet6").some((line) =>
    line.at(-1) === name && !line[0].startsWith("fe80")
  );
  return addressed ? "an address" : undefined;
}

function leaveDriver({ address, driver }: PciFunction): void {
  if (driver === undefined) return;
  writeSmallFile(`${DRIVERS}/${driver}/unbind`, address);
}

function assertDriver(address: string, wanted: string): void {
  const { driver, iommuGroup } = cardAt(address);
  if (driver === wanted) return;
  throw new IxlError(
    "device-busy",
    `${address} (IOMMU group ${iommuGroup}) did not go to ${wanted} but to ${
      driver ?? "no driver"
    }: the kernel log says why`,
  );
}
