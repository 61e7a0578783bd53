/**
 * What a device is told through its control queue, and told again after each reset.
 *
 * Filters are best effort (5.1.6.5.1): more frames may arrive than were asked for, never fewer. A device without filters
 * delivers all it gets, so there every wish to receive something is fulfilled already.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { VirtioTransport } from "../../../bus/virtio/transport.ts";
import type { DeviceConfig } from "../../../config.ts";
import { ConfigError, NotSupportedError } from "../../../errors.ts";
import { equalMac } from "../../../net/ethernet.ts";
import {
  checkRssKey,
  checkRssTable,
  evenRssTable,
  RSS_TABLE_SIZE,
} from "../../../rss_table.ts";
import {
  Commands,
  hashConfig,
  hashTypes,
  macTable,
  number16,
  onOff,
  rssConfig,
} from "./commands.ts";
import type { ControlQueue } from "./queue.ts";
import type { VirtioFeatureName } from "../../../bus/virtio/feature_bits.ts";
import { accepts } from "../features.ts";
import type { Agreement } from "../negotiation.ts";

/** Addresses besides the device's own. Where a device's table is smaller, it takes frames for any address. */
const MAC_FILTERS = 128;
const HIGHEST_VLAN = 4094;
const NOTHING = new Uint8Array(0);
const MAC_BYTES = 6;
const LOCALLY_ADMINISTERED = 2;
const MULTICAST = 1;

/** The control queue where the device is live; else what is set is sent once it is. */
type Control = Pick<ControlQueue, "send"> | undefined;

/** What the user wants of a device, and what of it the device knows. */
export class Settings {
  readonly #queues: number;
  readonly #ports: boolean;
  #agreement: Agreement | undefined;
  #station = new Uint8Array(MAC_BYTES);
  #filter: Uint8Array[] = [];
  readonly #vlans = new Set<number>();
  #promiscuous: boolean;
  #allMulticast = false;
  #rssKey: Uint8Array;
  #rssTable: readonly number[];

  /** @param config How the device was opened. */
  constructor(config: DeviceConfig) {
    const { queues, rss, promiscuous } = config;
    this.#queues = queues;
    this.#ports = rss.ports;
    this.#promiscuous = promiscuous;
    this.#rssKey = rss.key;
    this.#rssTable = rss.table ?? evenRssTable(queues);
  }

  /**
   * Takes over what was negotiated.
   * @param transport Knows the device's address where its configuration has none, or the user chose one.
   */
  agree(
    agreement: Agreement,
    { macAddress, macIsChosen = false }: Pick<
      VirtioTransport,
      "macAddress" | "macIsChosen"
    >,
  ): void {
    this.#agreement = agreement;
    const { mac } = agreement.net;
    const station = macIsChosen ? macAddress : mac ?? macAddress;
    this.#station = (station ?? randomStation()).slice();
  }

  /** The device's address. */
  get station(): Uint8Array {
    return this.#station;
  }

  /** How many addresses {@linkcode setFilter} takes; 0 where nothing is filtered. */
  get macFilters(): number {
    return this.#has("rx-filters") ? MAC_FILTERS : 0;
  }

