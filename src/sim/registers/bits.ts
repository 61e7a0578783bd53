/**
 * Fields of the registers and descriptors that the model interprets, each
 * group under the register's datasheet section (331520).
 *
 * @module
 */

// CTRL, section 8.2.3.1.1
export const CTRL_GIO_DIS = 1 << 2;
export const CTRL_LNK_RST = 1 << 3;
export const CTRL_RST = 1 << 26;

// STATUS, section 8.2.3.1.2
export const STATUS_LINK_UP = 1 << 7;
export const STATUS_GIO_ENABLED = 1 << 19;

// CTRL_EXT, section 8.2.3.1.3
export const CTRL_EXT_NS_DIS = 1 << 16;

// ESDP, section 8.2.3.1.4: SDP3 drives the laser off on SFP+ boards, and
// SDP2 reads whether the cage has a module
export const ESDP_SDP2_DATA = 1 << 2;
export const ESDP_SDP2_OUTPUT = 1 << 10;
export const ESDP_SDP3_DATA = 1 << 3;
export const ESDP_SDP3_OUTPUT = 1 << 11;

// I2CCTL, section 8.2.3.1.5
export const I2CCTL_CLK_IN = 1 << 0;
export const I2CCTL_CLK_OUT = 1 << 1;
export const I2CCTL_DATA_IN = 1 << 2;
export const I2CCTL_DATA_OUT = 1 << 3;

// EEC, section 8.2.3.2.1
export const EEC_REQUEST = 1 << 6;
export const EEC_GRANT = 1 << 7;
export const EEC_PRESENT = 1 << 8;
export const EEC_AUTO_READ_DONE = 1 << 9;
export const EEC_SIZE_16K_WORDS = 7 << 11;

// EERD, section 8.2.3.2.2
export const EERD_START = 1 << 0;
export const EERD_DONE = 1 << 1;
export const EERD_ADDRESS_SHIFT = 2;
export const EERD_ADDRESS_MASK = 0x3fff;
export const EERD_DATA_SHIFT = 16;

// SWSM and SW_FW_SYNC, section 8.2.3.4
export const SWSM_SMBI = 1 << 0;
export const SWSM_SWESMBI = 1 << 1;
export const SW_FW_SYNC_PHY_MASK = (1 << 1) | (1 << 2);
export const SW_FW_SYNC_REGSMP = 1 << 31;

// TCPTIMER, section 8.2.3.1
export const TCPTIMER_DURATION_MASK = 0xff;
export const TCPTIMER_KICK_START = 1 << 8;
export const TCPTIMER_ENABLE = 1 << 9;
export const TCPTIMER_FINISH = 1 << 10;
export const TCPTIMER_LOOP = 1 << 11;

// FCCFG, FCRTL and FCRTH, section 8.2.3.3
export const FCCFG_LINK_FLOW_CONTROL = 1 << 3;
export const FCRT_THRESHOLD_MASK = 0x7ffe0;
export const FCRT_ENABLE = 1 << 31;
/** 512 bit times at 10 Gbit/s (IEEE 802.3, annex 31B), in milliseconds. */
export const PAUSE_QUANTUM_MS = 51.2e-6;

// Interrupt causes, section 8.2.3.5.1
export const EICR_QUEUE_MASK = 0xffff;
export const EICR_RX_MISS = 1 << 17;
export const EICR_PCI_EXCEPTION = 1 << 18;
export const EICR_LSC = 1 << 20;
export const EICR_SDP2 = 1 << 26;
export const EICR_TCP_TIMER = 1 << 30;
export const EICR_OTHER_MASK = 0x7fff0000;
export const EICR_OTHER_CLEAR_DISABLE_MASK = 0x3fff0000;

// EITR, section 8.2.3.5.12
export const EITR_INTERVAL_MASK = 0xff8;
export const EITR_INTERVAL_SHIFT = 3;
export const EITR_UNIT_MS = 0.002;
export const EITR_COUNTER_WRITE_DISABLE = 1 << 31;

