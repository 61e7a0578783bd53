/**
 * What the kernel says about PCI devices.
 *
 * @module
 */
import { listFolder, readLink, readSmallFile } from "../ffi/files.ts";
import type { PciIds } from "./ids.ts";

const DEVICES = "/sys/bus/pci/devices";
const CLASS_ETHERNET = 0x0200;
const BASE_CLASS_BRIDGE = 0x06;
const NO_IOMMU_MODE = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
/** How VFIO names the groups of that mode. */
const NO_IOMMU_GROUP = "vfio-noiommu";

/** A PCI network card as the kernel lists it. */
export interface PciFunction {
  /** `dddd:bb:dd.f`. */
  readonly address: string;
  /** Identity. */
  readonly ids: PciIds;
  /** The kernel driver that has it, or undefined. */
  readonly driver: string | undefined;
  /** NUMA node, -1 where there is one only. */
  readonly numaNode: number;
  /** Names of its network interfaces while a kernel driver has it. */
  readonly interfaces: readonly string[];
  /** State of its first interface as the kernel sees it: "up", "down"; undefined while no kernel driver has it. */
  readonly link: string | undefined;
  /** Number of its IOMMU group; undefined when there is no IOMMU. */
  readonly iommuGroup: string | undefined;
  /** True when VFIO made that group for a card without IOMMU, in its unsafe no-IOMMU mode. */
  readonly noIommu: boolean;
}

/** All Ethernet cards on the PCI bus; none where there is no such bus. */
export function listPciEthernet(): PciFunction[] {
  return listFolder(DEVICES)
    .filter((address) =>
      (numberIn(`${DEVICES}/${address}/class`) >>> 8) === CLASS_ETHERNET
    )
    .sort()
    .map(readFunction);
}

/** The Ethernet card at an address; undefined when there is none. */
export function findPciEthernet(address: string): PciFunction | undefined {
  return listPciEthernet().find((card) => card.address === address);
}

function readFunction(address: string): PciFunction {
  const folder = `${DEVICES}/${address}`;
  const interfaces = listFolder(`${folder}/net`);
  return {
    address,
    ids: {
      vendor: numberIn(`${folder}/vendor`),
      device: numberIn(`${folder}/device`),
      revision: numberIn(`${folder}/revision`),
      subsystemVendor: numberIn(`${folder}/subsystem_vendor`),
      subsystemDevice: numberIn(`${folder}/subsystem_device`),
    },
    driver: linkName(`${folder}/driver`),
    numaNode: numberIn(`${folder}/numa_node`, -1),
    interfaces,
    link: interfaces.length === 0
      ? undefined
      : readSmallFile(`${folder}/net/${interfaces[0]}/operstate`)?.trim(),
    iommuGroup: linkName(`${folder}/iommu_group`),
    noIommu: readSmallFile(`${folder}/iommu_group/name`)?.trim() ===
      NO_IOMMU_GROUP,
  };
}

/** A device of an IOMMU group. */
export interface GroupMember {
  /** `dddd:bb:dd.f`. */
  readonly address: string;
  /** The kernel driver that has it, or undefined. */
  readonly driver: string | undefined;
  /** True for a bridge, which the kernel drives without DMA. */
  readonly isBridge: boolean;
}

/** All devices of an IOMMU group and their drivers. */
export function driversInGroup(group: string): GroupMember[] {
  const folder = `/sys/kernel/iommu_groups/${group}/devices`;
  return listFolder(folder).sort().map((address) => ({
    address,
    driver: linkName(`${folder}/${address}/driver`),
    isBridge:
      (numberIn(`${folder}/${address}/class`) >>> 16) === BASE_CLASS_BRIDGE,
  }));
}

/** Whether VFIO hands out cards without IOMMU: "absent" when it is not loaded, or was built without that mode. */
export function noIommuMode(): "on" | "off" | "absent" {
  const text = readSmallFile(NO_IOMMU_MODE)?.trim();
  if (text === undefined) return "absent";
  return text === "Y" ? "on" : "off";
}

/** What to do for {@linkcode noIommuMode} to become "on". */
export function howToAllowNoIommu(): string {
  return noIommuMode() === "off"
    ? `write Y to ${NO_IOMMU_MODE} as root, then run \`ixl bind\``
    : "load VFIO with it as root (modprobe vfio enable_unsafe_noiommu_mode=1; the kernel needs CONFIG_VFIO_NOIOMMU), then run `ixl bind`";
}

function numberIn(file: string, fallback = 0): number {
  const text = readSmallFile(file);
  return text === undefined ? fallback : Number(text);
}

function linkName(link: string): string | undefined {
  return readLink(link)?.split("/").at(-1);
}
