/**
 * The calls of linux/vfio.h that a driver needs, each as one function.
 *
 * @module
 */
import { SystemError } from "../../errors.ts";
import { cString, errno, libc } from "../../ffi/libc.ts";

/** _IO(';', 100 + n): the calls carry no size in their number. */
const base = (n: number): bigint => BigInt(0x3b64 + n);
const VFIO_GET_API_VERSION = base(0);
const VFIO_CHECK_EXTENSION = base(1);
const VFIO_SET_IOMMU = base(2);
const VFIO_GROUP_GET_STATUS = base(3);
const VFIO_GROUP_SET_CONTAINER = base(4);
const VFIO_GROUP_GET_DEVICE_FD = base(6);
const VFIO_DEVICE_GET_INFO = base(7);
const VFIO_DEVICE_GET_REGION_INFO = base(8);
const VFIO_DEVICE_GET_IRQ_INFO = base(9);
const VFIO_DEVICE_SET_IRQS = base(10);
const VFIO_DEVICE_RESET = base(11);
const VFIO_IOMMU_GET_INFO = base(12);
const VFIO_IOMMU_MAP_DMA = base(13);
const VFIO_IOMMU_UNMAP_DMA = base(14);

const API_VERSION = 0;
/** VFIO_TYPE1v2_IOMMU: mappings are unmapped as they were mapped. */
const TYPE1V2 = 3n;
/** VFIO_NOIOMMU_IOMMU: nothing is mapped, and nothing is kept out. */
const NO_IOMMU = 8n;
const GROUP_FLAGS_VIABLE = 1;
const DEVICE_FLAGS_RESET = 1;
const REGION_FLAG_MMAP = 4;
const MAP_READ_WRITE = 3;
const IOMMU_INFO_CAPS = 2;
const CAP_IOVA_RANGE = 1;

/** Interrupt kinds of a PCI device, by their index. */
export const IrqIndex = {
  intx: 0,
  msi: 1,
  msix: 2,
  /** Raised by an error on PCI Express that the kernel could not correct. */
  error: 3,
  /** Raised when the kernel wants the device back. */
  request: 4,
} as const;

const IRQ_SET_DATA_NONE = 1;
const IRQ_SET_DATA_EVENTFD = 4;
const IRQ_SET_UNMASK = 16;
const IRQ_SET_TRIGGER = 32;

/** A window of a device's file. */
export interface RegionInfo {
  /** Bytes; 0 when the device has no such region. */
  readonly size: number;
  /** Where it begins in the device's file. */
  readonly offset: number;
  /** Whether it can be mapped. */
  readonly mappable: boolean;
}

/** A range of I/O virtual addresses that the IOMMU and the reserved regions allow. */
export interface UsableRange {
  /** First address. */
  readonly start: bigint;
  /** First address behind it. */
  readonly end: bigint;
}

function call(
  name: string,
  fd: number,
  request: bigint,
  data: Uint8Array<ArrayBuffer>,
): number {
  const result = libc().ioctl(fd, request, data);
  if (result < 0) throw new SystemError(name, errno());
  return result;
}

function callValue(
  name: string,
  fd: number,
  request: bigint,
  value: bigint,
): number {
  const result = libc().ioctlValue(fd, request, value);
  if (result < 0) throw new SystemError(name, errno());
  return result;
}

/** What stands between the devices of a container and memory. */
export const IommuKind = { type1: TYPE1V2, none: NO_IOMMU } as const;
/** One of {@linkcode IommuKind}. */
export type IommuKind = typeof IommuKind[keyof typeof IommuKind];

/** True when the kernel speaks the version of VFIO that is spoken here, with this kind of IOMMU. */
export function supportsIommu(container: number, kind: IommuKind): boolean {
  const version = libc().ioctlValue(container, VFIO_GET_API_VERSION, 0n);
  return version === API_VERSION &&
    libc().ioctlValue(container, VFIO_CHECK_EXTENSION, kind) === 1;
}

/** Makes the container use a kind of IOMMU: once, after the first group joined. */
export function setIommu(container: number, kind: IommuKind): void {
  callValue("VFIO_SET_IOMMU", container, VFIO_SET_IOMMU, kind);
}

/** True when every device of the group is with VFIO or without a driver. */
export function isGroupViable(group: number): boolean {
  const status = new Uint32Array([8, 0]);
  call(
    "VFIO_GROUP_GET_STATUS",
    group,
    VFIO_GROUP_GET_STATUS,
    new Uint8Array(status.buffer),
  );
  return (status[1] & GROUP_FLAGS_VIABLE) !== 0;
}

/** Lets a group join a container. */
export function joinContainer(group: number, container: number): void {
  call(
    "VFIO_GROUP_SET_CONTAINER",
    group,
    VFIO_GROUP_SET_CONTAINER,
    new Uint8Array(new Int32Array([container]).buffer),
  );
}

/** Opens a device of the group by its PCI address. */
export function openGroupDevice(group: number, address: string): number {
  return call(
    "VFIO_GROUP_GET_DEVICE_FD",
    group,
    VFIO_GROUP_GET_DEVICE_FD,
    cString(address),
  );
}

