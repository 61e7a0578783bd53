/**
 * A virtio network device on PCI from before version 1.0, by section 4.1.4.10 of the specification (1.2): I/O ports,
 * and rings that it finds by their page. Its cable is a loop, and it lies where the test wants it to.
 */
import { assert, assertEquals } from "@std/assert";
import type {
  BarBusDevice,
  ConfigSpace,
  InterruptVectors,
  IoPorts,
  MappedBar,
  RegisterWindow,
} from "../../../src/bus/bus.ts";
import type { BusDescription } from "../../../src/bus/description.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { NotSupportedError } from "../../../src/errors.ts";
import { IrqLine } from "../../../src/irq/line.ts";
import type { PciIds } from "../../../src/pci/ids.ts";
import { DmaTable } from "../../../src/sim/dma_table.ts";
import { QEMU_LEGACY } from "./pci_bus.ts";
import { type DeviceRing, deviceRing, readable, writable } from "./ring.ts";

/** The registers of section 4.1.4.10, independent of the driver's table: offset and bytes. */
const L = {
  DEVICE_FEATURES: [0x00, 4],
  DRIVER_FEATURES: [0x04, 4],
  QUEUE_ADDRESS: [0x08, 4],
  QUEUE_SIZE: [0x0c, 2],
  QUEUE_SELECT: [0x0e, 2],
  QUEUE_NOTIFY: [0x10, 2],
  DEVICE_STATUS: [0x12, 1],
  ISR_STATUS: [0x13, 1],
  CONFIG_VECTOR: [0x14, 2],
  QUEUE_VECTOR: [0x16, 2],
} as const;
type RegisterName = keyof typeof L;

const READ_ONLY: readonly RegisterName[] = [
  "DEVICE_FEATURES",
  "QUEUE_SIZE",
  "ISR_STATUS",
];
const VECTORS: readonly RegisterName[] = ["CONFIG_VECTOR", "QUEUE_VECTOR"];
const NO_VECTOR = 0xffff;
const PAGE = 4096;
const DRIVER_OK = 4;
/** Where the capability MSI-X of {@linkcode QEMU_LEGACY} has its enable bit (PCI 3.0, 6.8.2.3). */
const MSIX_CONTROL = 0x42;
const MSIX_ENABLED = 0x8000;
const CONFIG_BYTES = 12;
const STATUS_OFFSET = 6;
const PAIRS_OFFSET = 8;
const MERGEABLE = 1 << 15;
const MULTIQUEUE = 1 << 22;

/** What a test can choose. */
export interface LegacyOptions {
  /** Feature bits. */
  readonly offered: bigint;
  /** Descriptors of each virtqueue. Default: 256, 256, 64. */
  readonly sizes?: readonly number[];
  /** Queue pairs, as its configuration says. Default 1. */
  readonly pairs?: number;
  /** How it interrupts. Default MSI-X. */
  readonly kind?: InterruptVectors["kind"];
  /** Vectors that it has room for. Default 3. */
  readonly vectors?: number;
  /** How often the status is read before it is 0. */
  readonly slow?: number;
  /** I/O ports. Default 64, as QEMU has them. */
  readonly ports?: number;
  /** What it says of the page that a virtqueue was given. Default: that page. */
  readonly takes?: (page: number) => number;
  /** Whether it is behind no IOMMU. */
  readonly physical?: boolean;
  /** Configuration space. Default {@linkcode QEMU_LEGACY}. */
  readonly config?: Uint8Array;
}

interface Queue {
  vector: number;
  page: number;
  ring: DeviceRing | undefined;
}

/** Such a device, alone on its bus. */
export class LegacyBus implements BarBusDevice {
  readonly kind = "bars" as const;
  readonly address: string = "test:legacy";
  readonly numaNode: number = -1;
  readonly removal = undefined;
  readonly ids: PciIds;
  readonly config: ConfigSpace;
  readonly dma: DmaDomain;
  readonly interrupts: InterruptVectors;
  /** Writes to registers, in order. */
  readonly writes: (readonly [name: RegisterName, value: number])[] = [];
  /** Commands of the control queue, in order. */
  readonly commands: number[][] = [];
  /** What happened to the interrupt line, in order. */
  readonly line: string[] = [];
  /** Device configuration (5.1.4). */
  readonly device: DataView<ArrayBuffer> = new DataView(
    new ArrayBuffer(CONFIG_BYTES),
  );
  /** Interrupt status; reading it clears it. */
  interruptStatus = 0;
  /** True once resets do not end. */
  hangs = false;
  /** True once it has gone: everything reads as ones. */
  gone = false;
  /** What it says that it wrote in answer to a command. */
  answerBytes = 1;
  closed = 0;
  /** Bytes that it can reach now. */
  mapped = 0;
  /** What was accepted. */
  features = 0;
  readonly #options: Required<LegacyOptions>;
  readonly #space: DataView<ArrayBuffer>;
  readonly #table = new DmaTable();
  readonly #queues: Queue[] = [];
  #routed: readonly number[] = [];
  #selected = 0;
  #status = 0;
  #pending = 0;
  #configVector = NO_VECTOR;

