/**
 * The feature bits of a virtio network device, and which of them are accepted.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import {
  FeatureBit,
  featureBit,
  featureBits,
  type VirtioFeatureName,
} from "../../bus/virtio/feature_bits.ts";
import { NotSupportedError } from "../../errors.ts";

/** One feature bit. */
export interface VirtioFeature {
  /** Its number. */
  readonly bit: number;
  /** How the specification names it. */
  readonly symbol: string;
  /** Where the specification has it. */
  readonly section: string;
  /** Features without which it is not accepted (5.1.3.1). */
  readonly needs: readonly VirtioFeatureName[];
}

function feature(
  name: VirtioFeatureName,
  symbol: string,
  section: string,
  ...needs: VirtioFeatureName[]
): VirtioFeature {
  return { bit: FeatureBit[name], symbol, section, needs };
}

/** Every feature that this driver knows. */
export const VirtioFeatures: Readonly<
  Record<VirtioFeatureName, VirtioFeature>
> = {
  "checksum": feature("checksum", "VIRTIO_NET_F_CSUM", "5.1.3"),
  "guest-checksum": feature(
    "guest-checksum",
    "VIRTIO_NET_F_GUEST_CSUM",
    "5.1.3",
  ),
  "guest-offloads": feature(
    "guest-offloads",
    "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS",
    "5.1.3",
    "control-queue",
  ),
  "mtu": feature("mtu", "VIRTIO_NET_F_MTU", "5.1.3"),
  "mac": feature("mac", "VIRTIO_NET_F_MAC", "5.1.3"),
  // Without mergeable buffers each buffer would have to hold 64 KiB (5.1.6.3.1): entries of a pool do not.
  "guest-tso4": feature(
    "guest-tso4",
    "VIRTIO_NET_F_GUEST_TSO4",
    "5.1.3",
    "guest-checksum",
    "mergeable",
  ),
  "guest-tso6": feature(
    "guest-tso6",
    "VIRTIO_NET_F_GUEST_TSO6",
    "5.1.3",
    "guest-checksum",
    "mergeable",
  ),
  "tso4": feature("tso4", "VIRTIO_NET_F_HOST_TSO4", "5.1.3", "checksum"),
  "tso6": feature("tso6", "VIRTIO_NET_F_HOST_TSO6", "5.1.3", "checksum"),
  "mergeable": feature("mergeable", "VIRTIO_NET_F_MRG_RXBUF", "5.1.3"),
  "status": feature("status", "VIRTIO_NET_F_STATUS", "5.1.3"),
  "control-queue": feature("control-queue", "VIRTIO_NET_F_CTRL_VQ", "5.1.3"),
  "rx-filters": feature(
    "rx-filters",
    "VIRTIO_NET_F_CTRL_RX",
    "5.1.3",
    "control-queue",
  ),
  "vlan-filter": feature(
    "vlan-filter",
    "VIRTIO_NET_F_CTRL_VLAN",
    "5.1.3",
    "control-queue",
  ),
  "rx-filters-extra": feature(
    "rx-filters-extra",
    "VIRTIO_NET_F_CTRL_RX_EXTRA",
    "5.1.3",
    "control-queue",
  ),
  "announce": feature(
    "announce",
    "VIRTIO_NET_F_GUEST_ANNOUNCE",
    "5.1.3",
    "control-queue",
  ),
  "multiqueue": feature(
    "multiqueue",
    "VIRTIO_NET_F_MQ",
    "5.1.3",
    "control-queue",
  ),
  "set-mac": feature(
    "set-mac",
    "VIRTIO_NET_F_CTRL_MAC_ADDR",
    "5.1.3",
    "control-queue",
  ),
  "any-layout": feature("any-layout", "VIRTIO_F_ANY_LAYOUT", "6.3"),
  "indirect": feature("indirect", "VIRTIO_F_INDIRECT_DESC", "6"),
  "event-index": feature("event-index", "VIRTIO_F_EVENT_IDX", "6"),
  "version-1": feature("version-1", "VIRTIO_F_VERSION_1", "6"),
  "access-platform": feature(
    "access-platform",
    "VIRTIO_F_ACCESS_PLATFORM",
    "6",
  ),
  "packed": feature("packed", "VIRTIO_F_RING_PACKED", "6"),
  "in-order": feature("in-order", "VIRTIO_F_IN_ORDER", "6"),
  "order-platform": feature("order-platform", "VIRTIO_F_ORDER_PLATFORM", "6"),
  "notification-data": feature(
    "notification-data",
    "VIRTIO_F_NOTIFICATION_DATA",
    "6",
  ),
  "ring-reset": feature("ring-reset", "VIRTIO_F_RING_RESET", "6"),
  "hash-report": feature(
    "hash-report",
    "VIRTIO_NET_F_HASH_REPORT",
    "5.1.3",
    "control-queue",
  ),
  "rss": feature("rss", "VIRTIO_NET_F_RSS", "5.1.3", "control-queue"),
  "speed": feature("speed", "VIRTIO_NET_F_SPEED_DUPLEX", "5.1.3"),
};

