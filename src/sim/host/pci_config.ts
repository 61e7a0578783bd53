/**
 * The PCI configuration space, chapter 9: header, power management, MSI, MSI-X, PCIe, error reporting and the serial
 * number, where the datasheet puts them. What the model does not have is not declared: virtual functions, vital
 * product data, an expansion ROM, I/O ports, wake-up events.
 *
 * @module
 */

import type { Core, Model } from "../core.ts";

const SIZE = 4096;
const VENDOR_INTEL = 0x8086;
const DEVICE_ID: Record<Model, number> = { "82599": 0x10fb, x540: 0x1528 };
const CLASS_ETHERNET = 0x020000;
const REVISION = 1;
const INTERRUPT_PIN_A = 1;
const OFFSET = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  cacheLine: 0x0c,
  bar0: 0x10,
  bar4: 0x20,
  subsystemVendor: 0x2c,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
  powerManagement: 0x40,
  powerControl: 0x44,
  msi: 0x50,
  msix: 0x70,
  pcie: 0xa0,
  deviceControl: 0xa8,
  deviceStatus: 0xaa,
  linkCapabilities: 0xac,
  linkControl: 0xb0,
  linkStatus: 0xb2,
  deviceCapabilities2: 0xc4,
  deviceControl2: 0xc8,
  linkControl2: 0xd0,
  errorReporting: 0x100,
  serialNumber: 0x140,
} as const;
const CAPABILITY = { powerManagement: 1, msi: 5, msix: 0x11, pcie: 0x10 };
const EXTENDED = { errorReporting: 1, serialNumber: 3 };
const STATUS_CAPABILITY_LIST = 1 << 4;
const STATUS_INTERRUPT = 1 << 3;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;
const COMMAND_INTX_DISABLE = 1 << 10;
const COMMAND_WRITABLE = 0x0547;
const BAR_64_BIT = 4;
/** Version 3, and initialisation by the device's own driver (9.3.8.1). */
const POWER_CAPABILITIES = 0x0023;
const POWER_STATE = 0x3;
const POWER_D3_HOT = 3;
/** One message to a 64-bit address, which can be masked (9.3.9.1). */
const MSI_CONTROL = 0x0180;
const MSI_CONTROL_WRITABLE = 0x0071;
const MSI = { address: 4, upperAddress: 8, data: 12, mask: 16 } as const;
const MSIX_LAST_VECTOR = 63;
const MSIX_BAR = 4;
const MSIX_PBA_OFFSET = 0x2000;
const MSIX_CONTROL_WRITABLE = 0xc000;
const PCIE_ENDPOINT_V2 = 0x0002;
/** 512-byte payloads, L0s within 512 ns and L1 within 64 us, role-based errors, FLR (9.3.11.2). */
const DEVICE_CAPABILITIES = 0x10008cc2;
/** Relaxed ordering, no snoop, reads of 512 bytes. */
const DEVICE_CONTROL_DEFAULT = 0x2810;
const DEVICE_CONTROL_WRITABLE = 0x7fff;
const DEVICE_CONTROL_FLR = 1 << 15;
const DEVICE_STATUS_CLEARABLE = 0x000f;
/** 5 GT/s, eight lanes, L0s (9.3.11.5). */
const LINK_CAPABILITIES = 0x00007482;
const LINK_CONTROL_WRITABLE = 0x01c3;
/** 5 GT/s, eight lanes, the slot's clock. */
const LINK_STATUS = 0x1082;
/** Completion timeouts of all ranges, which can be disabled (9.3.11.8). */
const DEVICE_CAPABILITIES_2 = 0x001f;
const LINK_CONTROL_2_DEFAULT = 0x0002;
const LINK_CONTROL_2_WRITABLE = 0x001f;
/** Uncorrectable errors of PCIe that a function can report, and those that are fatal by default (9.4.1). */
const UNCORRECTABLE = 0x0017f030;
const UNCORRECTABLE_FATAL = 0x00062030;
const CORRECTABLE = 0x000031c1;
const CORRECTABLE_MASK_DEFAULT = 0x2000;
/** End-to-end checks can be made and checked. */
const ERROR_CONTROL = 0x00a0;
const ERROR_CONTROL_WRITABLE = 0x0140;
const ERRORS = {
  uncorrectableStatus: 4,
  uncorrectableMask: 8,
  uncorrectableSeverity: 12,
  correctableStatus: 16,
  correctableMask: 20,
  control: 24,
} as const;
const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffffffff];

