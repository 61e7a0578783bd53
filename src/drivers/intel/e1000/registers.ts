/**
 * Registers of the 8254x and the 82574 that not all gigabit parts have alike, as data; the common ones are in
 * `gigabit/registers.ts`.
 *
 * Sections that begin with 13 are those of the PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
 * Manual (Intel 317453). Chapters that begin with 10 are those of the 82574 datasheet (Intel 318694), and mark
 * registers that the 8254x does not have.
 *
 * @module
 */
import { bit, field, type Layout, register } from "../register.ts";

/** The 82574 has two queues, the 8254x only the first. */
const QUEUES: Layout = { count: 2, stride: 0x100 };

// General control and PCIe

/** EEPROM Read; its fields lie elsewhere on the 82574. */
export const EERD = register("EERD", 0x0014, "rw", "13.4.4", {
  START: bit(0),
  DONE: bit(4),
  ADDR: field(15, 8),
  DATA: field(31, 16),
});
/** VLAN Ether Type. */
export const VET = register("VET", 0x0038, "rw", "13.4.11", {
  TYPE: field(15, 0),
});
/** Bits of EECD that are all set on an 82574 with flash memory instead of an EEPROM (Linux and DPDK). */
export const EECD_FLASH_82574: number = field(16, 15);
/** Bits of CTRL_EXT that only the 82574 has (10.2.2). */
export const CtrlExt82574 = {
  /** Reads the EEPROM again; clears itself. */
  EE_RST: bit(13),
  /** Must be set, and the next one clear (Linux and DPDK, errata of the 82573 and 82574). */
  SET_ALWAYS: bit(22),
  CLEAR_ALWAYS: bit(23),
  /** An MSI-X message masks the causes that EIAC and IAM name. */
  EIAME: bit(24),
  /** Reading or writing ICR masks the causes that IAM names. */
  IAME: bit(27),
  /** MSI-X messages clear their pending bits. */
  PBA_SUPPORT: bit(31),
} as const;
/** Bit of CTRL that must be clear on the 82574 (Linux and DPDK, errata of the 82573 and 82574). */
export const CTRL_CLEAR_ALWAYS_82574: number = bit(29);
/** Extended Configuration Control: who has the MDIO bus. */
export const EXTCNF_CTRL = register("EXTCNF_CTRL", 0x0f00, "rw", "10.2.2", {
  MDIO_SW_OWNERSHIP: bit(5),
});
/** PCIe Control. */
export const GCR = register("GCR", 0x5b00, "rw", "10.2.3", {
  /** Against unreliable completions (82574 errata; Linux and DPDK). */
  COMPLETION_FIX: bit(22),
  /** Enters L1 although the receiver is not in L0s. */
  L1_ACT_WITHOUT_L0S_RX: bit(27),
});
/** PCIe Control 2. */
export const GCR2 = register("GCR2", 0x5b64, "rw", "10.2.3", {
  /** Against unreliable completions (82574 errata; Linux and DPDK). */
  COMPLETION_FIX: bit(0),
});
/** Packet Buffer Allocation: KiB for receiving, the rest is for sending. */
export const PBA = register("PBA", 0x1000, "rw", "13.4.16", {
  RXA: field(15, 0),
});

// Interrupts

/** Interrupt Throttling, in units of 256 ns. */
export const ITR = register("ITR", 0x00c4, "rw", "13.4.18", {
  INTERVAL: field(15, 0),
});
/** Extended Interrupt Auto Clear: causes that their MSI-X message clears. The bits are those of ICR and IMS too. */
export const EIAC = register("EIAC", 0x00dc, "rw", "10.2.4", {
  RXQ0: bit(20),
  RXQ1: bit(21),
  OTHER: bit(24),
});
/** Interrupt Acknowledge Auto Mask. */
export const IAM = register("IAM", 0x00e0, "rw", "10.2.4");
/** Interrupt Vector Allocation: all causes in one register. */
export const IVAR = register("IVAR", 0x00e4, "rw", "10.2.4", {
  RXQ0: field(2, 0),
  RXQ0_VALID: bit(3),
  RXQ1: field(6, 4),
  RXQ1_VALID: bit(7),
  OTHER: field(18, 16),
  OTHER_VALID: bit(19),
});
/** Extended Interrupt Throttle of each vector, in units of 256 ns. */
export const EITR = register("EITR", 0x00e8, "rw", "10.2.4", {
  INTERVAL: field(15, 0),
}, { count: 5, stride: 4 });

// Receiving

