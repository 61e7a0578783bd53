/**
 * Registers of the 82599 family as data: what this driver uses, under the datasheets' names.
 *
 * Sections are those of the Intel 82599 10 GbE Controller Datasheet (331520, revision 3.4), chapter 8. The X540
 * (331523) has the same registers at the same places unless a comment says otherwise.
 *
 * @module
 */
import { bit, field, type Layout, register } from "../register.ts";

/** Entries of a per-queue register of which the first 64 and the others lie apart (8.2.3.8). */
function rxQueues(offset: number): Layout {
  return { count: 128, stride: 0x40, rest: { from: 64, offset } };
}

const TX_QUEUES: Layout = { count: 128, stride: 0x40 };
const PACKET_BUFFERS: Layout = { count: 8, stride: 4 };

// General control, 8.2.3.1

/** Device Control. */
export const CTRL = register("CTRL", 0x00000, "rw", "8.2.3.1.1", {
  GIO_DIS: bit(2),
  LRST: bit(3),
  RST: bit(26),
});
/** Device Status. */
export const STATUS = register("STATUS", 0x00008, "ro", "8.2.3.1.2", {
  LAN_ID: field(3, 2),
  GIO_STATUS: bit(19),
});
/** Extended Device Control. */
export const CTRL_EXT = register("CTRL_EXT", 0x00018, "rw", "8.2.3.1.3", {
  NS_DIS: bit(16),
  RO_DIS: bit(17),
  DRV_LOAD: bit(28),
});
/** Software-defined pins. SDP3 high turns the laser of an SFP+ module off. */
export const ESDP = register("ESDP", 0x00020, "rw", "8.2.3.1.4", {
  SDP3_DATA: bit(3),
  SDP3_IODIR: bit(11),
});

// EEPROM and semaphores, 8.2.3.2 and 8.2.3.4

/** EEPROM/Flash Control. */
export const EEC = register("EEC", 0x10010, "rw", "8.2.3.2.1", {
  PRES: bit(8),
  AUTO_RD: bit(9),
});
/** EEPROM Read. */
export const EERD = register("EERD", 0x10014, "rw", "8.2.3.2.2", {
  START: bit(0),
  DONE: bit(1),
  ADDR: field(15, 2),
  DATA: field(31, 16),
});
/** Software Semaphore. */
export const SWSM = register("SWSM", 0x10140, "rw", "8.2.3.4.4", {
  SMBI: bit(0),
  SWESMBI: bit(1),
});
/** Software-Firmware Synchronization. */
export const SW_FW_SYNC = register("SW_FW_SYNC", 0x10160, "rw", "8.2.3.4.6", {
  SW_EEP: bit(0),
  SW_PHY0: bit(1),
  SW_PHY1: bit(2),
  SW_MAC_CSR: bit(3),
  FW_EEP: bit(5),
  FW_PHY0: bit(6),
  FW_PHY1: bit(7),
  FW_MAC_CSR: bit(8),
  /** X540: the lock of this register itself, taken by reading it. */
  REGSMP: bit(31),
});

// Flow control, 8.2.3.3

/** Flow Control Transmit Timer Value. */
export const FCTTV = register("FCTTV", 0x03200, "rw", "8.2.3.3.2", {}, {
  count: 4,
  stride: 4,
});
/** Flow Control Receive Threshold Low. */
export const FCRTL = register(
  "FCRTL",
  0x03220,
  "rw",
  "8.2.3.3.3",
  {},
  PACKET_BUFFERS,
);
/** Flow Control Receive Threshold High. */
export const FCRTH = register("FCRTH", 0x03260, "rw", "8.2.3.3.4", {
  RTH: field(18, 5),
  FCEN: bit(31),
}, PACKET_BUFFERS);
/** Flow Control Refresh Threshold. */
export const FCRTV = register("FCRTV", 0x032a0, "rw", "8.2.3.3.5");
/** Flow Control Configuration. */
export const FCCFG = register("FCCFG", 0x03d00, "rw", "8.2.3.3.7", {
  TFCE: field(4, 3),
});