// IVAR, section 8.2.3.5.16
export const IVAR_VALID = 0x80;
export const IVAR_VECTOR_MASK = 0x3f;
export const IVAR_RESERVED = 0x40;

// GPIE, section 8.2.3.5.18
export const GPIE_SDP2_ENABLE = 1 << 2;
export const GPIE_MSIX_MODE = 1 << 4;
export const GPIE_OCD = 1 << 5;
export const GPIE_EIAME = 1 << 30;

// FCTRL, VLNCTRL, MCSTCTRL, sections 8.2.3.7.1 to .3
export const FCTRL_SBP = 1 << 1;
export const FCTRL_MPE = 1 << 8;
export const FCTRL_UPE = 1 << 9;
export const FCTRL_BAM = 1 << 10;
export const VLNCTRL_VET_MASK = 0xffff;
export const VLNCTRL_CFI = 1 << 28;
export const VLNCTRL_CFIEN = 1 << 29;
export const VLNCTRL_VFE = 1 << 30;
export const MCSTCTRL_MO_MASK = 3;
export const MCSTCTRL_MFE = 1 << 2;

// ETQF and ETQS, section 8.2.3.7
export const ETQF_TYPE_MASK = 0xffff;
export const ETQF_ENABLE = 1 << 31;
export const ETQS_QUEUE_SHIFT = 16;
export const ETQS_QUEUE_MASK = 0x7f;
export const ETQS_QUEUE_ENABLE = 1 << 31;

// FDIRCTRL and FDIRCMD, section 8.2.3.21
export const FDIRCTRL_ALLOCATION_MASK = 3;
export const FDIRCTRL_INIT_DONE = 1 << 3;
export const FDIRCTRL_PERFECT_MATCH = 1 << 4;
export const FDIRCMD_COMMAND_MASK = 3;
export const FDIRCMD_ADD_FILTER = 1;
export const FDIRCMD_FILTER_VALID = 1 << 2;

// RXCSUM, section 8.2.3.7.5
export const RXCSUM_IPPCSE = 1 << 12;
export const RXCSUM_PCSD = 1 << 13;

// RAH, section 8.2.3.7.9
export const RAH_ADDRESS_MASK = 0xffff;
export const RAH_AV = 1 << 31;

// MRQC, section 8.2.3.7.12
export const MRQC_MODE_MASK = 0xf;
export const MRQC_MODE_NONE = 0;
export const MRQC_MODE_RSS = 1;
export const MRQC_TCP_IPV4 = 1 << 16;
export const MRQC_IPV4 = 1 << 17;
export const MRQC_IPV6 = 1 << 20;
export const MRQC_TCP_IPV6 = 1 << 21;
export const MRQC_UDP_IPV4 = 1 << 22;
export const MRQC_UDP_IPV6 = 1 << 23;

// RXDCTL, section 8.2.3.8.6; RLPML is the X540's
export const RXDCTL_RLPML_MASK = 0x3fff;
export const RXDCTL_RLPML_EN = 1 << 15;
export const RXDCTL_ENABLE = 1 << 25;
export const RXDCTL_VME = 1 << 30;

// SRRCTL, section 8.2.3.8.7
export const SRRCTL_BSIZEPACKET_MASK = 0x1f;
export const SRRCTL_BSIZEPACKET_MAX = 16;
export const SRRCTL_DESCTYPE_SHIFT = 25;
export const SRRCTL_DESCTYPE_MASK = 7;
export const SRRCTL_DESCTYPE_LEGACY = 0;
export const SRRCTL_DESCTYPE_ADVANCED_ONE_BUFFER = 1;
export const SRRCTL_LAYOUT_MASK = (7 << 25) | 0x3f1f;
export const SRRCTL_DROP_EN = 1 << 28;

// RDRXCTL, section 8.2.3.8.8
export const RDRXCTL_CRC_STRIP = 1 << 1;
export const RDRXCTL_DMAIDONE = 1 << 3;

// RXPBSIZE and TXPBSIZE, sections 8.2.3.8.9 and 8.2.3.9.13: KB from bit 10
export const PBSIZE_SHIFT = 10;

