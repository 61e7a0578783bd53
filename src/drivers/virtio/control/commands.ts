/**
 * The commands of the control virtqueue (5.1.6.5), and what goes with them.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */

/** A command. */
export interface Command {
  /** How the specification names it. */
  readonly name: string;
  /** Its class. */
  readonly class: number;
  /** Its number in the class. */
  readonly command: number;
  /** Where the specification has it. */
  readonly section: string;
}

function command(
  name: string,
  group: number,
  number: number,
  section: string,
): Command {
  return {
    name: `VIRTIO_NET_CTRL_${name}`,
    class: group,
    command: number,
    section,
  };
}

/** Every command that this driver sends. */
export const Commands = {
  promiscuous: command("RX_PROMISC", 0, 0, "5.1.6.5.1"),
  allMulticast: command("RX_ALLMULTI", 0, 1, "5.1.6.5.1"),
  macTable: command("MAC_TABLE_SET", 1, 0, "5.1.6.5.2"),
  macAddress: command("MAC_ADDR_SET", 1, 1, "5.1.6.5.2"),
  vlanAdd: command("VLAN_ADD", 2, 0, "5.1.6.5.3"),
  vlanRemove: command("VLAN_DEL", 2, 1, "5.1.6.5.3"),
  announced: command("ANNOUNCE_ACK", 3, 0, "5.1.6.5.4"),
  queuePairs: command("MQ_VQ_PAIRS_SET", 4, 0, "5.1.6.5.6"),
  rss: command("MQ_RSS_CONFIG", 4, 1, "5.1.6.5.7"),
  hash: command("MQ_HASH_CONFIG", 4, 2, "5.1.6.5.6"),
} as const;

/** Bits of `hash_types` (5.1.6.4.3.1). */
export const HashType = {
  IPV4: 1 << 0,
  TCPV4: 1 << 1,
  UDPV4: 1 << 2,
  IPV6: 1 << 3,
  TCPV6: 1 << 4,
  UDPV6: 1 << 5,
  IPV6_EX: 1 << 6,
  TCPV6_EX: 1 << 7,
  UDPV6_EX: 1 << 8,
} as const;

const ADDRESS_HASHES = HashType.IPV4 | HashType.IPV6 | HashType.IPV6_EX;
const PORT_HASHES = HashType.TCPV4 | HashType.UDPV4 | HashType.TCPV6 |
  HashType.UDPV6 | HashType.TCPV6_EX | HashType.UDPV6_EX;

/** What to hash of what the device can: addresses, and ports where they are wanted. */
export function hashTypes(supported: number, ports: boolean): number {
  return supported & (ADDRESS_HASHES | (ports ? PORT_HASHES : 0));
}

/** One byte: on or off. */
export function onOff(on: boolean): Uint8Array {
  return Uint8Array.of(on ? 1 : 0);
}

/** A number of 16 bits. */
export function number16(value: number): Uint8Array {
  return new Writer(2).u16(value).bytes;
}

const MAC_BYTES = 6;

/** The unicast addresses to receive besides the device's own, and no multicast ones (5.1.6.5.2). */
export function macTable(addresses: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer(4 + addresses.length * MAC_BYTES + 4);
  writer.u32(addresses.length);
  for (const address of addresses) writer.octets(address);
  return writer.u32(0).bytes;
}

/** How frames are spread over queues. */
export interface Spreading {
  /** Bits of {@linkcode HashType}. */
  readonly hashTypes: number;
  /** The Toeplitz key. */
  readonly key: Uint8Array;
  /** Queue by hash: a power of two of entries. */
  readonly table: readonly number[];
  /** Transmit queues in use. */
  readonly queues: number;
}

/** `struct virtio_net_rss_config` (5.1.6.5.7.1). What cannot be hashed goes to queue 0. */
export function rssConfig(spreading: Spreading): Uint8Array {
  const { hashTypes, key, table, queues } = spreading;
  const writer = new Writer(4 + 2 + 2 + 2 * table.length + 2 + 1 + key.length);
  writer.u32(hashTypes).u16(table.length - 1).u16(0);
  for (const queue of table) writer.u16(queue);
  return writer.u16(queues).u8(key.length).octets(key).bytes;
}

/** `struct virtio_net_hash_config`, for hashes without spreading (5.1.6.5.6.4). */
export function hashConfig(hashTypes: number, key: Uint8Array): Uint8Array {
  const writer = new Writer(4 + 4 * 2 + 1 + key.length).u32(hashTypes);
  for (let reserved = 0; reserved < 4; reserved++) writer.u16(0);
  return writer.u8(key.length).octets(key).bytes;
}

/** Writes little-endian numbers one after the other. */
class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(value: number): this {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
    return this;
  }

  octets(values: Uint8Array): this {
    this.bytes.set(values, this.#at);
    this.#at += values.length;
    return this;
  }
}