/** Receive Descriptor Base Address Low. */
export const RDBAL = register("RDBAL", 0x2800, "rw", "13.4.25", {}, QUEUES);
/** Receive Descriptor Base Address High. */
export const RDBAH = register("RDBAH", 0x2804, "rw", "13.4.26", {}, QUEUES);
/** Receive Descriptor Length, in bytes. */
export const RDLEN = register("RDLEN", 0x2808, "rw", "13.4.27", {}, QUEUES);
/** Receive Descriptor Head. */
export const RDH = register("RDH", 0x2810, "rw", "13.4.28", {}, QUEUES);
/** Receive Descriptor Tail. */
export const RDT = register("RDT", 0x2818, "rw", "13.4.29", {}, QUEUES);
/** Receive Interrupt Delay Timer; 0 for none. */
export const RDTR = register("RDTR", 0x2820, "rw", "13.4.30");
/** Receive Descriptor Control. */
export const RXDCTL = register("RXDCTL", 0x2828, "rw", "13.4.46", {
  PTHRESH: field(5, 0),
  HTHRESH: field(13, 8),
  WTHRESH: field(21, 16),
  /** The thresholds count descriptors, not cache lines. */
  GRAN: bit(24),
}, QUEUES);
/** Receive Interrupt Absolute Delay Timer; 0 for none. */
export const RADV = register("RADV", 0x282c, "rw", "13.4.31");
/** Receive Checksum Control. */
export const RXCSUM = register("RXCSUM", 0x5000, "rw", "13.4.47", {
  PCSS: field(7, 0),
  /** Checks IPv4 header checksums. */
  IPOFLD: bit(8),
  /** Checks TCP and UDP checksums. */
  TUOFLD: bit(9),
  /** 82574: the hash stands where the checksum of the whole packet would. */
  PCSD: bit(13),
});
/** Receive Filter Control. */
export const RFCTL = register("RFCTL", 0x5008, "rw", "10.2.5", {
  /** No interrupt cause of its own for TCP acknowledgements. */
  ACK_DIS: bit(12),
  /** Extended receive descriptors. */
  EXSTEN: bit(15),
});
/** Multiple Receive Queues Command. */
export const MRQC = register("MRQC", 0x5818, "rw", "10.2.5", {
  MRQE: field(1, 0),
  TCP_IPV4: bit(16),
  IPV4: bit(17),
  TCP_IPV6: bit(18),
  IPV6: bit(20),
});
/** MRQC.MRQE: RSS over both queues. */
export const MRQE_RSS = 1;
/** Redirection Table: four entries in each register, of which only bit 7 counts: the queue. */
export const RETA = register("RETA", 0x5c00, "rw", "10.2.5", {}, {
  count: 32,
  stride: 4,
});
/** RSS Random Key: ten little-endian words. */
export const RSSRK = register("RSSRK", 0x5c80, "rw", "10.2.5", {}, {
  count: 10,
  stride: 4,
});

// Sending

/** Transmit Control. */
export const TCTL = register("TCTL", 0x0400, "rw", "13.4.33", {
  EN: bit(1),
  /** Pads short packets. */
  PSP: bit(3),
  /** Collision Threshold. */
  CT: field(11, 4),
  /** Collision Distance, in bytes. */
  COLD: field(21, 12),
  /** Retransmits on late collisions. */
  RTLC: bit(24),
  /** 82574: several requests at a time. */
  MULR: bit(28),
});
/** Transmit Inter Packet Gap, in units of 8 ns at 1 Gbit/s. */
export const TIPG = register("TIPG", 0x0410, "rw", "13.4.34", {
  IPGT: field(9, 0),
  IPGR1: field(19, 10),
  IPGR2: field(29, 20),
});
/** Transmit Descriptor Base Address Low. */
export const TDBAL = register("TDBAL", 0x3800, "rw", "13.4.36", {}, QUEUES);
/** Transmit Descriptor Base Address High. */
export const TDBAH = register("TDBAH", 0x3804, "rw", "13.4.37", {}, QUEUES);
/** Transmit Descriptor Length, in bytes. */
export const TDLEN = register("TDLEN", 0x3808, "rw", "13.4.38", {}, QUEUES);
/** Transmit Descriptor Head. */
export const TDH = register("TDH", 0x3810, "rw", "13.4.39", {}, QUEUES);
/** Transmit Descriptor Tail. */
export const TDT = register("TDT", 0x3818, "rw", "13.4.40", {}, QUEUES);
/** Transmit Interrupt Delay, in units of 1.024 µs; no descriptor asks for it, but 0 is not allowed. */
export const TIDV = register("TIDV", 0x3820, "rw", "13.4.41");
/** Transmit Descriptor Control. */
export const TXDCTL = register("TXDCTL", 0x3828, "rw", "13.4.43", {
  PTHRESH: field(5, 0),
  HTHRESH: field(13, 8),
  WTHRESH: field(21, 16),
  /** Must be set on the 82574: descriptors are counted as they are processed (Linux and DPDK). */
  COUNT_DESC: bit(22),
  /** The thresholds count descriptors, not cache lines. */
  GRAN: bit(24),
}, QUEUES);
/** Transmit Arbitration Count. */
export const TARC = register("TARC", 0x3840, "rw", "10.2.6", {
  /** The queue takes part in the arbitration. */
  ENABLE: bit(10),
  /** Must be set, and the field above clear, on queue 0 (Linux and DPDK, errata of the 82574). */
  SET_ALWAYS: bit(26),
  CLEAR_ALWAYS: field(30, 27),
}, QUEUES);
