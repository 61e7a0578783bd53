/**
 * Compares what went into a forwarder with what came out, in bounded memory, however long the captures are.
 *
 * @module
 */
import { CaptureReader } from "../net/capture_reader.ts";
import { FrameHash, FrameWindow, WINDOW } from "./frame_window.ts";

const SHORTEST_FRAME = 60;
const MAC = 6;
const ADDRESSES = 2 * MAC;
const TAG_BYTES = 4;
/** 802.1Q and 802.1ad, and what came before the latter. */
const TAGS: readonly number[] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
/** Bits of IPv4's fragment field that are not 0 in a fragment. */
const FRAGMENT_BITS = 0x3fff;
/** IPv6 extension headers of 8 octets and more: hop-by-hop, routing, destination, mobility, HIP, shim6 (RFC 7045). */
const EXTENSIONS: readonly number[] = [0, 43, 60, 135, 139, 140];
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const IPV6_HEADER = 40;
/** What begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: readonly number[] = [6, 17, 33, 132, 136];
const PORTS_BYTES = 4;

/** What differs between two captures. */
export interface PcapDifference {
  /** Frames that came out and did not go in like that. */
  readonly corrupted: number;
  /** Frames that came out behind a later one of their flow. */
  readonly reordered: number;
}

/**
 * Compares two capture files, pcap or pcapng, frame by frame, with the MAC addresses swapped back and short frames
 * padded to the 60 octets that Ethernet carries at least. Each file is read once, side by side.
 *
 * @param window How far from the place where it is expected a frame is looked for: half of it ahead, all of it behind. A
 * power of two.
 */
export function comparePcaps(
  inFile: string,
  outFile: string,
  window: number = WINDOW,
): PcapDifference {
  const given = new CaptureReader(inFile);
  let back: CaptureReader | undefined;
  try {
    back = new CaptureReader(outFile);
    return compare(given, back, window);
  } finally {
    given.close();
    back?.close();
  }
}

function compare(
  given: CaptureReader,
  back: CaptureReader,
  window: number,
): PcapDifference {
  const expected = new FrameWindow(window);
  const flows = new Flows(window);
  const sought = new FrameHash();
  const added = new FrameHash();
  let corrupted = 0;
  let reordered = 0;
  while (back.next()) {
    hashSwapped(sought, back);
    let at = expected.take(sought);
    while (at < 0 && expected.hasRoom && given.next()) {
      hashPadded(added, given);
      expected.add(added);
      if (added.low === sought.low && added.high === sought.high) {
        at = expected.take(sought);
      }
    }
    if (at < 0) corrupted++;
    else if (flows.isBehind(flowOf(back), at)) reordered++;
  }
  return { corrupted, reordered };
}

/** A frame that went in, as Ethernet carries it. */
function hashPadded(
  hash: FrameHash,
  { bytes, offset, length }: CaptureReader,
): void {
  hash.begin(Math.max(length, SHORTEST_FRAME)).add(
    bytes,
    offset,
    offset + length,
  ).addZeros(SHORTEST_FRAME - length);
}

/** A frame that came out, with its addresses as they went in. */
function hashSwapped(
  hash: FrameHash,
  { bytes, offset, length }: CaptureReader,
): void {
  hash.begin(length)
    .add(bytes, offset + MAC, offset + ADDRESSES)
    .add(bytes, offset, offset + MAC)
    .add(bytes, offset + ADDRESSES, offset + length);
}

/** Where each flow has got to. */
class Flows {
  readonly #last = new Map<number, number>();

  /** @param most Flows that are kept. */
  constructor(readonly most: number) {}

  /** Notes a frame of a flow. True when a later one came before it. */
  isBehind(flow: number, position: number): boolean {
    const last = this.#last.get(flow);
    if (last !== undefined && position < last) return true;
    if (last === undefined && this.#last.size === this.most) this.#forget();
    this.#last.set(flow, position);
    return false;
  }

  /** The half that was seen first is forgotten: its frames are not expected any more. */
  #forget(): void {
    let left = this.most / 2;
    for (const flow of this.#last.keys()) {
      if (left-- === 0) return;
      this.#last.delete(flow);
    }
  }
}

/** Addresses, protocol and ports, behind any tags and extension headers; of other packets, the EtherType. */
function flowOf({ bytes, offset, length }: CaptureReader): number {
  const end = offset + length;
  const hash = new FrameHash();
  let at = offset + ADDRESSES;
  while (at + 2 + TAG_BYTES <= end && TAGS.includes(u16(bytes, at))) {
    at += TAG_BYTES;
  }
  const type = u16(bytes, at);
  const network = at + 2;
  hash.begin(type);
  if (type === ETHERTYPE_IPV4) return flowOfIpv4(hash, bytes, network, end);
  if (type === ETHERTYPE_IPV6) return flowOfIpv6(hash, bytes, network, end);
  return hash.number;
}

function flowOfIpv4(
  hash: FrameHash,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const protocol = bytes[at + 9];
  hash.add(bytes, at + 9, at + 10).add(bytes, at + 12, at + 20);
  const isFragment = (u16(bytes, at + 6) & FRAGMENT_BITS) !== 0;
  const transport = at + (bytes[at] & 0xf) * 4;
  return isFragment
    ? hash.number
    : withPorts(hash, bytes, protocol, transport, end);
}

function flowOfIpv6(
  hash: FrameHash,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  hash.add(bytes, at + 8, at + IPV6_HEADER);
  let protocol = bytes[at + 6];
  let next = at + IPV6_HEADER;
  while (next + 8 <= end) {
    // Fragments carry no ports but for the first.
    if (protocol === FRAGMENT) return hash.number;
    if (EXTENSIONS.includes(protocol)) {
      protocol = bytes[next];
      next += (bytes[next + 1] + 1) * 8;
    } else if (protocol === AUTHENTICATION) {
      protocol = bytes[next];
      next += (bytes[next + 1] + 2) * 4;
    } else break;
  }
  hash.begin(hash.low ^ protocol);
  hash.add(bytes, at + 8, at + IPV6_HEADER);
  return withPorts(hash, bytes, protocol, next, end);
}

function withPorts(
  hash: FrameHash,
  bytes: Uint8Array,
  protocol: number,
  at: number,
  end: number,
): number {
  const hasPorts = WITH_PORTS.includes(protocol) && at + PORTS_BYTES <= end;
  return hasPorts ? hash.add(bytes, at, at + PORTS_BYTES).number : hash.number;
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}
