/**
 * What the descriptors of these chips have of their own: four 32-bit words each, as the advanced ones.
 *
 * A receive descriptor of the 8254x as software writes it (317453 section 3.2.3):
 *
 *     word 0, 1   address of the packet buffer
 *     word 2, 3   0, which clears DD
 *
 * and as hardware writes it back:
 *
 *     word 0, 1   as they were
 *     word 2      15:0 length, 31:16 checksum of the packet
 *     word 3      7:0 status, 15:8 errors, 31:16 VLAN tag
 *
 * The 82574 has extended receive descriptors (318694, chapter 7): the words are those of the advanced ones where
 * this driver looks, but for the packet type.
 *
 * Both take the legacy transmit descriptor (317453 section 3.3.3):
 *
 *     word 0, 1   address of the data
 *     word 2      15:0 length, 23:16 checksum offset, 31:24 command
 *     word 3      3:0 status, 15:8 checksum start, 31:16 VLAN tag
 *
 * EOP, IFCS, RS and DD stand where the advanced one has them; DEXT is clear, and there is no total length.
 *
 * @module
 */
import {
  ADVANCED_RX,
  type RxErrors,
  type RxLayout,
  Tx,
  type TxLayout,
} from "../ring/descriptors.ts";
import { bit } from "../register.ts";

/** Status: "ignore checksum indication". */
const IXSM = bit(2);

/** What is where in a receive descriptor. */
export interface RxFormat {
  /** Words and fields. */
  readonly layout: RxLayout;
  /** Error bits. */
  readonly errors: RxErrors;
}

/** The 8254x: the status word has the errors in bits 15 to 8. */
export const LEGACY_RX: RxFormat = {
  layout: {
    statusWord: 3,
    lengthWord: 2,
    kinds: 0,
    hashTypes: 0,
    unchecked: IXSM,
    errorShift: 11,
  },
  errors: { damaged: bit(15), l4: bit(29), ip: bit(30), unreliable: 0 },
};

/** The 82574: TCPE, IPE and RXE are the highest bits of the status word. */
export const EXTENDED_RX: RxFormat = {
  layout: { ...ADVANCED_RX, unchecked: IXSM },
  errors: { damaged: bit(31), l4: bit(29), ip: bit(30), unreliable: 0 },
};

/** What all of them send with. */
export const LEGACY_TX: TxLayout = { command: Tx.IFCS, totals: 0 };
