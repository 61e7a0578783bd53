/**
 * A real card under VFIO.
 *
 * @module
 */
import type { DeviceConfig } from "../../config.ts";
import type { DmaDomain } from "../../dma/domain.ts";
import {
  ConfigError,
  IxlError,
  NotSupportedError,
  SystemError,
} from "../../errors.ts";
import { retireFd } from "../../ffi/eventfd.ts";
import { closeFd, errno, libc } from "../../ffi/libc.ts";
import { IrqLine } from "../../irq/line.ts";
import { log } from "../../log.ts";
import type { PciIds } from "../../pci/ids.ts";
import { VFIO_DRIVER } from "../../pci/bind.ts";
import {
  findPciEthernet,
  howToAllowNoIommu,
  noIommuMode,
  type PciFunction,
} from "../../pci/sysfs.ts";
import type {
  BarBusDevice,
  ConfigSpace,
  InterruptVectors,
  IoPorts,
  MappedBar,
  Registers,
} from "../bus.ts";
import type { VfioBusDescription } from "../description.ts";
import { type GroupName, VfioContainer, type VfioFile } from "./container.ts";
import {
  canReset,
  irqCount,
  IrqIndex,
  regionInfo,
  resetDevice,
  setIrqs,
  unmaskIntx,
} from "./ioctl.ts";
import { PortWindow } from "./ports.ts";
import { MappedRegion, MappedRegisters } from "./registers.ts";

const BAR_0 = 0;
const CONFIG_REGION = 7;
const COMMAND = 0x04;
const COMMAND_IO = 1 << 0;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;

/** Where base address register 0 is, and the bit of one that has I/O ports. */
const FIRST_BASE_ADDRESS = 0x10;
const BASE_ADDRESS_BYTES = 4;
const BASE_ADDRESS_IO = 1;

const NO_IOMMU_WARNING =
  "no IOMMU: the card, or a mistake in its driver, can read and overwrite any memory of this machine, the kernel's too; the kernel marks itself tainted";

/** What of a device's configuration VFIO needs. */
export type VfioOptions = Pick<DeviceConfig, "interrupts" | "unsafeNoIommu">;

/** A card that is bound to vfio-pci, opened. */
export class VfioBusDevice implements BarBusDevice {
  readonly kind = "bars" as const;
  readonly address: string;
  readonly ids: PciIds;
  readonly numaNode: number;
  readonly config: ConfigSpace;
  readonly dma: DmaDomain;
  readonly interrupts: InterruptVectors;
  readonly removal: IrqLine;
  readonly failure: IrqLine;
  readonly #group: GroupName;
  readonly #file: VfioFile;
  readonly #bars = new Map<number, MappedBar & { region: MappedRegion }>();
  readonly #ports: PortWindow[] = [];
  #closed = false;

  private constructor(
    card: PciFunction,
    group: GroupName,
    file: VfioFile,
    interrupts: DeviceConfig["interrupts"],
  ) {
    this.address = card.address;
    this.ids = card.ids;
    this.numaNode = card.numaNode;
    this.dma = file.dma;
    this.#group = group;
    this.#file = file;
    this.config = new VfioConfigSpace(file.fd);
    this.interrupts = new VfioInterrupts(file.fd, interrupts);
    this.setBusMaster(false);
    this.removal = IrqLine.create();
    this.failure = IrqLine.create();
    try {
      for (
        const [index, { fd }] of [
          [IrqIndex.request, this.removal],
          [IrqIndex.error, this.failure],
        ] as const
      ) {
        // Devices that are not on PCI Express report no errors.
        if (irqCount(file.fd, index) > 0) setIrqs(file.fd, index, [fd]);
      }
    } catch (error) {
      this.removal.close();
      this.failure.close();
      throw error;
    }
  }