/** True when the kernel can reset the device. */
export function canReset(device: number): boolean {
  const info = new Uint32Array(6);
  info[0] = info.byteLength;
  call(
    "VFIO_DEVICE_GET_INFO",
    device,
    VFIO_DEVICE_GET_INFO,
    new Uint8Array(info.buffer),
  );
  return (info[1] & DEVICE_FLAGS_RESET) !== 0;
}

/** Resets the device. */
export function resetDevice(device: number): void {
  callValue("VFIO_DEVICE_RESET", device, VFIO_DEVICE_RESET, 0n);
}

/** Where a region is: 0 to 5 are the BARs, 7 is configuration space. */
export function regionInfo(device: number, index: number): RegionInfo {
  const info = new Uint8Array(32);
  const view = new DataView(info.buffer);
  view.setUint32(0, info.length, true);
  view.setUint32(8, index, true);
  call(
    "VFIO_DEVICE_GET_REGION_INFO",
    device,
    VFIO_DEVICE_GET_REGION_INFO,
    info,
  );
  return {
    mappable: (view.getUint32(4, true) & REGION_FLAG_MMAP) !== 0,
    size: Number(view.getBigUint64(16, true)),
    offset: Number(view.getBigUint64(24, true)),
  };
}

/** How many interrupts of a kind the device has. */
export function irqCount(device: number, index: number): number {
  const info = new Uint32Array([16, 0, index, 0]);
  const bytes = new Uint8Array(info.buffer);
  // A device without the kind answers with an error: it has none.
  if (libc().ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, bytes) < 0) return 0;
  return info[3];
}

/** Routes interrupt i of a kind to `fds[i]`, all in one call, which enables the kind; none disables it. */
export function setIrqs(
  device: number,
  index: number,
  fds: readonly number[],
): void {
  const data = fds.length > 0 ? IRQ_SET_DATA_EVENTFD : IRQ_SET_DATA_NONE;
  const set = new Int32Array([
    20 + 4 * fds.length,
    data | IRQ_SET_TRIGGER,
    index,
    0,
    fds.length,
    ...fds,
  ]);
  call(
    "VFIO_DEVICE_SET_IRQS",
    device,
    VFIO_DEVICE_SET_IRQS,
    new Uint8Array(set.buffer),
  );
}

/** Lets the next INTx through: the kernel masks the line when it fires. */
export function unmaskIntx(device: number): void {
  const set = new Int32Array([
    20,
    IRQ_SET_DATA_NONE | IRQ_SET_UNMASK,
    IrqIndex.intx,
    0,
    1,
  ]);
  call(
    "VFIO_DEVICE_SET_IRQS",
    device,
    VFIO_DEVICE_SET_IRQS,
    new Uint8Array(set.buffer),
  );
}

/** Lets devices reach `size` bytes of this process at `iova`. */
export function mapDma(
  container: number,
  address: bigint,
  iova: bigint,
  size: number,
): void {
  const map = new Uint8Array(32);
  const view = new DataView(map.buffer);
  view.setUint32(0, map.length, true);
  view.setUint32(4, MAP_READ_WRITE, true);
  view.setBigUint64(8, address, true);
  view.setBigUint64(16, iova, true);
  view.setBigUint64(24, BigInt(size), true);
  call("VFIO_IOMMU_MAP_DMA", container, VFIO_IOMMU_MAP_DMA, map);
}

/** Takes a mapped range back. */
export function unmapDma(container: number, iova: bigint, size: number): void {
  const unmap = new Uint8Array(24);
  const view = new DataView(unmap.buffer);
  view.setUint32(0, unmap.length, true);
  view.setBigUint64(8, iova, true);
  view.setBigUint64(16, BigInt(size), true);
  call("VFIO_IOMMU_UNMAP_DMA", container, VFIO_IOMMU_UNMAP_DMA, unmap);
}

/** The addresses that may be mapped; undefined when the kernel does not say (before 5.4). */
export function usableRanges(container: number): UsableRange[] | undefined {
  const info = new Uint8Array(4096);
  const view = new DataView(info.buffer);
  view.setUint32(0, info.length, true);
  call("VFIO_IOMMU_GET_INFO", container, VFIO_IOMMU_GET_INFO, info);
  if ((view.getUint32(4, true) & IOMMU_INFO_CAPS) === 0) return undefined;
  // Capabilities are a list of offsets from the start of the structure.
  for (
    let at = view.getUint32(16, true);
    at !== 0 && at + 16 <= info.length;
    at = view.getUint32(at + 4, true)
  ) {
    if (view.getUint16(at, true) !== CAP_IOVA_RANGE) continue;
    const count = view.getUint32(at + 8, true);
    return Array.from({ length: count }, (_, i) => ({
      start: view.getBigUint64(at + 16 + 16 * i, true),
      end: view.getBigUint64(at + 24 + 16 * i, true) + 1n,
    }));
  }
  return undefined;
}
