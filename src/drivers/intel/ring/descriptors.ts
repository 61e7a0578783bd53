/**
 * The words of advanced descriptors, which 82576, I350 and the 82599 family share: four 32-bit words each,
 * little-endian. Sections of the 82599 datasheet (331520, revision 3.4); the 82576's (320961) has them in 7.1.5 and
 * 7.2.2.
 *
 * @module
 */

/** Bytes of a descriptor (7.1.6, 7.2.3.2.4). */
export const DESCRIPTOR_BYTES = 16;
/** Words of a descriptor. */
export const DESCRIPTOR_WORDS = 4;

/** A ring by the words of its descriptors: word `w` of descriptor `d` is `views[w][4 * d]`. */
export function wordViews(
  ring: Int32Array,
): readonly [Int32Array, Int32Array, Int32Array, Int32Array] {
  const view = (word: number) =>
    new Int32Array(
      ring.buffer,
      ring.byteOffset + word * ring.BYTES_PER_ELEMENT,
      ring.length - (DESCRIPTOR_WORDS - 1),
    );
  return [view(0), view(1), view(2), view(3)];
}

/**
 * Receive, as software writes it (7.1.6.1):
 *
 *     word 0, 1   address of the packet buffer
 *     word 2, 3   address of the header buffer; 0 without header splitting, which also clears DD
 *
 * and as hardware writes it back (7.1.6.2):
 *
 *     word 0      3:0 RSS type, 16:4 packet type, 20:17 RSC count, 30:21 header length, 31 SPH
 *     word 1      RSS hash (with RXCSUM.PCSD)
 *     word 2      19:0 extended status, 31:20 extended errors
 *     word 3      15:0 packet length, 31:16 VLAN tag
 */
export const Rx = {
  /** Word 0: what was hashed; 0 for nothing (table 7-19). */
  RSS_TYPE: 0xf,
  /** Word 0: the hash field holds a flow director filter, not a hash. */
  RSS_TYPE_FDIR: 0xf,
  /** Word 0, packet type: a UDP header was found (table 7-20). */
  PTYPE_UDP: 1 << 9,
  /** Word 0, packet type: an SCTP header was found. */
  PTYPE_SCTP: 1 << 10,
  /** Word 2: descriptor done. */
  DD: 1 << 0,
  /** Word 2: end of packet; everything but the length holds only with it. */
  EOP: 1 << 1,
  /** Word 2: the frame had a VLAN tag, which the card took out. */
  VP: 1 << 3,
  /** Word 2: a TCP, UDP or SCTP checksum was looked at. */
  L4CS: 1 << 5,
  /** Word 2: an IPv4 header checksum was looked at. */
  IPCS: 1 << 6,
  /** Word 3: bytes in this buffer. */
  LENGTH: 0xffff,
  /** Word 3: the VLAN tag above these bits. */
  VLAN_SHIFT: 16,
} as const;

/**
 * Transmit, an advanced data descriptor (7.2.3.2.4):
 *
 *     word 0, 1   address of the data
 *     word 2      15:0 DTALEN, 19:18 MAC, 23:20 DTYP, 31:24 DCMD
 *     word 3      3:0 STA, 6:4 IDX, 7 CC, 13:8 POPTS, 31:14 PAYLEN
 *
 * and as hardware writes it back, where RS asked for it (7.2.3.2.5): DD in word 3, the rest is not to be used.
 */
export const Tx = {
  /** Word 2, DTYP: data. */
  DTYP_DATA: 3 << 20,
  /** Word 2, DCMD: end of packet. */
  EOP: 1 << 24,
  /** Word 2, DCMD: insert the frame check sequence. */
  IFCS: 1 << 25,
  /** Word 2, DCMD: report status, that is, set DD. */
  RS: 1 << 27,
  /** Word 2, DCMD: this is an advanced descriptor. */
  DEXT: 1 << 29,
  /** Word 3, STA: descriptor done. */
  DD: 1 << 0,
  /** Word 3: bytes of the whole packet above these bits. */
  PAYLEN_SHIFT: 14,
} as const;

/** Word 2 of every data descriptor, to be combined with its length and with {@linkcode Tx.EOP} on the last. */
export const TX_DATA: number = Tx.DTYP_DATA | Tx.DEXT | Tx.IFCS;

/** Where a family has what advanced descriptors have elsewhere: for older formats with the same bits. */
export interface RxLayout {
  /** Which word has the status. */
  readonly statusWord: number;
  /** Which word has the length. */
  readonly lengthWord: number;
  /** Word 0: the bits that say what kind of packet it is; 0 where the card leaves the address there. */
  readonly kinds: number;
  /** Word 0: what was hashed; 0 where the card writes no hash. */
  readonly hashTypes: number;
  /** Status: the card did not look at any checksum, whatever else it says; 0 where it always says which. */
  readonly unchecked: number;
  /** How far right the status goes so that its three error bits become bits 4 to 2. */
  readonly errorShift: number;
}

/** Where advanced descriptors have it. */
export const ADVANCED_RX: RxLayout = {
  statusWord: 2,
  lengthWord: 3,
  kinds: ~0,
  hashTypes: Rx.RSS_TYPE,
  unchecked: 0,
  errorShift: 27,
};

/** What a family writes into transmit descriptors. */
export interface TxLayout {
  /** Word 2 of every descriptor, besides its length, EOP and RS. */
  readonly command: number;
  /** Word 3: the bits for the length of the whole packet; 0 where there are none. */
  readonly totals: number;
}

/** What advanced data descriptors want. */
export const ADVANCED_TX: TxLayout = {
  command: TX_DATA,
  totals: ~0 << Tx.PAYLEN_SHIFT,
};

/** Where a family has its receive errors: among the highest three bits of word 2. */
export interface RxErrors {
  /** The frame is damaged; only where bad frames are stored. */
  readonly damaged: number;
  /** The TCP, UDP or SCTP checksum is wrong. */
  readonly l4: number;
  /** The IPv4 header checksum is wrong. */
  readonly ip: number;
  /** Word 0: the packet type whose L4 error is not to be believed, by the chip's errata. */
  readonly unreliable: number;
}
