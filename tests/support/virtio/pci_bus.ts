/**
 * A virtio device on PCI that is nothing but its structures: what a driver writes is recorded, what it waits for comes,
 * and a test makes it lie.
 */
import { assert } from "@std/assert";
import type {
  BarBusDevice,
  ConfigSpace,
  InterruptVectors,
  IoPorts,
  MappedBar,
  Registers,
} from "../../../src/bus/bus.ts";
import type { BusDescription } from "../../../src/bus/description.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { NotSupportedError } from "../../../src/errors.ts";
import type { PciIds } from "../../../src/pci/ids.ts";

/** Bytes of configuration space, from their hexadecimal lines. */
function dump(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(/\s/g, "").padEnd(512, "0"));
}

/** `-device virtio-net-pci,disable-legacy=on` of QEMU 10.0.2 on the root bus: MSI-X, and five virtio capabilities. */
export const QEMU_ROOT_BUS: Uint8Array = dump(`
  f41a4110070110000100000200000000 00000000002060fe0000000000000000
  0c80a0fe0000000000000000f41a0011 0000000098000000000000000a010000
  09001001040000000000000000100000 09401003040000000010000000100000
  09501004040000000020000000100000 09601402040000000030000000100000
  04000000097014050000000000000000 00000000000000001184070001000000
  01080000`);

/** The same behind a root port, without MSI-X: PCI Express, power management, and five virtio capabilities. */
export const QEMU_ROOT_PORT: Uint8Array = dump(`
  f41a4110070110000100000200000000 00000000000000000000000000000000
  0c0080fe0000000000000000f41a0011 00000000c8000000000000000a010000
  10000200208000100000000011040000 00001100000000000000000000000000
  00000000000030000000000000000000 00000000000000000000000001400300
  00000000097c10010400000000000000 00100000098410030400000000100000
  00100000099410040400000000200000 0010000009a414020400000000300000
  001000000400000009b4140500000000`);

/** The same with `disable-modern=on`: the legacy interface behind I/O ports, and MSI-X. */
export const QEMU_LEGACY: Uint8Array = dump(`
  f41a0010070110000000000200000000 a1c00000003060fe0000000000000000
  000000000000000000000000f41a0100 0000000040000000000000000a010000
  11000300010000000108000000000000`);

/** Where the structures of these devices are in BAR 4. */
export const At = {
  common: 0,
  interruptStatus: 0x1000,
  device: 0x2000,
  notify: 0x3000,
} as const;
const BAR = 4;
const BAR_BYTES = 0x4000;
const NO_VECTOR = 0xffff;

/** Offsets in the common configuration, by section 4.1.4.3, independent of the driver's table. */
export const C = {
  DEVICE_FEATURE_SELECT: 0x00,
  DEVICE_FEATURE: 0x04,
  DRIVER_FEATURE_SELECT: 0x08,
  DRIVER_FEATURE: 0x0c,
  CONFIG_MSIX_VECTOR: 0x10,
  NUM_QUEUES: 0x12,
  DEVICE_STATUS: 0x14,
  CONFIG_GENERATION: 0x15,
  QUEUE_SELECT: 0x16,
  QUEUE_SIZE: 0x18,
  QUEUE_MSIX_VECTOR: 0x1a,
  QUEUE_ENABLE: 0x1c,
  QUEUE_NOTIFY_OFF: 0x1e,
  QUEUE_DESC: 0x20,
  QUEUE_DRIVER: 0x28,
  QUEUE_DEVICE: 0x30,
  QUEUE_RESET: 0x3a,
} as const;
const QUEUE_FIELDS = [C.QUEUE_SIZE, C.QUEUE_MSIX_VECTOR, C.QUEUE_ENABLE];
const ADDRESSES_END = 0x38;

/** What a test can choose. */
export interface VirtioPciBusOptions {
  /** Configuration space. Default {@linkcode QEMU_ROOT_BUS}. */
  readonly config?: Uint8Array;
  /** Feature bits. Default: VERSION_1, ACCESS_PLATFORM, RING_RESET. */
  readonly offered?: bigint;
  /** Most descriptors of each virtqueue. Default: three of 256. */
  readonly sizes?: readonly number[];
  /** How it interrupts. Default MSI-X. */
  readonly kind?: InterruptVectors["kind"];
  /** Vectors that it has room for. */
  readonly vectors?: number;
  /** Where it wants to be notified of a virtqueue, in steps. Default: in order. */
  readonly notifyOff?: (virtqueue: number) => number;
  /** How often the status, or a virtqueue's reset, is read before it is 0. */
  readonly slow?: number;
  /** Features that it does not take although it offers them. */
  readonly refused?: bigint;
  /** Device configuration. */
  readonly device?: Uint8Array;
  /** Bytes of base address registers, by their number. Default: BAR 4 alone. */
  readonly bars?: Readonly<Record<number, number>>;
  /** Physical addresses. */
  readonly physical?: boolean;
}