  /**
   * Opens a card.
   *
   * @param address Its PCI address in full.
   * @param options Which kind of interrupts it shall use, and whether the user accepts that it is behind no IOMMU.
   * @throws {IxlError} "device-not-found", "device-busy", "permission" or "not-supported", each with what to do.
   * @throws {ConfigError} When it is behind an IOMMU, so that there is nothing to accept.
   */
  static open(
    address: string,
    { interrupts, unsafeNoIommu }: VfioOptions,
  ): VfioBusDevice {
    const card = findPciEthernet(address);
    if (card === undefined) {
      throw new IxlError(
        "device-not-found",
        `there is no network card "${address}": \`ixl list\` shows what there is`,
      );
    }
    const reason = whyNotVfio(card, unsafeNoIommu);
    if (reason !== undefined) throw reason;
    const group = { number: card.iommuGroup!, noIommu: card.noIommu };
    const file = VfioContainer.open(address, group);
    if (card.noIommu) log("warn", address, NO_IOMMU_WARNING);
    try {
      return new VfioBusDevice(card, group, file, interrupts);
    } catch (error) {
      closeFd(file.fd);
      file.container.release(address, group);
      throw error;
    }
  }

  get registers(): Registers {
    return this.mapBar(BAR_0).registers;
  }

  mapBar(index: number): MappedBar {
    const mapped = this.#bars.get(index);
    if (mapped !== undefined) return mapped;
    const { fd } = this.#file;
    const { size, offset, mappable } = regionInfo(fd, index);
    if (!mappable || size === 0) {
      throw new NotSupportedError(
        `BAR ${index} of ${this.address} cannot be mapped`,
      );
    }
    const region = new MappedRegion(fd, offset, size);
    const description: VfioBusDescription = {
      kind: "vfio",
      buffer: region.buffer,
      byteOffset: region.byteOffset,
      byteLength: size,
      deviceFd: fd,
      intx: this.interrupts.kind === "intx",
    };
    const registers = new MappedRegisters(description);
    const bar = { region, description, registers };
    this.#bars.set(index, bar);
    return bar;
  }

  openPorts(index: number): IoPorts {
    const { fd } = this.#file;
    const { size, offset } = regionInfo(fd, index);
    const at = FIRST_BASE_ADDRESS + BASE_ADDRESS_BYTES * index;
    const isPorts = (this.config.read(at, 4) & BASE_ADDRESS_IO) !== 0;
    if (!isPorts || size === 0) {
      throw new NotSupportedError(
        `BAR ${index} of ${this.address} has no I/O ports`,
      );
    }
    const command = this.config.read(COMMAND, 2);
    this.config.write(COMMAND, command | COMMAND_IO, 2);
    const description = {
      deviceFd: fd,
      fileOffset: offset,
      byteLength: size,
      intx: this.interrupts.kind === "intx",
    };
    const registers = new PortWindow(description);
    this.#ports.push(registers);
    return { registers, description };
  }

  setBusMaster(enabled: boolean): void {
    const command = this.config.read(COMMAND, 2) | COMMAND_MEMORY;
    this.config.write(
      COMMAND,
      enabled ? command | COMMAND_BUS_MASTER : command & ~COMMAND_BUS_MASTER,
      2,
    );
  }

