/**
 * How a device is opened.
 *
 * @module
 */
import { ConfigError } from "./errors.ts";
import { checkRssKey, checkRssTable } from "./rss_table.ts";

/** When a queue sleeps and when it polls. */
export interface AdaptiveConfig {
  /** Above this rate of interrupts a second, a sleeping queue starts to poll. */
  readonly pollAbove: number;
  /** Below this rate, a polling queue goes back to sleep between packets. Less than `pollAbove`. */
  readonly sleepBelow: number;
  /** How long the rate is measured before each decision, in milliseconds. */
  readonly windowMs: number;
}

/** How received frames are spread over queues. */
export interface RssConfig {
  /** The 40 bytes of the Toeplitz key. */
  readonly key: Uint8Array;
  /** What is hashed: addresses only, or ports too. */
  readonly ports: boolean;
  /** Queue by hash: 128 entries, or any number that divides 128. Default: round robin over all queues. */
  readonly table?: readonly number[];
}

/** What is negotiated with a virtio device. Names are those of {@linkcode DeviceFeatures.virtio}. */
export interface VirtioConfig {
  /**
   * Features to accept besides the usual ones, where the device offers them: "guest-checksum" (frames may arrive
   * whose checksums are not computed yet), "guest-tso4" and "guest-tso6" (frames may arrive that are larger than any
   * on a wire), "vlan-filter" (only frames without a tag, and of the VLANs that `addVlanFilter()` names). Default: none, so that every frame can be sent on
   * by any card as it is.
   */
  readonly with: readonly string[];
  /** Features not to accept. Default: none. */
  readonly without: readonly string[];
}

/** Everything that can be chosen when a device is opened; every field has a default. */
export interface DeviceConfig {
  /** Receive and transmit queue pairs. Default 1. */
  readonly queues: number;
  /** Receive descriptors per queue: 64 to 4096, a multiple of 8. Default 512, or what a virtio device has. */
  readonly rxDepth: number;
  /** Transmit descriptors per queue: 64 to 4096, a multiple of 8. Default 512, or what a virtio device has. */
  readonly txDepth: number;
  /**
   * Packets in each queue's pool; 0, the default, for enough to fill both rings and some batches. At least one more
   * than two frames of {@linkcode maxFrameSize} take.
   */
  readonly poolEntries: number;
  /** Most packets that a pool can be extended to. 0, the default: 8 times its size. */
  readonly poolMaxEntries: number;
  /** Bytes of a packet buffer; 0, the default, for one that fits a packet. */
  readonly entrySize: number;
  /** Largest frame in bytes, with the Ethernet header, without the frame check sequence. Default 1518. */
  readonly maxFrameSize: number;
  /**
   * What `receive()` does on an empty queue. 0: polls. -1: interrupts are allocated for the caller to wait on and
   * `receive()` never waits. Any other negative number: waits without limit. Positive: waits that many milliseconds.
   * Default 100.
   */
  readonly irqTimeoutMs: number;
  /** The switch between interrupts and polling. */
  readonly adaptive: AdaptiveConfig;
  /** Least time between two interrupts of a queue in microseconds, 0 for no limit. Default 10. Not for virtio. */
  readonly interruptIntervalUs: number;
  /**
   * How a real card interrupts. "auto", the default, takes the best that it has: MSI-X, else MSI, else INTx. The others
   * are for machines where that does not work. With MSI or INTx one vector serves everything, which the igb and ixgbe
   * drivers refuse.
   */
  readonly interrupts: "auto" | "msix" | "msi" | "intx";
  /** Spreading over queues. */
  readonly rss: RssConfig;
  /**
   * Receive frames for any address. Default false: then only broadcasts arrive, and frames for the MAC address or
   * those of {@linkcode Device.addMacFilter}. What the filters keep out is counted in `DeviceStats.rxFiltered`.
   */
  readonly promiscuous: boolean;
  /** Take VLAN tags out of received frames. Default false. */
  readonly vlanStrip: boolean;
  /** Hugepages: "auto" uses them when there are some, "require" fails without, "never" does without. */
  readonly hugepages: "auto" | "require" | "never";
  /**
   * Open a card that is behind no IOMMU, in VFIO's no-IOMMU mode. Nothing keeps such a card, or a mistake in a driver,
   * from reading and overwriting any memory of the machine. Needs root and hugepages; refused where there is an IOMMU.
   * Default false.
   */
  readonly unsafeNoIommu: boolean;
  /** For virtio devices. */
  readonly virtio: VirtioConfig;
  /** How long to wait for the link when opening, in milliseconds; 0 does not wait. Default 10000. */
  readonly linkTimeoutMs: number;
  /** Catch misuse of packets. Default: `IXL_DEBUG=1`. */
  readonly debug?: boolean;
}

/** The verification suite's key, the default of most drivers: spreads well, and its hashes are published. */
export const DEFAULT_RSS_KEY: Uint8Array = new Uint8Array([
  ...[0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67],
  ...[0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb],
  ...[0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30],
  ...[0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa],
]);

const DEFAULTS: DeviceConfig = {
  queues: 1,
  rxDepth: 512,
  txDepth: 512,
  poolEntries: 0,
  poolMaxEntries: 0,
  entrySize: 0,
  maxFrameSize: 1518,
  irqTimeoutMs: 100,
  adaptive: { pollAbove: 20_000, sleepBelow: 8_000, windowMs: 50 },
  interruptIntervalUs: 10,
  interrupts: "auto",
  rss: { key: DEFAULT_RSS_KEY, ports: true },
  promiscuous: false,
  vlanStrip: false,
  hugepages: "auto",
  unsafeNoIommu: false,
  virtio: { with: [], without: [] },
  linkTimeoutMs: 10_000,
};