// Interrupts, 8.2.3.5

/** Extended Interrupt Cause. In MSI-X mode the lower half is one bit per vector. */
export const EICR = register("EICR", 0x00800, "w1c", "8.2.3.5.1", {
  QUEUES: field(15, 0),
  LSC: bit(20),
});
/** Extended Interrupt Mask Set. */
export const EIMS = register("EIMS", 0x00880, "w1s", "8.2.3.5.3");
/** Extended Interrupt Mask Clear. */
export const EIMC = register("EIMC", 0x00888, "w1s", "8.2.3.5.4", {
  ALL: field(30, 0),
});
/** Extended Interrupt Auto Clear. */
export const EIAC = register("EIAC", 0x00810, "rw", "8.2.3.5.5");
/** Extended Interrupt Auto Mask. */
export const EIAM = register("EIAM", 0x00890, "rw", "8.2.3.5.6");
/** Extended Interrupt Mask Clear of vectors 0 to 63. */
export const EIMC_EX = register("EIMC_EX", 0x00ab0, "w1s", "8.2.3.5.9", {
  ALL: field(31, 0),
}, { count: 2, stride: 4 });
/** Extended Interrupt Throttle, in units of 2 µs (2.048 µs exactly) at 1 and 10 Gbit/s. */
export const EITR = register("EITR", 0x00820, "rw", "8.2.3.5.12", {
  INTERVAL: field(11, 3),
  CNT_WDIS: bit(31),
}, { count: 128, stride: 4, rest: { from: 24, offset: 0x12300 } });
/** Interrupt Vector Allocation: of queues 2n and 2n+1, receive and transmit. */
export const IVAR = register("IVAR", 0x00900, "rw", "8.2.3.5.16", {
  RX_EVEN: field(5, 0),
  RX_EVEN_VALID: bit(7),
  RX_ODD: field(21, 16),
  RX_ODD_VALID: bit(23),
}, { count: 64, stride: 4 });
/** Interrupt Vector Allocation of the TCP timer and of all other causes. */
export const IVAR_MISC = register("IVAR_MISC", 0x00a00, "rw", "8.2.3.5.17", {
  OTHER: field(13, 8),
  OTHER_VALID: bit(15),
});
/** General Purpose Interrupt Enable. */
export const GPIE = register("GPIE", 0x00898, "rw", "8.2.3.5.18", {
  MULTIPLE_MSIX: bit(4),
  OCD: bit(5),
  EIAME: bit(30),
  PBA_SUPPORT: bit(31),
});

// Receive filters, 8.2.3.7

