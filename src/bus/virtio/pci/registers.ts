/**
 * The structures of a virtio device on PCI (virtio 1.2, 4.1.4): what is in them, and access to them.
 *
 * @module
 */
import type { BarBusDevice, MappedBar, RegisterWindow } from "../../bus.ts";
import { DeviceFaultError, NotSupportedError } from "../../../errors.ts";
import type { StructurePlace, StructureType } from "./capabilities.ts";

/** A field of a structure. */
export interface Field {
  /** Its name in the specification. */
  readonly name: string;
  /** Byte offset in the structure. */
  readonly offset: number;
  /** Its bytes: fields are accessed as a whole (4.1.3.1). */
  readonly size: 1 | 2 | 4;
}

function field(name: string, offset: number, size: 1 | 2 | 4): Field {
  return { name, offset, size };
}

/** The common configuration, struct virtio_pci_common_cfg (4.1.4.3). */
export const Common = {
  device_feature_select: field("device_feature_select", 0x00, 4),
  device_feature: field("device_feature", 0x04, 4),
  driver_feature_select: field("driver_feature_select", 0x08, 4),
  driver_feature: field("driver_feature", 0x0c, 4),
  config_msix_vector: field("config_msix_vector", 0x10, 2),
  num_queues: field("num_queues", 0x12, 2),
  device_status: field("device_status", 0x14, 1),
  config_generation: field("config_generation", 0x15, 1),
  queue_select: field("queue_select", 0x16, 2),
  queue_size: field("queue_size", 0x18, 2),
  queue_msix_vector: field("queue_msix_vector", 0x1a, 2),
  queue_enable: field("queue_enable", 0x1c, 2),
  queue_notify_off: field("queue_notify_off", 0x1e, 2),
  /** 64 bits, which may be written as two halves (4.1.3.1). */
  queue_desc: field("queue_desc", 0x20, 4),
  /** 64 bits. */
  queue_driver: field("queue_driver", 0x28, 4),
  /** 64 bits. */
  queue_device: field("queue_device", 0x30, 4),
  /** Only where RING_RESET is offered. */
  queue_reset: field("queue_reset", 0x3a, 2),
} as const;

/** Bytes of the common configuration that every device has: all up to `queue_device`. */
export const COMMON_BYTES = 0x38;
/** Bytes of one that has `queue_reset`. */
export const COMMON_BYTES_WITH_RESET = 0x3c;

/** The legacy interface's registers in base address register 0 (4.1.4.10). */
export const Legacy = {
  device_features: field("device_features", 0x00, 4),
  driver_features: field("driver_features", 0x04, 4),
  /** The number of the page of 4096 bytes in which the virtqueue begins; 0 for one that is not used. */
  queue_address: field("queue_address", 0x08, 4),
  queue_size: field("queue_size", 0x0c, 2),
  queue_select: field("queue_select", 0x0e, 2),
  queue_notify: field("queue_notify", 0x10, 2),
  device_status: field("device_status", 0x12, 1),
  isr_status: field("isr_status", 0x13, 1),
  /** Only while MSI-X is enabled: else device configuration begins here. */
  config_msix_vector: field("config_msix_vector", 0x14, 2),
  /** Only while MSI-X is enabled. */
  queue_msix_vector: field("queue_msix_vector", 0x16, 2),
} as const;

/** Bytes of the legacy interface before device configuration. */
export const LEGACY_BYTES = 0x14;
/** The same while MSI-X is enabled. */
export const LEGACY_BYTES_WITH_MSIX = 0x18;

/** The device status field (2.1). */
export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** The interrupt status, the only byte of its structure (4.1.4.5). */
export const ISR_STATUS: Field = field("isr_status", 0, 1);
/** Its bit that tells of changes of device configuration. */
export const ISR_CONFIGURATION = 1 << 1;

/** Written in the place of a vector for none, and read when the device has no room for one (4.1.5.1.2). */
export const NO_VECTOR = 0xffff;

/** What a structure must be like. */
export interface StructureRules {
  /** What it is. */
  readonly type: StructureType;
  /** Its name in messages. */
  readonly name: string;
  /** What its offset must be a multiple of. */
  readonly alignment: number;
  /** Bytes that it must have. */
  readonly least: number;
}

/** Fields that can be read and written. */
export interface FieldAccess {
  /** Reads a field. */
  read(field: Omit<Field, "name">): number;
  /** Writes a field. */
  write(field: Field, value: number): void;
}

/** Reads a field as a whole. */
export function readField(
  registers: RegisterWindow,
  at: number,
  size: Field["size"],
): number {
  if (size === 1) return registers.read8(at);
  return size === 2 ? registers.read16(at) : registers.read32(at) >>> 0;
}

/** Writes a field as a whole. */
export function writeField(
  registers: RegisterWindow,
  at: number,
  size: Field["size"],
  value: number,
): void {
  if (size === 1) registers.write8(at, value);
  else if (size === 2) registers.write16(at, value);
  else registers.write32(at, value);
}

/** A structure in a mapped base address register. */
export class Structure implements FieldAccess {
  /** The base address register. */
  readonly bar: MappedBar;
  /** Where the structure begins in it. */
  readonly offset: number;
  /** Its bytes. */
  readonly length: number;
  /** Of notifications only: bytes from one to the next. */
  readonly notifyMultiplier: number;

  private constructor(bar: MappedBar, place: StructurePlace) {
    this.bar = bar;
    this.offset = place.offset;
    this.length = place.length;
    this.notifyMultiplier = place.notifyMultiplier;
  }

  /**
   * Maps the first structure of a type that can be mapped: one behind I/O ports cannot.
   * @returns Undefined when the device has none.
   * @throws {DeviceFaultError} when it is not where it can be.
   */
  static map(
    bus: BarBusDevice,
    places: readonly StructurePlace[],
    rules: StructureRules,
  ): Structure | undefined {
    for (const place of places) {
      if (place.type !== rules.type) continue;
      const bar = tryMap(bus, place.bar);
      if (bar === undefined) continue;
      check(bar, place, rules);
      return new Structure(bar, place);
    }
    return undefined;
  }

  read({ offset, size }: Omit<Field, "name">): number {
    return readField(this.bar.registers, this.offset + offset, size);
  }

  write({ offset, size }: Field, value: number): void {
    writeField(this.bar.registers, this.offset + offset, size, value);
  }

  /** Writes a field of 64 bits, in two halves. */
  writeAddress(field: Field, address: bigint): void {
    const { registers } = this.bar;
    const at = this.offset + field.offset;
    registers.write32(at, Number(address & 0xffffffffn));
    registers.write32(at + 4, Number(address >> 32n));
  }
}

function tryMap(bus: BarBusDevice, index: number): MappedBar | undefined {
  try {
    return bus.mapBar(index);
  } catch (error) {
    if (error instanceof NotSupportedError) return undefined;
    throw error;
  }
}

function check(
  bar: MappedBar,
  place: StructurePlace,
  { name, alignment, least }: StructureRules,
): void {
  const { offset, length } = place;
  const size = bar.description.byteLength;
  const where = `${length} bytes at ${offset} of BAR ${place.bar}`;
  if (length < least) {
    throw new DeviceFaultError(`the ${name} is ${where}, it needs ${least}`);
  }
  if (offset % alignment !== 0) {
    throw new DeviceFaultError(
      `the ${name} is ${where}, no multiple of ${alignment}`,
    );
  }
  if (offset + length > size) {
    throw new DeviceFaultError(`the ${name} is ${where}, which has ${size}`);
  }
}
