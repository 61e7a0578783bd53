/**
 * Where a virtio device on PCI has its structures: its vendor capabilities say so (virtio 1.2, 4.1.4).
 *
 * The device is not trusted: the list of capabilities may be endless, and what it says wrong.
 *
 * @module
 */
import type { ConfigSpace } from "../../bus.ts";
import { DeviceFaultError } from "../../../errors.ts";

const STATUS = 0x06;
const STATUS_CAPABILITIES = 1 << 4;
const FIRST_POINTER = 0x34;
/** The two lowest bits of a pointer are reserved (PCI 3.0, 6.7). */
const POINTER_MASK = 0xfc;
/** Before that is the header. */
const FIRST_CAPABILITY = 0x40;
const CONFIG_END = 0x100;
const ID_VENDOR = 0x09;
const ID_MSIX = 0x11;
/** Message control of MSI-X, from the capability's beginning on, and its bit for "enabled" (PCI 3.0, 6.8.2.3). */
const MSIX_CONTROL = 2;
const MSIX_ENABLED = 1 << 15;
/** The parts of struct virtio_pci_cap, from the capability's beginning on. */
const Part = {
  next: 1,
  length: 2,
  type: 3,
  bar: 4,
  offset: 8,
  structureLength: 12,
  notifyMultiplier: 16,
} as const;
const CAPABILITY_BYTES = 16;
const NOTIFY_CAPABILITY_BYTES = 20;
const LAST_BAR = 5;

/** What a capability is about (4.1.4): those that are used here. */
export const StructureType = {
  common: 1,
  notify: 2,
  interruptStatus: 3,
  device: 4,
} as const;

/** One of {@linkcode StructureType}. */
export type StructureType = typeof StructureType[keyof typeof StructureType];

/** Where a structure is, by the device's word. */
export interface StructurePlace {
  /** What it is. */
  readonly type: StructureType;
  /** The base address register that it is in: 0 to 5. */
  readonly bar: number;
  /** Where it begins. */
  readonly offset: number;
  /** Its bytes. */
  readonly length: number;
  /** Of notifications only: bytes from one to the next (4.1.4.4). */
  readonly notifyMultiplier: number;
}

/**
 * The structures of a virtio device, in its order of preference. None where it only has the legacy interface.
 * @throws {DeviceFaultError} when the list of capabilities has no end or leaves configuration space.
 */
export function findStructures(config: ConfigSpace): StructurePlace[] {
  const places: StructurePlace[] = [];
  for (const at of capabilities(config, ID_VENDOR)) {
    const place = readPlace(config, at);
    if (place !== undefined) places.push(place);
  }
  return places;
}

/**
 * A look at whether MSI-X is enabled now, which it is once interrupts are routed.
 * @throws {DeviceFaultError} as {@linkcode findStructures}.
 */
export function msixSwitch(config: ConfigSpace): () => boolean {
  const [at] = capabilities(config, ID_MSIX);
  if (at === undefined) return () => false;
  return () => (config.read(at + MSIX_CONTROL, 2) & MSIX_ENABLED) !== 0;
}

/** Where the capabilities of a kind begin. */
function* capabilities(config: ConfigSpace, id: number): Generator<number> {
  if ((config.read(STATUS, 2) & STATUS_CAPABILITIES) === 0) return;
  const seen = new Set<number>();
  let at = config.read(FIRST_POINTER, 1) & POINTER_MASK;
  while (at !== 0) {
    if (at < FIRST_CAPABILITY) throw badList(`leads to the header (${at})`);
    if (seen.has(at)) throw badList(`comes back to ${at}`);
    seen.add(at);
    if (config.read(at, 1) === id) yield at;
    at = config.read(at + Part.next, 1) & POINTER_MASK;
  }
}

function readPlace(
  config: ConfigSpace,
  at: number,
): StructurePlace | undefined {
  const type = config.read(at + Part.type, 1);
  // Types and base address registers that are reserved are to be ignored (4.1.4.1).
  if (!isUsed(type)) return undefined;
  const notify = type === StructureType.notify;
  const least = notify ? NOTIFY_CAPABILITY_BYTES : CAPABILITY_BYTES;
  const length = config.read(at + Part.length, 1);
  if (length < least || at + length > CONFIG_END) {
    throw badList(`has ${length} bytes at ${at} for a structure's place`);
  }
  const bar = config.read(at + Part.bar, 1);
  if (bar > LAST_BAR) return undefined;
  return {
    type,
    bar,
    offset: config.read(at + Part.offset, 4),
    length: config.read(at + Part.structureLength, 4),
    notifyMultiplier: notify ? config.read(at + Part.notifyMultiplier, 4) : 0,
  };
}

function isUsed(type: number): type is StructureType {
  return (Object.values(StructureType) as number[]).includes(type);
}

function badList(what: string): DeviceFaultError {
  return new DeviceFaultError(`the list of PCI capabilities ${what}`);
}