const VERSION_1 = 1n << 32n;
const ACCESS_PLATFORM = 1n << 33n;
const RING_RESET = 1n << 40n;
/** What a device here offers where a test does not say. */
export const OFFERED = VERSION_1 | ACCESS_PLATFORM | RING_RESET;
const FEATURES_OK = 8;

/** One access to BAR 4. */
export type Access = readonly [
  offset: number,
  value: number,
  size: 1 | 2 | 4,
];

/** Such a device, alone on its bus. */
export class VirtioPciBus implements BarBusDevice {
  readonly kind = "bars" as const;
  readonly address: string = "test:0";
  readonly numaNode: number = -1;
  readonly removal = undefined;
  readonly ids: PciIds;
  readonly dma: DmaDomain;
  readonly registers: Registers = { read32: () => 0, write32: () => {} };
  readonly config: ConfigSpace;
  readonly interrupts: InterruptVectors;
  /** Writes to BAR 4, in order. */
  readonly writes: Access[] = [];
  /** Interrupt status; reading it clears it. */
  interruptStatus = 0;
  /** Bits of the status that the device sets. */
  deviceStatus = 0;
  generation = 0;
  /** True once resets, of the device or of a virtqueue, do not end. */
  hangs = false;
  /** True once it has gone: everything reads as ones. */
  gone = false;
  /** What happened to the interrupt line, in order. */
  readonly line: string[] = [];
  /** What reads of fields of virtqueues return, by virtqueue and offset. */
  readonly #queueFields = new Map<string, number>();
  readonly #options: Required<VirtioPciBusOptions>;
  readonly #device = new DataView(new ArrayBuffer(At.notify - At.device));
  readonly #registers = new Map<number, number>();
  #status = 0;
  #pending = 0;
  #features = 0n;

  constructor(options: VirtioPciBusOptions = {}) {
    const chosen = {
      config: QEMU_ROOT_BUS,
      offered: OFFERED,
      sizes: [256, 256, 64],
      kind: "msix",
      vectors: 8,
      notifyOff: (virtqueue: number) => virtqueue,
      slow: 0,
      refused: 0n,
      device: new Uint8Array(24),
      bars: { [BAR]: BAR_BYTES },
      physical: false,
      ...options,
    } as const;
    this.#options = chosen;
    new Uint8Array(this.#device.buffer).set(chosen.device);
    const config = new DataView(chosen.config.slice().buffer);
    this.config = {
      read: (offset, size) => readLittleEndian(config, offset, size),
      write: () => {},
    };
    const half = (offset: number) => config.getUint16(offset, true);
    this.ids = {
      ...{ vendor: half(0x00), device: half(0x02) },
      revision: config.getUint8(0x08),
      ...{ subsystemVendor: half(0x2c), subsystemDevice: half(0x2e) },
    };
    const space = { map: () => {}, unmap: () => {} };
    const domain = new MappedDomain(space);
    this.dma = chosen.physical
      ? Object.assign(domain, { contiguous: true })
      : domain;
    this.interrupts = {
      kind: chosen.kind,
      count: chosen.vectors,
      route: () => {},
      unmask: () => void this.line.push("unmasked"),
    };
  }

  mapBar(index: number): MappedBar {
    const byteLength = this.#options.bars[index];
    if (byteLength === undefined) {
      throw new NotSupportedError(`BAR ${index} cannot be mapped`);
    }
    const within = (offset: number, size: number) =>
      assert(
        offset >= 0 && offset % size === 0 && offset + size <= byteLength,
        `an access beyond BAR ${index}: ${size} bytes at ${offset}`,
      );
    const read = (size: 1 | 2 | 4) => (offset: number) => {
      within(offset, size);
      return index === BAR ? this.#read(offset, size) : 0;
    };
    const write = (size: 1 | 2 | 4) => (offset: number, value: number) => {
      within(offset, size);
      if (index === BAR) this.#write(offset, value, size);
    };
    return {
      registers: {
        ...{ read8: read(1), read16: read(2), read32: read(4) },
        ...{ write8: write(1), write16: write(2), write32: write(4) },
      },
      description: {
        kind: "vfio",
        buffer: new SharedArrayBuffer(byteLength),
        byteOffset: 0,
        byteLength,
        deviceFd: -1,
        intx: this.#options.kind === "intx",
      },
    };
  }

  /** What was written at an offset of BAR 4, in order. */
  written(offset: number): number[] {
    return this.writes.filter(([at]) => at === offset).map(([, value]) =>
      value
    );
  }

  setBusMaster(): void {}

  openPorts(index: number): IoPorts {
    throw new NotSupportedError(`BAR ${index} has no I/O ports`);
  }

  reset(): boolean {
    return false;
  }

  describe(): BusDescription {
    return this.mapBar(BAR).description;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Which virtqueue is selected. */
  get #selected(): number {
    return this.#registers.get(C.QUEUE_SELECT) ?? 0;
  }

  get #slow(): number {
    return this.hangs ? Infinity : this.#options.slow;
  }

