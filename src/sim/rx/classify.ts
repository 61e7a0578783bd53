/**
 * Looks into a received frame: VLAN tag, packet type, checksum verdicts and
 * RSS hash, as they go into the descriptor (sections 7.1.2.8, 7.1.6.2, 7.1.11).
 *
 * @module
 */

import {
  ETQF_ENABLE,
  ETQF_TYPE_MASK,
  ETQS_QUEUE_ENABLE,
  ETQS_QUEUE_MASK,
  ETQS_QUEUE_SHIFT,
  MRQC_IPV4,
  MRQC_IPV6,
  MRQC_MODE_MASK,
  MRQC_MODE_RSS,
  MRQC_TCP_IPV4,
  MRQC_TCP_IPV6,
  MRQC_UDP_IPV4,
  MRQC_UDP_IPV6,
  RSS_TYPE_IPV4,
  RSS_TYPE_IPV6,
  RSS_TYPE_NONE,
  RSS_TYPE_TCP_IPV4,
  RSS_TYPE_TCP_IPV6,
  RSS_TYPE_UDP_IPV4,
  RSS_TYPE_UDP_IPV6,
  RXCSUM_IPPCSE,
  RXD_ERROR_IPE,
  RXD_ERROR_L4E,
  RXD_IPCS,
  RXD_L4I,
  RXD_TYPE_IPV4,
  RXD_TYPE_IPV4_OPTIONS,
  RXD_TYPE_IPV6,
  RXD_TYPE_IPV6_EXTENSIONS,
  RXD_TYPE_L2,
  RXD_TYPE_L2_FILTER_SHIFT,
  RXD_TYPE_SCTP,
  RXD_TYPE_TCP,
  RXD_TYPE_UDP,
  RXD_UDPV,
  VLNCTRL_VET_MASK,
} from "../registers/bits.ts";
import {
  fold,
  sumBytes,
  sumUsualAddresses,
  sumUsualHeader,
} from "../checksum.ts";
import type { Core } from "../core.ts";
import type { Frame } from "../frame.ts";
import type { Rss } from "./rss.ts";

const ETHERNET_HEADER = 14;
const TAG_LENGTH = 4;
const TYPE_OFFSET = 12;
const TYPE_IPV4 = 0x0800;
const TYPE_IPV6 = 0x86dd;
const IPV4_MINIMUM = 20;
const IPV6_HEADER = 40;
const FRAGMENT_MASK = 0x3fff;
const FRAGMENT_OFFSET_MASK = 0x1fff;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_SCTP = 132;
const NEXT_HOP_BY_HOP = 0;
const NEXT_ROUTING = 43;
const NEXT_FRAGMENT = 44;
const NEXT_DESTINATION = 60;
const MOST_EXTENSIONS = 8;
const TYPE_FILTERS = 8;
const UDP_HEADER = 8;
const TCP_HEADER = 20;
const UDP_CHECKSUM_OFFSET = 6;
const ALL_ONES = 0xffff;

/** Reads frames; the answers of the latest one are in its fields. */
export class Classifier {
  /** The 16-bit VLAN tag, or -1 where there is none. */
  vlan = -1;
  /** Packet type bits of the descriptor. */
  packetType = 0;
  /** The queue that an EtherType filter chooses, else 0. */
  typeQueue = 0;
  /** RSS type and hash; both zero where no hash is defined. */
  rssType = RSS_TYPE_NONE;
  hash = 0;
  /** Status and error bits of the descriptor, checksums only. */
  status = 0;
  errors = 0;
  /** What the hash's place holds when RXCSUM.PCSD is off (7.1.6.2). */
  fragmentWord = 0;

  readonly #core: Core;
  readonly #rss: Rss;
  /** VLNCTRL.VET, MRQC's field bits and RXCSUM, read once per change. */
  #vlanType = 0;
  #fields = 0;
  #rxcsum = 0;

  constructor(core: Core, rss: Rss) {
    this.#core = core;
    this.#rss = rss;
    this.configure();
    const { registers } = core;
    for (const name of ["VLNCTRL", "MRQC", "RXCSUM"] as const) {
      registers.onWrite(name, () => this.configure());
    }
  }

  /** Takes over the registers that it depends on. */
  configure(): void {
    const { registers } = this.#core;
    const mrqc = registers.get("MRQC");
    this.#vlanType = registers.get("VLNCTRL") & VLNCTRL_VET_MASK;
    this.#fields = (mrqc & MRQC_MODE_MASK) === MRQC_MODE_RSS ? mrqc : 0;
    this.#rxcsum = registers.get("RXCSUM");
  }

