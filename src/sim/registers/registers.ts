/**
 * The registers of BAR 0 as data.
 *
 * Names, offsets, access modes and reset values follow the Intel 82599
 * datasheet (331520, chapter 8); where the X540 (331523) differs, the code
 * beside the register's subject says so. Section numbers are those of the
 * 82599 datasheet; a section without a last digit names the group.
 *
 * @module
 */

/** Bytes of BAR 0 that hold registers. */
export const BAR0_SIZE = 0x20000;

/**
 * How software may touch a register.
 *
 * - `rw`: reads back what was written, within {@linkcode Register.writable}
 * - `ro`: a write is a violation and does nothing
 * - `rc`: a counter, cleared by reading (section 8.2.3.23)
 * - `wo`: reads as zero
 * - `w1`: a write of one acts; what it does and what is read is the subject's
 * - `unmodelled`: stored, and a value other than the reset value is a
 *   violation, because the feature behind it does not exist in this model
 */
export type AccessMode = "rw" | "ro" | "rc" | "wo" | "w1" | "unmodelled";

/** Where `count` registers of one name lie: every `stride` bytes from `at`. */
export interface Span {
  readonly at: number;
  readonly count: number;
  readonly stride: number;
  /** Index of the first register of the span; spans may alias each other. */
  readonly first: number;
}

/** One register, or an array of them. */
export interface Register {
  readonly title: string;
  readonly section: string;
  readonly mode: AccessMode;
  readonly spans: readonly Span[];
  /** Value after a reset. */
  readonly reset: number;
  /** Value of the first of an array after a reset, where it differs. */
  readonly resetFirst?: number;
  /** Bits that software may change; touching others is a violation. */
  readonly writable: number;
  /** Bits that read as zero whatever is written, which is no violation. */
  readonly ignored: number;
}

interface Options {
  reset?: number;
  resetFirst?: number;
  writable?: number;
  ignored?: number;
}

const ALL_BITS = 0xffffffff;

function span(at: number, count: number, stride: number, first = 0): Span {
  return { at, count, stride, first };
}

function register(
  mode: AccessMode,
  section: string,
  title: string,
  where: number | readonly Span[],
  options: Options = {},
): Register {
  const { reset = 0, resetFirst, writable = ALL_BITS, ignored = 0 } = options;
  return {
    title,
    section,
    mode,
    spans: typeof where === "number" ? [span(where, 1, 4)] : where,
    reset,
    ...(resetFirst === undefined ? {} : { resetFirst }),
    writable,
    ignored,
  };
}

/** A register in each of the 128 receive queues' two blocks (8.2.3.8). */
function perRxQueue(offset: number): Span[] {
  return [span(0x1000 + offset, 64, 0x40), span(0xd000 + offset, 64, 0x40, 64)];
}

/** A register in each of the 128 transmit queues' blocks (8.2.3.9). */
function perTxQueue(offset: number): Span[] {
  return [span(0x6000 + offset, 128, 0x40)];
}

