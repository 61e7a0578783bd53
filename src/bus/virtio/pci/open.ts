/**
 * Which of its interfaces a virtio device on PCI is driven by.
 *
 * @module
 */
import type { BarBusDevice } from "../../bus.ts";
import type { VirtioTransport } from "../transport.ts";
import { NotSupportedError } from "../../../errors.ts";
import { findStructures, StructureType } from "./capabilities.ts";
import { VirtioPciLegacyTransport } from "./legacy.ts";
import { VirtioPciTransport } from "./modern.ts";

/** Device ids below are those of legacy and transitional devices (4.1.2). */
const FIRST_MODERN_ID = 0x1040;
/** The revision of every device with the legacy interface (4.1.2.3). */
const LEGACY_REVISION = 0;

/**
 * The modern interface where the device has it, and else the legacy one, for which there must be no IOMMU: such a device
 * takes addresses for those of RAM.
 *
 * @param bus The device on its bus.
 * @throws {NotSupportedError} for a device with the legacy interface alone behind an IOMMU.
 * @throws {DeviceFaultError} when it says what cannot be true.
 */
export function openPciTransport(bus: BarBusDevice): VirtioTransport {
  if (!isLegacy(bus)) return new VirtioPciTransport(bus);
  if (bus.dma.contiguous) return new VirtioPciLegacyTransport(bus);
  throw new NotSupportedError(
    `${bus.address} has the legacy interface of virtio alone, which goes around the IOMMU: give it the modern one (disable-modern=off,disable-legacy=on,iommu_platform=on in QEMU). Only a machine without IOMMU can use it as it is, with --unsafe-no-iommu (unsafeNoIommu: true)`,
  );
}

/** Section 4.1.4.3.3: an id of before version 1.0, and no common configuration. */
function isLegacy({ ids, config }: BarBusDevice): boolean {
  if (ids.device >= FIRST_MODERN_ID || ids.revision !== LEGACY_REVISION) {
    return false;
  }
  return !findStructures(config).some(({ type }) =>
    type === StructureType.common
  );
}