/** Filter Control. */
export const FCTRL = register("FCTRL", 0x05080, "rw", "8.2.3.7.1", {
  SBP: bit(1),
  MPE: bit(8),
  UPE: bit(9),
  BAM: bit(10),
});
/** VLAN Control. */
export const VLNCTRL = register("VLNCTRL", 0x05088, "rw", "8.2.3.7.2", {
  VFE: bit(30),
});
/** Multicast Control. */
export const MCSTCTRL = register("MCSTCTRL", 0x05090, "rw", "8.2.3.7.3", {
  MFE: bit(2),
});
/** Receive Checksum Control. */
export const RXCSUM = register("RXCSUM", 0x05000, "rw", "8.2.3.7.5", {
  IPPCSE: bit(12),
  PCSD: bit(13),
});
/** Receive Filter Control. */
export const RFCTL = register("RFCTL", 0x05008, "rw", "8.2.3.7.6", {
  RSC_DIS: bit(5),
});
/** Multicast Table Array. */
export const MTA = register("MTA", 0x05200, "rw", "8.2.3.7.7", {}, {
  count: 128,
  stride: 4,
});
/** Receive Address Low. */
export const RAL = register("RAL", 0x0a200, "rw", "8.2.3.7.8", {}, {
  count: 128,
  stride: 8,
});
/** Receive Address High. */
export const RAH = register("RAH", 0x0a204, "rw", "8.2.3.7.9", {
  ADDRESS: field(15, 0),
  AV: bit(31),
}, { count: 128, stride: 8 });
/** MAC Pool Select Array. */
export const MPSAR = register("MPSAR", 0x0a600, "rw", "8.2.3.7.10", {}, {
  count: 256,
  stride: 4,
});
/** VLAN Filter Table Array. */
export const VFTA = register("VFTA", 0x0a000, "rw", "8.2.3.7.11", {}, {
  count: 128,
  stride: 4,
});
/** Multiple Receive Queues Command; also at 0x0EC80. */
export const MRQC = register("MRQC", 0x05818, "rw", "8.2.3.7.12", {
  MRQE: field(3, 0),
  TCP_IPV4: bit(16),
  IPV4: bit(17),
  IPV6: bit(20),
  TCP_IPV6: bit(21),
  UDP_IPV4: bit(22),
  UDP_IPV6: bit(23),
});
/** MRQC.MRQE: one set of RSS queues, without DCB or virtualization. */
export const MRQE_RSS = 1;
/** RSS Random Key: ten little-endian words; also at 0x0EB80. */
export const RSSRK = register("RSSRK", 0x05c80, "rw", "8.2.3.7.14", {}, {
  count: 10,
  stride: 4,
});
/** Redirection Table: four entries in each register; also at 0x0EB00. */
export const RETA = register("RETA", 0x05c00, "rw", "8.2.3.7.15", {}, {
  count: 32,
  stride: 4,
});
/** X550 only: entries 128 to 511 of its redirection table (Linux and DPDK; the X550 datasheet is not public). */
export const ERETA = register("ERETA", 0x0ee80, "rw", "X550", {}, {
  count: 96,
  stride: 4,
});
/** Unicast Table Array. */
export const PFUTA = register("PFUTA", 0x0f400, "rw", "8.2.3.27.12", {}, {
  count: 128,
  stride: 4,
});
/** VLAN Pool Filter. */
export const PFVLVF = register("PFVLVF", 0x0f100, "rw", "8.2.3.27.15", {}, {
  count: 64,
  stride: 4,
});
/** VLAN Pool Filter Bitmap. */
export const PFVLVFB = register("PFVLVFB", 0x0f200, "rw", "8.2.3.27.16", {}, {
  count: 128,
  stride: 4,
});
/** Five-tuple Queue Filter. */
export const FTQF = register("FTQF", 0x0e600, "rw", "8.2.3.7.19", {
  QUEUE_ENABLE: bit(31),
}, { count: 128, stride: 4 });
// Receive DMA, 8.2.3.8