/** Kinds of interrupts: the best that a function declares, with all before it. */
export const INTERRUPT_KINDS = ["intx", "msi", "msix"] as const;

/** One of {@linkcode INTERRUPT_KINDS}. */
export type InterruptKind = typeof INTERRUPT_KINDS[number];

/** What a function is made with. */
export interface PciConfigOptions {
  /** What the serial number is made of. */
  readonly macAddress: string;
  /** As a machine's firmware finds it: memory decoding is off after power-on. */
  readonly untouched?: boolean | undefined;
  /** The best kind of interrupts that it declares; MSI-X by default. */
  readonly interrupts?: InterruptKind | undefined;
}

/** The configuration space of one function. */
export class PciConfig {
  readonly #core: Core;
  readonly #functionReset: () => void;
  readonly #interruptPending: () => boolean;
  readonly #serialNumber: readonly number[];
  readonly #commandAtReset: number;
  /** Index of the best kind of interrupts. */
  readonly #declared: number;
  readonly #bytes = new Uint8Array(SIZE);
  readonly #writable = new Uint8Array(SIZE);
  /** Bits that are cleared by writing ones. */
  readonly #clearable = new Uint8Array(SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #writableView = new DataView(this.#writable.buffer);
  readonly #clearableView = new DataView(this.#clearable.buffer);

  /**
   * @param functionReset Called on a function level reset, and when the function comes back from D3.
   * @param interruptPending Whether the function wants to interrupt.
   */
  constructor(
    core: Core,
    options: PciConfigOptions,
    functionReset: () => void,
    interruptPending: () => boolean,
  ) {
    this.#core = core;
    this.#functionReset = functionReset;
    this.#interruptPending = interruptPending;
    this.#commandAtReset = options.untouched ? 0 : COMMAND_MEMORY;
    this.#declared = INTERRUPT_KINDS.indexOf(options.interrupts ?? "msix");
    const mac = options.macAddress.split(":").map((byte) => parseInt(byte, 16));
    this.#serialNumber = [...mac.slice(0, 3), 0xff, 0xff, ...mac.slice(3)];
    this.reset();
  }

  /** The state after power-on or FLR. */
  reset(): void {
    this.#bytes.fill(0);
    this.#writable.fill(0);
    this.#clearable.fill(0);
    this.#fillHeader();
    this.#fillPowerManagement();
    this.#fillInterrupts();
    this.#fillExpress();
    this.#fillErrorReporting();
    this.#fillSerialNumber();
    this.#follow();
  }