// RXCTRL, section 8.2.3.8.10
export const RXCTRL_RXEN = 1 << 0;

// DMATXCTL, section 8.2.3.9.2
export const DMATXCTL_TE = 1 << 0;
export const DMATXCTL_VT_SHIFT = 16;

// TXDCTL, section 8.2.3.9.10
export const TXDCTL_WTHRESH_SHIFT = 16;
export const TXDCTL_WTHRESH_MASK = 0x7f;
export const TXDCTL_ENABLE = 1 << 25;
export const TXDCTL_SWFLSH = 1 << 26;

// TDWBAL, section 8.2.3.9.11
export const TDWBAL_HEAD_WB_EN = 1 << 0;
export const TDWBAL_ADDRESS_MASK = 0xfffffffc;

// RTTDCS, section 8.2.3.10.2
export const RTTDCS_ARBDIS = 1 << 6;

// DCA_RXCTRL, section 8.2.3.11.1, and the last sentence of 4.6.7
export const DCA_RXCTRL_MUST_CLEAR = 1 << 12;

// SECRXCTRL, SECRXSTAT, section 8.2.3.12
export const SECRXCTRL_RX_DIS = 1 << 1;
export const SECRXSTAT_READY = 1 << 0;
export const SECRXSTAT_OFFLOAD_DISABLED = 1 << 1;
export const SECTXCTRL_TX_DIS = 1 << 1;
export const SECTXSTAT_READY = 1 << 0;
export const SECTXSTAT_OFFLOAD_DISABLED = 1 << 1;

// HLREG0, section 8.2.3.22.8
export const HLREG0_TXCRCEN = 1 << 0;
export const HLREG0_RXCRCSTRP = 1 << 1;
export const HLREG0_JUMBOEN = 1 << 2;
export const HLREG0_TXPADEN = 1 << 10;
export const HLREG0_LPBK = 1 << 15;

// MSCA, MSRWD, section 8.2.3.22
export const MSCA_ADDRESS_MASK = 0xffff;
export const MSCA_DEVICE_SHIFT = 16;
export const MSCA_DEVICE_MASK = 0x1f;
export const MSCA_PHY_SHIFT = 21;
export const MSCA_PHY_MASK = 0x1f;
export const MSCA_OPCODE_SHIFT = 26;
export const MSCA_OPCODE_MASK = 3;
export const MSCA_OPCODE_ADDRESS = 0;
export const MSCA_OPCODE_WRITE = 1;
export const MSCA_OPCODE_READ_INCREMENT = 2;
export const MSCA_OPCODE_READ = 3;
export const MSCA_COMMAND = 1 << 30;
export const MSRWD_READ_SHIFT = 16;

// MAXFRS, section 8.2.3.22.13
export const MAXFRS_SHIFT = 16;

// AUTOC, section 8.2.3.22.19
export const AUTOC_FLU = 1 << 0;
export const AUTOC_AN_RESTART = 1 << 12;
export const AUTOC_LMS_SHIFT = 13;
export const AUTOC_LMS_MASK = 7;
export const AUTOC_LMS_1G_NO_AN = 0;
export const AUTOC_LMS_1G_AN = 2;

// LINKS, section 8.2.3.22.20
export const LINKS_UP = 1 << 30;
export const LINKS_SPEED_10G = 3 << 28;
export const LINKS_SPEED_1G = 2 << 28;
export const LINKS_SPEED_100M = 1 << 28;

// ANLP1, section 8.2.3.22: the state of the auto-negotiation machine, which
// leaves zero when AUTOC restarts it
export const ANLP1_STATE_SHIFT = 16;

// TIMINCA, section 8.2.3.13.12
export const TIMINCA_VALUE_MASK = 0xffffff;
export const TIMINCA_PERIOD_SHIFT = 24;

// MFLCN, section 8.2.3.22
export const MFLCN_PMCF = 1 << 0;
export const MFLCN_RFCE = 1 << 3;

