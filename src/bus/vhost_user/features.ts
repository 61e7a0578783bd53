/**
 * Which of a backend's features are for the driver. Section numbers are those of the Virtual I/O Device specification,
 * version 1.2.
 *
 * @module
 */
import { featureBit, featureBits } from "../virtio/feature_bits.ts";
import { F_PROTOCOL_FEATURES } from "./protocol.ts";

/** For the driver it is tied to the control queue (5.1.3), for a backend it is not. */
const MULTIQUEUE = featureBit("multiqueue");
/** VHOST_F_LOG_ALL: a log of written pages, which only migration needs. */
const F_LOG_ALL = 1n << 26n;
/** A backend would ask for the translation of each address (6). */
const ACCESS_PLATFORM = featureBit("access-platform");

/** VIRTIO_NET_F_NOTF_COAL and VIRTIO_NET_F_STANDBY (5.1.3): the driver has no use for them. */
const NOTIFICATION_COALESCING = 1n << 53n;
const STANDBY = 1n << 62n;

/** Features that stand on the control queue, which the front end itself would have to serve (5.1.3, 5.1.6.5). */
const CONTROL_QUEUE_FEATURES = featureBits([
  "guest-offloads",
  "control-queue",
  "rx-filters",
  "vlan-filter",
  "rx-filters-extra",
  "announce",
  "set-mac",
  "hash-report",
  "rss",
]) | NOTIFICATION_COALESCING;
/** Features whose value stands in device configuration (5.1.4). */
const CONFIG_FEATURES = featureBits(["mtu", "mac", "status", "speed"]) |
  STANDBY;

/** What the driver may accept of what a backend offers. */
export function featuresForDriver(
  offered: bigint,
  hasConfig: boolean,
): bigint {
  const hidden = MULTIQUEUE | F_LOG_ALL | ACCESS_PLATFORM |
    F_PROTOCOL_FEATURES |
    CONTROL_QUEUE_FEATURES | (hasConfig ? 0n : CONFIG_FEATURES);
  return offered & ~hidden;
}

/** What is accepted besides what the driver accepts. */
export function featuresForProtocol(offered: bigint): bigint {
  return offered & (MULTIQUEUE | F_PROTOCOL_FEATURES);
}
