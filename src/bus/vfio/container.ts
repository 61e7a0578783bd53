/**
 * One IOMMU container for all devices of the process, so that a packet received on one card is sent on another
 * without a copy.
 *
 * @module
 */
import type { DmaDomain } from "../../dma/domain.ts";
import { AddressSpace, type Limit } from "../../dma/address_space.ts";
import { MappedDomain } from "../../dma/mapped_domain.ts";
import { PhysicalDomain } from "../../dma/physical_domain.ts";
import { IxlError, SystemError } from "../../errors.ts";
import { closeFd, cString, errno, libc } from "../../ffi/libc.ts";
import { VFIO_DRIVER } from "../../pci/bind.ts";
import { driversInGroup, howToAllowNoIommu } from "../../pci/sysfs.ts";
import {
  IommuKind,
  isGroupViable,
  joinContainer,
  mapDma,
  openGroupDevice,
  setIommu,
  supportsIommu,
  unmapDma,
  usableRanges,
} from "./ioctl.ts";

const O_RDWR = 2;
const O_CLOEXEC = 0x80000;
const O_PATH = 0x200000;
const EPERM = 1;
const ENOENT = 2;
const ENOMEM = 12;
const EACCES = 13;
const EBUSY = 16;

/** Where a kernel that does not say lets map: below the 39 bits of a small IOMMU, without the interrupt window. */
const CAUTIOUS_RANGES = [{ start: 1n << 21n, end: 0xfee00000n }];

/** An IOMMU group as the kernel numbers it. */
export interface GroupName {
  /** Its number. */
  readonly number: string;
  /** True when it only stands for a card without IOMMU. */
  readonly noIommu: boolean;
}

interface Group {
  readonly fd: number;
  users: number;
}

/** The container, the groups in it, and their common address space. */
export class VfioContainer {
  static #current: VfioContainer | undefined;

  readonly #fd: number;
  readonly #kind: IommuKind;
  readonly #groups = new Map<string, Group>();
  readonly #open = new Set<string>();
  #domain: DmaDomain | undefined;
  #limit: Limit | undefined;

