/**
 * What a PCI device calls itself.
 *
 * @module
 */

/** The identity in configuration space. */
export interface PciIds {
  /** Who made it: 0x8086 is Intel. */
  readonly vendor: number;
  /** Which product. */
  readonly device: number;
  /** Stepping. */
  readonly revision: number;
  /** Who made the board. */
  readonly subsystemVendor: number;
  /** Which board. */
  readonly subsystemDevice: number;
}

/** Intel's vendor id. */
export const VENDOR_INTEL = 0x8086;

/** The vendor id of virtio devices (virtio 1.2, 4.1.2). */
export const VENDOR_VIRTIO = 0x1af4;

/** Writes ids as `8086:10fb`. */
export function formatIds(ids: Pick<PciIds, "vendor" | "device">): string {
  const hex = (value: number) => value.toString(16).padStart(4, "0");
  return `${hex(ids.vendor)}:${hex(ids.device)}`;
}
