/**
 * What every driver gives, whatever the card.
 *
 * @module
 */
import type { Batch } from "./memory/batch.ts";
import type { BusDescription } from "./bus/description.ts";
import type { DeviceConfig } from "./config.ts";
import type { Mempool, MempoolDescription } from "./memory/mempool.ts";
import type { PciIds } from "./pci/ids.ts";
import type { DeviceStats, QueueCounters } from "./stats.ts";

/** The receive half of a queue pair. One isolate uses it at a time. */
export interface RxQueue {
  /** Number of the queue. */
  readonly index: number;
  /** Descriptors in the ring. */
  readonly depth: number;
  /** Where received packets are stored. */
  readonly pool: Mempool;
  /** Live counters of the queue pair. */
  readonly counters: QueueCounters;
  /** True while the queue polls instead of sleeping on its interrupt. */
  readonly polling: boolean;
  /** True when somebody asked this queue's user to stop. */
  readonly stopped: boolean;
  /**
   * Fills `batch` from its start with what has arrived, up to its capacity, and returns how many packets that
   * are. On an empty queue it waits as `irqTimeoutMs` says; it returns 0 after the timeout and when it is stopped.
   * The packets belong to the caller, who sends or frees them.
   */
  receive(batch: Batch): number;
  /** Waits for packets without blocking the isolate: `for await (const batch of rx)`. The batch is reused. */
  [Symbol.asyncIterator](): AsyncIterator<Batch>;
  /** The eventfd of the queue's interrupt, for a caller's own `poll()`. */
  readonly irqFd: number;
  /** Takes a pending interrupt: true when there was one. The queue's interrupt is then masked. */
  checkIrq(): boolean;
  /** Lets the next interrupt through. */
  ackIrq(): void;
  /** Makes the calling isolate the one that sleeps on the interrupt. The one that slept on it wakes and stops. */
  rebindIrq(): void;
}

/** The transmit half of a queue pair. One isolate uses it at a time. */
export interface TxQueue {
  /** Number of the queue. */
  readonly index: number;
  /** Descriptors in the ring. */
  readonly depth: number;
  /** Live counters of the queue pair. */
  readonly counters: QueueCounters;
  /** Packets handed to the card and not yet reclaimed, in descriptors. */
  readonly pending: number;
  /**
   * Hands packets to the card, in order, from the start of `batch`, and frees those that were sent before.
   * Returns how many the ring had room for; these belong to the queue now, the others still to the caller.
   *
   * It stops before a packet of a pool that the card cannot reach, see {@linkcode Device.attachMempool}.
   * @throws {IxlError} "pool-unreachable" when that is the first packet.
   */
  send(batch: Batch): number;
  /** Whether the card can send packets of this pool from where they are. */
  reaches(pool: Mempool): boolean;
  /**
   * Frees what the card has sent. `send()` does so by itself: call it only where nothing is sent for long while the
   * packets are needed. Returns the number of descriptors freed.
   */
  reclaim(): number;
}

/** A queue pair in this isolate. */
export interface QueuePair {
  /** Its receive half. */
  readonly rx: RxQueue;
  /** Its transmit half. */
  readonly tx: TxQueue;
}

/** What another isolate needs to use a queue pair: structured-clonable. */
export interface QueueDescription {
  /** Which driver made it. */
  readonly driver: string;
  /** Of which chip. */
  readonly model: string;
  /** Number of the queue. */
  readonly index: number;
  /** How to reach the registers. */
  readonly bus: BusDescription;
  /** Memory of both descriptor rings. */
  readonly rings: RingsDescription;
  /** The pool that received packets come from. */
  readonly pool: MempoolDescription;
  /** The pools that the device can reach: see `dma/pool_set.ts`. */
  readonly reachable: SharedArrayBuffer;
  /** Live counters. */
  readonly counters: SharedArrayBuffer;
  /** Stop word, owner, and ring positions: see `drivers/queue/control_block.ts`. */
  readonly control: SharedArrayBuffer;
  /** Eventfd of the receive interrupt. */
  readonly irqFd: number;
  /** Eventfd that wakes a sleeping receive for control. */
  readonly wakeFd: number;
  /** Where the queue shares its interrupt with the link: eventfd to raise when the interrupt was the link's. */
  readonly linkFd?: number;
  /** How the device was opened. */
  readonly config: DeviceConfig;
  /** What a virtio queue needs besides. */
  readonly virtio?: VirtioQueueDescription;
}