  constructor(options: LegacyOptions) {
    this.#options = {
      sizes: [256, 256, 64],
      pairs: 1,
      kind: "msix",
      vectors: 3,
      slow: 0,
      ports: 64,
      takes: (page: number) => page,
      physical: false,
      config: QEMU_LEGACY,
      ...options,
    };
    const { kind, vectors, config, physical, pairs } = this.#options;
    const space = new DataView(Uint8Array.from(config).buffer);
    this.#space = space;
    this.config = {
      read: (offset, size) => read(space, offset, size),
      write: () => {},
    };
    const half = (offset: number) => space.getUint16(offset, true);
    this.ids = {
      ...{ vendor: half(0x00), device: half(0x02) },
      revision: space.getUint8(0x08),
      ...{ subsystemVendor: half(0x2c), subsystemDevice: half(0x2e) },
    };
    [2, 0, 0, 0, 0, 7].forEach((octet, i) => this.device.setUint8(i, octet));
    this.device.setUint16(STATUS_OFFSET, 1, true);
    this.device.setUint16(PAIRS_OFFSET, pairs, true);
    const domain = new MappedDomain({
      map: (memory, offset, length, iova) => {
        const start = memory.byteOffset + offset;
        this.#table.map(iova, memory.buffer, start, length);
        this.mapped += length;
      },
      unmap: (iova, length) => {
        this.#table.unmap(iova, length);
        this.mapped -= length;
      },
    });
    this.dma = physical ? Object.assign(domain, { contiguous: true }) : domain;
    this.interrupts = {
      kind,
      count: kind === "intx" ? 1 : vectors,
      route: (fds) => this.#route(fds),
      unmask: () => void this.line.push("unmasked"),
    };
    this.#forget();
  }

  get registers(): never {
    throw new Error("BAR 0 has I/O ports");
  }

  mapBar(index: number): MappedBar {
    throw new NotSupportedError(`BAR ${index} cannot be mapped`);
  }

  openPorts(index: number): IoPorts {
    assertEquals(index, 0, "4.1.4.10: base address register 0");
    const { ports, kind } = this.#options;
    const reads = (size: 1 | 2 | 4) => (offset: number) =>
      this.#read(offset, size);
    const writes = (size: 1 | 2 | 4) => (offset: number, value: number) =>
      this.#write(offset, value, size);
    const registers: RegisterWindow = {
      ...{ read8: reads(1), read16: reads(2), read32: reads(4) },
      ...{ write8: writes(1), write16: writes(2), write32: writes(4) },
    };
    return {
      registers,
      description: {
        ...{ deviceFd: -1, fileOffset: 0 },
        ...{ byteLength: ports, intx: kind === "intx" },
      },
    };
  }

  setBusMaster(): void {}

  reset(): boolean {
    return false;
  }

  describe(): BusDescription {
    throw new Error("BAR 0 cannot be mapped");
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }

  /** Values that were written to a register, in order. */
  written(name: RegisterName): number[] {
    return this.writes.filter(([written]) => written === name)
      .map(([, value]) => value);
  }

  /** Plugs the cable in or out, as a device tells of it. */
  setLink(up: boolean): void {
    this.device.setUint16(STATUS_OFFSET, up ? 1 : 0, true);
    this.interruptStatus |= 2;
    this.#raise(this.#configVector);
  }

  /**
   * Sends every frame of a pair back, and interrupts. Returns their bytes, header included, as the device got them.
   */
  loop(pair = 0): Uint8Array[] {
    const [rx, tx] = this.#queues.slice(2 * pair);
    const frames: Uint8Array[] = [];
    assert((this.#status & DRIVER_OK) !== 0, "the device is live");
    for (let sent = tx.ring!.take(); sent; sent = tx.ring!.take()) {
      const frame = readable(sent);
      frames.push(frame);
      const chain = rx.ring!.take()!;
      const bytes = writable(chain);
      bytes.set(frame);
      if (this.#mergeable) bytes[10] = 1;
      rx.ring!.use(chain, frame.length);
      // What older devices say here is anything (2.7.8.1).
      tx.ring!.use(sent, frame.length);
    }
    if (frames.length > 0) this.#raise(rx.vector);
    return frames;
  }

  get #mergeable(): boolean {
    return (this.features & MERGEABLE) !== 0;
  }

  /** Section 5.1.2. */
  get #controlQueue(): number {
    const pairs = this.device.getUint16(PAIRS_OFFSET, true);
    return (this.features & MULTIQUEUE) === 0 ? 2 : 2 * pairs;
  }

  get #isMsix(): boolean {
    const control = this.#space.getUint16(MSIX_CONTROL, true);
    return (control & MSIX_ENABLED) !== 0;
  }

  #route(fds: readonly number[]): void {
    this.#routed = fds;
    if (this.#options.kind !== "msix") return;
    const control = this.#space.getUint16(MSIX_CONTROL, true) & ~MSIX_ENABLED;
    this.#space.setUint16(
      MSIX_CONTROL,
      fds.length > 0 ? control | MSIX_ENABLED : control,
      true,
    );
  }

  #raise(vector: number): void {
    const fd = this.#options.kind === "intx"
      ? this.#routed[0]
      : this.#routed[vector];
    if (fd !== undefined) new IrqLine(fd).raise();
  }

  #forget(): void {
    this.features = 0;
    this.#configVector = NO_VECTOR;
    this.#selected = 0;
    for (const index of this.#options.sizes.keys()) {
      this.#queues[index] = { vector: NO_VECTOR, page: 0, ring: undefined };
    }
  }

  /** The register that an access is to; undefined for device configuration. */
  #register(offset: number, size: number): RegisterName | undefined {
    const { ports } = this.#options;
    assert(offset + size <= ports, `${size} bytes at port ${offset}`);
    if (offset >= this.#deviceStart) return undefined;
    const names = Object.keys(L) as RegisterName[];
    const name = names.find((name) => L[name][0] === offset);
    assert(name !== undefined, `no register begins at ${offset}`);
    assertEquals(L[name][1], size, `${name} is accessed as a whole`);
    return name;
  }

  get #deviceStart(): number {
    return this.#isMsix ? 0x18 : 0x14;
  }

  #read(offset: number, size: 1 | 2 | 4): number {
    const name = this.#register(offset, size);
    if (this.gone) return 2 ** (8 * size) - 1;
    if (name === undefined) {
      const at = offset - this.#deviceStart;
      return at + size <= CONFIG_BYTES ? read(this.device, at, size) : 0;
    }
    const queue = this.#queues[this.#selected];
    switch (name) {
      case "DEVICE_FEATURES":
        // As a signed number, as a bus may give it.
        return Number(BigInt.asIntN(32, this.#options.offered));
      case "DRIVER_FEATURES":
        return this.features;
      case "QUEUE_ADDRESS":
        return this.#options.takes(queue?.page ?? 0);
      case "QUEUE_SIZE":
        return this.#options.sizes[this.#selected] ?? 0;
      case "QUEUE_SELECT":
        return this.#selected;
      case "DEVICE_STATUS":
        return this.#readStatus();
      case "ISR_STATUS":
        return this.#takeInterruptStatus();
      case "CONFIG_VECTOR":
        return this.#configVector;
      case "QUEUE_VECTOR":
        return queue?.vector ?? NO_VECTOR;
      case "QUEUE_NOTIFY":
        return 0;
    }
  }

  #readStatus(): number {
    if (this.#status !== 0 || this.#pending === 0) return this.#status;
    this.#pending--;
    return 7;
  }

  #takeInterruptStatus(): number {
    const causes = this.interruptStatus;
    this.interruptStatus = 0;
    this.line.push("read");
    return causes;
  }

  #write(offset: number, value: number, size: 1 | 2 | 4): void {
    const name = this.#register(offset, size);
    assert(name !== undefined, "5.1.4: configuration is not written");
    assert(!READ_ONLY.includes(name), `${name} is read-only`);
    assert(value >= 0 && value < 2 ** (8 * size), `${name} holds ${value}`);
    this.writes.push([name, value]);
    const queue = this.#queues[this.#selected];
    const vector = value < this.#options.vectors ? value : NO_VECTOR;
    switch (name) {
      case "DRIVER_FEATURES":
        this.features = value;
        return;
      case "QUEUE_ADDRESS":
        queue.page = value;
        queue.ring = this.#ringAt(value, this.#options.sizes[this.#selected]);
        return;
      case "QUEUE_SELECT":
        this.#selected = value;
        return;
      case "QUEUE_NOTIFY":
        return this.#notified(value);
      case "DEVICE_STATUS":
        return this.#writeStatus(value);
      case "CONFIG_VECTOR":
        this.#configVector = vector;
        return;
      case "QUEUE_VECTOR":
        queue.vector = vector;
        return;
      default:
        assert(VECTORS.includes(name));
    }
  }

  /** The layout of section 2.7.2: no addresses but the first. */
  #ringAt(page: number, size: number): DeviceRing | undefined {
    const start = page * PAGE;
    const available = start + 16 * size;
    const used = Math.ceil((available + 6 + 2 * size) / PAGE) * PAGE;
    const isMapped = this.#table.translate(start >>> 0, start / 2 ** 32, 1);
    if (!isMapped) return undefined;
    return deviceRing(this.#table, {
      size,
      vector: undefined,
      descriptors: BigInt(start),
      driver: BigInt(available),
      device: BigInt(used),
    }, false);
  }

  #notified(virtqueue: number): void {
    if (virtqueue !== this.#controlQueue) return;
    const { ring } = this.#queues[virtqueue];
    for (let chain = ring!.take(); chain; chain = ring!.take()) {
      this.commands.push([...readable(chain)]);
      writable(chain)[0] = 0;
      ring!.use(chain, this.answerBytes);
    }
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#pending = this.hangs ? Infinity : this.#options.slow;
      this.#forget();
    }
    this.#status = value;
  }
}

function read(view: DataView, offset: number, size: 1 | 2 | 4): number {
  if (size === 1) return view.getUint8(offset);
  return size === 2
    ? view.getUint16(offset, true)
    : view.getUint32(offset, true);
}
