/**
 * What is used of a virtio device: features, queues and sizes, from what it offers and what the user wants.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { VirtioTransport } from "../../bus/virtio/transport.ts";
import { type DeviceConfig, isChosen } from "../../config.ts";
import {
  ConfigError,
  DeviceFaultError,
  NotSupportedError,
} from "../../errors.ts";
import { DEFAULT_ENTRY_SIZE } from "../../memory/mempool.ts";
import { ETHERNET_HEADER_LENGTH } from "../../net/ethernet.ts";
import {
  featureBit,
  type VirtioFeatureName,
} from "../../bus/virtio/feature_bits.ts";
import {
  type AcceptedFeatures,
  acceptedFeatures,
  accepts,
  isLegacy,
  negotiate,
  VIRTIO_FEATURE_NAMES,
} from "./features.ts";
import { type NetConfig, readNetConfig } from "./net_config.ts";

/** Accepted only where the user asks for it: see {@linkcode VirtioConfig.with}. */
const ON_REQUEST: readonly VirtioFeatureName[] = [
  "guest-checksum",
  "guest-tso4",
  "guest-tso6",
  "vlan-filter",
];
/**
 * Never asked for: offloads of receiving stay as they were negotiated, a notification carries nothing but the number of
 * its virtqueue, and any layout is a matter of the legacy interface.
 */
const UNUSED: readonly VirtioFeatureName[] = [
  "guest-offloads",
  "notification-data",
  "any-layout",
];
const VLAN_TAG_BYTES = 4;
/** The longest frame that can be asked for, where the device names no limit. */
const MAX_FRAME_SIZE = 16110;

/** What a device and this driver agreed on. */
export interface Agreement {
  /** Feature bits. */
  readonly bits: bigint;
  /** The same in words. */
  readonly features: AcceptedFeatures;
  /** What the device says of itself. */
  readonly net: NetConfig;
  /** Queue pairs that there are. */
  readonly maxQueues: number;
  /** Largest frame with the Ethernet header and a VLAN tag, without the frame check sequence. */
  readonly maxFrameSize: number;
  /** Number of the control virtqueue; undefined where there is none. */
  readonly controlQueue: number | undefined;
}

/**
 * Agrees with a device that was reset. Nothing is written to it.
 *
 * @throws {ConfigError} when the user names features that do not exist.
 * @throws {NotSupportedError} for a device older than virtio 1.0, but by the legacy interface.
 * @throws {DeviceFaultError} when it says of itself what cannot be.
 */
export function agree(
  transport: VirtioTransport,
  config: DeviceConfig,
): Agreement {
  const { offered, legacy } = transport;
  let bits = negotiate(offered, wanted(config), legacy);
  let features = acceptedFeatures(bits);
  let net = readNetConfig(transport, features);
  if (isBeyondBuffers(net, features, config)) {
    // A driver that accepts an MTU must have room for such frames (5.1.4.2).
    const names = wanted(config).filter((name) => name !== "mtu");
    bits = negotiate(offered, names, legacy);
    features = acceptedFeatures(bits);
    net = readNetConfig(transport, features);
  }
  const maxQueues = queuePairs(transport, features, net);
  return {
    bits,
    features,
    net,
    maxQueues,
    maxFrameSize: net.mtu === undefined ? MAX_FRAME_SIZE : Math.min(
      net.mtu + ETHERNET_HEADER_LENGTH + VLAN_TAG_BYTES,
      MAX_FRAME_SIZE,
    ),
    controlQueue: accepts(features, "control-queue")
      ? 2 * (spreads(features) ? net.maxQueuePairs : 1)
      : undefined,
  };
}

function wanted({ virtio }: DeviceConfig): VirtioFeatureName[] {
  const given = [...virtio.with, ...virtio.without];
  const names: readonly string[] = VIRTIO_FEATURE_NAMES;
  const unknown = given.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new ConfigError(
      "virtio",
      `there is no feature "${unknown}": use ${names.join(", ")}`,
    );
  }
  return VIRTIO_FEATURE_NAMES.filter((name) => {
    if (UNUSED.includes(name) || virtio.without.includes(name)) return false;
    return !ON_REQUEST.includes(name) || virtio.with.includes(name);
  });
}

/** Whether the device spreads frames over more than one queue pair (5.1.2). */
function spreads(features: AcceptedFeatures): boolean {
  return accepts(features, "multiqueue") || accepts(features, "rss");
}