/** What a virtio queue pair needs besides: structured-clonable. */
export interface VirtioQueueDescription {
  /** The accepted feature bits, 31:0 and 63:32. */
  readonly features: readonly [low: number, high: number];
  /** Where the memory of the receive ring begins for the device. */
  readonly rxIova: bigint;
  /** Where the memory of the transmit ring begins for the device. */
  readonly txIova: bigint;
  /** The `maxFrameSize` of the device's features. */
  readonly maxFrame: number;
}

/** Where a queue pair's rings lie. */
export interface RingsDescription {
  /** The shared memory. */
  readonly buffer: SharedArrayBuffer;
  /** First byte of the receive ring in `buffer`. */
  readonly rxOffset: number;
  /** First byte of the transmit ring in `buffer`. */
  readonly txOffset: number;
}

/** The link's state. */
export interface LinkState {
  /** Whether frames can pass. */
  readonly up: boolean;
  /** Mbit/s; 0 while down. */
  readonly speed: number;
  /**
   * How often the device asked that the program make itself known in the network, as after a move to another host:
   * for instance by a gratuitous ARP. Only virtio devices ask.
   */
  readonly announcements?: number;
}

/** What a card can do, and how it is set. */
export interface DeviceFeatures {
  /** Most queue pairs. */
  readonly maxQueues: number;
  /** Most queues that RSS spreads over; 0 for none. */
  readonly rssQueues: number;
  /** Entries of the redirection table; 0 for none. */
  readonly retaSize: number;
  /** Unicast addresses that the filter holds. */
  readonly macFilters: number;
  /**
   * Largest frame with the Ethernet header, without the frame check sequence. `send()` drops longer ones and counts
   * them in `txErrors`, however the device was opened; what it cuts into segments may be longer.
   */
  readonly maxFrameSize: number;
  /** Checks checksums of received packets. */
  readonly rxChecksum: boolean;
  /** Takes VLAN tags out of received frames. */
  readonly vlanStrip: boolean;
  /** Has an interrupt of its own for each queue. */
  readonly queueInterrupts: boolean;
  /** Completes checksums on sending where a packet asks for it; elsewhere the driver does it, which takes time. */
  readonly txChecksum: boolean;
  /** Cuts large packets into TCP segments where a packet asks for it; elsewhere such packets are dropped. */
  readonly segmentation: boolean;
  /** Receives frames of some VLANs only, see {@linkcode Device.addVlanFilter}. */
  readonly vlanFilter: boolean;
  /** Counts the frames that its filters keep out, see {@linkcode DeviceStats.rxFiltered}; no virtio device does. */
  readonly countsFiltered: boolean;
  /** What was negotiated with a virtio device, by the names in `drivers/virtio/features.ts`. */
  readonly virtio?: readonly string[];
}

/**
 * A network card, opened. All operations of Ixl by the design's names.
 *
 * @example
 * ```ts
 * import { Batch, openDevice } from "@ixl/deno";
 *
 * await using device = await openDevice({ address: "sim:loopback" });
 * const { rx, tx } = device.queue(0);
 * console.log(device.macAddress, device.linkSpeed, rx.depth, tx.depth);
 * ```
 */
export interface Device extends AsyncDisposable {
  /** How the user named it. */
  readonly address: string;
  /** Which driver: "ixgbe". */
  readonly driver: string;
  /** Which chip: "82599", "X540". */
  readonly model: string;
  /** PCI identity. */
  readonly ids: PciIds;
  /** How it was opened. */
  readonly config: DeviceConfig;
  /** What it can do. */
  readonly features: DeviceFeatures;
  /** Receive queues in use. */
  readonly rxQueueCount: number;
  /** Transmit queues in use. */
  readonly txQueueCount: number;
  /** Descriptors of each receive queue. */
  readonly rxQueueDepth: number;
  /** Descriptors of each transmit queue. */
  readonly txQueueDepth: number;
  /** Largest frame, with the 14-octet header, without the frame check sequence. */
  readonly maxFrameSize: number;
  /** The MAC address as `02:00:00:00:00:01`. */
  readonly macAddress: string;
  /** Link speed in Mbit/s, 0 while the link is down; reads the card. */
  readonly linkSpeed: number;
  /** True after `close()` began. */
  readonly closed: boolean;

  /** The queue pair for use in this isolate. */
  queue(index: number): QueuePair;
  /** The queue pair for use in another isolate. This isolate must not use it meanwhile. */
  describeQueue(index: number): QueueDescription;

