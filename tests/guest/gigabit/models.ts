/**
 * The gigabit cards that QEMU has a model of, and what tests have to know of each.
 *
 * @module
 */
import type { DeviceFeatures } from "../../../mod.ts";
import type { NicModel } from "../lab/mod.ts";

/** A chip, and QEMU's model of it. */
export interface Model {
  /** As the device calls it. */
  readonly name: "82540EM" | "82545EM" | "82574L" | "82576";
  /** Its driver. */
  readonly driver: "e1000" | "igb";
  /** As QEMU calls it. */
  readonly nic: NicModel;
  /** What the device says of itself. */
  readonly features: DeviceFeatures;
  /**
   * By how many bytes the first frame that is dropped exceeds the largest, among frames that are not long and among
   * those that are. The 82576 counts to the byte. The others know two limits of their own, above which come the one of
   * the driver's, with room for two VLAN tags.
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
}

const FEATURES = {
  rxChecksum: true,
  txChecksum: false,
  segmentation: false,
  vlanStrip: true,
  vlanFilter: true,
} as const;

const CHIP_8254X: Omit<Model, "name" | "nic"> = {
  driver: "e1000",
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

/** All of them. */
export const MODELS: readonly Model[] = [
  { ...CHIP_8254X, name: "82540EM", nic: "e1000" },
  { ...CHIP_8254X, name: "82545EM", nic: "e1000-82545em" },
  {
    name: "82574L",
    driver: "e1000",
    nic: "e1000e",
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
