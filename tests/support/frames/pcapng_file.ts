/**
 * Writes pcapng files block by block, as draft-ietf-opsawg-pcapng lays them
 * out, sound or not.
 *
 * @module
 */

/** An option: its code, and its value without padding. */
export type PcapngOption = readonly [code: number, value: Uint8Array];

/** What an Enhanced Packet Block or an obsolete Packet Block says. */
export interface PcapngPacket {
  interface?: number;
  /** Ticks of the interface. */
  time?: bigint;
  originalLength?: number;
  options?: PcapngOption[];
}

const INTERFACE_BLOCK = 1;
const PACKET_BLOCK = 2;
const SIMPLE_PACKET_BLOCK = 3;
const ENHANCED_PACKET_BLOCK = 6;
const SECTION_BLOCK = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** A file that grows. */
export class PcapngFile {
  readonly #octets: number[] = [];

  constructor(readonly littleEndian = true) {
    this.section();
  }

  /** The file so far. */
  bytes(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#octets);
  }

  /** Begins a section of the file's byte order. */
  section(minor = 0): this {
    const magic = this.#number(BYTE_ORDER_MAGIC, 4);
    const version = [...this.#number(1, 2), ...this.#number(minor, 2)];
    const length = Array(8).fill(0xff);
    return this.block(SECTION_BLOCK, [...magic, ...version, ...length]);
  }

  /** Adds an Interface Description Block. */
  interface(
    { linkType = 1, snapLength = 0, options = [] }: {
      linkType?: number;
      snapLength?: number;
      options?: PcapngOption[];
    } = {},
  ): this {
    return this.block(INTERFACE_BLOCK, [
      ...this.#number(linkType, 2),
      ...this.#number(0, 2),
      ...this.#number(snapLength, 4),
      ...this.#options(options),
    ]);
  }

  /** Adds an Enhanced Packet Block. */
  packet(frame: Uint8Array, packet: PcapngPacket = {}): this {
    const id = this.#number(packet.interface ?? 0, 4);
    return this.block(ENHANCED_PACKET_BLOCK, this.#packet(id, frame, packet));
  }

  /** Adds a Packet Block of old. */
  oldPacket(frame: Uint8Array, packet: PcapngPacket = {}): this {
    const drops = this.#number(0xffff, 2);
    const id = [...this.#number(packet.interface ?? 0, 2), ...drops];
    return this.block(PACKET_BLOCK, this.#packet(id, frame, packet));
  }

  /** Adds a Simple Packet Block. */
  simplePacket(frame: Uint8Array, originalLength = frame.length): this {
    const body = [...this.#number(originalLength, 4), ...frame];
    return this.block(SIMPLE_PACKET_BLOCK, padded(body));
  }

  /** Adds any block; `length` and `trailer` may lie. */
  block(
    type: number,
    body: Iterable<number> = [],
    { length, trailer }: { length?: number; trailer?: number } = {},
  ): this {
    const octets = [...body];
    const claimed = length ?? octets.length + 12;
    for (const octet of this.#number(type, 4)) this.#octets.push(octet);
    for (const octet of this.#number(claimed, 4)) this.#octets.push(octet);
    for (const octet of octets) this.#octets.push(octet);
    const end = this.#number(trailer ?? claimed, 4);
    for (const octet of end) this.#octets.push(octet);
    return this;
  }

  #packet(id: number[], frame: Uint8Array, packet: PcapngPacket): number[] {
    const { time = 0n, originalLength = frame.length, options = [] } = packet;
    return [
      ...id,
      ...this.#number(Number(time >> 32n), 4),
      ...this.#number(Number(time & 0xffffffffn), 4),
      ...this.#number(frame.length, 4),
      ...this.#number(originalLength, 4),
      ...padded([...frame]),
      ...this.#options(options),
    ];
  }

  #options(options: PcapngOption[]): number[] {
    if (options.length === 0) return [];
    const end = Array(4).fill(0);
    return options.flatMap(([code, value]) => [
      ...this.#number(code, 2),
      ...this.#number(value.length, 2),
      ...padded([...value]),
    ]).concat(end);
  }

  #number(value: number, octets: number): number[] {
    const big = Array.from(
      { length: octets },
      (_, i) => (value >>> (8 * (octets - 1 - i))) & 0xff,
    );
    return this.littleEndian ? big.reverse() : big;
  }
}

function padded(octets: number[]): number[] {
  while (octets.length % 4 !== 0) octets.push(0);
  return octets;
}