  /** Changes the MAC address and its filter. Throws a TypeError for what is no unicast address. */
  setMacAddress(mac: string): void;
  /** Adds a unicast address to the filter. */
  addMacFilter(mac: string): void;
  /** Takes it out again. */
  removeMacFilter(mac: string): void;
  /**
   * Receives tagged frames of this VLAN, 0 to 4094, besides untagged ones. The first one turns the filter on: until then,
   * and while promiscuous, the frames of all VLANs arrive. Throws a NotSupportedError where
   * {@linkcode DeviceFeatures.vlanFilter} is false.
   */
  addVlanFilter(vlan: number): void;
  /** Receives them no longer. */
  removeVlanFilter(vlan: number): void;
  /** Receives frames for any address, or only those for the filters. */
  setPromiscuous(enabled: boolean): void;
  /** Receives all multicast frames, or none but those of the filters. */
  setAllMulticast(enabled: boolean): void;
  /** Changes the 40-byte Toeplitz key of a running device. */
  setRssKey(key: Uint8Array): void;
  /** Changes the redirection table of a running device: queue by hash, a length that divides its size. */
  setRssTable(table: readonly number[]): void;

  /** The link now. */
  link(): LinkState;
  /** Waits until the link is up. Throws a DeviceTimeoutError. */
  waitForLink(timeoutMs: number): Promise<void>;
  /** Each change of the link, from its interrupt, until the device closes. */
  linkChanges(): AsyncIterable<LinkState>;

  /**
   * Adds what the card counted since the last call of `readStats()` or `resetStats()` to `into` (default: zeros) and
   * returns it. See {@linkcode Device.totalStats} for what it counted since it was opened.
   */
  readStats(into?: DeviceStats): DeviceStats;
  /** What the card counted since it was opened; changes nothing about what `readStats()` gives next. */
  totalStats(): DeviceStats;
  /** Forgets what was counted since the last call. */
  resetStats(): void;

  /**
   * Lets the device send packets of a pool that was made for another device, or for none, from where they are. `run()`
   * does so for all pools of its devices. There is nothing to undo: closing either device does that.
   * @throws {IxlError} "pool-unreachable" when the device cannot reach that memory, and why. Copy the packets then, as
   * {@linkcode QueueContext.sendAll} does.
   */
  attachMempool(pool: Mempool): void;
  /**
   * Makes a pool of `entries` packets that the device can send, besides those of its queues: for packets that a program
   * makes, or copies. The calling isolate owns it. It goes with the device.
   */
  createMempool(entries: number): Mempool;
  /** The pool that a queue receives into. Other isolates get it with the queue. */
  rxMempool(queue: number): Mempool;
  /** Adds packets to a queue's pool, while it runs. Resolves when its owner uses them. */
  extendRxMempool(queue: number, entries: number): Promise<void>;
  /** Takes packets away from a queue's pool, while it runs; memory returns to the system as they come free. */
  shrinkRxMempool(queue: number, entries: number): Promise<void>;

  /** The eventfd of a queue's receive interrupt, for waiting on with others. */
  rxIrq(queue: number): number;
  /** Checks, clears and masks a queue's receive interrupt: true when it had fired. */
  checkRxIrq(queue: number): boolean;
  /** Unmasks it. */
  ackRxIrq(queue: number): void;
  /** Moves it to the calling isolate. */
  rebindRxIrq(queue: number): void;

  /**
   * Calls `handler` when the device is being removed from the machine; the device closes when the handler's promise
   * has resolved. `run()` uses it to stop its workers. Dispose of the result to take the handler away.
   */
  onRemoval(handler: () => void | Promise<void>): Disposable;

  /** Asks the user of a queue to stop and wakes it. */
  stopQueue(index: number): void;
  /**
   * Another isolate uses the queue now. {@linkcode describeQueue} says so too. A device that closes meanwhile keeps the
   * numbers of its files, so that they never become those of other files in that isolate.
   */
  lendQueue(index: number): void;
  /** The isolate that had the queue no longer uses it. */
  takeBackQueue(index: number): void;
  /** After a queue's user has stopped: lets another isolate go on where it left off, packets and all. */
  resumeQueue(index: number): void;
  /** After a queue's user has stopped or died: stops its rings, so that the card touches no packet of theirs. */
  haltQueue(index: number): Promise<void>;
  /**
   * Takes every packet of a queue's pool back and starts its rings afresh. Packets of the pool that are in other rings
   * come home from there. Rings that another worker uses do not tell what they have: halt those first.
   */
  restartQueue(index: number): Promise<void>;
  /**
   * Stops the queues, DMA and bus mastering, then gives memory, eventfds and the device back. A device whose
   * packets others still send is closed after them, as `await using` does with devices in the order of traffic.
   */
  close(): Promise<void>;
}