  /** Tells the device everything that differs from its state after a reset. */
  send(control: Control): void {
    this.#sendSpreading(control);
    this.#sendMode(control);
    const { mac } = this.#agreed.net;
    if (mac !== undefined && !equalMac(mac, 0, this.#station, 0)) {
      this.#sendStation(this.#station, control);
    }
    if (this.#filter.length > 0) this.#sendFilter(this.#filter, control);
    for (const vlan of this.#vlans) {
      control?.send(Commands.vlanAdd, number16(vlan));
    }
  }

  /** Changes the device's address. */
  setStation(mac: Uint8Array, control: Control): void {
    if (!this.#has("set-mac") && this.#has("rx-filters")) {
      throw new NotSupportedError(
        "this virtio device filters frames by its address, and does not let it be changed",
      );
    }
    this.#sendStation(mac, control);
    this.#station = mac.slice();
  }

  /** Adds an address to the filter, or takes it out. */
  setFilter(mac: Uint8Array, wanted: boolean, control: Control): void {
    const others = this.#filter.filter((other) => !equalMac(other, 0, mac, 0));
    const filter = wanted ? [...others, mac.slice()] : others;
    if (filter.length === this.#filter.length) return;
    if (filter.length > MAC_FILTERS) {
      throw new ConfigError(
        "mac",
        `all ${MAC_FILTERS} filters are in use: remove one, or receive promiscuously`,
      );
    }
    this.#sendFilter(filter, control);
    this.#filter = filter;
  }

  /** Receives frames of a VLAN, or no longer. */
  setVlan(vlan: number, wanted: boolean, control: Control): void {
    if (!this.#has("vlan-filter")) {
      throw new NotSupportedError(
        'frames of all VLANs are received: open the device with virtio: { with: ["vlan-filter"] } to filter them',
      );
    }
    if (!Number.isInteger(vlan) || vlan < 0 || vlan > HIGHEST_VLAN) {
      throw new ConfigError(
        "vlan",
        `${vlan} is not within 0 to ${HIGHEST_VLAN}`,
      );
    }
    if (this.#vlans.has(vlan) === wanted) return;
    const command = wanted ? Commands.vlanAdd : Commands.vlanRemove;
    control?.send(command, number16(vlan));
    if (wanted) this.#vlans.add(vlan);
    else this.#vlans.delete(vlan);
  }

  /** Receives frames for any address, or only those for the filters. */
  setPromiscuous(enabled: boolean, control: Control): void {
    this.#promiscuous = enabled;
    this.#sendMode(control);
  }

  /** Receives all multicast frames, or none. */
  setAllMulticast(enabled: boolean, control: Control): void {
    this.#allMulticast = enabled;
    this.#sendMode(control);
  }

  /** Changes the Toeplitz key. */
  setRssKey(key: Uint8Array, control: Control): void {
    this.#assertHashes();
    checkRssKey(key);
    this.#rssKey = key.slice();
    this.#sendSpreading(control);
  }

  /** Changes the indirection table. */
  setRssTable(table: readonly number[], control: Control): void {
    if (!this.#has("rss")) {
      throw new NotSupportedError(
        "this virtio device spreads frames over queues as it likes",
      );
    }
    checkRssTable(table, this.#queues);
    this.#rssTable = [...table];
    this.#sendSpreading(control);
  }

  /** Says that the program was told of the device's wish to be announced (5.1.6.5.4). */
  acknowledgeAnnouncement(control: Control): void {
    control?.send(Commands.announced, NOTHING);
  }

  get #agreed(): Agreement {
    return this.#agreement!;
  }

  #has(name: VirtioFeatureName): boolean {
    return accepts(this.#agreed.features, name);
  }

  #assertHashes(): void {
    if (this.#has("rss") || this.#has("hash-report")) return;
    throw new NotSupportedError(
      "this virtio device does not hash what it receives",
    );
  }

  #sendStation(mac: Uint8Array, control: Control): void {
    if (this.#has("set-mac")) control?.send(Commands.macAddress, mac);
  }

  #sendFilter(addresses: readonly Uint8Array[], control: Control): void {
    if (!this.#has("rx-filters")) return;
    control?.send(Commands.macTable, macTable(addresses));
  }

  /** A device starts out promiscuous, or not: it is told either way. */
  #sendMode(control: Control): void {
    if (!this.#has("rx-filters")) return;
    control?.send(Commands.promiscuous, onOff(this.#promiscuous));
    control?.send(Commands.allMulticast, onOff(this.#allMulticast));
  }

  /** How many queues there are, and what is hashed: with RSS this is one command (5.1.6.5.7). */
  #sendSpreading(control: Control): void {
    const key = this.#rssKey;
    const types = hashTypes(this.#agreed.net.hashTypes, this.#ports);
    if (this.#has("rss")) {
      const spreading = {
        hashTypes: types,
        key,
        table: repeated(this.#rssTable),
        queues: this.#queues,
      };
      control?.send(Commands.rss, rssConfig(spreading));
      return;
    }
    if (this.#has("multiqueue")) {
      control?.send(Commands.queuePairs, number16(this.#queues));
    }
    if (this.#has("hash-report")) {
      control?.send(Commands.hash, hashConfig(types, key));
    }
  }
}

function repeated(table: readonly number[]): number[] {
  return Array.from(
    { length: RSS_TABLE_SIZE },
    (_, entry) => table[entry % table.length],
  );
}

/** An address for a device that has none (5.1.5). */
function randomStation(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(MAC_BYTES));
  mac[0] = (mac[0] | LOCALLY_ADMINISTERED) & ~MULTICAST;
  return mac;
}