/** Receive Descriptor Base Address Low. */
export const RDBAL = register(
  "RDBAL",
  0x01000,
  "rw",
  "8.2.3.8.1",
  {},
  rxQueues(0x0d000),
);
/** Receive Descriptor Base Address High. */
export const RDBAH = register(
  "RDBAH",
  0x01004,
  "rw",
  "8.2.3.8.2",
  {},
  rxQueues(0x0d004),
);
/** Receive Descriptor Length, in bytes. */
export const RDLEN = register(
  "RDLEN",
  0x01008,
  "rw",
  "8.2.3.8.3",
  {},
  rxQueues(0x0d008),
);
/** Receive Descriptor Head. */
export const RDH = register(
  "RDH",
  0x01010,
  "rw",
  "8.2.3.8.4",
  {},
  rxQueues(0x0d010),
);
/** Receive Descriptor Tail. */
export const RDT = register(
  "RDT",
  0x01018,
  "rw",
  "8.2.3.8.5",
  {},
  rxQueues(0x0d018),
);
/** Receive Descriptor Control. */
export const RXDCTL = register("RXDCTL", 0x01028, "rw", "8.2.3.8.6", {
  ENABLE: bit(25),
  VME: bit(30),
}, rxQueues(0x0d028));
/** Split Receive Control. */
export const SRRCTL = register("SRRCTL", 0x01014, "rw", "8.2.3.8.7", {
  BSIZEPACKET: field(4, 0),
  BSIZEHEADER: field(13, 8),
  DESCTYPE: field(27, 25),
  DROP_EN: bit(28),
}, rxQueues(0x0d014));
/** SRRCTL.DESCTYPE: advanced descriptors with one buffer. */
export const DESCTYPE_ADVANCED_ONE_BUFFER = 1;
/** Receive DMA Control. */
export const RDRXCTL = register("RDRXCTL", 0x02f00, "rw", "8.2.3.8.8", {
  CRC_STRIP: bit(1),
  DMAIDONE: bit(3),
  RSCFRSTSIZE: field(21, 17),
  RSCACKC: bit(25),
  FCOE_WRFIX: bit(26),
});
/** Receive Packet Buffer Size, in KiB. */
export const RXPBSIZE = register("RXPBSIZE", 0x03c00, "rw", "8.2.3.8.9", {
  SIZE: field(19, 10),
}, PACKET_BUFFERS);
/** Receive Control. */
export const RXCTRL = register("RXCTRL", 0x03000, "rw", "8.2.3.8.10", {
  RXEN: bit(0),
});
/** Receive Side Coalescing Control. */
export const RSCCTL = register("RSCCTL", 0x0102c, "rw", "8.2.3.8.13", {
  RSCEN: bit(0),
}, rxQueues(0x0d02c));

// Transmit, 8.2.3.9 and 8.2.3.10

/** DMA Transmit TCP Maximum Allowed Size Requests, in units of 256 bytes. */
export const DTXMXSZRQ = register("DTXMXSZRQ", 0x08100, "rw", "8.2.3.9.1", {
  MAX_BYTES_NUM_REQ: field(11, 0),
});
/** DMA Transmit Control. */
export const DMATXCTL = register("DMATXCTL", 0x04a80, "rw", "8.2.3.9.2", {
  TE: bit(0),
});
/** Transmit Descriptor Base Address Low. */
export const TDBAL = register(
  "TDBAL",
  0x06000,
  "rw",
  "8.2.3.9.5",
  {},
  TX_QUEUES,
);
/** Transmit Descriptor Base Address High. */
export const TDBAH = register(
  "TDBAH",
  0x06004,
  "rw",
  "8.2.3.9.6",
  {},
  TX_QUEUES,
);
/** Transmit Descriptor Length, in bytes. */
export const TDLEN = register(
  "TDLEN",
  0x06008,
  "rw",
  "8.2.3.9.7",
  {},
  TX_QUEUES,
);
/** Transmit Descriptor Head. */
export const TDH = register("TDH", 0x06010, "rw", "8.2.3.9.8", {}, TX_QUEUES);
/** Transmit Descriptor Tail. */
export const TDT = register("TDT", 0x06018, "rw", "8.2.3.9.9", {}, TX_QUEUES);
/** Transmit Descriptor Control. */
export const TXDCTL = register("TXDCTL", 0x06028, "rw", "8.2.3.9.10", {
  PTHRESH: field(6, 0),
  HTHRESH: field(14, 8),
  WTHRESH: field(22, 16),
  ENABLE: bit(25),
}, TX_QUEUES);
/** Transmit Packet Buffer Size, in KiB. */
export const TXPBSIZE = register("TXPBSIZE", 0x0cc00, "rw", "8.2.3.9.13", {
  SIZE: field(19, 10),
}, PACKET_BUFFERS);
/** Multiple Transmit Queues Command: 0 for up to 64 queues without DCB or virtualization. */
export const MTQC = register("MTQC", 0x08120, "rw", "8.2.3.9.15");
/** Transmit Packet Buffer Threshold, in KiB. */
export const TXPBTHRESH = register("TXPBTHRESH", 0x04950, "rw", "8.2.3.9.16", {
  THRESH: field(9, 0),
}, PACKET_BUFFERS);
/** DCB Transmit Descriptor Plane Control and Status. */
export const RTTDCS = register("RTTDCS", 0x04900, "rw", "8.2.3.10.2", {
  ARBDIS: bit(6),
});
/** DCB Transmit Descriptor Plane Queue Select. */
export const RTTDQSEL = register("RTTDQSEL", 0x04904, "rw", "8.2.3.10.13", {
  TXDQ_IDX: field(6, 0),
});
/** DCB Transmit Descriptor Plane T1 Config of the selected queue. */
export const RTTDT1C = register("RTTDT1C", 0x04908, "rw", "8.2.3.10.14");