/** Every register that the model knows, under its datasheet name. */
export const REGISTERS = {
  // General control, section 8.2.3.1
  CTRL: register("rw", "8.2.3.1.1", "Device Control", 0x00000, {
    writable: 0x0400000c,
  }),
  STATUS: register("ro", "8.2.3.1.2", "Device Status", 0x00008, {
    reset: 0x00080000,
  }),
  CTRL_EXT: register("rw", "8.2.3.1.3", "Extended Device Control", 0x00018, {
    writable: 0x14034000,
  }),
  ESDP: register("rw", "8.2.3.1.4", "Extended SDP Control", 0x00020, {
    // SDP3 is an output and low: the laser is lit from power-on until a driver switches it off. Drivers that never touch
    // this register (ixy) have link on real boards.
    reset: 0x00000800,
  }),
  I2CCTL: register("rw", "8.2.3.1.5", "I2C Control", 0x00028, {
    reset: 0x0000000f,
  }),
  FRTIMER: register("ro", "8.2.3.1", "Free Running Timer", 0x00048),
  TCPTIMER: register("rw", "8.2.3.1", "TCP Timer", 0x0004c, {
    reset: 0x00000100,
    writable: 0x00000fff,
  }),
  LEDCTL: register("rw", "8.2.3.1.6", "LED Control", 0x00200, {
    reset: 0x0f050201,
  }),
  EXVET: register("rw", "8.2.3.7", "Extended VLAN Ether Type", 0x05078, {
    reset: 0x81000000,
  }),

  // EEPROM and flash, section 8.2.3.2
  EEC: register("rw", "8.2.3.2.1", "EEPROM/Flash Control", 0x10010),
  EERD: register("rw", "8.2.3.2.2", "EEPROM Read", 0x10014),
  EEMNGCTL: register("ro", "8.2.3.2", "Manageability EEPROM Control", 0x10110, {
    reset: 0x000c0000,
  }),
  EEWR: register("rw", "8.2.3.2.2 of 331523", "EEPROM Write", 0x10018),
  FLA: register("rw", "8.2.3.2", "Flash Access", 0x1001c),
  EEMNGDATA: register("ro", "8.2.3.2", "Manageability EEPROM Data", 0x10114),
  FLMNGCTL: register("ro", "8.2.3.2", "Manageability Flash Control", 0x10118),
  FLMNGDATA: register("ro", "8.2.3.2", "Manageability Flash Data", 0x1011c),
  FLMNGCNT: register("ro", "8.2.3.2", "Manageability Flash Count", 0x10120),
  FLOP: register("rw", "8.2.3.2", "Flash Opcode", 0x1013c),
  GRC: register("rw", "8.2.3.2", "General Receive Control", 0x10200),

  // Flow control, section 8.2.3.3
  PFCTOP: register("rw", "8.2.3.3", "Priority Flow Control Type", 0x03008, {
    reset: 0x00018808,
  }),
  FCTTV: register("rw", "8.2.3.3", "Flow Control Transmit Timer", [
    span(0x03200, 4, 4),
  ]),
  FCRTL: register("rw", "8.2.3.3", "Flow Control Threshold Low", [
    span(0x03220, 8, 4),
  ], { writable: 0x8007fff0, ignored: 0x7ff8000f }),
  FCRTH: register("rw", "8.2.3.3", "Flow Control Threshold High", [
    span(0x03260, 8, 4),
  ], { writable: 0x8007fff0, ignored: 0x7ff8000f }),
  FCRTV: register("rw", "8.2.3.3", "Flow Control Refresh", 0x032a0),
  TFCS: register("ro", "8.2.3.3", "Transmit Flow Control Status", 0x0ce00, {
    reset: 0x00000001,
  }),
  FCCFG: register("rw", "8.2.3.3", "Flow Control Configuration", 0x03d00, {
    writable: 0x00000018,
  }),

  // PCIe and semaphores, section 8.2.3.4
  GCR: register("rw", "8.2.3.4", "PCIe Control", 0x11000),
  GTV: register("rw", "8.2.3.4", "PCIe Timer Value", 0x11004),
  FUNCTAG: register("rw", "8.2.3.4", "Function Tag", 0x11008),
  GCR_EXT: register("rw", "8.2.3.4", "PCIe Control Extended", 0x11050),
  MREVID: register("ro", "8.2.3.4", "Mirrored Revision ID", 0x11064, {
    reset: 0x00010001,
  }),
  FACTPS: register("ro", "8.2.3.4", "Function Active and Power State", 0x10150),
  SWSM: register("w1", "8.2.3.4", "Software Semaphore", 0x10140),
  FWSM: register("ro", "8.2.3.4", "Firmware Semaphore", 0x10148, {
    reset: 0x00008000,
  }),
  HICR: register("ro", "8.2.3.4", "Host Interface Control", 0x15f00),
  FWSTS: register("rw", "8.2.3.4", "Firmware Status", 0x15f0c),
  SW_FW_SYNC: register("w1", "8.2.3.4", "Software-Firmware Sync", 0x10160),

  // Interrupts, section 8.2.3.5
  EICR: register("w1", "8.2.3.5.1", "Extended Interrupt Cause", 0x00800),
  EICS: register("w1", "8.2.3.5.2", "Extended Interrupt Cause Set", 0x00808),
  EIMS: register("w1", "8.2.3.5.3", "Extended Interrupt Mask Set", 0x00880),
  EIMC: register("w1", "8.2.3.5.4", "Extended Interrupt Mask Clear", 0x00888),
  EIAC: register("rw", "8.2.3.5.5", "Extended Interrupt Auto Clear", 0x00810, {
    writable: 0x4000ffff,
  }),
  EIAM: register("rw", "8.2.3.5.6", "Extended Interrupt Auto Mask", 0x00890),
  EICS_EX: register("w1", "8.2.3.5.7", "Interrupt Cause Set, vectors", [
    span(0x00a90, 2, 4),
  ]),
  EIMS_EX: register("w1", "8.2.3.5.8", "Interrupt Mask Set, vectors", [
    span(0x00aa0, 2, 4),
  ]),
  EIMC_EX: register("w1", "8.2.3.5.9", "Interrupt Mask Clear, vectors", [
    span(0x00ab0, 2, 4),
  ]),
  EIAM_EX: register("rw", "8.2.3.5.10", "Interrupt Auto Mask, vectors", [
    span(0x00ad0, 2, 4),
  ]),
  EITRSEL: register("rw", "8.2.3.5.11", "MSI-X to EITR Select", 0x00894),
  EITR: register("rw", "8.2.3.5.12", "Interrupt Throttle", [
    span(0x00820, 24, 4),
    span(0x12300, 105, 4, 24),
  ], { writable: 0x8fff8ff8, ignored: 0x00000007 }),
  IVAR: register("rw", "8.2.3.5.16", "Interrupt Vector Allocation", [
    span(0x00900, 64, 4),
  ]),
  IVAR_MISC: register("rw", "8.2.3.5.17", "Misc Vector Allocation", 0x00a00),
  GPIE: register("rw", "8.2.3.5.18", "General Purpose Interrupt", 0x00898, {
    writable: 0xc000ffff,
  }),
  PBACL: register("w1", "8.2.3.6", "MSI-X PBA Clear", [
    span(0x11068, 1, 4),
    span(0x110c4, 3, 4, 1),
  ]),

  // Receive, section 8.2.3.7
  // Bits 12 and 13 were about pause frames on the 82598.
  FCTRL: register("rw", "8.2.3.7.1", "Filter Control", 0x05080, {
    writable: 0x00000702,
    ignored: 0x00003000,
  }),
  VLNCTRL: register("rw", "8.2.3.7.2", "VLAN Control", 0x05088, {
    reset: 0x00008100,
    writable: 0x7000ffff,
  }),
  MCSTCTRL: register("rw", "8.2.3.7.3", "Multicast Control", 0x05090, {
    writable: 0x00000007,
  }),
  PSRTYPE: register("rw", "8.2.3.7.4", "Packet Split Receive Type", [
    span(0x0ea00, 64, 4),
    span(0x05480, 16, 4),
  ]),
  RXCSUM: register("rw", "8.2.3.7.5", "Receive Checksum Control", 0x05000, {
    writable: 0x00003000,
  }),
  RFCTL: register("rw", "8.2.3.7.6", "Receive Filter Control", 0x05008),
  MTA: register("rw", "8.2.3.7.7", "Multicast Table Array", [
    span(0x05200, 128, 4),
  ]),
  RAL: register("rw", "8.2.3.7.8", "Receive Address Low", [
    span(0x0a200, 128, 8),
    span(0x05400, 16, 8),
  ]),
  RAH: register("rw", "8.2.3.7.9", "Receive Address High", [
    span(0x0a204, 128, 8),
    span(0x05404, 16, 8),
  ], { writable: 0x8000ffff, ignored: 0x7fff0000 }),
  MPSAR: register("rw", "8.2.3.7.10", "MAC Pool Select Array", [
    span(0x0a600, 256, 4),
  ]),
  VFTA: register("rw", "8.2.3.7.11", "VLAN Filter Table Array", [
    span(0x0a000, 128, 4),
  ]),
  MRQC: register("rw", "8.2.3.7.12", "Multiple Receive Queues", 0x05818, {
    writable: 0xffff000f,
  }),
  RQTC: register("rw", "8.2.3.7.13", "RSS Queues Per Traffic Class", 0x0ec70, {
    reset: 0x77777777,
  }),
  RSSRK: register("rw", "8.2.3.7.14", "RSS Random Key", [span(0x05c80, 10, 4)]),
  RETA: register("rw", "8.2.3.7.15", "Redirection Table", [
    span(0x05c00, 32, 4),
  ], { writable: 0x0f0f0f0f }),
  ETQF: register("rw", "8.2.3.7", "EType Queue Filter", [
    span(0x05128, 8, 4),
  ]),
  ETQS: register("rw", "8.2.3.7", "EType Queue Select", [
    span(0x0ec00, 8, 4),
  ]),
  SAQF: register("rw", "8.2.3.7", "Source Address Queue Filter", [
    span(0x0e000, 128, 4),
  ]),
  DAQF: register("rw", "8.2.3.7", "Destination Address Queue Filter", [
    span(0x0e200, 128, 4),
  ]),
  SDPQF: register("rw", "8.2.3.7", "Port Queue Filter", [
    span(0x0e400, 128, 4),
  ]),
  FTQF: register("unmodelled", "8.2.3.7", "Five Tuple Queue Filter", [
    span(0x0e600, 128, 4),
  ]),
  L34TIMIR: register("unmodelled", "8.2.3.5.13", "L3/L4 Immediate Interrupt", [
    span(0x0e800, 128, 4),
  ]),
  SYNQF: register("unmodelled", "8.2.3.7", "SYN Packet Queue Filter", 0x0ec30),
  LLITHRESH: register("rw", "8.2.3.5.14", "Low Latency Threshold", 0x0ec90),
  IMIRVP: register("unmodelled", "8.2.3.5", "Immediate Int. VLAN", 0x0ec60),
  FDIRCTRL: register("rw", "8.2.3.21.1", "Flow Director Control", 0x0ee00),
  FDIRHKEY: register("rw", "8.2.3.21.2", "Flow Director Hash Key", 0x0ee68, {
    reset: 0x80000001,
  }),
  FDIRSKEY: register("rw", "8.2.3.21.3", "Flow Director Sign. Key", 0x0ee6c, {
    reset: 0x80800101,
  }),
  FDIRDIP4M: register("rw", "8.2.3.21.4", "Flow Director IPv4 Mask", 0x0ee3c),
  FDIRSIP4M: register("rw", "8.2.3.21.5", "Flow Director IPv4 Mask", 0x0ee40),
  FDIRTCPM: register("rw", "8.2.3.21.6", "Flow Director TCP Mask", 0x0ee44),
  FDIRUDPM: register("rw", "8.2.3.21.7", "Flow Director UDP Mask", 0x0ee48),
  FDIRSCTPM: register("rw", "8.2.3.21", "Flow Director SCTP Mask", 0x0ee78),
  FDIRIP6M: register("rw", "8.2.3.21.8", "Flow Director IPv6 Mask", 0x0ee74),
  FDIRM: register("rw", "8.2.3.21.9", "Flow Director Other Mask", 0x0ee70),
  FDIRFREE: register("rw", "8.2.3.21.10", "Flow Director Free", 0x0ee38),
  FDIRLEN: register("rc", "8.2.3.21.11", "Flow Director Length", 0x0ee4c),
  FDIRUSTAT: register("rc", "8.2.3.21.12", "Flow Director Usage", 0x0ee50),
  FDIRFSTAT: register("rc", "8.2.3.21.13", "Flow Director Failures", 0x0ee54),
  FDIRMATCH: register("rc", "8.2.3.21.14", "Flow Director Matches", 0x0ee58),
  FDIRMISS: register("rc", "8.2.3.21.15", "Flow Director Misses", 0x0ee5c),
  FDIRSIPV6: register("rw", "8.2.3.21.16", "Flow Director IPv6 Source", [
    span(0x0ee0c, 3, 4),
  ]),
  FDIRIPSA: register("rw", "8.2.3.21.17", "Flow Director Source", 0x0ee18),
  FDIRIPDA: register("rw", "8.2.3.21.18", "Flow Director Destination", 0x0ee1c),
  FDIRPORT: register("rw", "8.2.3.21.19", "Flow Director Ports", 0x0ee20),
  FDIRVLAN: register("rw", "8.2.3.21.20", "Flow Director VLAN", 0x0ee24),
  FDIRHASH: register("rw", "8.2.3.21.21", "Flow Director Hash", 0x0ee28),
  FDIRCMD: register("rw", "8.2.3.21.22", "Flow Director Command", 0x0ee2c),
  VT_CTL: register("unmodelled", "8.2.3.27", "Virtualization Control", 0x051b0),
  PFDTXGSWC: register("unmodelled", "8.2.3.27", "Tx Loopback", 0x08220),
  VML2FLT: register("rw", "8.2.3.27", "VM L2 Control", [
    span(0x0f000, 64, 4),
  ]),
  PFQDE: register("rw", "8.2.3.27", "Queue Drop Enable", 0x02f04),
  PFVLVF: register("rw", "8.2.3.27", "VLAN Pool Filter", [
    span(0x0f100, 64, 4),
  ]),
  PFVLVFB: register("rw", "8.2.3.27", "VLAN Pool Bitmap", [
    span(0x0f200, 128, 4),
  ]),
  PFUTA: register("rw", "8.2.3.27", "Unicast Table Array", [
    span(0x0f400, 128, 4),
  ]),

  // Receive DMA, section 8.2.3.8
  RDBAL: register("rw", "8.2.3.8.1", "Rx Ring Base Low", perRxQueue(0x00), {
    writable: 0xffffff80,
    ignored: 0x0000007f,
  }),
  RDBAH: register("rw", "8.2.3.8.2", "Rx Ring Base High", perRxQueue(0x04)),
  RDLEN: register("rw", "8.2.3.8.3", "Rx Ring Length", perRxQueue(0x08), {
    writable: 0x000fff80,
    ignored: 0x0000007f,
  }),
  RDH: register("rw", "8.2.3.8.4", "Rx Head", perRxQueue(0x10), {
    writable: 0x0000ffff,
  }),
  RDT: register("rw", "8.2.3.8.5", "Rx Tail", perRxQueue(0x18), {
    writable: 0x0000ffff,
  }),
  RXDCTL: register("rw", "8.2.3.8.6", "Rx Queue Control", perRxQueue(0x28), {
    writable: 0x4600bfff,
  }),
  SRRCTL: register("rw", "8.2.3.8.7", "Rx Split Control", [
    ...perRxQueue(0x14),
    span(0x02100, 16, 4),
  ], { reset: 0x00000402, writable: 0x1fc03f1f }),
  RDRXCTL: register("rw", "8.2.3.8.8", "Receive DMA Control", 0x02f00, {
    reset: 0x00100000,
  }),
  RXPBSIZE: register("rw", "8.2.3.8.9", "Rx Packet Buffer Size", [
    span(0x03c00, 8, 4),
  ], { resetFirst: 0x00080000, writable: 0x000ffc00 }),
  // Bit 1 bypassed the descriptor monitor on the 82598.
  RXCTRL: register("rw", "8.2.3.8.10", "Receive Control", 0x03000, {
    writable: 0x00000001,
    ignored: 0x00000002,
  }),
  RSCCTL: register("rw", "8.2.3.8.13", "Rx Coalescing", perRxQueue(0x2c), {
    writable: 0x0000000d,
  }),
  RSCDBU: register("rw", "8.2.3.8.12", "RSC Data Buffer Control", 0x03028, {
    reset: 0x00000080,
  }),
  RDDCC: register("rw", "8.2.3.8", "Receive Descriptor Done Control", 0x02f20),

  // Transmit, section 8.2.3.9
  DTXMXSZRQ: register("rw", "8.2.3.9.1", "Tx Max Total Request", 0x08100, {
    reset: 0x00000010,
  }),
  DMATXCTL: register("rw", "8.2.3.9.2", "DMA Tx Control", 0x04a80, {
    reset: 0x81000000,
  }),
  DTXTCPFLGL: register("rw", "8.2.3.9.3", "Tx TCP Flags Low", 0x04a88, {
    reset: 0x0ff60ff6,
    writable: 0x0fff0fff,
  }),
  DTXTCPFLGH: register("rw", "8.2.3.9.4", "Tx TCP Flags High", 0x04a8c, {
    reset: 0x00000f7f,
    writable: 0x00000fff,
  }),
  TDBAL: register("rw", "8.2.3.9.5", "Tx Ring Base Low", perTxQueue(0x00), {
    writable: 0xffffff80,
    ignored: 0x0000007f,
  }),
  TDBAH: register("rw", "8.2.3.9.6", "Tx Ring Base High", perTxQueue(0x04)),
  TDLEN: register("rw", "8.2.3.9.7", "Tx Ring Length", perTxQueue(0x08), {
    writable: 0x000fff80,
    ignored: 0x0000007f,
  }),
  TDH: register("rw", "8.2.3.9.8", "Tx Head", perTxQueue(0x10), {
    writable: 0x0000ffff,
  }),
  TDT: register("rw", "8.2.3.9.9", "Tx Tail", perTxQueue(0x18), {
    writable: 0x0000ffff,
  }),
  TXDCTL: register("rw", "8.2.3.9.10", "Tx Queue Control", perTxQueue(0x28), {
    writable: 0x067f7f7f,
  }),
  TDWBAL: register("rw", "8.2.3.9.11", "Tx Head Write-back", perTxQueue(0x38), {
    writable: 0xffffffff,
  }),
  TDWBAH: register("rw", "8.2.3.9.12", "Tx Write-back High", perTxQueue(0x3c)),
  TXPBSIZE: register("rw", "8.2.3.9.13", "Tx Packet Buffer Size", [
    span(0x0cc00, 8, 4),
  ], { resetFirst: 0x00028000, writable: 0x000ffc00 }),
  MTQC: register("unmodelled", "8.2.3.9.15", "Multiple Tx Queues", 0x08120),
  MNGTXMAP: register("rw", "8.2.3.9.17", "Manageability Tx TC Map", 0x0cd10),
  TXPBTHRESH: register("rw", "8.2.3.9.16", "Tx Packet Buffer Threshold", [
    span(0x04950, 8, 4),
  ], { resetFirst: 0x00000096, writable: 0x000003ff }),

  // DCB, section 8.2.3.10
  RTRPCS: register("rw", "8.2.3.10", "Rx Packet Plane Control", 0x02430),
  RTTDCS: register("rw", "8.2.3.10.2", "Tx Descriptor Plane Control", 0x04900),
  RTTDQSEL: register("rw", "8.2.3.10", "Tx Descriptor Queue Select", 0x04904),
  RTTDT1C: register("rw", "8.2.3.10", "Tx Descriptor T1 Config", 0x04908),
  RTTDT2C: register("rw", "8.2.3.10", "Tx Descriptor T2 Config", [
    span(0x04910, 8, 4),
  ]),
  RTTPCS: register("rw", "8.2.3.10", "Tx Packet Plane Control", 0x0cd00),
  RTTPT2C: register("rw", "8.2.3.10", "Tx Packet T2 Config", [
    span(0x0cd20, 8, 4),
  ]),
  RTRPT4S: register("ro", "8.2.3.10", "Rx Packet T4 Status", [
    span(0x02160, 8, 4),
  ]),
  RTTDT2S: register("ro", "8.2.3.10", "Tx Descriptor T2 Status", [
    span(0x04930, 8, 4),
  ]),
  RTTPT2S: register("ro", "8.2.3.10", "Tx Packet T2 Status", [
    span(0x0cd40, 8, 4),
  ]),
  RTRPT4C: register("rw", "8.2.3.10", "Rx Packet T4 Config", [
    span(0x02140, 8, 4),
  ]),
  RTRUP2TC: register("unmodelled", "8.2.3.10", "Rx Priority to TC", 0x03020),
  RTTUP2TC: register("unmodelled", "8.2.3.10", "Tx Priority to TC", 0x0c800),
  RTTBCNRC: register("unmodelled", "8.2.3.10", "Tx Rate Control", 0x04984),
  RTTBCNRM: register("rw", "8.2.3.10", "Tx Rate Memory", 0x04980),

  // DCA, section 8.2.3.11
  DCA_RXCTRL: register("rw", "8.2.3.11.1", "Rx DCA Control", [
    ...perRxQueue(0x0c),
    span(0x02200, 16, 4),
  ], { reset: 0x0000b200 }),
  DCA_TXCTRL: register("rw", "8.2.3.11.2", "Tx DCA Control", perTxQueue(0x0c), {
    reset: 0x00002a00,
  }),
  DCA_ID: register("ro", "8.2.3.11", "DCA Requester ID", 0x11070),
  DCA_CTRL: register("rw", "8.2.3.11", "DCA Control", 0x11074, {
    reset: 0x00000001,
  }),

  // Security, section 8.2.3.12
  SECTXCTRL: register("rw", "8.2.3.12.1", "Tx Security Control", 0x08800, {
    reset: 0x00000001,
    writable: 0x00000007,
  }),
  SECTXSTAT: register("ro", "8.2.3.12", "Tx Security Status", 0x08804),
  SECTXMINIFG: register("rw", "8.2.3.12", "Tx Security Min. Gap", 0x08810, {
    reset: 0x00001001,
  }),
  SECRXCTRL: register("rw", "8.2.3.12", "Rx Security Control", 0x08d00, {
    reset: 0x00000001,
    writable: 0x00000003,
  }),
  SECRXSTAT: register("ro", "8.2.3.12", "Rx Security Status", 0x08d04),

  // MACsec counters, section 8.2.3.13: nothing is ever encrypted or checked
  LSECTXUT: register("rc", "8.2.3.13", "Tx Untagged Packets", 0x08a3c),
  LSECTXPKTE: register("rc", "8.2.3.13", "Tx Encrypted Packets", 0x08a40),
  LSECTXPKTP: register("rc", "8.2.3.13", "Tx Protected Packets", 0x08a44),
  LSECTXOCTE: register("rc", "8.2.3.13", "Tx Encrypted Octets", 0x08a48),
  LSECTXOCTP: register("rc", "8.2.3.13", "Tx Protected Octets", 0x08a4c),
  LSECRXUT: register("rc", "8.2.3.13", "Rx Untagged Packets", 0x08f40),
  LSECRXOCTD: register("rc", "8.2.3.13", "Rx Decrypted Octets", 0x08f44),
  LSECRXOCTV: register("rc", "8.2.3.13", "Rx Validated Octets", 0x08f48),
  LSECRXBAD: register("rc", "8.2.3.13", "Rx with Bad Tag", 0x08f4c),
  LSECRXNOSCI: register("rc", "8.2.3.13", "Rx without SCI", 0x08f50),
  LSECRXUNSCI: register("rc", "8.2.3.13", "Rx with Unknown SCI", 0x08f54),
  LSECRXUNCH: register("rc", "8.2.3.13", "Rx Unchecked", 0x08f58),
  LSECRXDELAY: register("rc", "8.2.3.13", "Rx Delayed", 0x08f5c),
  LSECRXLATE: register("rc", "8.2.3.13", "Rx Late", 0x08f60),
  LSECRXOK: register("rc", "8.2.3.13", "Rx OK", [span(0x08f64, 2, 4)]),
  LSECRXINV: register("rc", "8.2.3.13", "Rx Invalid", [span(0x08f6c, 2, 4)]),
  LSECRXNV: register("rc", "8.2.3.13", "Rx Not Valid", [span(0x08f74, 2, 4)]),
  LSECRXUNSA: register("rc", "8.2.3.13", "Rx with Unused SA", 0x08f7c),
  LSECRXNUSA: register("rc", "8.2.3.13", "Rx Not Using SA", 0x08f80),

  // MAC, section 8.2.3.22
  PCS1GCFIG: register("rw", "8.2.3.22.1", "PCS 1G Global Config", 0x04200, {
    reset: 0x00000008,
  }),
  PCS1GLCTL: register("rw", "8.2.3.22.2", "PCS 1G Link Control", 0x04208, {
    reset: 0x02000000,
  }),
  PCS1GLSTA: register("ro", "8.2.3.22.3", "PCS 1G Link Status", 0x0420c),
  PCS1GDBG: register("ro", "8.2.3.22", "PCS 1G Debug", [span(0x04210, 2, 4)]),
  PCS1GANA: register("rw", "8.2.3.22.4", "PCS 1G Advertisement", 0x04218, {
    reset: 0x000000a0,
  }),
  PCS1GANLP: register("ro", "8.2.3.22.5", "PCS 1G Link Partner", 0x0421c),
  PCS1GANNP: register("rw", "8.2.3.22.6", "PCS 1G Next Page", 0x04220),
  PCS1GANLPNP: register("ro", "8.2.3.22.7", "PCS 1G Partner's Page", 0x04224),
  HLREG0: register("rw", "8.2.3.22.8", "Highlander Control 0", 0x04240, {
    reset: 0x08012c0b,
    writable: 0x18f38407,
  }),
  HLREG1: register("ro", "8.2.3.22", "Highlander Status 1", 0x04244),
  PAP: register("rw", "8.2.3.22", "Pause and Pace", 0x04248, {
    reset: 0x0000ffff,
  }),
  MACS: register("ro", "8.2.3.22", "MAC Status", 0x0429c),
  PCSS: register("ro", "8.2.3.22", "XGXS Status", [span(0x04288, 2, 4)]),
  XPCSS: register("ro", "8.2.3.22", "10GBASE-X PCS Status", 0x04290),
  SERDESC: register("rw", "8.2.3.22", "SerDes Interface Control", 0x04298),
  MLADD: register("ro", "8.2.3.22", "MDI Low Address", 0x0426c),
  MSCA: register("w1", "8.2.3.22", "MDI Single Command and Address", 0x0425c),
  MSRWD: register("rw", "8.2.3.22", "MDI Single Read/Write Data", 0x04260),
  MAXFRS: register("rw", "8.2.3.22.13", "Max Frame Size", 0x04268, {
    reset: 0x05ee0000,
    writable: 0xffff0000,
  }),
  MFLCN: register("rw", "8.2.3.22", "MAC Flow Control", 0x04294, {
    writable: 0x00000fff,
  }),
  MACC: register("rw", "8.2.3.22", "MAC Control", 0x04330),
  AUTOC: register("rw", "8.2.3.22.19", "Auto-Negotiation Control", 0x042a0, {
    reset: 0xc09c6004,
  }),
  LINKS: register("ro", "8.2.3.22.20", "Link Status", 0x042a4),
  LINKS2: register("ro", "8.2.3.22.21", "Link Status 2", 0x04324),
  AUTOC2: register("rw", "8.2.3.22.22", "Auto-Negotiation Control 2", 0x042a8, {
    reset: 0x000a0000,
  }),
  ANLP2: register("ro", "8.2.3.22", "Auto-Negotiation Link Partner", 0x042b4),
  ANLP1: register("ro", "8.2.3.22", "Auto-Negotiation Link Partner", 0x042b0),
  MMNGC: register("ro", "8.2.3.22", "MAC Manageability Control", 0x042d0),
  CORECTL: register("rw", "8.2.3.22", "Core Control", 0x14f00),

  // Statistics, section 8.2.3.23
  CRCERRS: register("rc", "8.2.3.23.1", "CRC Errors", 0x04000),
  ILLERRC: register("rc", "8.2.3.23.2", "Illegal Bytes", 0x04004),
  ERRBC: register("rc", "8.2.3.23.3", "Error Bytes", 0x04008),
  MSPDC: register("rc", "8.2.3.23", "MAC Short Packet Discards", 0x04010),
  MLFC: register("rc", "8.2.3.23", "MAC Local Faults", 0x04034),
  MRFC: register("rc", "8.2.3.23", "MAC Remote Faults", 0x04038),
  RLEC: register("rc", "8.2.3.23", "Receive Length Errors", 0x04040),
  RXMPC: register("rc", "8.2.3.23", "Rx Missed Packets", [
    span(0x03fa0, 8, 4),
  ]),
  RNBC: register("rc", "8.2.3.23", "Receive No Buffers", [span(0x03fc0, 8, 4)]),
  LXONTXC: register("rc", "8.2.3.23", "Link XON Transmitted", 0x03f60),
  LXOFFTXC: register("rc", "8.2.3.23", "Link XOFF Transmitted", 0x03f68),
  LXONRXCNT: register("rc", "8.2.3.23", "Link XON Received", 0x041a4),
  LXOFFRXCNT: register("rc", "8.2.3.23", "Link XOFF Received", 0x041a8),
  PXONTXC: register("rc", "8.2.3.23", "Priority XON Sent", [
    span(0x03f00, 8, 4),
  ]),
  PXOFFTXC: register("rc", "8.2.3.23", "Priority XOFF Sent", [
    span(0x03f20, 8, 4),
  ]),
  PXONRXCNT: register("rc", "8.2.3.23", "Priority XON Received", [
    span(0x04140, 8, 4),
  ]),
  PXOFFRXCNT: register("rc", "8.2.3.23", "Priority XOFF Received", [
    span(0x04160, 8, 4),
  ]),
  PXON2OFFCNT: register("rc", "8.2.3.23", "Priority XON to XOFF", [
    span(0x03240, 8, 4),
  ]),
  PRC64: register("rc", "8.2.3.23", "Packets Received, 64 Bytes", 0x0405c),
  PRC127: register("rc", "8.2.3.23", "Packets Received, to 127", 0x04060),
  PRC255: register("rc", "8.2.3.23", "Packets Received, to 255", 0x04064),
  PRC511: register("rc", "8.2.3.23", "Packets Received, to 511", 0x04068),
  PRC1023: register("rc", "8.2.3.23", "Packets Received, to 1023", 0x0406c),
  PRC1522: register("rc", "8.2.3.23", "Packets Received, to Max", 0x04070),
  GPRC: register("rc", "8.2.3.23", "Good Packets Received", 0x04074),
  BPRC: register("rc", "8.2.3.23", "Broadcast Packets Received", 0x04078),
  MPRC: register("rc", "8.2.3.23", "Multicast Packets Received", 0x0407c),
  GPTC: register("rc", "8.2.3.23", "Good Packets Transmitted", 0x04080),
  GORCL: register("rc", "8.2.3.23", "Good Octets Received Low", 0x04088),
  GORCH: register("rc", "8.2.3.23", "Good Octets Received High", 0x0408c),
  GOTCL: register("rc", "8.2.3.23", "Good Octets Transmitted Low", 0x04090),
  GOTCH: register("rc", "8.2.3.23", "Good Octets Transmitted High", 0x04094),
  RUC: register("rc", "8.2.3.23", "Receive Undersize", 0x040a4),
  RFC: register("rc", "8.2.3.23", "Receive Fragments", 0x040a8),
  ROC: register("rc", "8.2.3.23", "Receive Oversize", 0x040ac),
  RJC: register("rc", "8.2.3.23", "Receive Jabber", 0x040b0),
  MNGPRC: register("rc", "8.2.3.23", "Management Packets Received", 0x040b4),
  MNGPDC: register("rc", "8.2.3.23", "Management Packets Dropped", 0x040b8),
  MNGPTC: register("rc", "8.2.3.23", "Management Packets Sent", 0x0cf90),
  TORL: register("rc", "8.2.3.23", "Total Octets Received Low", 0x040c0),
  TORH: register("rc", "8.2.3.23", "Total Octets Received High", 0x040c4),
  TPR: register("rc", "8.2.3.23", "Total Packets Received", 0x040d0),
  TPT: register("rc", "8.2.3.23", "Total Packets Transmitted", 0x040d4),
  PTC64: register("rc", "8.2.3.23", "Packets Transmitted, 64 Bytes", 0x040d8),
  PTC127: register("rc", "8.2.3.23", "Packets Transmitted, to 127", 0x040dc),
  PTC255: register("rc", "8.2.3.23", "Packets Transmitted, to 255", 0x040e0),
  PTC511: register("rc", "8.2.3.23", "Packets Transmitted, to 511", 0x040e4),
  PTC1023: register("rc", "8.2.3.23", "Packets Transmitted, to 1023", 0x040e8),
  PTC1522: register("rc", "8.2.3.23", "Packets Transmitted, to Max", 0x040ec),
  MPTC: register("rc", "8.2.3.23", "Multicast Packets Transmitted", 0x040f0),
  BPTC: register("rc", "8.2.3.23", "Broadcast Packets Transmitted", 0x040f4),
  XEC: register("rc", "8.2.3.23", "Checksum Errors", 0x04120),
  RXNFGPC: register("rc", "8.2.3.23", "Good Rx Unfiltered", 0x041b0),
  RXNFGBCL: register("rc", "8.2.3.23", "Good Rx Unfiltered Low", 0x041b4),
  RXNFGBCH: register("rc", "8.2.3.23", "Good Rx Unfiltered High", 0x041b8),
  RXDSTATCTRL: register("rw", "8.2.3.23", "Rx DMA Statistic Select", 0x02f40),
  RXDGPC: register("rc", "8.2.3.23", "DMA Good Rx Packets", 0x02f50),
  RXDGBCL: register("rc", "8.2.3.23", "DMA Good Rx Bytes Low", 0x02f54),
  RXDGBCH: register("rc", "8.2.3.23", "DMA Good Rx Bytes High", 0x02f58),
  TXDGPC: register("rc", "8.2.3.23", "DMA Good Tx Packets", 0x087a0),
  TXDGBCL: register("rc", "8.2.3.23", "DMA Good Tx Bytes Low", 0x087a4),
  TXDGBCH: register("rc", "8.2.3.23", "DMA Good Tx Bytes High", 0x087a8),
  SSVPC: register("rc", "8.2.3.23", "Switch Security Violations", 0x08780),
  RQSMR: register("rw", "8.2.3.23", "Rx Queue Statistic Mapping", [
    span(0x02300, 32, 4),
  ], { writable: 0x0f0f0f0f }),
  TQSM: register("rw", "8.2.3.23", "Tx Queue Statistic Mapping", [
    span(0x08600, 32, 4),
  ], { writable: 0x0f0f0f0f }),
  QPRC: register("rc", "8.2.3.23", "Queue Packets Received", [
    span(0x01030, 16, 0x40),
  ]),
  QPRDC: register("rc", "8.2.3.23", "Queue Packets Dropped", [
    span(0x01430, 16, 0x40),
  ]),
  QBRC_L: register("rc", "8.2.3.23", "Queue Bytes Received Low", [
    span(0x01034, 16, 0x40),
  ]),
  QBRC_H: register("rc", "8.2.3.23", "Queue Bytes Received High", [
    span(0x01038, 16, 0x40),
  ]),
  QPTC: register("rc", "8.2.3.23", "Queue Packets Transmitted", [
    span(0x08680, 16, 4),
    span(0x06030, 16, 0x40),
  ]),
  QBTC_L: register("rc", "8.2.3.23", "Queue Bytes Transmitted Low", [
    span(0x08700, 16, 8),
  ]),
  QBTC_H: register("rc", "8.2.3.23", "Queue Bytes Transmitted High", [
    span(0x08704, 16, 8),
  ]),
  O2BGPTC: register("rc", "8.2.4.25 of 331523", "OS to BMC Sent", 0x041c4),
  O2BSPC: register("rc", "8.2.4.25 of 331523", "OS to BMC from OS", 0x087b0),
  B2OSPC: register("rc", "8.2.4.25 of 331523", "BMC to OS from BMC", 0x041c0),
  B2OGPRC: register("rc", "8.2.4.25 of 331523", "BMC to OS Got", 0x02f90),
  FCCRC: register("rc", "8.2.3.23", "FC CRC Errors", 0x05118),
  FCOERPDC: register("rc", "8.2.3.23", "FCoE Packets Dropped", 0x0241c),
  FCLAST: register("rc", "8.2.3.23", "FC Last Errors", 0x02424),
  FCOEPRC: register("rc", "8.2.3.23", "FCoE Packets Received", 0x02428),
  FCOEDWRC: register("rc", "8.2.3.23", "FCoE DWords Received", 0x0242c),
  FCOEPTC: register("rc", "8.2.3.23", "FCoE Packets Transmitted", 0x08784),
  FCOEDWTC: register("rc", "8.2.3.23", "FCoE DWords Transmitted", 0x08788),

  // Time synchronisation, section 8.2.3.13
  TSYNCRXCTL: register("rw", "8.2.3.13.1", "Rx Time Sync Control", 0x05188),
  RXSTMPL: register("ro", "8.2.3.13.2", "Rx Time Stamp Low", 0x051e8),
  RXSTMPH: register("ro", "8.2.3.13.3", "Rx Time Stamp High", 0x051a4),
  RXSATRL: register("ro", "8.2.3.13.4", "Rx Time Stamp Source", 0x051a0),
  RXSATRH: register("ro", "8.2.3.13.5", "Rx Time Stamp Source", 0x051a8),
  RXMTRL: register("rw", "8.2.3.13.6", "Rx Message Type", 0x05120),
  TSYNCTXCTL: register("rw", "8.2.3.13.7", "Tx Time Sync Control", 0x08c00),
  TXSTMPL: register("ro", "8.2.3.13.8", "Tx Time Stamp Low", 0x08c04),
  TXSTMPH: register("ro", "8.2.3.13.9", "Tx Time Stamp High", 0x08c08),
  SYSTIML: register("rw", "8.2.3.13.10", "System Time Low", 0x08c0c),
  SYSTIMH: register("rw", "8.2.3.13.11", "System Time High", 0x08c10),
  TIMINCA: register("rw", "8.2.3.13.12", "Time Increment", 0x08c14),
  TIMADJL: register("rw", "8.2.3.13.13", "Time Adjustment Low", 0x08c18),
  TIMADJH: register("rw", "8.2.3.13.14", "Time Adjustment High", 0x08c1c),
  TSAUXC: register("rw", "8.2.3.13.15", "Time Sync Auxiliary", 0x08c20),

  // Wake up and management, sections 8.2.3.24 and 8.2.3.25
  WUC: register("rw", "8.2.3.24", "Wake Up Control", 0x05800),
  WUFC: register("rw", "8.2.3.24", "Wake Up Filter Control", 0x05808),
  WUS: register("rw", "8.2.3.24", "Wake Up Status", 0x05810),
  IPAV: register("rw", "8.2.3.24", "IP Address Valid", 0x05838),
  IP4AT: register("rw", "8.2.3.24", "IPv4 Address Table", [
    span(0x05840, 4, 8),
  ]),
  IP6AT: register("rw", "8.2.3.24", "IPv6 Address Table", [
    span(0x05880, 4, 4),
  ]),
  WUPL: register("ro", "8.2.3.24", "Wake Up Packet Length", 0x05900),
  WUPM: register("ro", "8.2.3.24", "Wake Up Packet Memory", [
    span(0x05a00, 32, 4),
  ]),
  FHFT: register("rw", "8.2.3.24", "Flexible Host Filter Table", [
    span(0x09000, 256, 4),
  ]),
  MANC: register("ro", "8.2.3.25", "Management Control", 0x05820),
} as const satisfies Record<string, Register>;

/** A register's datasheet name. */
export type RegisterName = keyof typeof REGISTERS;