function queuePairs(
  transport: VirtioTransport,
  features: AcceptedFeatures,
  net: NetConfig,
): number {
  const pairs = Math.floor(transport.virtqueueCount / 2);
  if (pairs === 0) {
    throw new DeviceFaultError(
      `the virtio device has ${transport.virtqueueCount} virtqueues: a network device has two at least`,
    );
  }
  // A device may count the virtqueues of more pairs only once it is known that they are used, as QEMU does.
  if (spreads(features)) return net.maxQueuePairs;
  // Without a control queue the number of pairs is not announced: a backend sees which ones are enabled.
  const controlled = transport.offered & featureBit("control-queue");
  return controlled === 0n ? pairs : 1;
}

/**
 * The configuration as this device can do it: defaults become smaller where they must.
 *
 * @throws {ConfigError} for what the user chose and the device cannot do.
 */
export function configFor(
  transport: VirtioTransport,
  agreement: Agreement,
  config: DeviceConfig,
): DeviceConfig {
  const { queues } = config;
  if (queues > agreement.maxQueues) {
    throw new ConfigError(
      "queues",
      `${queues} is more than the ${agreement.maxQueues} of this virtio device`,
    );
  }
  if (config.vlanStrip) {
    throw new ConfigError(
      "vlanStrip",
      "a virtio device leaves VLAN tags where they are",
    );
  }
  const sizes = (direction: 0 | 1) =>
    Array.from(
      { length: queues },
      (_, pair) => largestSize(transport, 2 * pair + direction),
    );
  const { features } = agreement;
  const adapted = {
    ...config,
    rxDepth: depth(config, "rxDepth", sizes(0), features),
    txDepth: depth(config, "txDepth", sizes(1), features),
    maxFrameSize: frameSize(config, agreement),
  };
  checkEntrySize(adapted, agreement);
  return adapted;
}

function largestSize(transport: VirtioTransport, virtqueue: number): number {
  const size = transport.largestSize(virtqueue);
  if (size > 0) return size;
  throw new DeviceFaultError(
    `the virtio device has no virtqueue ${virtqueue}, but counts ${transport.virtqueueCount}`,
  );
}

/** Descriptors of a ring: a split ring has a power of two (2.7), one of the legacy interface all that there are. */
function depth(
  config: DeviceConfig,
  field: "rxDepth" | "txDepth",
  sizes: readonly number[],
  features: AcceptedFeatures,
): number {
  const wanted = config[field];
  const largest = Math.min(...sizes);
  if (isLegacy(features)) return fixedDepth(config, field, sizes);
  const most = Math.min(wanted, largest);
  const packed = accepts(features, "packed");
  const usable = packed ? most : 1 << (31 - Math.clz32(most));
  if (usable === wanted || !isChosen(config, field)) return usable;
  throw new ConfigError(
    field,
    wanted > largest
      ? `${wanted} is more than the ${largest} of this virtio device`
      : `${wanted} is no power of two, which this virtio device wants (it has no packed rings, or they are not accepted)`,
  );
}

function fixedDepth(
  config: DeviceConfig,
  field: "rxDepth" | "txDepth",
  sizes: readonly number[],
): number {
  const [size] = sizes;
  if (sizes.some((other) => other !== size)) {
    throw new NotSupportedError(
      `the queues of this legacy virtio device have ${
        sizes.join(", ")
      } descriptors: use one queue`,
    );
  }
  if (size === config[field] || !isChosen(config, field)) return size;
  throw new ConfigError(
    field,
    `this legacy virtio device has ${size} descriptors, neither more nor fewer`,
  );
}

function frameSize(config: DeviceConfig, { maxFrameSize }: Agreement): number {
  const wanted = config.maxFrameSize;
  if (wanted <= maxFrameSize) return wanted;
  if (!isChosen(config, "maxFrameSize")) return maxFrameSize;
  throw new ConfigError(
    "maxFrameSize",
    `${wanted} is more than the ${maxFrameSize} of this virtio device`,
  );
}

/** True where a frame of the device's MTU would not fit the only buffer that it is given for it. */
function isBeyondBuffers(
  { mtu }: NetConfig,
  features: AcceptedFeatures,
  { entrySize }: DeviceConfig,
): boolean {
  if (mtu === undefined || accepts(features, "mergeable")) return false;
  const longest = mtu + ETHERNET_HEADER_LENGTH + VLAN_TAG_BYTES;
  return longest > (entrySize || DEFAULT_ENTRY_SIZE);
}

/** Without mergeable buffers, a frame that is longer than one buffer is lost (5.1.6.3.1). */
function checkEntrySize(config: DeviceConfig, { features }: Agreement): void {
  const entrySize = config.entrySize || DEFAULT_ENTRY_SIZE;
  const { maxFrameSize } = config;
  if (accepts(features, "mergeable") || entrySize >= maxFrameSize) return;
  throw new ConfigError(
    "entrySize",
    `a frame of ${maxFrameSize} bytes does not fit a buffer of ${entrySize}, and this virtio device does not use several for one frame`,
  );
}
