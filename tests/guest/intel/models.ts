/**
 * The Intel cards that there is a model of for a guest, QEMU's or ours, and what tests have to know of each.
 *
 * @module
 */
import type { DeviceFeatures } from "../../../mod.ts";
import type { NicModel } from "../lab/mod.ts";

/** A chip, and the model of it. */
export interface Model {
  /** As the device calls it. */
  readonly name:
    | ("82540EM" | "82545EM" | "82574L" | "82576")
    | ("82599" | "X540");
  /** Its driver. */
  readonly driver: "e1000" | "igb" | "ixgbe";
  /** As the lab calls it. */
  readonly nic: NicModel;
  /** Mbit/s. */
  readonly linkSpeed: 1000 | 10_000;
  /** What the device says of itself. */
  readonly features: DeviceFeatures;
  /**
   * By how many bytes the first frame that is dropped exceeds the largest, among frames that are not long and among
   * those that are. The 82576 and the 10 Gbit/s chips count to the byte. The others know two limits of their own, above
   * which come the one of the driver's, with room for two VLAN tags.
   */
  readonly excess: { readonly standard: number; readonly jumbo: number };
  /** Protocols whose ports are hashed. */
  readonly hashedPorts: readonly ("tcp" | "udp")[];
  /** A kind of interrupts that it or its driver has not, and what is said of that. */
  readonly refusedInterrupts?: {
    readonly kind: "msix" | "msi";
    readonly why: string;
  };
  /** Whether it says which checksums are right. */
  readonly verdicts: boolean;
  /** Of which its driver says no checksum is wrong: the 82599 takes those that are lacking for wrong ones. */
  readonly unreliable?: "udp";
}

const FEATURES = {
  rxChecksum: true,
  txChecksum: false,
  segmentation: false,
  vlanStrip: true,
  vlanFilter: true,
  countsFiltered: true,
} as const;

const CHIP_8254X: Omit<Model, "name" | "nic"> = {
  driver: "e1000",
  linkSpeed: 1000,
  features: {
    ...FEATURES,
    maxQueues: 1,
    rssQueues: 0,
    retaSize: 0,
    macFilters: 15,
    maxFrameSize: 16110,
    queueInterrupts: false,
  },
  excess: { standard: 5, jumbo: 9 },
  hashedPorts: [],
  refusedInterrupts: {
    kind: "msix",
    why: "the card has no msix interrupts, but intx",
  },
  verdicts: false,
};

const CHIP_10G: Omit<Model, "name" | "nic"> = {
  driver: "ixgbe",
  linkSpeed: 10_000,
  features: {
    ...FEATURES,
    maxQueues: 16,
    rssQueues: 16,
    retaSize: 128,
    macFilters: 127,
    maxFrameSize: 15868,
    queueInterrupts: true,
  },
  excess: { standard: 1, jumbo: 1 },
  hashedPorts: ["tcp", "udp"],
  refusedInterrupts: { kind: "msi", why: "the ixgbe driver needs MSI-X" },
  verdicts: true,
  unreliable: "udp",
};

/** QEMU's. */
export const QEMU_MODELS: readonly Model[] = [
  { ...CHIP_8254X, name: "82540EM", nic: "e1000" },
  { ...CHIP_8254X, name: "82545EM", nic: "e1000-82545em" },
  {
    name: "82574L",
    driver: "e1000",
    nic: "e1000e",
    linkSpeed: 1000,
    features: {
      ...FEATURES,
      maxQueues: 2,
      rssQueues: 2,
      retaSize: 128,
      macFilters: 15,
      maxFrameSize: 9230,
      queueInterrupts: true,
    },
    excess: { standard: 5, jumbo: 9 },
    hashedPorts: ["tcp"],
    verdicts: true,
  },
  {
    name: "82576",
    driver: "igb",
    nic: "igb",
    linkSpeed: 1000,
    features: {
      ...FEATURES,
      maxQueues: 16,
      rssQueues: 16,
      retaSize: 128,
      macFilters: 23,
      maxFrameSize: 9724,
      queueInterrupts: true,
    },
    excess: { standard: 1, jumbo: 1 },
    hashedPorts: ["tcp", "udp"],
    refusedInterrupts: { kind: "msi", why: "the igb driver needs MSI-X" },
    verdicts: true,
  },
];

/** Ours, in processes of their own. */
export const SERVED_MODELS: readonly Model[] = [
  { ...CHIP_10G, name: "82599", nic: "82599" },
  { ...CHIP_10G, name: "X540", nic: "x540" },
];
