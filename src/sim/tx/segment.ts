/**
 * Segmentation, section 7.2.4: cuts a large send into frames and writes each
 * one's headers from those that software gave for all.
 *
 * @module
 */

import {
  TXC_IPLEN_MASK,
  TXC_IPV4,
  TXC_L4LEN_MASK,
  TXC_L4LEN_SHIFT,
  TXC_L4T_MASK,
  TXC_L4T_SHIFT,
  TXC_L4T_TCP,
  TXC_L4T_UDP,
  TXC_MACLEN_MASK,
  TXC_MACLEN_SHIFT,
  TXC_MSS_SHIFT,
  TXD_IXSM,
  TXD_TXSM,
} from "../registers/bits.ts";
import { fold, sumBytes } from "../checksum.ts";
import { copyFromHost } from "../copy.ts";
import type { Core } from "../core.ts";
import { Frame } from "../frame.ts";

/** The longest send: PAYLEN has 18 bits, the headers lie before it. */
const LARGEST_SEND = (1 << 18) + 1024;
const ALL_ONES = 0xffff;
const IPV4_LENGTH = 2;
const IPV4_IDENTIFICATION = 4;
const IPV4_CHECKSUM = 10;
const IPV6_LENGTH = 4;
const IPV6_HEADER = 40;
const TCP_SEQUENCE = 4;
const TCP_FLAGS = 12;
const TCP_CHECKSUM = 16;
const TCP_FLAG_BITS = 0xfff;
const TCP_MINIMUM = 20;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;
const UDP_HEADER = 8;
const MIDDLE_SHIFT = 16;

/** Cuts one send after the other. */
export class Segmenter {
  /** The large send as software gave it, headers first. */
  readonly frame: Frame = new Frame(LARGEST_SEND);
  /** The same as a place to copy from. */
  readonly u8: Uint8Array = this.frame.u8;
  readonly u32: Uint32Array = this.frame.u32;
  offset = 0;

  readonly #core: Core;
  #options = 0;
  #isIpv4 = false;
  #isTcp = false;
  #ip = 0;
  #l4 = 0;
  #headers = 0;
  #segmentSize = 0;
  /** The segment that {@linkcode next} makes, and the payload before it. */
  #number = 0;
  #done = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Takes the send that lies in {@linkcode frame}, its context descriptor and
   * the options of its first data descriptor.
   *
   * @returns what is wrong with them, or an empty string
   */
  begin(contexts: Uint32Array, at: number, options: number): string {
    const lengths = contexts[at];
    const command = contexts[at + 2];
    const sizes = contexts[at + 3];
    const type = (command >>> TXC_L4T_SHIFT) & TXC_L4T_MASK;
    this.#options = options;
    this.#isIpv4 = (command & TXC_IPV4) !== 0;
    this.#isTcp = type === TXC_L4T_TCP;
    this.#ip = (lengths >>> TXC_MACLEN_SHIFT) & TXC_MACLEN_MASK;
    this.#l4 = this.#ip + (lengths & TXC_IPLEN_MASK);
    const l4Length = (sizes >>> TXC_L4LEN_SHIFT) & TXC_L4LEN_MASK;
    this.#headers = this.#l4 + l4Length;
    this.#segmentSize = sizes >>> TXC_MSS_SHIFT;
    this.#number = 0;
    this.#done = 0;
    if (!this.#isTcp && type !== TXC_L4T_UDP) {
      return "only TCP and UDP can be segmented";
    }
    if (this.#segmentSize === 0) return "segmentation with an MSS of 0";
    const least = this.#isTcp ? TCP_MINIMUM : UDP_HEADER;
    const fits = l4Length >= least && this.#headers < this.frame.length;
    if (!fits || (this.#ip & 1) !== 0 || (this.#l4 & 1) !== 0) {
      return "a context's header lengths do not fit the send";
    }
    return "";
  }

  /** Bytes of headers; PAYLEN is what follows them. */
  get headers(): number {
    return this.#headers;
  }

  /** Bytes of the longest segment with its headers. */
  get longest(): number {
    return this.#headers + this.#segmentSize;
  }

  /** Makes the next segment in `out`; false when there is none left. */
  next(out: Frame): boolean {
    const left = this.frame.length - this.#headers - this.#done;
    if (left <= 0) return false;
    const size = Math.min(left, this.#segmentSize);
    this.offset = 0;
    copyFromHost(this, out, 0, this.#headers);
    this.offset = this.#headers + this.#done;
    copyFromHost(this, out, this.#headers, size);
    out.length = this.#headers + size;
    this.#writeIp(out);
    if (this.#isTcp) this.#writeTcp(out, left === size);
    else store16(out.u8, this.#l4 + UDP_LENGTH, out.length - this.#l4);
    if ((this.#options & TXD_TXSM) !== 0) this.#insertL4Checksum(out);
    this.#number++;
    this.#done += size;
    return true;
  }

  #writeIp(out: Frame): void {
    const { u8, u32 } = out;
    const ip = this.#ip;
    if (!this.#isIpv4) {
      store16(u8, ip + IPV6_LENGTH, out.length - ip - IPV6_HEADER);
      return;
    }
    const identification = load16(u8, ip + IPV4_IDENTIFICATION);
    store16(u8, ip + IPV4_LENGTH, out.length - ip);
    store16(u8, ip + IPV4_IDENTIFICATION, identification + this.#number);
    if ((this.#options & TXD_IXSM) === 0) return;
    store16(u8, ip + IPV4_CHECKSUM, 0);
    storeSum(u8, ip + IPV4_CHECKSUM, ~fold(sumBytes(u32, u8, ip, this.#l4)));
  }

  /** Which flags a segment carries depends on its place (7.2.4.7). */
  #writeTcp(out: Frame, last: boolean): void {
    const { u8 } = out;
    const { registers } = this.#core;
    const at = this.#l4;
    const sequence = load16(u8, at + TCP_SEQUENCE) * 0x10000 +
      load16(u8, at + TCP_SEQUENCE + 2) + this.#done;
    store16(u8, at + TCP_SEQUENCE, sequence / 0x10000);
    store16(u8, at + TCP_SEQUENCE + 2, sequence);
    let mask = TCP_FLAG_BITS;
    if (!last) {
      mask = registers.get("DTXTCPFLGL");
      if (this.#number > 0) mask >>>= MIDDLE_SHIFT;
    } else if (this.#number > 0) mask = registers.get("DTXTCPFLGH");
    const field = load16(u8, at + TCP_FLAGS);
    store16(u8, at + TCP_FLAGS, field & (~TCP_FLAG_BITS | mask));
  }

  /** Software left the pseudo header's sum, without a length, in the field. */
  #insertL4Checksum(out: Frame): void {
    const { u8, u32, length } = out;
    const l4 = this.#l4;
    const field = l4 + (this.#isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    const bytes = length - l4;
    const swapped = ((bytes & 0xff) << 8) | (bytes >>> 8);
    const sum = ~fold(sumBytes(u32, u8, l4, length) + swapped) & ALL_ONES;
    storeSum(u8, field, sum === 0 && !this.#isTcp ? ALL_ONES : sum);
  }
}

function load16(u8: Uint8Array, at: number): number {
  return (u8[at] << 8) | u8[at + 1];
}

function store16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >>> 8;
  u8[at + 1] = value;
}

/** Sums are in the byte order of the machine, see {@linkcode sumBytes}. */
function storeSum(u8: Uint8Array, at: number, sum: number): void {
  u8[at] = sum;
  u8[at + 1] = sum >>> 8;
}