  private constructor(kind: IommuKind) {
    this.#kind = kind;
    this.#fd = openFile("/dev/vfio/vfio", {
      [ENOENT]: withoutContainer(exists("/dev/iommu")),
    });
    if (supportsIommu(this.#fd, kind)) return;
    closeFd(this.#fd);
    throw new IxlError(
      "not-supported",
      kind === IommuKind.type1
        ? "this kernel has no type 1 IOMMU for VFIO: load it (modprobe vfio_iommu_type1)"
        : `VFIO's no-IOMMU mode is not on: ${howToAllowNoIommu()}`,
    );
  }

  /**
   * Opens a device.
   *
   * @param address Its PCI address.
   * @param group Its IOMMU group.
   * @returns Its file descriptor; the container's address space is ready then.
   */
  static open(address: string, group: GroupName): VfioFile {
    const kind = group.noIommu ? IommuKind.none : IommuKind.type1;
    const container = VfioContainer.#current ??= new VfioContainer(kind);
    if (container.#kind !== kind) {
      throw new IxlError(
        "not-supported",
        `${address} cannot share memory with the cards that are open: some are behind an IOMMU and some are not, use a program for each kind`,
      );
    }
    try {
      return container.#openDevice(address, group);
    } catch (error) {
      container.#closeIfUnused();
      throw error;
    }
  }

  /** Gives a closed device back, its group with the group's last device, and the container with the last group. */
  release(address: string, group: GroupName): void {
    this.#open.delete(address);
    this.#leave(group);
  }

  #leave({ number }: GroupName): void {
    const entry = this.#groups.get(number);
    if (entry === undefined || --entry.users > 0) return;
    closeFd(entry.fd);
    this.#groups.delete(number);
    this.#closeIfUnused();
  }

  #openDevice(address: string, group: GroupName): VfioFile {
    if (this.#open.has(address)) {
      throw new IxlError(
        "device-busy",
        `${address} is in use by this program already`,
      );
    }
    const { fd } = this.#join(group);
    try {
      const device = openGroupDevice(fd, address);
      this.#open.add(address);
      return { fd: device, container: this, dma: this.#domain! };
    } catch (error) {
      this.#leave(group);
      throw error;
    }
  }

  #join(name: GroupName): Group {
    const { number } = name;
    const joined = this.#groups.get(number);
    if (joined !== undefined) {
      joined.users++;
      return joined;
    }
    const fd = openGroup(name);
    try {
      assertViable(fd, number);
      joinContainer(fd, this.#fd);
      this.#domain ??= this.#createDomain();
      this.#readRanges();
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    const group = { fd, users: 1 };
    this.#groups.set(number, group);
    return group;
  }

  #createDomain(): DmaDomain {
    setIommu(this.#fd, this.#kind);
    if (this.#kind === IommuKind.none) return new PhysicalDomain();
    return new MappedDomain({
      pagewise: true,
      map: (memory, offset, length, iova) => {
        try {
          mapDma(this.#fd, memory.address + BigInt(offset), iova, length);
        } catch (error) {
          throw outOfLockedMemory(error, length);
        }
      },
      unmap: (iova, length) => unmapDma(this.#fd, iova, length),
    });
  }

  /** Each group that joins can narrow what all of them can use. */
  #readRanges(): void {
    if (!(this.#domain instanceof MappedDomain)) return;
    const ranges = usableRanges(this.#fd) ?? CAUTIOUS_RANGES;
    this.#domain.usable = ranges;
    this.#limit ??= AddressSpace.shared.limit(ranges);
    this.#limit.ranges = ranges;
  }

  /** Once: its number may be another file's afterwards. */
  #closeIfUnused(): void {
    if (this.#groups.size > 0 || VfioContainer.#current !== this) return;
    VfioContainer.#current = undefined;
    this.#limit?.[Symbol.dispose]();
    closeFd(this.#fd);
  }
}

/** An open device. */
export interface VfioFile {
  /** Its file descriptor. */
  readonly fd: number;
  /** Where to give its group back. */
  readonly container: VfioContainer;
  /** The address space of all devices. */
  readonly dma: DmaDomain;
}

/** What to do where there is no VFIO container. */
export function withoutContainer(hasIommufd: boolean): string {
  return hasIommufd
    ? "there is no /dev/vfio/vfio, but /dev/iommu: this kernel has VFIO without groups and containers, which this version needs: use a kernel with CONFIG_VFIO_GROUP and CONFIG_VFIO_CONTAINER, or with CONFIG_IOMMUFD_VFIO_CONTAINER"
    : "there is no /dev/vfio/vfio: load VFIO (modprobe vfio-pci), or pass the file into the container";
}

function exists(path: string): boolean {
  const fd = libc().open(cString(path), O_PATH | O_CLOEXEC, 0);
  if (fd < 0) return false;
  closeFd(fd);
  return true;
}

function openGroup({ number, noIommu }: GroupName): number {
  const path = `/dev/vfio/${noIommu ? "noiommu-" : ""}${number}`;
  const capability = `${path} is only for CAP_SYS_RAWIO: run as root`;
  return openFile(path, {
    ...(noIommu ? { [EPERM]: capability, [EACCES]: capability } : {}),
    [ENOENT]:
      `IOMMU group ${number} is not with VFIO: run \`ixl bind\` on its device first`,
    [EBUSY]: `IOMMU group ${number} is used by another process: end it first`,
  });
}

function openFile(path: string, hints: Record<number, string>): number {
  const fd = libc().open(cString(path), O_RDWR | O_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const code = errno();
  const hint = hints[code];
  if (code === EACCES || code === EPERM) {
    throw new IxlError(
      "permission",
      hint ??
        `${path} may not be opened by this user: chown it, or run as root`,
    );
  }
  if (hint === undefined) throw new SystemError(`open ${path}`, code);
  throw new IxlError(code === EBUSY ? "device-busy" : "device-not-found", hint);
}

function assertViable(fd: number, number: string): void {
  if (isGroupViable(fd)) return;
  const others = driversInGroup(number).filter(({ driver, isBridge }) =>
    driver !== undefined && driver !== VFIO_DRIVER && !isBridge
  ).map(({ address, driver }) => `${address} (${driver})`);
  throw new IxlError(
    "device-busy",
    `IOMMU group ${number} is shared with ${
      others.join(" and ")
    }, which the kernel uses: run \`ixl bind\` on every card of the group, take other devices from their drivers, or move the card to another slot`,
  );
}

function outOfLockedMemory(error: unknown, length: number): unknown {
  if (!(error instanceof SystemError) || error.errno !== ENOMEM) return error;
  return new IxlError(
    "out-of-memory",
    `${length} bytes more may not be locked for DMA: raise the limit of locked memory (ulimit -l, or LimitMEMLOCK in a service)`,
    { cause: error },
  );
}
