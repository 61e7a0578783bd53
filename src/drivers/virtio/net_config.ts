/**
 * Device configuration of a network device (5.1.4): what the device says of itself.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { VirtioTransport } from "../../bus/virtio/transport.ts";
import { DeviceFaultError } from "../../errors.ts";
import type { VirtioFeatureName } from "../../bus/virtio/feature_bits.ts";
import { type AcceptedFeatures, accepts } from "./features.ts";

/** A field of `struct virtio_net_config`. */
interface ConfigField {
  /** Byte offset. */
  readonly offset: number;
  /** Bytes. */
  readonly size: 1 | 2 | 4;
  /** The field is there only if one of these was accepted. */
  readonly with: readonly VirtioFeatureName[];
}

const MAC_BYTES = 6;
const MAC_OFFSET = 0;

/** Section 5.1.4. */
const Field = {
  status: { offset: 6, size: 2, with: ["status"] },
  maxQueuePairs: { offset: 8, size: 2, with: ["multiqueue", "rss"] },
  mtu: { offset: 10, size: 2, with: ["mtu"] },
  speed: { offset: 12, size: 4, with: ["speed"] },
  rssKeyBytes: { offset: 17, size: 1, with: ["rss", "hash-report"] },
  rssTableSize: { offset: 18, size: 2, with: ["rss"] },
  hashTypes: { offset: 20, size: 4, with: ["rss", "hash-report"] },
} as const satisfies Record<string, ConfigField>;

/** Bits of `status`. */
const Status = { LINK_UP: 1, ANNOUNCE: 2 } as const;

/** Values of `speed` above this mean that the device does not know. */
const HIGHEST_SPEED = 0x7fffffff;
/** Looks at a configuration that changes while it is read. */
const MOST_TRIES = 100;

/** What the configuration says; undefined for what it does not say. */
export interface NetConfig {
  /** Address of the device. */
  readonly mac: Uint8Array | undefined;
  /** Queue pairs that there are. */
  readonly maxQueuePairs: number;
  /** Largest packet without the Ethernet header. */
  readonly mtu: number | undefined;
  /** Longest key of the hash, in bytes. */
  readonly rssKeyBytes: number;
  /** Entries of the largest indirection table; 0 without RSS. */
  readonly rssTableSize: number;
  /** What the device can hash. */
  readonly hashTypes: number;
}

/** What changes while the device runs. */
export interface NetStatus {
  /** Whether frames can pass. */
  readonly up: boolean;
  /** Mbit/s; undefined where the device does not know. */
  readonly speed: number | undefined;
  /** The device wants us to make ourselves known in the network (5.1.6.5.4). */
  readonly announce: boolean;
}

/**
 * Reads what stays the same while the device runs.
 *
 * @param features What is going to be accepted: other fields are not there.
 * @throws {DeviceFaultError} when the device says what cannot be, or never holds still.
 */
export function readNetConfig(
  transport: VirtioTransport,
  features: AcceptedFeatures,
): NetConfig {
  const config = consistently(transport, () => ({
    mac: accepts(features, "mac") ? readMac(transport) : undefined,
    maxQueuePairs: read(transport, features, "maxQueuePairs") ?? 1,
    mtu: read(transport, features, "mtu"),
    rssKeyBytes: read(transport, features, "rssKeyBytes") ?? 0,
    rssTableSize: read(transport, features, "rssTableSize") ?? 0,
    hashTypes: read(transport, features, "hashTypes") ?? 0,
  }));
  check(config);
  return config;
}

/** Reads what changes. Without the feature `status` the link is always up (5.1.4.2). */
export function readNetStatus(
  transport: VirtioTransport,
  features: AcceptedFeatures,
): NetStatus {
  return consistently(transport, () => {
    const status = read(transport, features, "status") ?? Status.LINK_UP;
    const speed = read(transport, features, "speed");
    return {
      up: (status & Status.LINK_UP) !== 0,
      speed: speed !== undefined && speed <= HIGHEST_SPEED ? speed : undefined,
      announce: accepts(features, "announce") &&
        (status & Status.ANNOUNCE) !== 0,
    };
  });
}

/** Reads several fields of one state of the configuration (2.5.1). */
function consistently<T>(transport: VirtioTransport, action: () => T): T {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const before = transport.configGeneration;
    const result = action();
    if (transport.configGeneration === before) return result;
  }
  throw new DeviceFaultError(
    "the configuration of the virtio device changes faster than it can be read",
  );
}

function read(
  transport: VirtioTransport,
  features: AcceptedFeatures,
  name: keyof typeof Field,
): number | undefined {
  const { offset, size, with: needed } = Field[name];
  if (!needed.some((feature) => accepts(features, feature))) return undefined;
  return transport.readConfig(offset, size) >>> 0;
}

function readMac(transport: VirtioTransport): Uint8Array {
  return Uint8Array.from(
    { length: MAC_BYTES },
    (_, i) => transport.readConfig(MAC_OFFSET + i, 1),
  );
}

const MULTICAST_BIT = 1;
/** Sections 5.1.4.1: what a device must offer at least, and at most. */
const Limits = {
  queuePairs: [1, 0x8000],
  mtu: [68, 65535],
  rssKeyBytes: 40,
  rssTableSize: 128,
} as const;

/** The device requirements of 5.1.4.1. */
function check(config: NetConfig): void {
  const { mac, maxQueuePairs, mtu, rssKeyBytes, rssTableSize } = config;
  const [fewest, most] = Limits.queuePairs;
  if (maxQueuePairs < fewest || maxQueuePairs > most) {
    throw impossible("max_virtqueue_pairs", maxQueuePairs);
  }
  if (mtu !== undefined && mtu < Limits.mtu[0]) throw impossible("mtu", mtu);
  if (rssTableSize > 0 && rssTableSize < Limits.rssTableSize) {
    throw impossible("rss_max_indirection_table_length", rssTableSize);
  }
  if (config.hashTypes !== 0 && rssKeyBytes < Limits.rssKeyBytes) {
    throw impossible("rss_max_key_size", rssKeyBytes);
  }
  if (mac === undefined) return;
  const empty = mac.every((octet) => octet === 0);
  if (empty || (mac[0] & MULTICAST_BIT) !== 0) {
    throw impossible("mac", [...mac].map((octet) => octet.toString(16)));
  }
}

function impossible(field: string, value: unknown): DeviceFaultError {
  return new DeviceFaultError(
    `the configuration of the virtio device says ${field} ${value}, which cannot be (section 5.1.4.1)`,
  );
}
