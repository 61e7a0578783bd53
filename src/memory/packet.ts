/**
 * A cursor over a packet handle, for readable code.
 *
 * @module
 */
import { PoolError } from "../errors.ts";
import { type Handle, INDEX_MASK, Mempool } from "./mempool.ts";

/** What the device says of a received packet: bits of {@linkcode Packet.flags}. */
export const PacketFlag = {
  /** `rssHash` is valid. */
  RssHash: 1 << 0,
  /** A VLAN tag was taken out of the frame; it is in `vlanTag`. */
  VlanStripped: 1 << 1,
  /** The IPv4 header checksum was checked and is right. */
  IpChecksumGood: 1 << 2,
  /** The IPv4 header checksum was checked and is wrong. */
  IpChecksumBad: 1 << 3,
  /** The TCP, UDP or SCTP checksum was checked and is right. */
  L4ChecksumGood: 1 << 4,
  /** The TCP, UDP or SCTP checksum was checked and is wrong. */
  L4ChecksumBad: 1 << 5,
  /** Too short, too long, or damaged on the wire; received because bad frames are stored. */
  Damaged: 1 << 6,
} as const;

const CHECKSUM_BYTES = 2;
/** How a request stands in {@linkcode Mempool.offloads}. */
const CHECKSUM_OFFSET_SHIFT = 16;
const MAX_CHECKSUM_OFFSET = 0x7fff;
const MAX_PAYLOAD = 0xffff;

/**
 * Looks at one packet at a time. Make one, then move it: `packet.at(handle)`.
 *
 * @example
 * ```ts
 * import { Mempool, Packet } from "@ixl/deno";
 *
 * const pool = Mempool.create({ entries: 8, memory: { backing: "plain" } });
 * const packet = new Packet().at(pool.allocate());
 * packet.write(new Uint8Array([1, 2, 3]));
 * console.log(packet.length); // 3
 * packet.free();
 * pool.destroy();
 * ```
 */
export class Packet {
  /** The packet under the cursor; 0 before the first {@linkcode at}. */
  handle: Handle = 0;
  /** All bytes of the packet's pool; the packet's own start at `offset`. */
  u8: Uint8Array = new Uint8Array(0);
  /** Index of the packet's first byte in `u8`. */
  offset = 0;
  #pool: Mempool | undefined;
  #index = 0;

  /** Moves the cursor. Throws a PoolError for a handle of no known pool, and in debug mode for a freed one. */
  at(handle: Handle): this {
    let pool = this.#pool;
    if (pool === undefined || pool.id !== handle >>> 20) {
      pool = Mempool.of(handle);
      this.#pool = pool;
      this.u8 = pool.u8;
    }
    this.handle = handle;
    this.#index = handle & INDEX_MASK;
    this.offset = pool.offset(handle);
    return this;
  }