  #field(offset: number): string {
    return `${this.#selected}/${offset}`;
  }

  #read(offset: number, size: 1 | 2 | 4): number {
    if (this.gone) return 2 ** (8 * size) - 1;
    if (offset === At.interruptStatus) return this.#takeInterruptStatus();
    if (offset >= At.notify) return 0;
    if (offset >= At.device) {
      return readLittleEndian(this.#device, offset - At.device, size);
    }
    return this.#readCommon(offset);
  }

  #takeInterruptStatus(): number {
    const causes = this.interruptStatus;
    this.interruptStatus = 0;
    this.line.push("read");
    return causes;
  }

  #readCommon(offset: number): number {
    const { offered, sizes, notifyOff } = this.#options;
    switch (offset) {
      case C.DEVICE_FEATURE: {
        const half = this.#registers.get(C.DEVICE_FEATURE_SELECT) ?? 0;
        // As a signed number, as a bus may give it.
        return Number(BigInt.asIntN(32, offered >> BigInt(32 * half)));
      }
      case C.NUM_QUEUES:
        return sizes.length;
      case C.DEVICE_STATUS:
        return this.#readStatus();
      case C.CONFIG_GENERATION:
        return this.generation;
      case C.QUEUE_NOTIFY_OFF:
        return notifyOff(this.#selected);
      case C.QUEUE_SIZE:
        return this.#queueFields.get(this.#field(offset)) ??
          sizes[this.#selected] ?? 0;
      case C.QUEUE_MSIX_VECTOR:
        return this.#queueFields.get(this.#field(offset)) ?? NO_VECTOR;
      case C.QUEUE_ENABLE:
        return this.#queueFields.get(this.#field(offset)) ?? 0;
      case C.QUEUE_RESET:
        return this.#readQueueReset();
      default:
        return this.#registers.get(offset) ?? 0;
    }
  }

  #readStatus(): number {
    if (this.#status === 0 && this.#pending > 0) {
      this.#pending--;
      return 0x0f;
    }
    return this.#status | this.deviceStatus;
  }

  #readQueueReset(): number {
    const field = this.#field(C.QUEUE_RESET);
    const left = this.#queueFields.get(field) ?? 0;
    if (left > 0) this.#queueFields.set(field, left - 1);
    return left > 0 ? 1 : 0;
  }

  #write(offset: number, value: number, size: 1 | 2 | 4): void {
    this.writes.push([offset, value, size]);
    if (offset >= At.interruptStatus) return;
    if ((QUEUE_FIELDS as number[]).includes(offset)) {
      const refused = offset === C.QUEUE_MSIX_VECTOR && this.#hasNoRoom(value);
      this.#queueFields.set(this.#field(offset), refused ? NO_VECTOR : value);
      return;
    }
    switch (offset) {
      case C.DEVICE_STATUS:
        return this.#writeStatus(value);
      case C.DRIVER_FEATURE: {
        const half = this.#registers.get(C.DRIVER_FEATURE_SELECT) ?? 0;
        this.#features |= BigInt(value >>> 0) << BigInt(32 * half);
        return;
      }
      case C.QUEUE_RESET:
        this.#queueFields.set(this.#field(offset), this.#slow);
        this.#queueFields.set(this.#field(C.QUEUE_ENABLE), 0);
        return;
      case C.CONFIG_MSIX_VECTOR:
        this.#registers.set(offset, this.#hasNoRoom(value) ? NO_VECTOR : value);
        return;
      default:
        this.#registers.set(offset, value);
    }
  }

  #hasNoRoom(vector: number): boolean {
    return vector >= this.#options.vectors;
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#pending = this.#slow;
      this.#queueFields.clear();
      this.#registers.clear();
      this.#features = 0n;
      this.#status = 0;
      return;
    }
    const { offered, refused } = this.#options;
    const bad = (this.#features & refused) !== 0n ||
      (this.#features & ~offered) !== 0n;
    this.#status = bad ? value & ~FEATURES_OK : value;
  }
}

/** The 64-bit address that was written to a field of the virtqueue selected last. */
export function addressWritten(bus: VirtioPciBus, field: number): bigint {
  assert(field >= C.QUEUE_DESC && field < ADDRESSES_END);
  const [low, high] = [field, field + 4].map((offset) =>
    BigInt(bus.written(offset).at(-1)! >>> 0)
  );
  return high << 32n | low;
}

function readLittleEndian(
  view: DataView,
  offset: number,
  size: 1 | 2 | 4,
): number {
  if (size === 1) return view.getUint8(offset);
  return size === 2
    ? view.getUint16(offset, true)
    : view.getUint32(offset, true);
}
