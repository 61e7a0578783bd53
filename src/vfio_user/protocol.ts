/**
 * The messages of the vfio-user protocol, as QEMU's docs/interop/vfio-user.rst ("the specification" in this folder)
 * defines them. Names in capitals are its names, or those of the kernel's linux/vfio.h that it takes over. Numbers are
 * little-endian, as on every machine that this runs on.
 *
 * @module
 */

/** What a message asks for ("Commands"). */
export const Command = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  REGION_WRITE_MULTI: 15,
} as const;

/** The specification's name of a command. */
export function commandName(id: number): string {
  const found = Object.entries(Command).find(([, value]) => value === id);
  return found?.[0] ?? `command ${id}`;
}

/** Version of the protocol that is spoken here. */
export const VERSION = { major: 0, minor: 0 } as const;

/** Bytes before each message's data: id, command, size of all, flags, error ("Header"). */
export const HEADER_BYTES = 16;
/** Places in the header. */
export const Header = {
  id: 0,
  command: 2,
  size: 4,
  flags: 8,
  error: 12,
} as const;
/** Bits of the header's flags. */
export const HeaderFlag = {
  TYPE_MASK: 0xf,
  COMMAND: 0x0,
  REPLY: 0x1,
  NO_REPLY: 0x10,
  ERROR: 0x20,
} as const;

/** Most bytes of data in one transfer: `max_data_xfer_size`. */
export const MOST_DATA = 65536;
/** The same of a client that does not say. */
export const DEFAULT_MOST_DATA = 1 << 20;
/** Most bytes of a message: a transfer with its description. */
export const MOST_MESSAGE: number = HEADER_BYTES + 32 + MOST_DATA;
/** Most descriptors with one message: `max_msg_fds`. QEMU takes no larger number. */
export const MOST_FDS = 16;
/** Most DMA regions at the same time: `max_dma_maps`, the specification's default. */
export const MOST_DMA_REGIONS = 65535;

/** Error codes of replies (errno.h). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  E2BIG: 7,
  ENOMEM: 12,
  EEXIST: 17,
  EINVAL: 22,
  ENOSPC: 28,
  ENOTSUP: 95,
} as const;

/** Regions of a PCI device by number (VFIO_PCI_BAR0_REGION_INDEX and so on). */
export const Region = { bar0: 0, bar4: 4, config: 7 } as const;
/** How many there are: six BARs, a ROM, configuration space, VGA. */
export const REGION_COUNT = 9;
/** Flags of DEVICE_GET_REGION_INFO. */
export const REGION_READ_WRITE = 0x3;

/** Kinds of interrupts by number (VFIO_PCI_INTX_IRQ_INDEX and so on). */
export const IrqIndex = { intx: 0, msi: 1, msix: 2 } as const;
/** How many kinds there are: those, error reports, requests to let the device go. */
export const IRQ_COUNT = 5;
/** Flags of DEVICE_GET_IRQ_INFO. */
export const IrqInfoFlag = { EVENTFD: 1, MASKABLE: 2, AUTOMASKED: 4 } as const;
/** Flags of DEVICE_SET_IRQS. */
export const IrqSetFlag = {
  DATA_NONE: 0x1,
  DATA_BOOL: 0x2,
  DATA_EVENTFD: 0x4,
  DATA_MASK: 0x7,
  ACTION_MASK: 0x8,
  ACTION_UNMASK: 0x10,
  ACTION_TRIGGER: 0x20,
  ACTION_BITS: 0x38,
} as const;

/** Flags of DEVICE_GET_INFO: VFIO_DEVICE_FLAGS_RESET and _PCI. */
export const DEVICE_FLAGS = 0x3;

/** Flags of DMA_MAP. */
export const DmaFlag = { READABLE: 1, WRITEABLE: 2 } as const;
/** Flag of DMA_UNMAP, from linux/vfio.h: everything goes. */
export const UNMAP_ALL = 2;

/** Bytes of a message's data, where they are always as many. */
export const SIZE = {
  dmaMap: 32,
  dmaUnmap: 24,
  deviceInfo: 16,
  regionInfo: 32,
  regionIoFds: 16,
  irqInfo: 16,
  /** Without the booleans behind it. */
  irqSet: 20,
  /** Offset, region and count, before the data. */
  access: 16,
  /** One write of REGION_WRITE_MULTI. */
  multiWrite: 24,
  /** Address and count, before the data. */
  dmaAccess: 16,
} as const;

/** A client that breaks the rules: its connection ends with this reason. */
export class ProtocolError extends Error {
  /** Name of the class. */
  override readonly name = "ProtocolError";
}

/** A command that cannot be done: its reply says so, and the connection goes on. */
export class Refusal extends Error {
  /** Name of the class. */
  override readonly name = "Refusal";

  /**
   * @param code One of {@linkcode Errno}.
   * @param message For the log.
   */
  constructor(readonly code: number, message: string) {
    super(message);
  }
}