  reset(): boolean {
    if (!canReset(this.#file.fd)) return false;
    resetDevice(this.#file.fd);
    return true;
  }

  describe(): VfioBusDescription {
    return this.mapBar(BAR_0).description;
  }

  close(inUse = false): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      for (const { region } of this.#bars.values()) region.unmap();
      for (const ports of this.#ports) ports.close();
      if (inUse) retireFd(this.#file.fd);
      else closeFd(this.#file.fd);
      this.removal.close();
      this.failure.close();
      this.#file.container.release(this.address, this.#group);
    }
    return Promise.resolve();
  }
}

/** Why a card cannot be opened over VFIO; undefined when nothing is known to be in the way. */
export function whyNotVfio(
  card: PciFunction,
  unsafeNoIommu = false,
): IxlError | undefined {
  const { address, driver, iommuGroup, noIommu } = card;
  if (unsafeNoIommu && iommuGroup !== undefined && !noIommu) {
    return new ConfigError(
      "unsafeNoIommu",
      `${address} is behind an IOMMU: leave the option out`,
    );
  }
  if (iommuGroup === undefined || (noIommu && !unsafeNoIommu)) {
    const reason = withoutIommu(card, unsafeNoIommu);
    if (reason !== undefined) return new IxlError("not-supported", reason);
  }
  if (driver === VFIO_DRIVER) return undefined;
  return new IxlError(
    "device-busy",
    `${address} is with ${
      driver ?? "no driver"
    }, not with ${VFIO_DRIVER}: run \`ixl bind ${address}\` as root first`,
  );
}

/** What keeps a card without IOMMU from being opened, other than its driver. */
function withoutIommu(
  { address }: PciFunction,
  unsafeNoIommu: boolean,
): string | undefined {
  if (!unsafeNoIommu) {
    return `${address} has no IOMMU: switch it on in the firmware and start the kernel with intel_iommu=on or amd_iommu=on. Where there is none, --unsafe-no-iommu (unsafeNoIommu: true) does without, and lets the card write to any memory`;
  }
  if (noIommuMode() === "on") return undefined;
  return `${address} has no IOMMU, and VFIO's no-IOMMU mode is not on: ${howToAllowNoIommu()}`;
}

/** Configuration space through the device's file. */
class VfioConfigSpace implements ConfigSpace {
  readonly #fd: number;
  readonly #offset: bigint;
  readonly #bytes = new Uint8Array(4);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(fd: number) {
    this.#fd = fd;
    this.#offset = BigInt(regionInfo(fd, CONFIG_REGION).offset);
  }

  read(offset: number, size: 1 | 2 | 4): number {
    this.#bytes.fill(0);
    const at = this.#offset + BigInt(offset);
    const done = libc().pread(this.#fd, this.#bytes, BigInt(size), at);
    if (Number(done) !== size) {
      throw new SystemError("read of configuration space", errno());
    }
    return this.#view.getUint32(0, true);
  }

  write(offset: number, value: number, size: 1 | 2 | 4): void {
    this.#view.setUint32(0, value, true);
    const at = this.#offset + BigInt(offset);
    const done = libc().pwrite(this.#fd, this.#bytes, BigInt(size), at);
    if (Number(done) !== size) {
      throw new SystemError("write of configuration space", errno());
    }
  }
}

const INTERRUPT_KINDS = ["msix", "msi", "intx"] as const;

/** The kind of interrupts that is wanted, or the best that the device has. */
class VfioInterrupts implements InterruptVectors {
  readonly kind: "msix" | "msi" | "intx";
  readonly count: number;
  readonly #fd: number;
  #routed = false;

  constructor(fd: number, wanted: DeviceConfig["interrupts"]) {
    this.#fd = fd;
    const there = INTERRUPT_KINDS.filter((kind) => countOf(fd, kind) > 0);
    const kind = there.find((kind) => wanted === "auto" || kind === wanted);
    if (kind === undefined) {
      const which = wanted === "auto" ? "" : `${wanted} `;
      const others = there.length === 0 ? "" : `, but ${there.join(" and ")}`;
      throw new NotSupportedError(
        `the card has no ${which}interrupts${others}`,
      );
    }
    this.kind = kind;
    this.count = countOf(fd, kind);
  }

  route(fds: readonly number[]): void {
    const index = IrqIndex[this.kind];
    // Vectors are enabled in one call with all of them: another number needs them off first.
    if (this.#routed) setIrqs(this.#fd, index, []);
    this.#routed = fds.length > 0;
    if (this.#routed) setIrqs(this.#fd, index, fds);
  }

  unmask(): void {
    if (this.kind === "intx") unmaskIntx(this.#fd);
  }
}

function countOf(fd: number, kind: typeof INTERRUPT_KINDS[number]): number {
  return irqCount(fd, IrqIndex[kind]);
}
