/**
 * Registers that all gigabit parts have at the same place, as data: 8254x, 82574, 82576, I350.
 *
 * Sections are those of the PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (Intel
 * 317453) where they begin with 13, and chapters of the 82576 datasheet (320961) where they begin with 8. The 82574
 * datasheet (318694, chapter 10) and the I350 datasheet (333171, chapter 8) have the same bits at the same places
 * unless a comment says otherwise.
 *
 * @module
 */
import { bit, field, type Layout, register } from "../register.ts";

const WORDS_128: Layout = { count: 128, stride: 4 };

// General control, 13.4 and 8.2

/** Device Control. */
export const CTRL = register("CTRL", 0x0000, "rw", "13.4.1", {
  /** Full duplex. */
  FD: bit(0),
  /** GIO primary disable: no new PCIe requests. 82574, 82576, I350. */
  GIO_DIS: bit(2),
  /** Link reset; 82540 and 82545 in fibre mode only. */
  LRST: bit(3),
  /** The MAC takes the speed that the PHY found; 8254x and 82574 only. */
  ASDE: bit(5),
  /** Set link up. */
  SLU: bit(6),
  SPEED: field(9, 8),
  FRCSPD: bit(11),
  FRCDPX: bit(12),
  /** Software-defined pins 0 and 1. */
  SWDPINS: field(19, 18),
  /** Software reset; clears itself. */
  RST: bit(26),
  RFCE: bit(27),
  TFCE: bit(28),
  /** VLAN tags are taken out of received frames. */
  VME: bit(30),
  PHY_RST: bit(31),
});
/** Device Status. */
export const STATUS = register("STATUS", 0x0008, "ro", "13.4.2", {
  FD: bit(0),
  /** Link up. */
  LU: bit(1),
  /** Which port of the package; not on the 82540. */
  LAN_ID: field(3, 2),
  SPEED: field(7, 6),
  /** PCIe requests may still be open. 82574, 82576, I350. */
  GIO_ENABLED: bit(19),
});
/** EEPROM/Flash Control. */
export const EECD = register("EECD", 0x0010, "rw", "8.4.1", {
  PRES: bit(8),
  /** The chip has read its defaults from the EEPROM; not on the 8254x. */
  AUTO_RD: bit(9),
});
/** Extended Device Control. */
export const CTRL_EXT = register("CTRL_EXT", 0x0018, "rw", "8.2.3", {
  /** Software-defined pin 3: low for a laser that is on; SerDes cards only. */
  SDP3_DATA: bit(7),
  /** No "no snoop" requests, which bypass the processor's caches; PCIe parts. */
  NS_DIS: bit(16),
  /** 0 for a copper PHY inside; not on the 8254x. */
  LINK_MODE: field(23, 22),
  /** Tells the firmware that a driver is there. */
  DRV_LOAD: bit(28),
});
/** MDI Control: access to the PHY. */
export const MDIC = register("MDIC", 0x0020, "rw", "8.2.4", {
  DATA: field(15, 0),
  REGADD: field(20, 16),
  PHYADD: field(25, 21),
  OP: field(27, 26),
  READY: bit(28),
  ERROR: bit(30),
});
/** MDIC.OP: writes. */
export const MDI_WRITE = 1;
/** MDIC.OP: reads. */
export const MDI_READ = 2;

// Flow control, 13.4.8 and 8.5

/** Flow Control Address Low. */
export const FCAL = register("FCAL", 0x0028, "rw", "13.4.8");
/** Flow Control Address High. */
export const FCAH = register("FCAH", 0x002c, "rw", "13.4.9");
/** Flow Control Type. */
export const FCT = register("FCT", 0x0030, "rw", "13.4.10");
/** Flow Control Transmit Timer Value. */
export const FCTTV = register("FCTTV", 0x0170, "rw", "13.4.12");
/** Flow Control Receive Threshold Low; 0 sends no XON frames. */
export const FCRTL = register("FCRTL", 0x2160, "rw", "13.4.23");
/** Flow Control Receive Threshold High; 0 sends no XOFF frames. */
export const FCRTH = register("FCRTH", 0x2168, "rw", "13.4.24");
/** Management Control. */
export const MANC = register("MANC", 0x5820, "rw", "8.21", {
  /** The chip answers ARP requests by itself. */
  ARP_EN: bit(13),
});

// Interrupts of the classic block, 13.4 and 8.8

/** Interrupt Cause Read; reading clears it. */
export const ICR = register("ICR", 0x00c0, "rc", "13.4.17", {
  /** A transmit descriptor was written back. */
  TXDW: bit(0),
  /** The link changed. */
  LSC: bit(2),
  /** Few receive descriptors are left. */
  RXDMT0: bit(4),
  /** The receive buffer ran over. */
  RXO: bit(6),
  /** A frame was received: the receive timer of the 8254x, a descriptor written back on the 82576. */
  RXT0: bit(7),
});
/** Interrupt Cause Set. */
export const ICS = register("ICS", 0x00c8, "w1s", "13.4.19");
/** Interrupt Mask Set; zeros leave the mask as it is. */
export const IMS = register("IMS", 0x00d0, "w1s", "13.4.20");
/** Interrupt Mask Clear. */
export const IMC = register("IMC", 0x00d8, "w1s", "13.4.21", {
  ALL: field(31, 0),
});

