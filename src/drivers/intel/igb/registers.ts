/**
 * Registers that the 82576 and the I350 have beyond those of all gigabit parts, as data.
 *
 * Sections are those of chapters 7 and 8 of the Intel 82576 Gigabit Ethernet Controller Datasheet (320961). The I350
 * (333171) has the same registers at the same places unless a comment says otherwise.
 *
 * @module
 */
import { bit, field, type Layout, register } from "../register.ts";

/** Per queue: 16 on the 82576, 8 on the I350. */
const QUEUES: Layout = { count: 16, stride: 0x40 };

// General control, 8.2

/** Device Status, the bit that writing clears. I350 only: the device was reset by another of its functions. */
export const RESET_STATUS = register("STATUS", 0x00008, "w1c", "8.2.2", {
  DEV_RST_SET: bit(20),
});
/** I350 only: where the PHY is, which a reset may forget. */
export const MDICNFG = register("MDICNFG", 0x00e04, "rw", "8.2.5");
/** I350 only: PHY Power Management. */
export const PHPM = register("PHPM", 0x00e14, "rw", "8.2", {
  /** Keeps the link down until it is cleared. */
  GO_LINKD: bit(4),
});

// The SerDes side, 8.17

/** PCS Configuration. */
export const PCS_CFG = register("PCS_CFG", 0x04200, "rw", "8.17.1", {
  PCS_EN: bit(3),
});
/** PCS Link Control. */
export const PCS_LCTL = register("PCS_LCTL", 0x04208, "rw", "8.17.2", {
  FLV: bit(0),
  FSV: field(2, 1),
  FDV: bit(3),
  FSD: bit(4),
  FORCE_LINK: bit(5),
  AN_ENABLE: bit(16),
  AN_RESTART: bit(17),
  AN_TIMEOUT_EN: bit(18),
});
/** PCS_LCTL.FSV: 1000 Mbit/s. */
export const PCS_1000 = 2;
/** PCS Link Status. */
export const PCS_LSTS = register("PCS_LSTS", 0x0420c, "ro", "8.17.3", {
  LINK_OK: bit(0),
  SPEED: field(2, 1),
});

// Turns between software and firmware, 8.7

/** Software Semaphore: SMBI is taken by the read that finds it clear. */
export const SWSM = register("SWSM", 0x05b50, "rw", "8.7.1", {
  SMBI: bit(0),
  SWESMBI: bit(1),
});
/** Software-Firmware Synchronization; the bits of ports 2 and 3 on the I350 only. */
export const SW_FW_SYNC = register("SW_FW_SYNC", 0x05b5c, "rw", "8.7.3", {
  SW_PHY0: bit(1),
  SW_PHY1: bit(2),
  SW_PHY2: bit(5),
  SW_PHY3: bit(6),
  FW_PHY0: bit(17),
  FW_PHY1: bit(18),
  FW_PHY2: bit(21),
  FW_PHY3: bit(22),
});

// Interrupts, 8.8

/** General Purpose Interrupt Enable. */
export const GPIE = register("GPIE", 0x01514, "rw", "8.8.15", {
  /** Reading ICR clears it, whatever the mask says. */
  NSICR: bit(0),
  MULTIPLE_MSIX: bit(4),
  /** EIAM applies. */
  EIAME: bit(30),
  PBA_SUPPORT: bit(31),
});
/** Extended Interrupt Mask Set; zeros leave the mask as it is. */
export const EIMS = register("EIMS", 0x01524, "w1s", "8.8.3");
/** Extended Interrupt Mask Clear. */
export const EIMC = register("EIMC", 0x01528, "w1s", "8.8.4", {
  ALL: field(31, 0),
});
/** Extended Interrupt Auto Clear. */
export const EIAC = register("EIAC", 0x0152c, "rw", "8.8.5");
/** Extended Interrupt Auto Mask. */
export const EIAM = register("EIAM", 0x01530, "rw", "8.8.6");
/** Extended Interrupt Cause. In MSI-X mode one bit per vector. */
export const EICR = register("EICR", 0x01580, "w1c", "8.8.1", {
  ALL: field(31, 0),
});
/** Interrupt Throttle, by vector, in microseconds. */
export const EITR = register("EITR", 0x01680, "rw", "8.8.12", {
  INTERVAL: field(14, 2),
  /** What is counted down now stays as it is. */
  CNT_IGNR: bit(31),
}, { count: 25, stride: 4 });
/** Interrupt Vector Allocation: four entries of 8 bits in each register, in an order that differs by chip. */
export const IVAR = register("IVAR", 0x01700, "rw", "8.8.13", {}, {
  count: 8,
  stride: 4,
});
/** Interrupt Vector Allocation of all other causes. */
export const IVAR_MISC = register("IVAR_MISC", 0x01740, "rw", "8.8.14", {
  OTHER: field(12, 8),
  OTHER_VALID: bit(15),
});

// Receive, 8.10