  /** Whether the card answers register accesses. */
  get memoryEnabled(): boolean {
    return (this.#command & COMMAND_MEMORY) !== 0 && !this.#asleep;
  }

  /** Whether the INTx line must stay down. */
  get intxDisabled(): boolean {
    return (this.#command & COMMAND_INTX_DISABLE) !== 0 || this.#asleep;
  }

  /** Reads `size` bytes; what lies outside reads as ones. */
  read(offset: number, size: 1 | 2 | 4): number {
    if (!this.#legal(offset, size)) return ALL_ONES[size];
    if (offset < OFFSET.revision) this.#showInterrupt();
    if (size === 1) return this.#view.getUint8(offset);
    if (size === 2) return this.#view.getUint16(offset, true);
    return this.#view.getUint32(offset, true);
  }

  /** Writes those bits of `size` bytes that are writable. */
  write(offset: number, value: number, size: 1 | 2 | 4): void {
    if (!this.#legal(offset, size)) return;
    const slept = this.#asleep;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const mask = this.#writable[at];
      const written = value >>> (i * 8);
      const kept = this.#bytes[at] & ~(written & this.#clearable[at]);
      this.#bytes[at] = (kept & ~mask) | (written & mask);
    }
    this.#follow();
    const flr = OFFSET.deviceControl;
    const touchesFlr = offset <= flr + 1 && offset + size > flr + 1;
    const asked = value >>> ((flr - offset) * 8);
    const resets = touchesFlr && (asked & DEVICE_CONTROL_FLR) !== 0;
    if (resets || (slept && !this.#asleep)) this.#functionReset();
  }

  get #command(): number {
    return this.#view.getUint16(OFFSET.command, true);
  }

  /** In D3 a function answers in configuration space alone (5.2.5.2). */
  get #asleep(): boolean {
    return (this.#bytes[OFFSET.powerControl] & POWER_STATE) === POWER_D3_HOT;
  }

  #legal(offset: number, size: number): boolean {
    if (offset >= 0 && offset + size <= SIZE && offset % size === 0) {
      return true;
    }
    this.#core.violations.record(
      "register",
      `configuration access of ${size} bytes at 0x${offset.toString(16)}: ` +
        `outside or misaligned (9.1)`,
    );
    return false;
  }

  #follow(): void {
    const busMaster = (this.#command & COMMAND_BUS_MASTER) !== 0 &&
      !this.#asleep;
    if (busMaster !== this.#core.busMaster) this.#core.generation++;
    this.#core.busMaster = busMaster;
  }

  #showInterrupt(): void {
    this.#bytes[OFFSET.status] = STATUS_CAPABILITY_LIST |
      (this.#interruptPending() ? STATUS_INTERRUPT : 0);
  }

  #set16(offset: number, value: number, writable = 0): void {
    this.#view.setUint16(offset, value, true);
    this.#writableView.setUint16(offset, writable, true);
  }

  #set32(offset: number, value: number, writable = 0): void {
    this.#view.setUint32(offset, value, true);
    this.#writableView.setUint32(offset, writable, true);
  }

  /** A capability with the place of the next. */
  #capability(offset: number, id: number, next: number): void {
    this.#set16(offset, id | (next << 8));
  }