// DCA and security, 8.2.3.11 and 8.2.3.12

/** Receive DCA Control. */
export const DCA_RXCTRL = register("DCA_RXCTRL", 0x0100c, "rw", "8.2.3.11.1", {
  /** Comes up set and must be cleared by software. */
  RESERVED_12: bit(12),
}, rxQueues(0x0d00c));
/** Security Receive Control. */
export const SECRXCTRL = register("SECRXCTRL", 0x08d00, "rw", "8.2.3.12.5", {
  RX_DIS: bit(1),
});
/** Security Receive Status. */
export const SECRXSTAT = register("SECRXSTAT", 0x08d04, "ro", "8.2.3.12.6", {
  SECRX_RDY: bit(0),
});

// MAC, 8.2.3.22

/** MAC Core Control 0. */
export const HLREG0 = register("HLREG0", 0x04240, "rw", "8.2.3.22.8", {
  TXCRCEN: bit(0),
  RXCRCSTRP: bit(1),
  JUMBOEN: bit(2),
  TXPADEN: bit(10),
  LPBK: bit(15),
});
/** MDI Single Command and Address. */
export const MSCA = register("MSCA", 0x0425c, "rw", "8.2.3.22.11", {
  MDIADD: field(15, 0),
  DEVADD: field(20, 16),
  PHYADD: field(25, 21),
  OPCODE: field(27, 26),
  MDICMD: bit(30),
});
/** MSCA.OPCODE: sets the address within the PHY. */
export const MDI_ADDRESS = 0;
/** MSCA.OPCODE: writes the register at the address. */
export const MDI_WRITE = 1;
/** MSCA.OPCODE: reads the register at the address. */
export const MDI_READ = 3;
/** MDI Single Read and Write Data. */
export const MSRWD = register("MSRWD", 0x04260, "rw", "8.2.3.22.12", {
  WRITE_DATA: field(15, 0),
  READ_DATA: field(31, 16),
});
/** Max Frame Size, with the frame check sequence. */
export const MAXFRS = register("MAXFRS", 0x04268, "rw", "8.2.3.22.13", {
  MFS: field(31, 16),
});
/** Auto Negotiation Control; 82599 only. */
export const AUTOC = register("AUTOC", 0x042a0, "rw", "8.2.3.22.19", {
  FLU: bit(0),
  RESTART_AN: bit(12),
  LMS: field(15, 13),
});
/** AUTOC.LMS: 10 GbE serial, without backplane auto-negotiation. */
export const LMS_10G_SERIAL = 3;
/** Link Status. */
export const LINKS = register("LINKS", 0x042a4, "ro", "8.2.3.22.20", {
  SPEED: field(29, 28),
  UP: bit(30),
});
/** Auto Negotiation Control 2; 82599 only. */
export const AUTOC2 = register("AUTOC2", 0x042a8, "rw", "8.2.3.22.22", {
  PMA_PMD_10G_SERIAL: field(17, 16),
});
/** AUTOC2.10G_PMA_PMD_SERIAL: SFI, what an SFP+ cage speaks. */
export const PMA_PMD_SFI = 2;
/** MAC Flow Control. */
export const MFLCN = register("MFLCN", 0x04294, "rw", "8.2.3.22.34", {
  RPFCE: bit(2),
  RFCE: bit(3),
});

// Statistics, 8.2.3.23: all clear when they are read