  /** The pool that the packet came from. */
  get pool(): Mempool {
    if (this.#pool !== undefined) return this.#pool;
    throw new PoolError("the cursor is on no packet yet: call at(handle)");
  }

  /** Bytes of this segment, without the frame check sequence. */
  get length(): number {
    return this.pool.lengths[this.#index];
  }

  /** Sets the bytes of this segment. Throws a RangeError above the entry's size. */
  set length(bytes: number) {
    const { entrySize, lengths } = this.pool;
    if (!(bytes >= 0 && bytes <= entrySize)) {
      throw new RangeError(
        `${bytes} bytes do not fit an entry of ${entrySize}`,
      );
    }
    lengths[this.#index] = bytes;
  }

  /** Bytes of all segments. */
  get totalLength(): number {
    let total = this.length;
    for (let next = this.nextSegment; next !== 0;) {
      const pool = Mempool.of(next);
      total += pool.lengths[next & INDEX_MASK];
      next = pool.nextSegments[next & INDEX_MASK];
    }
    return total;
  }

  /** What the device said of it: bits of {@linkcode PacketFlag}. */
  get flags(): number {
    return this.pool.flags[this.#index];
  }

  /** VLAN tag control information, when `PacketFlag.VlanStripped` is set. */
  get vlanTag(): number {
    return this.pool.vlanTags[this.#index];
  }

  /** RSS hash, when `PacketFlag.RssHash` is set. */
  get rssHash(): number {
    return this.pool.rssHashes[this.#index];
  }

  /**
   * Asks for a checksum to be completed on sending: by the device where it can (`DeviceFeatures.txChecksum`), else by
   * the driver. It is computed from `start` on to the end of the packet, and what stands in its place counts in: the sum
   * of the pseudo header. The request goes with one sending.
   *
   * @param start Where the TCP or UDP header begins in the frame.
   * @param offset Where the checksum is in that header: 16 for TCP, 6 for UDP.
   * @throws {RangeError} when the checksum does not lie in the first segment.
   *
   * @example
   * ```ts
   * import { Mempool, Packet } from "@ixl/deno";
   * import { IP_PROTOCOL, pseudoHeaderIpv4, writeU16 } from "@ixl/deno/net";
   *
   * const pool = Mempool.create({ entries: 8, memory: { backing: "plain" } });
   * const packet = new Packet().at(pool.allocate());
   * packet.length = 60; // Ethernet, IPv4, and UDP from byte 34 on
   * const { u8, offset } = packet;
   * writeU16(u8, offset + 40, pseudoHeaderIpv4(u8, offset + 14, IP_PROTOCOL.udp, 26));
   * packet.requestChecksum(34, 6);
   * packet.free();
   * pool.destroy();
   * ```
   */
  requestChecksum(start: number, offset: number): void {
    const end = start + offset + CHECKSUM_BYTES;
    const isPlace = Number.isInteger(start) && Number.isInteger(offset) &&
      start > 0 && offset >= 0 && offset <= MAX_CHECKSUM_OFFSET &&
      end <= this.length;
    if (!isPlace) {
      throw new RangeError(
        `a checksum ${offset} bytes from ${start} does not lie in the ${this.length} bytes of the segment`,
      );
    }
    const { offloads, segmentSizes } = this.pool;
    offloads[this.#index] = start | (offset << CHECKSUM_OFFSET_SHIFT);
    segmentSizes[this.#index] = 0;
  }

  /**
   * Asks the device to cut the packet into TCP segments on sending, each with the packet's headers and a checksum of its
   * own, to be called after {@linkcode requestChecksum}. The length in the IP header and that in the sum of the pseudo
   * header are those of the whole packet. Only where `DeviceFeatures.segmentation` is true: elsewhere the
   * packet is dropped and counted in `txErrors`.
   *
   * @param payloadBytes TCP payload of each segment but the last.
   * @throws {RangeError} for no possible size.
   * @throws {PoolError} when no checksum was asked for.
   */
  requestSegmentation(payloadBytes: number): void {
    if (!(payloadBytes > 0 && payloadBytes <= MAX_PAYLOAD)) {
      throw new RangeError(`${payloadBytes} is no size of a TCP segment`);
    }
    const { offloads, segmentSizes } = this.pool;
    if (offloads[this.#index] === 0) {
      throw new PoolError(
        "segments need checksums: call requestChecksum() before requestSegmentation()",
      );
    }
    segmentSizes[this.#index] = payloadBytes;
  }

  /** True when the packet still asks for a checksum: so may one that was received (`virtio: { with }`). */
  get requestsChecksum(): boolean {
    return this.pool.offloads[this.#index] !== 0;
  }

  /** Handle of the next segment; 0 on the last. */
  get nextSegment(): Handle {
    return this.pool.nextSegments[this.#index];
  }

  /** Appends a segment; its memory belongs to the packet from then on. */
  set nextSegment(handle: Handle) {
    this.pool.nextSegments[this.#index] = handle;
  }

  /** A view of this segment's bytes. Allocates: not for the data path. */
  bytes(): Uint8Array {
    return this.u8.subarray(this.offset, this.offset + this.length);
  }

  /** Copies `data` in from the start of this segment and sets its length. */
  write(data: Uint8Array): void {
    this.length = data.length;
    this.u8.set(data, this.offset);
  }

  /** Frees the packet with all its segments. */
  free(): void {
    Mempool.freeChain(this.handle);
    this.handle = 0;
  }
}
