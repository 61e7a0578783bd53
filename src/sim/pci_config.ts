/**
 * The PCI configuration space, chapter 9: identity, command, and the MSI-X and
 * PCIe capabilities where the datasheet puts them.
 *
 * @module
 */

import type { Core, Model } from "./core.ts";

const SIZE = 4096;
const VENDOR_INTEL = 0x8086;
const DEVICE_ID: Record<Model, number> = { "82599": 0x10fb, x540: 0x1528 };
const CLASS_ETHERNET = 0x020000;
const OFFSET = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  bar0: 0x10,
  bar4: 0x20,
  subsystemVendor: 0x2c,
  capabilities: 0x34,
  powerManagement: 0x40,
  msi: 0x50,
  msix: 0x70,
  pcie: 0xa0,
  deviceControl: 0xa8,
  linkStatus: 0xb2,
  deviceControl2: 0xc8,
} as const;
const CAPABILITY = { powerManagement: 1, msi: 5, msix: 0x11, pcie: 0x10 };
const STATUS_CAPABILITY_LIST = 1 << 4;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;
const COMMAND_INTX_DISABLE = 1 << 10;
const COMMAND_WRITABLE = 0x0547;
const BAR_64_BIT = 4;
const MSIX_LAST_VECTOR = 63;
const MSIX_BAR = 4;
const MSIX_PBA_OFFSET = 0x2000;
const MSIX_CONTROL_WRITABLE = 0xc000;
const PCIE_ENDPOINT_V2 = 0x0002;
const DEVICE_CAPABILITY_FLR = 1 << 28;
const DEVICE_CONTROL_WRITABLE = 0x7fff;
const DEVICE_CONTROL_FLR = 1 << 15;
const LINK_5GT_X8 = 0x0082;
const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffffffff];

/** The configuration space of one function. */
export class PciConfig {
  readonly #core: Core;
  readonly #functionReset: () => void;
  readonly #bytes = new Uint8Array(SIZE);
  readonly #writable = new Uint8Array(SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #writableView = new DataView(this.#writable.buffer);

  /** `functionReset` is called on a function level reset. */
  constructor(core: Core, functionReset: () => void) {
    this.#core = core;
    this.#functionReset = functionReset;
    this.reset();
  }

  /**
   * The state after power-on or FLR, with memory decoding already on, as the
   * host's PCI driver leaves it.
   */
  reset(): void {
    this.#bytes.fill(0);
    this.#writable.fill(0);
    this.#fillHeader();
    this.#fillCapabilities();
    this.#follow();
  }

  /** Whether the card answers register accesses. */
  get memoryEnabled(): boolean {
    return (this.#command & COMMAND_MEMORY) !== 0;
  }

  /** Whether the INTx line must stay down. */
  get intxDisabled(): boolean {
    return (this.#command & COMMAND_INTX_DISABLE) !== 0;
  }

  /** Reads `size` bytes; what lies outside reads as ones. */
  read(offset: number, size: 1 | 2 | 4): number {
    if (!this.#legal(offset, size)) return ALL_ONES[size];
    if (size === 1) return this.#view.getUint8(offset);
    if (size === 2) return this.#view.getUint16(offset, true);
    return this.#view.getUint32(offset, true);
  }

  /** Writes those bits of `size` bytes that are writable. */
  write(offset: number, value: number, size: 1 | 2 | 4): void {
    if (!this.#legal(offset, size)) return;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const mask = this.#writable[at];
      this.#bytes[at] = (this.#bytes[at] & ~mask) |
        ((value >>> (i * 8)) & mask);
    }
    this.#follow();
    const flr = OFFSET.deviceControl;
    const touchesFlr = offset <= flr + 1 && offset + size > flr + 1;
    const asked = value >>> ((flr - offset) * 8);
    if (touchesFlr && (asked & DEVICE_CONTROL_FLR) !== 0) this.#functionReset();
  }

  get #command(): number {
    return this.#view.getUint16(OFFSET.command, true);
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
    const busMaster = (this.#command & COMMAND_BUS_MASTER) !== 0;
    if (busMaster !== this.#core.busMaster) this.#core.generation++;
    this.#core.busMaster = busMaster;
  }

  #set16(offset: number, value: number, writable = 0): void {
    this.#view.setUint16(offset, value, true);
    this.#writableView.setUint16(offset, writable, true);
  }

  #set32(offset: number, value: number, writable = 0): void {
    this.#view.setUint32(offset, value, true);
    this.#writableView.setUint32(offset, writable, true);
  }

  #fillHeader(): void {
    this.#set16(OFFSET.vendor, VENDOR_INTEL);
    this.#set16(OFFSET.device, DEVICE_ID[this.#core.model]);
    this.#set16(OFFSET.command, COMMAND_MEMORY, COMMAND_WRITABLE);
    this.#set16(OFFSET.status, STATUS_CAPABILITY_LIST);
    this.#set32(OFFSET.revision, ((CLASS_ETHERNET << 8) | 1) >>> 0);
    this.#set32(OFFSET.bar0, BAR_64_BIT, 0xfffe0000);
    this.#set32(OFFSET.bar0 + 4, 0, 0xffffffff);
    this.#set32(OFFSET.bar4, BAR_64_BIT, 0xffffc000);
    this.#set32(OFFSET.bar4 + 4, 0, 0xffffffff);
    this.#set16(OFFSET.subsystemVendor, VENDOR_INTEL);
    this.#bytes[OFFSET.capabilities] = OFFSET.powerManagement;
  }

  #fillCapabilities(): void {
    const next = (id: number, following: number) => id | (following << 8);
    this.#set16(
      OFFSET.powerManagement,
      next(CAPABILITY.powerManagement, OFFSET.msi),
    );
    this.#set16(OFFSET.msi, next(CAPABILITY.msi, OFFSET.msix));
    this.#set16(OFFSET.msix, next(CAPABILITY.msix, OFFSET.pcie));
    this.#set16(OFFSET.msix + 2, MSIX_LAST_VECTOR, MSIX_CONTROL_WRITABLE);
    this.#set32(OFFSET.msix + 4, MSIX_BAR);
    this.#set32(OFFSET.msix + 8, MSIX_PBA_OFFSET | MSIX_BAR);
    this.#set16(OFFSET.pcie, next(CAPABILITY.pcie, 0));
    this.#set16(OFFSET.pcie + 2, PCIE_ENDPOINT_V2);
    this.#set32(OFFSET.pcie + 4, DEVICE_CAPABILITY_FLR);
    this.#set16(OFFSET.deviceControl, 0, DEVICE_CONTROL_WRITABLE);
    this.#set16(OFFSET.linkStatus, LINK_5GT_X8);
    this.#set16(OFFSET.deviceControl2, 0, 0x001f);
  }
}