// Advanced receive descriptor, section 7.1.6.2; status and error bits stand
// where they do in the third doubleword
export const RXD_DD = 1 << 0;
export const RXD_EOP = 1 << 1;
export const RXD_VP = 1 << 3;
export const RXD_L4I = 1 << 5;
export const RXD_IPCS = 1 << 6;
export const RXD_PIF = 1 << 7;
export const RXD_UDPV = 1 << 10;
export const RXD_ERROR_RXE = 1 << 29;
export const RXD_ERROR_L4E = 1 << 30;
export const RXD_ERROR_IPE = 1 << 31;
export const RXD_TYPE_IPV4 = 1 << 4;
export const RXD_TYPE_IPV4_OPTIONS = 1 << 5;
export const RXD_TYPE_IPV6 = 1 << 6;
export const RXD_TYPE_IPV6_EXTENSIONS = 1 << 7;
export const RXD_TYPE_TCP = 1 << 8;
export const RXD_TYPE_UDP = 1 << 9;
export const RXD_TYPE_SCTP = 1 << 10;
export const RXD_TYPE_L2 = 1 << 15;
export const RXD_TYPE_L2_FILTER_SHIFT = 4;
export const RXD_RSS_TYPE_MASK = 0xf;

// Legacy receive descriptor, section 7.1.5
export const RXD_LEGACY_IPE = 1 << 15;
export const RXD_LEGACY_L4E = 1 << 14;
export const RXD_LEGACY_RXE = 1 << 8;
export const RXD_LEGACY_VLAN_SHIFT = 16;

// RSS types in the write-back, section 7.1.6.2
export const RSS_TYPE_NONE = 0;
export const RSS_TYPE_TCP_IPV4 = 1;
export const RSS_TYPE_IPV4 = 2;
export const RSS_TYPE_TCP_IPV6 = 3;
export const RSS_TYPE_IPV6 = 5;
export const RSS_TYPE_UDP_IPV4 = 7;
export const RSS_TYPE_UDP_IPV6 = 8;

// Transmit descriptors, section 7.2.3.2; bits of the third doubleword
export const TXD_LENGTH_MASK = 0xffff;
export const TXD_TYPE_SHIFT = 20;
export const TXD_TYPE_MASK = 0xf;
export const TXD_TYPE_CONTEXT = 2;
export const TXD_TYPE_DATA = 3;
export const TXD_EOP = 1 << 24;
export const TXD_IFCS = 1 << 25;
export const TXD_LEGACY_IC = 1 << 26;
export const TXD_RS = 1 << 27;
export const TXD_DEXT = 1 << 29;
export const TXD_VLE = 1 << 30;
export const TXD_TSE = 1 << 31;
export const TXD_RESERVED = (1 << 26) | (1 << 28) | (3 << 16);
export const TXD_LEGACY_CSO_SHIFT = 16;
// ... and of the fourth
export const TXD_DD = 1 << 0;
export const TXD_STATUS_MASK = 0xf;
export const TXD_INDEX_SHIFT = 4;
export const TXD_INDEX_MASK = 7;
export const TXD_IXSM = 1 << 8;
export const TXD_TXSM = 1 << 9;
export const TXD_IPSEC = 1 << 10;
export const TXD_PAYLEN_SHIFT = 14;
export const TXD_LEGACY_CSS_SHIFT = 8;
export const TXD_LEGACY_VLAN_SHIFT = 16;

// Transmit context descriptor, section 7.2.3.2.3
export const TXC_IPLEN_MASK = 0x1ff;
export const TXC_MACLEN_SHIFT = 9;
export const TXC_MACLEN_MASK = 0x7f;
export const TXC_VLAN_SHIFT = 16;
export const TXC_IPV4 = 1 << 10;
export const TXC_L4T_SHIFT = 11;
export const TXC_L4T_MASK = 3;
export const TXC_L4T_UDP = 0;
export const TXC_L4T_TCP = 1;
export const TXC_L4T_SCTP = 2;
export const TXC_L4LEN_SHIFT = 8;
export const TXC_L4LEN_MASK = 0xff;
export const TXC_MSS_SHIFT = 16;