/** The names of all features. */
export const VIRTIO_FEATURE_NAMES: readonly VirtioFeatureName[] = Object.keys(
  VirtioFeatures,
) as VirtioFeatureName[];

/** Accepted feature bits, 31:0 and 63:32. */
export type AcceptedFeatures = readonly [low: number, high: number];

/** The names of the features in a set; bits that have no name here are left out. */
export function featureNames(bits: bigint): VirtioFeatureName[] {
  return VIRTIO_FEATURE_NAMES.filter((name) =>
    (bits & featureBit(name)) !== 0n
  );
}

/** Splits a set of features into the words that a queue's description has. */
export function acceptedFeatures(bits: bigint): AcceptedFeatures {
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

/** True when a feature was accepted. */
export function accepts(
  [low, high]: AcceptedFeatures,
  name: VirtioFeatureName,
): boolean {
  const bit = FeatureBit[name];
  return ((bit < 32 ? low >>> bit : high >>> (bit - 32)) & 1) !== 0;
}

/** True for the rings and headers of the legacy interface: those without VERSION_1 (2.2.3, 6.1). */
export function isLegacy(features: AcceptedFeatures): boolean {
  return !accepts(features, "version-1");
}

/** Nothing works without the first; the others say what the platform is like (6.1). */
const PLATFORM: readonly VirtioFeatureName[] = [
  "version-1",
  "access-platform",
  "order-platform",
];
/** The same of the legacy interface: a header and its packet are in one descriptor (5.1.6.6). */
const LEGACY_PLATFORM: readonly VirtioFeatureName[] = ["any-layout"];

/**
 * Chooses the features to accept: those that are both offered and wanted, and of these only such as have all that they
 * need (5.1.3.1). What the driver must know of the platform (6.1) is always accepted where it is offered.
 *
 * @param legacy Whether the device is used by its legacy interface, which has bits 0 to 31 alone.
 * @throws {NotSupportedError} when the device lacks what nothing works without.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { featureBits } from "../../bus/virtio/feature_bits.ts";
 * import { featureNames, negotiate } from "./features.ts";
 *
 * const offered = featureBits(["version-1", "packed", "tso4", "mergeable"]);
 * const accepted = negotiate(offered, ["packed", "tso4", "checksum"]);
 * // Segmentation is nothing without checksums.
 * assertEquals(featureNames(accepted), ["version-1", "packed"]);
 * ```
 */
export function negotiate(
  offered: bigint,
  wanted: Iterable<VirtioFeatureName>,
  legacy = false,
): bigint {
  const platform = legacy ? LEGACY_PLATFORM : PLATFORM;
  if ((offered & featureBit(platform[0])) === 0n) {
    throw new NotSupportedError(
      legacy
        ? "the device does not offer VIRTIO_F_ANY_LAYOUT, which the legacy interface is not used without: it wants each header in a descriptor of its own"
        : "the device does not offer VIRTIO_F_VERSION_1: it is older than virtio 1.0",
    );
  }
  let accepted = offered & featureBits([...wanted, ...platform]);
  for (;;) {
    const names = featureNames(accepted);
    const unmet = names.filter((name) =>
      VirtioFeatures[name].needs.some((need) => !names.includes(need))
    );
    if (unmet.length === 0) return accepted;
    accepted &= ~featureBits(unmet);
  }
}