/** Receive Checksum Control. */
export const RXCSUM = register("RXCSUM", 0x05000, "rw", "8.10.13", {
  IPOFLD: bit(8),
  TUOFLD: bit(9),
  IPPCSE: bit(12),
  /** The RSS hash takes the place of the checksum of the whole packet. */
  PCSD: bit(13),
});
/** Receive Long Packet Maximum Length, with the check sequence. */
export const RLPML = register("RLPML", 0x05004, "rw", "8.10.14", {
  RLPML: field(13, 0),
});
/** Multiple Receive Queues Command. */
export const MRQC = register("MRQC", 0x05818, "rw", "8.10.20", {
  MRQE: field(2, 0),
  TCP_IPV4: bit(16),
  IPV4: bit(17),
  TCP_IPV6_EX: bit(18),
  IPV6_EX: bit(19),
  IPV6: bit(20),
  TCP_IPV6: bit(21),
  UDP_IPV4: bit(22),
  UDP_IPV6: bit(23),
});
/** MRQC.MRQE: RSS, without virtualization. */
export const MRQE_RSS = 2;
/** Virtualization Control: 0 without. */
export const VT_CTL = register("VT_CTL", 0x0581c, "rw", "8.14.1");
/** Redirection Table: four entries in each register. */
export const RETA = register("RETA", 0x05c00, "rw", "8.10.22", {}, {
  count: 32,
  stride: 4,
});
/** RSS Random Key: ten little-endian words. */
export const RSSRK = register("RSSRK", 0x05c80, "rw", "8.10.21", {}, {
  count: 10,
  stride: 4,
});
/** Unicast Table Array: write only. */
export const UTA = register("UTA", 0x0a000, "wo", "8.10", {}, {
  count: 128,
  stride: 4,
});
/** Receive Descriptor Base Address Low. */
export const RDBAL = register("RDBAL", 0x0c000, "rw", "8.10.5", {}, QUEUES);
/** Receive Descriptor Base Address High. */
export const RDBAH = register("RDBAH", 0x0c004, "rw", "8.10.6", {}, QUEUES);
/** Receive Descriptor Length, in bytes. */
export const RDLEN = register("RDLEN", 0x0c008, "rw", "8.10.7", {}, QUEUES);
/** Split Receive Control. */
export const SRRCTL = register("SRRCTL", 0x0c00c, "rw", "8.10.2", {
  BSIZEPACKET: field(6, 0),
  DESCTYPE: field(27, 25),
  DROP_EN: bit(31),
}, QUEUES);
/** SRRCTL.DESCTYPE: advanced descriptors with one buffer. */
export const DESCTYPE_ADVANCED_ONE_BUFFER = 1;
/** Receive Descriptor Head. */
export const RDH = register("RDH", 0x0c010, "rw", "8.10.8", {}, QUEUES);
/** Receive Descriptor Tail. */
export const RDT = register("RDT", 0x0c018, "rw", "8.10.9", {}, QUEUES);
/** Receive Descriptor Control. */
export const RXDCTL = register("RXDCTL", 0x0c028, "rw", "8.10.10", {
  PTHRESH: field(4, 0),
  HTHRESH: field(12, 8),
  WTHRESH: field(20, 16),
  ENABLE: bit(25),
}, QUEUES);
/** Receive Queue Drop Packet Count: 12 bits on the 82576. */
export const RQDPC = register("RQDPC", 0x0c030, "rc", "8.10.11", {
  COUNT: field(11, 0),
}, QUEUES);
/** I350 only: what is taken out of the frames of a queue. */
export const DVMOLR = register("DVMOLR", 0x0c038, "rw", "8.14", {
  STRVLAN: bit(30),
  STRCRC: bit(31),
}, { count: 8, stride: 0x40 });

// Transmit, 8.12

/** Transmit Control. */
export const TCTL = register("TCTL", 0x00400, "rw", "8.12.1", {
  EN: bit(1),
  /** Pad short packets. */
  PSP: bit(3),
  /** Collision threshold, for half duplex. */
  CT: field(11, 4),
  /** Retransmit on late collision. */
  RTLC: bit(24),
});
/** Transmit Descriptor Base Address Low. */
export const TDBAL = register("TDBAL", 0x0e000, "rw", "8.12.5", {}, QUEUES);
/** Transmit Descriptor Base Address High. */
export const TDBAH = register("TDBAH", 0x0e004, "rw", "8.12.6", {}, QUEUES);
/** Transmit Descriptor Length, in bytes. */
export const TDLEN = register("TDLEN", 0x0e008, "rw", "8.12.7", {}, QUEUES);
/** Transmit Descriptor Head. */
export const TDH = register("TDH", 0x0e010, "rw", "8.12.8", {}, QUEUES);
/** Transmit Descriptor Tail. */
export const TDT = register("TDT", 0x0e018, "rw", "8.12.9", {}, QUEUES);
/** Transmit Descriptor Control. */
export const TXDCTL = register("TXDCTL", 0x0e028, "rw", "8.12.10", {
  PTHRESH: field(4, 0),
  HTHRESH: field(12, 8),
  WTHRESH: field(20, 16),
  ENABLE: bit(25),
}, QUEUES);
/** Transmit Descriptor Write-Back Address Low: 0 for write-back into the descriptors. */
export const TDWBAL = register("TDWBAL", 0x0e038, "rw", "8.12.13", {}, QUEUES);
/** Transmit Descriptor Write-Back Address High. */
export const TDWBAH = register("TDWBAH", 0x0e03c, "rw", "8.12.14", {}, QUEUES);
