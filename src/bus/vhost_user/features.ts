/**
 * Which of a backend's features are for the driver. Section numbers are those of the Virtual I/O Device specification,
 * version 1.2.
 *
 * @module
 */
import { F_PROTOCOL_FEATURES } from "./protocol.ts";

/** VIRTIO_NET_F_MQ (5.1.3). For the driver it is tied to the control queue, for a backend it is not. */
export const F_MQ = 1n << 22n;
/** VHOST_F_LOG_ALL: a log of written pages, which only migration needs. */
const F_LOG_ALL = 1n << 26n;
/** VIRTIO_F_ACCESS_PLATFORM (6): a backend would ask for translations of addresses, one by one. */
const F_ACCESS_PLATFORM = 1n << 33n;

/** Features that stand on the control queue, which the front end itself would have to serve (5.1.3, 5.1.6.5). */
const CONTROL_QUEUE_FEATURES = bits(
  ...[2], // CTRL_GUEST_OFFLOADS
  ...[17, 18, 19, 20], // CTRL_VQ, CTRL_RX, CTRL_VLAN, CTRL_RX_EXTRA
  ...[21, 23], // GUEST_ANNOUNCE, CTRL_MAC_ADDR
  ...[53, 57, 60], // NOTF_COAL, HASH_REPORT, RSS
);
/** Features whose value stands in device configuration (5.1.4). */
const CONFIG_FEATURES = bits(
  ...[3, 5, 16], // MTU, MAC, STATUS
  ...[62, 63], // STANDBY, SPEED_DUPLEX
);

/** What the driver may accept of what a backend offers. */
export function featuresForDriver(
  offered: bigint,
  hasConfig: boolean,
): bigint {
  const hidden = F_MQ | F_LOG_ALL | F_ACCESS_PLATFORM | F_PROTOCOL_FEATURES |
    CONTROL_QUEUE_FEATURES | (hasConfig ? 0n : CONFIG_FEATURES);
  return offered & ~hidden;
}

/** What is accepted besides what the driver accepts. */
export function featuresForProtocol(offered: bigint): bigint {
  return offered & (F_MQ | F_PROTOCOL_FEATURES);
}

function bits(...numbers: readonly number[]): bigint {
  return numbers.reduce((all, bit) => all | 1n << BigInt(bit), 0n);
}