/** CRC errors. */
export const CRCERRS = register("CRCERRS", 0x04000, "rc", "8.2.3.23.1");
/** Frames with an illegal byte. */
export const ILLERRC = register("ILLERRC", 0x04004, "rc", "8.2.3.23.2");
/** Frames with an error byte. */
export const ERRBC = register("ERRBC", 0x04008, "rc", "8.2.3.23.3");
/** Frames missed for want of packet buffer, by packet buffer. */
export const RXMPC = register(
  "RXMPC",
  0x03fa0,
  "rc",
  "8.2.3.23.4",
  {},
  PACKET_BUFFERS,
);
/** Receive Length Error. */
export const RLEC = register("RLEC", 0x04040, "rc", "8.2.3.23.7");
/** Good Packets Transmitted. */
export const GPTC = register("GPTC", 0x04080, "rc", "8.2.3.23.23");
/** Good Octets Transmitted, low half. */
export const GOTCL = register("GOTCL", 0x04090, "rc", "8.2.3.23.26");
/** Good Octets Transmitted, high half. */
export const GOTCH = register("GOTCH", 0x04094, "rc", "8.2.3.23.26");
/** Receive Undersize. */
export const RUC = register("RUC", 0x040a4, "rc", "8.2.3.23.28");
/** Receive Fragment. */
export const RFC = register("RFC", 0x040a8, "rc", "8.2.3.23.29");
/** Receive Oversize. */
export const ROC = register("ROC", 0x040ac, "rc", "8.2.3.23.30");
/** Receive Jabber. */
export const RJC = register("RJC", 0x040b0, "rc", "8.2.3.23.31");
/** Good frames received before any filter. */
export const RXNFGPC = register("RXNFGPC", 0x041b0, "rc", "8.2.3.23");
/** Good Packets Received: those that passed the filters, missed ones too. */
export const GPRC = register("GPRC", 0x04074, "rc", "8.2.3.23");
/** Link XON Received. */
export const LXONRXCNT = register("LXONRXCNT", 0x041a4, "rc", "8.2.3.23");
/** Link XOFF Received. */
export const LXOFFRXCNT = register("LXOFFRXCNT", 0x041a8, "rc", "8.2.3.23");
/** Which counter each receive queue uses: four queues in a register. */
export const RQSMR = register("RQSMR", 0x02300, "rw", "8.2.3.23.71", {}, {
  count: 32,
  stride: 4,
});
/** Which counter each transmit queue uses: four queues in a register. */
export const TQSM = register("TQSM", 0x08600, "rw", "8.2.3.23.73", {}, {
  count: 32,
  stride: 4,
});
/** Packets received, by counter. */
export const QPRC = register("QPRC", 0x01030, "rc", "8.2.3.23.75", {}, {
  count: 16,
  stride: 0x40,
});
/** Bytes received, low half, by counter. */
export const QBRC_L = register("QBRC_L", 0x01034, "rc", "8.2.3.23.77", {}, {
  count: 16,
  stride: 0x40,
});
/** Bytes received, high half, by counter. */
export const QBRC_H = register("QBRC_H", 0x01038, "rc", "8.2.3.23.77", {}, {
  count: 16,
  stride: 0x40,
});
/** Packets dropped for want of descriptors, by counter. */
export const QPRDC = register("QPRDC", 0x01430, "rc", "8.2.3.23.76", {}, {
  count: 16,
  stride: 0x40,
});
/** Packets transmitted, by counter. */
export const QPTC = register("QPTC", 0x08680, "rc", "8.2.3.23.74", {}, {
  count: 16,
  stride: 4,
});

/** Every counter that reading clears, so that one pass forgets the past. */
export const COUNTERS = [
  ...[CRCERRS, ILLERRC, ERRBC, RXMPC, RLEC, GPTC, GOTCL, GOTCH, RUC, RFC, ROC],
  ...[RJC, RXNFGPC, GPRC, LXONRXCNT, LXOFFRXCNT],
  ...[QPRC, QBRC_L, QBRC_H, QPRDC, QPTC],
] as const;
