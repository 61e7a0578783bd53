/**
 * Feature bits of a virtio network device, for the driver and for the transports that carry it.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */

/** The number of each feature bit (5.1.3, 6), by the name that users choose it with. */
export const FeatureBit = {
  /** VIRTIO_NET_F_CSUM */
  "checksum": 0,
  /** VIRTIO_NET_F_GUEST_CSUM */
  "guest-checksum": 1,
  /** VIRTIO_NET_F_CTRL_GUEST_OFFLOADS */
  "guest-offloads": 2,
  /** VIRTIO_NET_F_MTU */
  "mtu": 3,
  /** VIRTIO_NET_F_MAC */
  "mac": 5,
  /** VIRTIO_NET_F_GUEST_TSO4 */
  "guest-tso4": 7,
  /** VIRTIO_NET_F_GUEST_TSO6 */
  "guest-tso6": 8,
  /** VIRTIO_NET_F_HOST_TSO4 */
  "tso4": 11,
  /** VIRTIO_NET_F_HOST_TSO6 */
  "tso6": 12,
  /** VIRTIO_NET_F_MRG_RXBUF */
  "mergeable": 15,
  /** VIRTIO_NET_F_STATUS */
  "status": 16,
  /** VIRTIO_NET_F_CTRL_VQ */
  "control-queue": 17,
  /** VIRTIO_NET_F_CTRL_RX */
  "rx-filters": 18,
  /** VIRTIO_NET_F_CTRL_VLAN */
  "vlan-filter": 19,
  /** VIRTIO_NET_F_CTRL_RX_EXTRA */
  "rx-filters-extra": 20,
  /** VIRTIO_NET_F_GUEST_ANNOUNCE */
  "announce": 21,
  /** VIRTIO_NET_F_MQ */
  "multiqueue": 22,
  /** VIRTIO_NET_F_CTRL_MAC_ADDR */
  "set-mac": 23,
  /** VIRTIO_F_ANY_LAYOUT */
  "any-layout": 27,
  /** VIRTIO_F_INDIRECT_DESC */
  "indirect": 28,
  /** VIRTIO_F_EVENT_IDX */
  "event-index": 29,
  /** VIRTIO_F_VERSION_1 */
  "version-1": 32,
  /** VIRTIO_F_ACCESS_PLATFORM */
  "access-platform": 33,
  /** VIRTIO_F_RING_PACKED */
  "packed": 34,
  /** VIRTIO_F_IN_ORDER */
  "in-order": 35,
  /** VIRTIO_F_ORDER_PLATFORM */
  "order-platform": 36,
  /** VIRTIO_F_NOTIFICATION_DATA */
  "notification-data": 38,
  /** VIRTIO_F_RING_RESET */
  "ring-reset": 40,
  /** VIRTIO_NET_F_HASH_REPORT */
  "hash-report": 57,
  /** VIRTIO_NET_F_RSS */
  "rss": 60,
  /** VIRTIO_NET_F_SPEED_DUPLEX */
  "speed": 63,
} as const;

/** The name of a feature, as users write it. */
export type VirtioFeatureName = keyof typeof FeatureBit;

/** The bit of a feature in a set of features. */
export function featureBit(name: VirtioFeatureName): bigint {
  return 1n << BigInt(FeatureBit[name]);
}

/** A set of features by their names. */
export function featureBits(names: Iterable<VirtioFeatureName>): bigint {
  let bits = 0n;
  for (const name of names) bits |= featureBit(name);
  return bits;
}