  /** Looks at the VLAN tag alone, as the filters need it. */
  findVlan(frame: Frame): void {
    const { u8 } = frame;
    const type = (u8[TYPE_OFFSET] << 8) | u8[TYPE_OFFSET + 1];
    this.vlan = type === this.#vlanType
      ? (u8[ETHERNET_HEADER] << 8) | u8[ETHERNET_HEADER + 1]
      : -1;
  }

  /** Looks at everything behind the tag that {@linkcode findVlan} found. */
  classify(frame: Frame): void {
    this.packetType = 0;
    this.typeQueue = 0;
    this.rssType = RSS_TYPE_NONE;
    this.hash = 0;
    this.status = 0;
    this.errors = 0;
    this.fragmentWord = 0;
    const { u8 } = frame;
    const l3 = this.vlan < 0 ? ETHERNET_HEADER : ETHERNET_HEADER + TAG_LENGTH;
    const type = (u8[l3 - 2] << 8) | u8[l3 - 1];
    if (type === TYPE_IPV4) this.#ipv4(frame, l3);
    else if (type === TYPE_IPV6) this.#ipv6(frame, l3);
    else this.#filterType(type);
  }

  /** The EtherType filters, section 7.1.2.3; they are not for IP. */
  #filterType(type: number): void {
    const { registers } = this.#core;
    for (let n = 0; n < TYPE_FILTERS; n++) {
      const filter = registers.get("ETQF", n);
      if ((filter & ETQF_ENABLE) === 0) continue;
      if ((filter & ETQF_TYPE_MASK) !== type) continue;
      this.packetType = RXD_TYPE_L2 | (n << RXD_TYPE_L2_FILTER_SHIFT);
      const queue = registers.get("ETQS", n);
      if ((queue & ETQS_QUEUE_ENABLE) === 0) return;
      this.typeQueue = (queue >>> ETQS_QUEUE_SHIFT) & ETQS_QUEUE_MASK;
      return;
    }
  }

  #ipv4(frame: Frame, l3: number): void {
    const { u8, u32 } = frame;
    const headerLength = (u8[l3] & 0xf) << 2;
    const totalLength = (u8[l3 + 2] << 8) | u8[l3 + 3];
    const end = l3 + totalLength;
    if (
      u8[l3] >>> 4 !== 4 || headerLength < IPV4_MINIMUM ||
      totalLength < headerLength || end > frame.length
    ) return;
    this.packetType = headerLength > IPV4_MINIMUM
      ? RXD_TYPE_IPV4 | RXD_TYPE_IPV4_OPTIONS
      : RXD_TYPE_IPV4;
    const l4 = l3 + headerLength;
    const usual = l4 === ETHERNET_HEADER + IPV4_MINIMUM;
    const sum = usual ? sumUsualHeader(u32) : sumBytes(u32, u8, l3, l4);
    this.status = RXD_IPCS;
    if (fold(sum) !== ALL_ONES) {
      this.errors = RXD_ERROR_IPE;
    }
    const fragment = (u8[l3 + 6] << 8) | u8[l3 + 7];
    const protocol = u8[l3 + 9];
    if ((fragment & FRAGMENT_MASK) !== 0) {
      this.#ipv4Fragment(frame, l3, l4, end, protocol, fragment);
      return;
    }
    this.fragmentWord = (u8[l3 + 4] << 8) | u8[l3 + 5];
    const pseudo = usual
      ? sumUsualAddresses(u32)
      : sumBytes(u32, u8, l3 + 12, l3 + IPV4_MINIMUM);
    const whole = this.#layer4(frame, l4, end, protocol, pseudo);
    this.#hashIpv4(u8, l3, l4, whole ? protocol : 0);
  }

  /** Fragments carry no ports; the first of UDP has a checksum to note. */
  #ipv4Fragment(
    frame: Frame,
    l3: number,
    l4: number,
    end: number,
    protocol: number,
    fragment: number,
  ): void {
    const { u8, u32 } = frame;
    const identification = (u8[l3 + 4] << 8) | u8[l3 + 5];
    this.fragmentWord = identification;
    if (protocol === PROTOCOL_UDP) {
      const first = (fragment & FRAGMENT_OFFSET_MASK) === 0;
      const at = l4 + UDP_CHECKSUM_OFFSET;
      if (first && end - l4 >= UDP_HEADER && (u8[at] | u8[at + 1]) !== 0) {
        this.status |= RXD_UDPV;
      }
      if ((this.#rxcsum & RXCSUM_IPPCSE) !== 0) {
        const sum = fold(sumBytes(u32, u8, l4, end));
        this.fragmentWord = identification | (sum << 16);
      }
    }
    this.#hashIpv4(u8, l3, l4, 0);
  }

  #hashIpv4(u8: Uint8Array, l3: number, l4: number, protocol: number): void {
    const fields = this.#fields;
    if (fields === 0) return;
    const rss = this.#rss;
    const tcp = protocol === PROTOCOL_TCP && (fields & MRQC_TCP_IPV4) !== 0;
    const udp = protocol === PROTOCOL_UDP && (fields & MRQC_UDP_IPV4) !== 0;
    if (tcp || udp) {
      this.rssType = tcp ? RSS_TYPE_TCP_IPV4 : RSS_TYPE_UDP_IPV4;
      this.hash = l4 - l3 === IPV4_MINIMUM
        ? rss.hash12(u8, l3 + 12)
        : rss.hashPieces(u8, l3 + 12, 8, l4, 4);
    } else if ((fields & MRQC_IPV4) !== 0) {
      this.rssType = RSS_TYPE_IPV4;
      this.hash = rss.hash(u8, l3 + 12, 8);
    }
  }

  #ipv6(frame: Frame, l3: number): void {
    const { u8, u32 } = frame;
    const payload = (u8[l3 + 4] << 8) | u8[l3 + 5];
    const end = l3 + IPV6_HEADER + payload;
    if (u8[l3] >>> 4 !== 6 || end > frame.length) return;
    this.packetType = RXD_TYPE_IPV6;
    let next = u8[l3 + 6];
    let l4 = l3 + IPV6_HEADER;
    for (let i = 0; i < MOST_EXTENSIONS && isExtension(next); i++) {
      this.packetType |= RXD_TYPE_IPV6_EXTENSIONS;
      if (l4 + 8 > end) return;
      // No ports are taken from a fragment.
      const follows = u8[l4];
      const length = next === NEXT_FRAGMENT ? 8 : (u8[l4 + 1] + 1) * 8;
      l4 += length;
      if (next === NEXT_FRAGMENT || l4 > end) {
        this.#hashIpv6(u8, l3, l4, 0);
        return;
      }
      next = follows;
    }
    const pseudo = sumBytes(u32, u8, l3 + 8, l3 + IPV6_HEADER);
    const whole = this.#layer4(frame, l4, end, next, pseudo);
    this.#hashIpv6(u8, l3, l4, whole ? next : 0);
  }

  #hashIpv6(u8: Uint8Array, l3: number, l4: number, protocol: number): void {
    const fields = this.#fields;
    const tcp = protocol === PROTOCOL_TCP && (fields & MRQC_TCP_IPV6) !== 0;
    const udp = protocol === PROTOCOL_UDP && (fields & MRQC_UDP_IPV6) !== 0;
    if (tcp || udp) {
      this.rssType = tcp ? RSS_TYPE_TCP_IPV6 : RSS_TYPE_UDP_IPV6;
      this.hash = this.#rss.hashPieces(u8, l3 + 8, 32, l4, 4);
    } else if ((fields & MRQC_IPV6) !== 0) {
      this.rssType = RSS_TYPE_IPV6;
      this.hash = this.#rss.hash(u8, l3 + 8, 32);
    }
  }

  /**
   * Names the protocol and judges its checksum.
   *
   * @returns whether its header, with the ports, is there
   */
  #layer4(
    frame: Frame,
    l4: number,
    end: number,
    protocol: number,
    addresses: number,
  ): boolean {
    const { u8, u32 } = frame;
    const length = end - l4;
    if (protocol === PROTOCOL_UDP) {
      if (length < UDP_HEADER) return false;
      this.packetType |= RXD_TYPE_UDP;
      const at = l4 + UDP_CHECKSUM_OFFSET;
      if ((u8[at] | u8[at + 1]) === 0) {
        this.#udpWithoutChecksum();
        return true;
      }
    } else if (protocol === PROTOCOL_TCP) {
      if (length < TCP_HEADER) return false;
      this.packetType |= RXD_TYPE_TCP;
    } else {
      if (protocol === PROTOCOL_SCTP) this.packetType |= RXD_TYPE_SCTP;
      return false;
    }
    const pseudo = addresses + (protocol << 8) +
      ((length & 0xff) << 8) + (length >>> 8);
    this.status |= RXD_L4I;
    if (fold(pseudo + sumBytes(u32, u8, l4, end)) !== ALL_ONES) {
      this.errors |= RXD_ERROR_L4E;
    }
    return true;
  }

  /**
   * No checksum was sent, so there is nothing to judge; the 82599 judges all
   * the same and finds an error (specification update, UDP checksum zero).
   */
  #udpWithoutChecksum(): void {
    if (this.#core.model !== "82599") return;
    this.status |= RXD_L4I;
    this.errors |= RXD_ERROR_L4E;
  }
}

function isExtension(next: number): boolean {
  return next === NEXT_HOP_BY_HOP || next === NEXT_ROUTING ||
    next === NEXT_FRAGMENT || next === NEXT_DESTINATION;
}