/** What a user may leave out. */
export type DeviceOptions =
  & Partial<Omit<DeviceConfig, "adaptive" | "rss" | "virtio">>
  & {
    /** Parts of the adaptive switch to change. */
    readonly adaptive?: Partial<AdaptiveConfig>;
    /** Parts of RSS to change. */
    readonly rss?: Partial<RssConfig>;
    /** Features of a virtio device. */
    readonly virtio?: Partial<VirtioConfig>;
  };

/** What the user chose of a configuration. */
const chosen = new WeakMap<DeviceConfig, ReadonlySet<string>>();

/** True where the user chose a field, false where it is the default and a driver may do with less. */
export function isChosen(
  config: DeviceConfig,
  field: keyof DeviceConfig,
): boolean {
  return chosen.get(config)?.has(field) ?? true;
}

/**
 * Completes and checks a configuration.
 *
 * @throws {TypeError} for a field that does not exist.
 * @throws {ConfigError} for a value that no device can take; a driver checks its own limits besides.
 */
export function completeConfig(options: DeviceOptions = {}): DeviceConfig {
  for (const name of Object.keys(options)) {
    if (name in DEFAULTS || name === "debug") continue;
    throw new TypeError(
      `${name} is no option of a device: use ${
        Object.keys(DEFAULTS).join(", ")
      }`,
    );
  }
  const config: DeviceConfig = {
    ...DEFAULTS,
    ...options,
    adaptive: { ...DEFAULTS.adaptive, ...options.adaptive },
    rss: { ...DEFAULTS.rss, ...options.rss },
    virtio: { ...DEFAULTS.virtio, ...options.virtio },
  };
  chosen.set(config, new Set(Object.keys(options)));
  checkRanges(config);
  checkAdaptive(config.adaptive);
  checkRss(config);
  checkVirtio(config.virtio);
  return config;
}

/** Fewer descriptors than that are not worth a ring. */
export const LEAST_DEPTH = 64;

const RANGES: readonly [keyof DeviceConfig, number, number, number][] = [
  // field, least, most, multiple of
  ["queues", 1, 128, 1],
  ["rxDepth", LEAST_DEPTH, 4096, 8],
  ["txDepth", LEAST_DEPTH, 4096, 8],
  ["poolEntries", 0, 1048575, 1],
  ["poolMaxEntries", 0, 1048575, 1],
  ["entrySize", 0, 16384, 64],
  ["maxFrameSize", 64, 16110, 1],
  ["irqTimeoutMs", -2147483648, 2147483647, 1],
  ["interruptIntervalUs", 0, 8190, 1],
  ["linkTimeoutMs", 0, 600_000, 1],
];

const CHOICES: readonly [keyof DeviceConfig, readonly string[]][] = [
  ["interrupts", ["auto", "msix", "msi", "intx"]],
  ["hugepages", ["auto", "require", "never"]],
];

function checkRanges(config: DeviceConfig): void {
  for (const [field, least, most, multiple] of RANGES) {
    const value = config[field] as number;
    if (
      Number.isInteger(value) && value >= least && value <= most &&
      value % multiple === 0
    ) continue;
    throw new ConfigError(
      field,
      `${value} is not ${
        multiple > 1 ? `a multiple of ${multiple}` : "an integer"
      } within ${least} to ${most}`,
    );
  }
  for (const [field, choices] of CHOICES) {
    const value = config[field] as string;
    if (choices.includes(value)) continue;
    throw new ConfigError(
      field,
      `"${value}" is none of "${choices.join('", "')}"`,
    );
  }
  if (typeof config.unsafeNoIommu !== "boolean") {
    throw new ConfigError(
      "unsafeNoIommu",
      `${config.unsafeNoIommu} is neither true nor false`,
    );
  }
}

function checkAdaptive(adaptive: AdaptiveConfig): void {
  const { pollAbove, sleepBelow, windowMs } = adaptive;
  if (!(sleepBelow >= 0 && sleepBelow < pollAbove)) {
    throw new ConfigError(
      "adaptive",
      `sleepBelow (${sleepBelow}) must be less than pollAbove (${pollAbove}), or the queue flaps`,
    );
  }
  if (!(windowMs >= 1 && windowMs <= 60_000)) {
    throw new ConfigError(
      "adaptive",
      `windowMs ${windowMs} is not within 1 to 60000`,
    );
  }
}

function checkRss({ rss, queues }: DeviceConfig): void {
  checkRssKey(rss.key);
  if (rss.table !== undefined) checkRssTable(rss.table, queues);
}

/** Which names there are is known to the driver. */
function checkVirtio(virtio: VirtioConfig): void {
  for (const [list, names] of Object.entries(virtio)) {
    if (list !== "with" && list !== "without") {
      throw new ConfigError("virtio", `it has no ${list}: use with, without`);
    }
    const isList = Array.isArray(names) &&
      names.every((name) => typeof name === "string");
    if (isList) continue;
    throw new ConfigError("virtio", `${list} is no list of features`);
  }
  const both = virtio.with.find((name) => virtio.without.includes(name));
  if (both === undefined) return;
  throw new ConfigError("virtio", `${both} is both with and without`);
}