// Receive filters, 13.4.22, 13.5 and 8.10

/** Receive Control. */
export const RCTL = register("RCTL", 0x0100, "rw", "13.4.22", {
  EN: bit(1),
  /** Store bad packets. */
  SBP: bit(2),
  /** Unicast promiscuous. */
  UPE: bit(3),
  /** Multicast promiscuous. */
  MPE: bit(4),
  /** Long packets: more than 1522 bytes with tag and check sequence. */
  LPE: bit(5),
  LBM: field(7, 6),
  RDMTS: field(9, 8),
  DTYP: field(11, 10),
  /** Which bits of a multicast address choose in MTA. */
  MO: field(13, 12),
  /** Broadcast accept. */
  BAM: bit(15),
  BSIZE: field(17, 16),
  /** VLAN filter enable. */
  VFE: bit(18),
  CFIEN: bit(19),
  /** Discard pause frames. */
  DPF: bit(22),
  /** Pass MAC control frames. */
  PMCF: bit(23),
  /** Buffer sizes are 16 times larger; 8254x and 82574 only. */
  BSEX: bit(25),
  /** Strip the Ethernet check sequence. */
  SECRC: bit(26),
});
/** Multicast Table Array. */
export const MTA = register("MTA", 0x5200, "rw", "13.5.1", {}, WORDS_128);
/** Receive Address Low: 16 slots; 24 on the 82576 and 32 on the I350, the further ones in a block of their own. */
export const RAL = register("RAL", 0x5400, "rw", "13.5.2", {}, {
  count: 32,
  stride: 8,
  rest: { from: 16, offset: 0x54e0 },
});
/** Receive Address High. */
export const RAH = register("RAH", 0x5404, "rw", "13.5.3", {
  ADDRESS: field(15, 0),
  AV: bit(31),
}, { count: 32, stride: 8, rest: { from: 16, offset: 0x54e4 } });
/** VLAN Filter Table Array. */
export const VFTA = register("VFTA", 0x5600, "rw", "13.5.4", {}, WORDS_128);

// Statistics, 13.7 and 8.18: all clear when they are read

/** CRC errors. */
export const CRCERRS = register("CRCERRS", 0x4000, "rc", "13.7.1");
/** Alignment errors. */
export const ALGNERRC = register("ALGNERRC", 0x4004, "rc", "13.7.2");
/** Frames with an error symbol. */
export const RXERRC = register("RXERRC", 0x400c, "rc", "13.7.4");
/** Frames missed for want of packet buffer. */
export const MPC = register("MPC", 0x4010, "rc", "13.7.5");
/** Receive Length Error. */
export const RLEC = register("RLEC", 0x4040, "rc", "13.7.17");
/** XON Received. */
export const XONRXC = register("XONRXC", 0x4048, "rc", "13.7");
/** XOFF Received. */
export const XOFFRXC = register("XOFFRXC", 0x4050, "rc", "13.7");
/** Flow control frames of an unsupported kind. */
export const FCRUC = register("FCRUC", 0x4058, "rc", "13.7");
/** Good Packets Received. */
export const GPRC = register("GPRC", 0x4074, "rc", "13.7.28");
/** Good Octets Received, low half, from the destination address through the check sequence. */
export const GORCL = register("GORCL", 0x4088, "rc", "13.7.32");
/** Good Octets Received, high half. */
export const GORCH = register("GORCH", 0x408c, "rc", "13.7.32");
/** Receive Undersize. */
export const RUC = register("RUC", 0x40a4, "rc", "13.7.35");
/** Receive Fragment. */
export const RFC = register("RFC", 0x40a8, "rc", "13.7.36");
/** Receive Oversize. */
export const ROC = register("ROC", 0x40ac, "rc", "13.7.37");
/** Receive Jabber. */
export const RJC = register("RJC", 0x40b0, "rc", "13.7.38");
/** Total Octets Transmitted, low half, from the destination address through the check sequence. */
export const TOTL = register("TOTL", 0x40c8, "rc", "13.7.43");
/** Total Octets Transmitted, high half. */
export const TOTH = register("TOTH", 0x40cc, "rc", "13.7.43");
/** Total Packets Received, whatever their length and address, without flow control. */
export const TPR = register("TPR", 0x40d0, "rc", "13.7.44");
/** Total Packets Transmitted. */
export const TPT = register("TPT", 0x40d4, "rc", "13.7.45");