  /** The same beyond the first 256 bytes; all here have version 1. */
  #extendedCapability(offset: number, id: number, next: number): void {
    this.#set32(offset, id | (1 << 16) | (next << 20));
  }

  #fillHeader(): void {
    this.#set16(OFFSET.vendor, VENDOR_INTEL);
    this.#set16(OFFSET.device, DEVICE_ID[this.#core.model]);
    this.#set16(OFFSET.command, this.#commandAtReset, COMMAND_WRITABLE);
    this.#set16(OFFSET.status, STATUS_CAPABILITY_LIST);
    this.#set32(OFFSET.revision, ((CLASS_ETHERNET << 8) | REVISION) >>> 0);
    this.#writable[OFFSET.cacheLine] = 0xff;
    this.#set32(OFFSET.bar0, BAR_64_BIT, 0xfffe0000);
    this.#set32(OFFSET.bar0 + 4, 0, 0xffffffff);
    this.#set32(OFFSET.bar4, BAR_64_BIT, 0xffffc000);
    this.#set32(OFFSET.bar4 + 4, 0, 0xffffffff);
    this.#set16(OFFSET.subsystemVendor, VENDOR_INTEL);
    this.#bytes[OFFSET.capabilities] = OFFSET.powerManagement;
    this.#writable[OFFSET.interruptLine] = 0xff;
    this.#bytes[OFFSET.interruptPin] = INTERRUPT_PIN_A;
  }

  #fillPowerManagement(): void {
    const at = OFFSET.powerManagement;
    const next = this.#declares("msi") ? OFFSET.msi : OFFSET.pcie;
    this.#capability(at, CAPABILITY.powerManagement, next);
    this.#set16(at + 2, POWER_CAPABILITIES);
    this.#set16(OFFSET.powerControl, 0, POWER_STATE);
  }

  #declares(kind: InterruptKind): boolean {
    return INTERRUPT_KINDS.indexOf(kind) <= this.#declared;
  }

  #fillInterrupts(): void {
    if (this.#declares("msi")) this.#fillMsi();
    if (this.#declares("msix")) this.#fillMsix();
  }

  #fillMsi(): void {
    const { msi, msix, pcie } = OFFSET;
    const next = this.#declares("msix") ? msix : pcie;
    this.#capability(msi, CAPABILITY.msi, next);
    this.#set16(msi + 2, MSI_CONTROL, MSI_CONTROL_WRITABLE);
    this.#set32(msi + MSI.address, 0, 0xfffffffc);
    this.#set32(msi + MSI.upperAddress, 0, 0xffffffff);
    this.#set16(msi + MSI.data, 0, 0xffff);
    this.#set32(msi + MSI.mask, 0, 1);
  }

  #fillMsix(): void {
    const { msix } = OFFSET;
    this.#capability(msix, CAPABILITY.msix, OFFSET.pcie);
    this.#set16(msix + 2, MSIX_LAST_VECTOR, MSIX_CONTROL_WRITABLE);
    this.#set32(msix + 4, MSIX_BAR);
    this.#set32(msix + 8, MSIX_PBA_OFFSET | MSIX_BAR);
  }

  #fillExpress(): void {
    const { pcie } = OFFSET;
    this.#capability(pcie, CAPABILITY.pcie, 0);
    this.#set16(pcie + 2, PCIE_ENDPOINT_V2);
    this.#set32(pcie + 4, DEVICE_CAPABILITIES);
    this.#set16(
      OFFSET.deviceControl,
      DEVICE_CONTROL_DEFAULT,
      DEVICE_CONTROL_WRITABLE,
    );
    this.#clearableView.setUint16(
      OFFSET.deviceStatus,
      DEVICE_STATUS_CLEARABLE,
      true,
    );
    this.#set32(OFFSET.linkCapabilities, LINK_CAPABILITIES);
    this.#set16(OFFSET.linkControl, 0, LINK_CONTROL_WRITABLE);
    this.#set16(OFFSET.linkStatus, LINK_STATUS);
    this.#set32(OFFSET.deviceCapabilities2, DEVICE_CAPABILITIES_2);
    this.#set16(OFFSET.deviceControl2, 0, DEVICE_CAPABILITIES_2);
    this.#set16(
      OFFSET.linkControl2,
      LINK_CONTROL_2_DEFAULT,
      LINK_CONTROL_2_WRITABLE,
    );
  }

  /** Nothing ever goes wrong on this bus, so that no status bit is ever set. */
  #fillErrorReporting(): void {
    const at = OFFSET.errorReporting;
    this.#extendedCapability(at, EXTENDED.errorReporting, OFFSET.serialNumber);
    this.#set32(at + ERRORS.uncorrectableMask, 0, UNCORRECTABLE);
    this.#set32(
      at + ERRORS.uncorrectableSeverity,
      UNCORRECTABLE_FATAL,
      UNCORRECTABLE,
    );
    this.#set32(
      at + ERRORS.correctableMask,
      CORRECTABLE_MASK_DEFAULT,
      CORRECTABLE,
    );
    this.#set32(at + ERRORS.control, ERROR_CONTROL, ERROR_CONTROL_WRITABLE);
    const { uncorrectableStatus, correctableStatus } = ERRORS;
    const clearable = this.#clearableView;
    clearable.setUint32(at + uncorrectableStatus, UNCORRECTABLE, true);
    clearable.setUint32(at + correctableStatus, CORRECTABLE, true);
  }

  /** The address with FF FF in its middle, the last byte first (9.4.2). */
  #fillSerialNumber(): void {
    const at = OFFSET.serialNumber;
    this.#extendedCapability(at, EXTENDED.serialNumber, 0);
    this.#bytes.set(this.#serialNumber.toReversed(), at + 4);
  }
}
