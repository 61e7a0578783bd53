/**
 * What a family of Intel cards is to the driver: a record of its steps. {@linkcode IntelCard} is the same for all of
 * them and calls the steps; a family's folder has the record in `family.ts`.
 *
 * @module
 */
import type { PciBusDevice, Registers } from "../../bus/bus.ts";
import type { DeviceConfig } from "../../config.ts";
import type { DeviceFeatures, LinkState } from "../../device_api.ts";
import type { DeviceStats } from "../../stats.ts";
import type { LocalPair, RingAddresses } from "../device/base_device.ts";
import type { LocalQueue } from "../queue/rx_queue.ts";
import type { FilteredCount } from "./filtered_count.ts";
import type { MacSlots } from "./mac_filter.ts";
import type { ReceiveFilters } from "./receive_mode.ts";
import type { RegisterBlock } from "./register.ts";

/** A chip in the hands of its driver. A family adds what its steps need besides. */
export interface IntelChip {
  /** Which one. */
  readonly model: { readonly name: string };
  /** Its registers. */
  readonly registers: RegisterBlock;
  /** What its filters kept out. */
  readonly filtered: FilteredCount;
  /** How it is to be used. */
  readonly config: DeviceConfig;
  /** Says in the log what is being done. */
  step(message: string): void;
}

/** What {@linkcode IntelFamily.configure} asks of the card while it sets up the chip. */
export interface ConfigureSteps {
  /** Writes the promiscuous, multicast and VLAN settings. */
  writeReceiveMode(): void;
  /** Starts the rings of every queue. */
  startQueues(): Promise<void>;
  /** Bytes of a packet buffer. */
  readonly entrySize: number;
}

/** A card of the family: PCI device id, name for users, and chip. */
export type CardId<Chip extends IntelChip> = readonly [
  device: number,
  name: string,
  model: Chip["model"],
];

/** A family of Intel cards. */
export interface IntelFamily<Chip extends IntelChip> {
  /** The driver's name. */
  readonly driver: string;
  /** Its cards. A new PCI id goes here. */
  readonly cards: readonly CardId<Chip>[];

  /** Makes the chip, on its bus. */
  makeChip(
    common: Omit<IntelChip, "model">,
    model: Chip["model"],
    bus: PciBusDevice,
  ): Chip;
  /** What the chip can do. */
  features(chip: Chip): DeviceFeatures;
  /** What the chip writes into one packet buffer of this size. 0: the buffer is too small. */
  bufferBytes(entrySize: number): number;
  /** The throttling register's value for an interval in µs. Throws a ConfigError for one that it does not have. */
  interval(microseconds: number): number;
  /** Whether one vector serves the only queue and everything else. Default: never. */
  sharesVector?(bus: PciBusDevice): boolean;
  /** Whether queues that all poll can do without vectors of their own. Default: no. */
  readonly pollsWithoutVectors?: boolean;

  /** Brings the chip into a known state: no DMA, no interrupts. */
  reset(chip: Chip): Promise<void>;
  /** Sets up everything but interrupts, starts the rings, and returns the MAC address. */
  configure(chip: Chip, steps: ConfigureSteps): Promise<Uint8Array>;
  /** Starts the rings of a queue afresh, the receive ring full of packets. */
  startRings(
    chip: Chip,
    queue: number,
    addresses: RingAddresses,
    pair: IntelPair,
  ): Promise<void>;
  /** Stops the rings of a queue, letting pending packets out if they go soon. */
  stopRings(chip: Chip, queue: number): Promise<void>;
  /** Stops all DMA of the chip. */
  stopDma(chip: Chip): Promise<void>;

  /** Lets interrupts through. */
  enableInterrupts(chip: Chip): void;
  /** Masks all interrupts. */
  disableInterrupts(chip: Chip): void;
  /** Masks the interrupt of one queue. */
  maskQueue(chip: Chip, queue: number): void;
  /** Clears the cause of a link interrupt and lets the next one through. */
  acknowledgeLink(chip: Chip, bus: PciBusDevice): void;

  /** Makes a queue pair, in any isolate. */
  makePair(
    queue: LocalQueue,
    registers: Registers,
    unmaskInterrupt: () => void,
  ): IntelPair;

  /** Adds what the chip counted since the last call. */
  collectStatistics(chip: Chip, into: DeviceStats): void;
  /** Reads the link. */
  readLink(chip: Chip): LinkState;
  /** Programs the MAC address. */
  writeStation(chip: Chip, mac: Uint8Array): void;
  /** The unicast filter. */
  macSlots(chip: Chip): MacSlots;
  /** Writes what the chip lets through. */
  writeReceiveMode(chip: Chip, filters: ReceiveFilters): void;
  /** Writes a word of the VLAN table. */
  writeVlanWord(chip: Chip, entry: number, word: number): void;
  /** Writes the Toeplitz key. */
  writeKey(chip: Chip, key: Uint8Array): void;
  /** Writes the redirection table (RETA). */
  writeTable(chip: Chip, table: readonly number[]): void;
}

/** A queue pair whose rings a card can start. */
export interface IntelPair extends LocalPair {
  readonly rx: LocalPair["rx"] & {
    /** Empties the ring and fills it with buffers. Returns what to write to the tail. */
    resetRing(): number;
  };
  readonly tx: LocalPair["tx"] & {
    /** Empties the ring. */
    resetRing(): void;
  };
}
