/**
 * Packet memory: fixed-size entries in one {@linkcode DmaMemory}, addressed by integer handles.
 *
 * @module
 */
import { AddressSpace } from "../dma/address_space.ts";
import type { DmaDomain } from "../dma/domain.ts";
import { DmaMemory, type DmaMemoryOptions } from "../dma/memory.ts";
import { ConfigError, IxlError, PoolError } from "../errors.ts";
import { type Claim, claimNumber } from "../dma/claim.ts";
import { setting } from "../environment.ts";
import { poolArrayBytes, poolArrays } from "./pool_arrays.ts";

/** A packet: the pool's id above {@linkcode INDEX_BITS} bits of entry index. Never 0, always below 2³⁰. */
export type Handle = number;

/** Bits of a handle that number the entry. */
export const INDEX_BITS = 20;
/** Masks a handle down to the index of its entry. */
export const INDEX_MASK: number = (1 << INDEX_BITS) - 1;
const MAX_POOL_ID = 1023;

/** Bytes of an entry of size 0: a full Ethernet frame, and a whole number of KiB for the receive unit. */
export const DEFAULT_ENTRY_SIZE = 2048;
/**
 * Bytes before each entry, where a driver may put what its device wants in front of a packet. A cache line, which also
 * keeps the starts of packets from falling into the same few cache sets.
 */
export const HEADROOM = 64;
const GUARD_BYTES = 64;
const GUARD = 0xa5;
const POISON = 0xde;

/** Words of the shared header, one Int32 each. */
const FREE_COUNT = 0;
/** Entries below this index may be allocated. Written by the owner. */
const LIMIT = 1;
/** The wanted limit. Written by the isolate that resizes, once the memory is there. */
const TARGET = 2;
/** One above the highest entry that is still out: memory above it may go. Written by the owner. */
const NEEDED = 3;
/** How often an allocation found nothing. */
const EXHAUSTED = 4;
/** Entries whose memory is mapped: what a resize in progress has reached. Written by the allocating side. */
const MAPPED = 5;
/** How often memory for a resize could not be had. Written by the allocating side. */
const REFUSED = 6;
/** The packet that was freed last by an isolate that does not own the pool; the others follow in `nextSegments`. */
const RETURNED = 7;
/** Not 0: packets were lent to other isolates, which may hold some. Written by the owner. */
const LENT = 8;
/** Tells pools apart that had the same number one after the other. */
const SERIAL = 9;

/** Per-entry state above the limit (`parked`) and, in debug mode, everywhere. */
const AT_HOME = 1;
const OUT = 0;

/** How a pool is made. */
export interface MempoolOptions {
  /** Entries to begin with. */
  readonly entries: number;
  /** Most entries that `extend()` may reach; address space only. Default: 8 times `entries`. */
  readonly maxEntries?: number;
  /** Bytes of an entry, a multiple of 64 from 256 on; 0 fits a packet buffer of 2048 bytes. */
  readonly entrySize?: number;
  /** Catch double free, use after free, foreign handles and writes past the entry. Default: `IXL_DEBUG=1`. */
  readonly debug?: boolean;
  /** Where the memory comes from. */
  readonly memory?: Omit<DmaMemoryOptions, "bytes" | "reserve">;
}

/** What another isolate needs to use a pool: structured-clonable. */
export interface MempoolDescription {
  /** Pool number, unique in the process. */
  readonly id: number;
  /** The shared bytes. */
  readonly buffer: SharedArrayBuffer;
  /** Where entry 0 begins in `buffer`, after its {@linkcode HEADROOM}. */
  readonly byteOffset: number;
  /** Where the pool's memory begins in the process. */
  readonly address: bigint;
  /** I/O virtual address of entry 0, after its {@linkcode HEADROOM}. */
  readonly iova: bigint;
  /** Usable bytes of an entry. */
  readonly entrySize: number;
  /** Bytes from one entry to the next. */
  readonly stride: number;
  /** Most entries. */
  readonly maxEntries: number;
  /** The shared header, free stack and metadata. */
  readonly control: SharedArrayBuffer;
  /** Whether misuse is caught. */
  readonly debug: boolean;
  /** True for an isolate that does not own the pool: what it frees travels home to the owner. */
  readonly lent?: boolean;
}

/** Asks the owner of the memory to make a pool's first `entries` entries usable. Returns when they are. */
export type GrowMemory = (pool: Mempool, entries: number) => void;

/** A device, as a pool sees it. */
export interface PoolUser {
  /** The packets in all its transmit rings but, where named, one; each segment by itself. */
  packetsInRings(except?: number): Iterable<Handle>;
  /** Sees to it that pools of its queues take back what was freed elsewhere. */
  takeHome(pools: ReadonlySet<Mempool>): void;
  /** Takes back what the device has of a pool that is about to go, or stops the device's queues. */
  giveBack(pool: Mempool): Promise<void>;
}

interface Attachment {
  /** How many devices behind it have asked for the pool. */
  users: number;
}

interface PoolMemory {
  readonly bytes: DmaMemory;
  /** Where devices reach it. */
  readonly domains: Map<DmaDomain, Attachment>;
  readonly claim: Claim;
  /** True for a pool without a domain of its own, which has its address from the start. */
  readonly holdsAddress: boolean;
  /** Devices of other kinds or owners that send its packets. */
  readonly users: Set<PoolUser>;
}

/** The devices of this isolate that may have packets of any pool in their rings. */
export const openDevices: Set<PoolUser> = new Set();

const poolsById: (Mempool | undefined)[] = [];

/**
 * A pool of packet buffers. One isolate owns it at a time, hence there are no locks; other isolates get handles
 * through a {@linkcode Handover} and their frees travel home by themselves.
 *
 * A packet is a handle. Its bytes start at `offset(handle)` of `u8`; what else is known of it stands in typed
 * arrays at `index(handle)`: {@linkcode lengths}, {@linkcode flags} and so on.
 *
 * @example
 * ```ts
 * import { Mempool } from "@ixl/deno";
 *
 * const pool = Mempool.create({ entries: 64, memory: { backing: "plain" } });
 * const handle = pool.allocate();
 * pool.u8[pool.offset(handle)] = 0xff;
 * pool.free(handle);
 * pool.destroy();
 * ```
 */
export class Mempool {
  /** All entries' bytes, one after the other, `stride` apart. */
  readonly u8: Uint8Array;
  /** For drivers: the same memory as 32-bit words, from the headroom of entry 0 on. */
  readonly words: Uint32Array;
  /** Bytes of this segment, by entry index. */
  readonly lengths: Uint32Array;
  /** What the device said of the packet ({@linkcode PacketFlag}), by entry index. */
  readonly flags: Uint32Array;
  /** VLAN tag control information, by entry index; meaningful with `PacketFlag.VlanStripped`. */
  readonly vlanTags: Uint16Array;
  /** RSS hash, by entry index; meaningful with `PacketFlag.RssHash`. */
  readonly rssHashes: Uint32Array;
  /** Handle of the packet's next segment, 0 on the last, by entry index. */
  readonly nextSegments: Uint32Array;
  /**
   * What the device is asked to do on sending, by entry index of the first segment; 0 for nothing. Bits 15:0: where the
   * TCP or UDP header begins in the frame, 30:16: where its checksum is in that header. The checksum field holds the
   * sum of the pseudo header then, and the device completes it.
   */
  readonly offloads: Uint32Array;
  /**
   * Payload bytes of each TCP segment that the device shall cut the packet into, by entry index of the first segment;
   * 0 for no segmentation. Counts only together with {@linkcode offloads}.
   */
  readonly segmentSizes: Uint16Array;
  /**
   * For drivers: the LIFO of free handles; its length is `header[0]`. An entry that is pushed onto it has no next
   * segment and no offloads, so that these need not be cleared when it is taken.
   */
  readonly freeStack: Uint32Array;
  /** For drivers: the shared header; word 0 counts the free stack. */
  readonly header: Int32Array;
  /** For drivers: low half of entry 0's I/O virtual address. */
  readonly iovaLow: number;
  /** For drivers: high half, the same for every entry. */
  readonly iovaHigh: number;
  /** Bytes from one entry to the next. */
  readonly stride: number;
  /** Usable bytes of an entry. */
  readonly entrySize: number;
  /** Pool number, unique in the process. */
  readonly id: number;
  /** Whether misuse is caught. */
  readonly debug: boolean;
  readonly #parked: Uint8Array;
  readonly #state: Uint8Array;
  /** True where another isolate owns the pool, and packets that are freed here travel home. */
  readonly lent: boolean;
  #memory: PoolMemory | undefined;
  #grow: GrowMemory;

  private constructor(
    readonly description: MempoolDescription,
    grow: GrowMemory,
    readonly maxEntries: number = description.maxEntries,
  ) {
    this.id = description.id;
    this.debug = description.debug;
    this.stride = description.stride;
    this.entrySize = description.entrySize;
    this.u8 = new Uint8Array(
      description.buffer,
      description.byteOffset,
      maxEntries * this.stride - HEADROOM,
    );
    this.words = new Uint32Array(
      description.buffer,
      description.byteOffset - HEADROOM,
      maxEntries * this.stride / 4,
    );
    this.iovaLow = Number(description.iova & 0xffffffffn);
    this.iovaHigh = Number(description.iova >> 32n);
    const arrays = poolArrays(description.control, maxEntries);
    this.header = arrays.header;
    this.freeStack = arrays.freeStack;
    this.lengths = arrays.lengths;
    this.flags = arrays.flags;
    this.rssHashes = arrays.rssHashes;
    this.nextSegments = arrays.nextSegments;
    this.offloads = arrays.offloads;
    this.vlanTags = arrays.vlanTags;
    this.segmentSizes = arrays.segmentSizes;
    this.#parked = arrays.parked;
    this.#state = arrays.state;
    this.lent = description.lent ?? false;
    this.#grow = grow;
    poolsById[this.id] = this;
  }

  /**
   * Makes a pool owned by the calling isolate.
   * @param domain Where devices shall reach it; without one it is ordinary memory.
   * @throws {ConfigError} when a size is out of range.
   */
  static create(options: MempoolOptions, domain?: DmaDomain): Mempool {
    const sizes = checkedSizes(options);
    const claim = claimId();
    try {
      return Mempool.#create(options, sizes, claim, domain);
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  static #create(
    options: MempoolOptions,
    sizes: Sizes,
    claim: Claim,
    domain: DmaDomain | undefined,
  ): Mempool {
    const bytes = DmaMemory.allocate({
      ...(domain?.pagewise ? { unit: sizes.stride } : {}),
      label: "ixl-mempool",
      contiguous: domain?.contiguous ?? false,
      // A file can be handed to a device that is another process, whichever device the pool is made for.
      fileBacked: domain?.fileBacked ? true : "if-possible",
      ...options.memory,
      bytes: sizes.entries * sizes.stride,
      reserve: sizes.maxEntries * sizes.stride,
    });
    let iova: bigint;
    try {
      iova = domain?.attach(bytes) ?? AddressSpace.shared.take(bytes);
    } catch (error) {
      bytes.free();
      throw error;
    }
    const { entries, ...rest } = sizes;
    const stride = domain?.pagewise ? bytes.unit : sizes.stride;
    const pool = new Mempool({
      ...rest,
      stride,
      id: claim.number,
      buffer: bytes.buffer,
      byteOffset: bytes.byteOffset + HEADROOM,
      address: bytes.address,
      iova: iova + BigInt(HEADROOM),
      control: new SharedArrayBuffer(poolArrayBytes(sizes.maxEntries)),
    }, commitMemory);
    pool.#memory = {
      ...{ bytes, claim, domains: new Map(), users: new Set() },
      holdsAddress: domain === undefined,
    };
    if (domain !== undefined) {
      pool.#memory.domains.set(domain, { users: 1 });
      domain.pools.add(pool.id);
    }
    pool.header[SERIAL] = crypto.getRandomValues(new Int32Array(1))[0];
    pool.header[MAPPED] = entries;
    pool.#parked.fill(AT_HOME);
    pool.resize(entries);
    pool.sync();
    return pool;
  }

  /**
   * Makes a pool of another isolate usable in this one: as its new owner, or, when the description says that it is
   * lent, as a guest whose frees travel home.
   */
  static attach(
    description: MempoolDescription,
    grow: GrowMemory = refuseToGrow,
  ): Mempool {
    const known = poolsById[description.id];
    // Numbers and addresses are given to other pools once a pool is destroyed, which this isolate may not have noticed.
    const same = known?.description.address === description.address &&
      known.header[SERIAL] === new Int32Array(description.control)[SERIAL];
    return known !== undefined && same ? known : new Mempool(description, grow);
  }

  /** The pool of a handle. Throws when this isolate does not know it. */
  static of(handle: Handle): Mempool {
    const pool = poolsById[handle >>> INDEX_BITS];
    if (pool !== undefined) return pool;
    throw new PoolError(
      `handle 0x${
        handle.toString(16)
      } belongs to no pool that this isolate knows`,
    );
  }

  /** Whether this isolate knows the pool of a handle. */
  static knows(handle: Handle): boolean {
    return poolsById[handle >>> INDEX_BITS] !== undefined;
  }

  /** Frees every segment of a packet, whichever pools they come from. */
  static freeChain(handle: Handle): void {
    let segment = handle;
    while (segment !== 0) {
      const pool = Mempool.of(segment);
      const next = pool.nextSegments[segment & INDEX_MASK];
      pool.free(segment);
      segment = next;
    }
  }

  /** Sends one entry home to its owner, from whichever isolate. */
  static returnHome(handle: Handle): void {
    const pool = Mempool.of(handle);
    pool.offloads[handle & INDEX_MASK] = 0;
    pool.#sendHome(handle);
  }

  /** Entries that may be in use now. */
  get capacity(): number {
    return this.header[LIMIT];
  }

  /** Entries that the pool shall have once its owner has followed the last {@linkcode resize}. */
  get target(): number {
    return Atomics.load(this.header, TARGET);
  }

  /** Entries that can be allocated now. */
  get available(): number {
    return this.header[FREE_COUNT];
  }

  /** Entries that are out: in rings, in batches, with other workers. */
  get inUse(): number {
    return this.header[LIMIT] - this.header[FREE_COUNT];
  }

  /** How often an allocation found the pool empty. */
  get exhausted(): number {
    return this.header[EXHAUSTED];
  }

  /** Bytes of memory behind the pool, where this isolate made it; else 0. */
  get committedBytes(): number {
    return this.#memory?.bytes.committed ?? 0;
  }

  /** Where a packet stands in {@linkcode lengths}, {@linkcode flags} and the other arrays. */
  index(handle: Handle): number {
    return handle & INDEX_MASK;
  }

  /** Where a packet's bytes begin in {@linkcode u8}. */
  offset(handle: Handle): number {
    if (this.debug) this.#assertOut(handle, "used");
    return (handle & INDEX_MASK) * this.stride;
  }

  /** Takes one entry; 0 when there is none, which is counted. */
  allocate(): Handle {
    const { header } = this;
    const count = header[FREE_COUNT];
    if (count === 0) return this.#allocateSlowly();
    header[FREE_COUNT] = count - 1;
    const handle = this.freeStack[count - 1];
    const index = handle & INDEX_MASK;
    this.flags[index] = 0;
    if (this.debug) this.#state[index] = OUT;
    return handle;
  }

  #allocateSlowly(): Handle {
    if (this.header[RETURNED] !== 0) this.#takeReturned();
    if (this.header[FREE_COUNT] > 0) return this.allocate();
    this.header[EXHAUSTED]++;
    return 0;
  }

  /** For drivers: counts an allocation that found nothing. */
  countExhausted(): void {
    this.header[EXHAUSTED]++;
  }

  /** Gives one entry back: to the free stack in the owner, on its way home elsewhere. */
  free(handle: Handle): void {
    const index = handle & INDEX_MASK;
    if (this.debug) this.#assertFreeable(handle);
    this.nextSegments[index] = 0;
    this.offloads[index] = 0;
    if (this.lent) return this.#sendHome(handle);
    const { header } = this;
    if (index >= header[LIMIT]) return this.#park(index);
    this.freeStack[header[FREE_COUNT]++] = handle;
  }

  /** Adds `count` entries. Throws a ConfigError above {@linkcode maxEntries}. */
  extend(count: number): void {
    assertCount(count);
    this.resize(this.header[TARGET] + count);
    this.sync();
  }

  /**
   * Takes `count` entries away. Free ones go at once, the others when they are freed; memory returns to the
   * system by whole pages as soon as nothing on them is in use.
   */
  shrink(count: number): void {
    assertCount(count);
    this.resize(this.header[TARGET] - count);
    this.sync();
    this.releaseMemory();
  }

  /**
   * Sets the wanted number of entries and makes sure there is memory for them. The owner follows with its next
   * {@linkcode sync}, which its receive queue does at least once in a round of the ring.
   */
  resize(entries: number): void {
    if (!(entries >= 1 && entries <= this.maxEntries)) {
      throw new ConfigError(
        "entries",
        `a pool must have 1 to ${this.maxEntries} (maxEntries) entries, not ${entries}`,
      );
    }
    const before = Atomics.load(this.header, TARGET);
    try {
      do {
        this.#grow(this, entries);
        Atomics.store(this.header, TARGET, entries);
        // A release in another isolate may have looked at the target just before.
      } while (Atomics.load(this.header, MAPPED) < entries);
    } catch (error) {
      Atomics.compareExchange(this.header, TARGET, entries, before);
      throw error;
    }
  }

  /** True when the owner has followed the last {@linkcode resize}. */
  get settled(): boolean {
    return Atomics.load(this.header, LIMIT) ===
      Atomics.load(this.header, TARGET);
  }

  /** In the owner: takes back what guests freed, and follows a resize. Cheap when there is nothing to do. */
  sync(): void {
    if (this.header[RETURNED] !== 0) this.#takeReturned();
    if (this.header[TARGET] !== this.header[LIMIT]) this.#follow();
  }

  /**
   * Gives memory that no entry needs any more back to the system, by whole pages and whole pieces of the IOMMU. Only
   * where the pool was made. Returns true when no retired entry is out any more.
   */
  releaseMemory(): boolean {
    if (!this.#memory) return true;
    const { bytes, domains } = this.#memory;
    const { header } = this;
    const entries = this.#needed();
    // Before the memory goes: an isolate that extends the pool meanwhile has to ask for it.
    const before = Atomics.exchange(header, MAPPED, entries);
    if (this.#needed() > entries) {
      Atomics.store(header, MAPPED, before);
      return false;
    }
    const used = entries * this.stride;
    const kept = [...domains.keys()].map((domain) =>
      domain.shrink(bytes, used)
    );
    bytes.decommit(Math.max(used, ...kept));
    return entries === this.target;
  }

  /** Entries whose memory must stay. */
  #needed(): number {
    return Math.max(
      Atomics.load(this.header, TARGET),
      Atomics.load(this.header, NEEDED),
    );
  }

  /** The description for a guest, whose frees travel home to the owner. */
  lend(): MempoolDescription {
    Atomics.store(this.header, LENT, 1);
    return { ...this.description, lent: true };
  }

  /** True when packets were lent to other isolates at some time. */
  get wasLent(): boolean {
    return Atomics.load(this.header, LENT) !== 0;
  }

  /**
   * Lets the devices of a domain reach the pool. Only where the pool was made.
   *
   * @param user The device that will send its packets, where that is not the one that the pool was made for. It is asked
   * to give them back before the pool goes.
   * @throws {IxlError} "pool-unreachable" when they cannot, and why.
   */
  attachTo(domain: DmaDomain, user: PoolUser): void {
    const memory = this.#memory;
    if (memory === undefined) {
      throw unreachable("it was made by another isolate, or destroyed");
    }
    if (memory.users.has(user)) return;
    const known = memory.domains.get(domain);
    if (known !== undefined) known.users++;
    else this.#attach(memory, domain);
    memory.users.add(user);
  }

  #attach({ bytes, domains }: PoolMemory, domain: DmaDomain): void {
    if (domain.pagewise && !bytes.keepsWithinPages(this.stride)) {
      throw unreachable(
        "its packets lie across pages, which not every device behind an IOMMU can read: reserve hugepages",
      );
    }
    let iova: bigint;
    try {
      iova = domain.attach(bytes);
    } catch (error) {
      if (!(error instanceof IxlError)) throw error;
      throw unreachable(error.message, error);
    }
    if (iova + BigInt(HEADROOM) !== this.description.iova) {
      domain.detach(bytes);
      throw unreachable(
        "one of the devices has an IOMMU and the other has none",
      );
    }
    domains.set(domain, { users: 1 });
    domain.pools.add(this.id);
  }

  /** Undoes {@linkcode attachTo}: the device no longer uses the pool. */
  detachFrom(domain: DmaDomain, user: PoolUser): void {
    const memory = this.#memory;
    if (memory === undefined || !memory.users.delete(user)) return;
    const known = memory.domains.get(domain)!;
    if (--known.users > 0) return;
    memory.domains.delete(domain);
    domain.pools.delete(this.id);
    domain.detach(memory.bytes);
  }

  /**
   * Waits until no device has packets of the pool in a transmit ring, those included that reach it because they share
   * an IOMMU with another: to be called before {@linkcode destroy}. From now on no device takes more of them.
   */
  async recall(): Promise<void> {
    for (const domain of this.#memory?.domains.keys() ?? []) {
      domain.pools.delete(this.id);
    }
    const users = new Set([...openDevices, ...this.#memory?.users ?? []]);
    const answers = await Promise.allSettled(
      [...users].map((user) => user.giveBack(this)),
    );
    for (const answer of answers) {
      if (answer.status === "rejected") throw answer.reason;
    }
  }

  /**
   * Takes every entry back by force, after the rings and the worker that held them have stopped. Used when a worker
   * died.
   *
   * Packets that were lent to other isolates may still be in their hands and rings. Then only those entries come back that
   * are known to be free: those of `held`, those that were free before, and those on their way home. The others follow
   * when they are freed, and what the dead worker had in its hands is lost.
   *
   * @param held Handles in rings that have stopped. Those of other pools are passed over.
   * @param elsewhere Handles in other rings, which bring them home themselves.
   */
  reclaimAll(
    held: Iterable<Handle> = [],
    elsewhere: Iterable<Handle> = [],
  ): void {
    const { header, freeStack } = this;
    const home = new Uint8Array(this.maxEntries);
    if (Atomics.load(header, LENT) === 0) {
      home.fill(AT_HOME);
      for (const handle of elsewhere) {
        if (handle >>> INDEX_BITS !== this.id) continue;
        home[handle & INDEX_MASK] = this.#parked[handle & INDEX_MASK];
      }
    } else {
      this.#takeReturned();
      for (let i = 0; i < header[FREE_COUNT]; i++) {
        home[freeStack[i] & INDEX_MASK] = AT_HOME;
      }
      for (let i = 0; i < home.length; i++) home[i] |= this.#parked[i];
      for (const handle of held) {
        if (handle >>> INDEX_BITS !== this.id) continue;
        home[handle & INDEX_MASK] = AT_HOME;
      }
    }
    header[FREE_COUNT] = 0;
    header[RETURNED] = 0;
    for (let i = 0; i < home.length; i++) {
      if (home[i] !== AT_HOME) continue;
      this.#parked[i] = AT_HOME;
      this.#state[i] = AT_HOME;
      this.nextSegments[i] = 0;
      this.offloads[i] = 0;
    }
    header[LIMIT] = 0;
    this.#follow();
  }

  /** Unmaps and frees the memory: once no device and no worker uses it. See {@linkcode recall}. */
  destroy(): void {
    if (poolsById[this.id] === this) poolsById[this.id] = undefined;
    if (!this.#memory) return;
    const { bytes, domains, claim, holdsAddress } = this.#memory;
    this.#memory = undefined;
    const steps = [
      ...[...domains.keys()].map((domain) => () => {
        domain.pools.delete(this.id);
        domain.detach(bytes);
      }),
      () => holdsAddress && AddressSpace.shared.giveBack(bytes),
      () => bytes.free(),
      () => claim.release(),
    ];
    // A domain that fails must not keep the others, the memory and the number.
    const failures: unknown[] = [];
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** For the runtime: commits and maps memory for the first `entries` entries. */
  growMemory(entries: number): void {
    if (!this.#memory) return;
    const { bytes, domains } = this.#memory;
    try {
      bytes.commit(entries * this.stride);
      for (const domain of domains.keys()) domain.grow(bytes);
    } catch (error) {
      // What some domains have got already would be in the way of each later attempt.
      this.releaseMemory();
      Atomics.add(this.header, REFUSED, 1);
      throw error;
    }
    if (this.header[MAPPED] < entries) {
      Atomics.store(this.header, MAPPED, entries);
    }
    Atomics.notify(this.header, MAPPED);
  }

  /**
   * For the runtime: asks another isolate, through `ask`, to make `entries` entries usable, and waits for it.
   * False when it refused or gave no answer within `timeoutMs`.
   */
  requestMemory(entries: number, timeoutMs: number, ask: () => void): boolean {
    const until = performance.now() + timeoutMs;
    const refused = Atomics.load(this.header, REFUSED);
    if (Atomics.load(this.header, MAPPED) < entries) ask();
    for (;;) {
      const mapped = Atomics.load(this.header, MAPPED);
      if (mapped >= entries) return true;
      if (Atomics.load(this.header, REFUSED) !== refused) return false;
      if (performance.now() > until) return false;
      Atomics.wait(this.header, MAPPED, mapped, 20);
    }
  }

  #follow(): void {
    const { header } = this;
    const target = Atomics.load(header, TARGET);
    const before = header[LIMIT];
    header[LIMIT] = target;
    if (target > before) this.#admit(before, target);
    else this.#retire(target, before);
  }

  /** Puts entries that are at home on the free stack; those still out follow by themselves when freed. */
  #admit(from: number, to: number): void {
    const { header, freeStack } = this;
    const base = this.id << INDEX_BITS;
    // Downwards, so that the lowest are handed out first and the top stays free for a later shrink.
    for (let index = to - 1; index >= from; index--) {
      if (this.#parked[index] !== AT_HOME) continue;
      this.#parked[index] = OUT;
      this.#initialise(index);
      freeStack[header[FREE_COUNT]++] = base | index;
    }
    Atomics.store(header, NEEDED, Math.max(header[NEEDED], to));
  }

  /** Takes free entries at and above `limit` off the stack. */
  #retire(limit: number, before: number): void {
    const { header, freeStack } = this;
    let kept = 0;
    for (let i = 0; i < header[FREE_COUNT]; i++) {
      const handle = freeStack[i];
      if ((handle & INDEX_MASK) < limit) freeStack[kept++] = handle;
      else this.#parked[handle & INDEX_MASK] = AT_HOME;
    }
    header[FREE_COUNT] = kept;
    this.#lowerNeeded(Math.max(before, header[NEEDED]));
  }

  #park(index: number): void {
    this.#parked[index] = AT_HOME;
    if (index + 1 === this.header[NEEDED]) this.#lowerNeeded(index + 1);
  }

  #lowerNeeded(from: number): void {
    let needed = from;
    while (
      needed > this.header[LIMIT] && this.#parked[needed - 1] === AT_HOME
    ) needed--;
    Atomics.store(this.header, NEEDED, needed);
    this.releaseMemory();
  }

  /** Puts a packet before those that others freed. The owner takes them all at once. */
  #sendHome(handle: Handle): void {
    const { header, nextSegments } = this;
    for (;;) {
      const first = Atomics.load(header, RETURNED);
      if (first === handle) throw this.#freedTwice(handle);
      nextSegments[handle & INDEX_MASK] = first;
      const now = Atomics.compareExchange(header, RETURNED, first, handle);
      if (now === first) return;
    }
  }

  /** Takes back what other isolates freed. */
  #takeReturned(): void {
    const { nextSegments, maxEntries } = this;
    let handle = Atomics.exchange(this.header, RETURNED, 0);
    for (let count = 0; handle !== 0; count++) {
      // A packet that is freed twice makes the list a circle.
      if (count === maxEntries) throw this.#freedTwice(handle);
      const index = handle & INDEX_MASK;
      const next = nextSegments[index];
      nextSegments[index] = 0;
      this.#takeHome(handle);
      handle = next;
    }
  }

  #freedTwice(handle: Handle): PoolError {
    return new PoolError(`packet 0x${handle.toString(16)} was freed twice`);
  }

  #takeHome(handle: Handle): void {
    const index = handle & INDEX_MASK;
    const { header } = this;
    if (index >= header[LIMIT]) return this.#park(index);
    if (header[FREE_COUNT] >= header[LIMIT]) throw this.#freedTwice(handle);
    this.freeStack[header[FREE_COUNT]++] = handle;
  }

  #initialise(index: number): void {
    if (!this.debug) return;
    this.#state[index] = AT_HOME;
    const end = index * this.stride + this.entrySize;
    this.u8.fill(GUARD, end, end + GUARD_BYTES);
  }

  /** For drivers, in debug mode: marks an entry that they took from the stack themselves. */
  debugTake(handle: Handle): void {
    this.#state[handle & INDEX_MASK] = OUT;
  }

  #assertOut(handle: Handle, verb: string): void {
    const index = handle & INDEX_MASK;
    if (handle >>> INDEX_BITS !== this.id || index >= this.maxEntries) {
      throw new PoolError(
        `handle 0x${handle.toString(16)} of another pool was ${verb}`,
      );
    }
    if (this.#state[index] === AT_HOME) {
      const wrong = verb === "freed" ? "twice" : "after it was freed";
      throw new PoolError(
        `packet 0x${handle.toString(16)} was ${verb} ${wrong}`,
      );
    }
  }

  #assertFreeable(handle: Handle): void {
    this.#assertOut(handle, "freed");
    const index = handle & INDEX_MASK;
    const start = index * this.stride;
    const end = start + this.entrySize;
    for (let i = end; i < end + GUARD_BYTES; i++) {
      if (this.u8[i] === GUARD) continue;
      throw new PoolError(
        `somebody wrote past the ${this.entrySize} bytes of packet 0x${
          handle.toString(16)
        }`,
      );
    }
    this.#state[index] = AT_HOME;
    this.u8.fill(POISON, start, end);
  }
}

interface Sizes {
  readonly entries: number;
  readonly maxEntries: number;
  readonly entrySize: number;
  readonly stride: number;
  readonly debug: boolean;
}

function checkedSizes(options: MempoolOptions): Sizes {
  const { entries } = options;
  const entrySize = options.entrySize || DEFAULT_ENTRY_SIZE;
  const maxEntries = options.maxEntries ?? Math.min(entries * 8, INDEX_MASK);
  const debug = options.debug ?? setting("IXL_DEBUG") === "1";
  if (!Number.isInteger(entries) || entries < 1) {
    throw new ConfigError("entries", `${entries} is not a positive integer`);
  }
  if (!(maxEntries >= entries && maxEntries <= INDEX_MASK)) {
    throw new ConfigError(
      "maxEntries",
      `${maxEntries} is not within ${entries} to ${INDEX_MASK}`,
    );
  }
  if (entrySize < 256 || entrySize > 16384 || entrySize % 64 !== 0) {
    throw new ConfigError(
      "entrySize",
      `${entrySize} is not a multiple of 64 within 256 to 16384`,
    );
  }
  const stride = HEADROOM + entrySize + (debug ? GUARD_BYTES : 0);
  return { entries, maxEntries, entrySize, stride, debug };
}

function claimId(): Claim {
  const claim = claimNumber("pool", MAX_POOL_ID);
  if (claim !== undefined) return claim;
  throw new IxlError(
    "out-of-memory",
    `there are ${MAX_POOL_ID} pools already: destroy some`,
  );
}

function unreachable(reason: string, cause?: Error): IxlError {
  return new IxlError("pool-unreachable", reason, cause && { cause });
}

function assertCount(count: number): void {
  if (Number.isInteger(count) && count > 0) return;
  throw new ConfigError("count", `${count} is not a positive integer`);
}

function commitMemory(pool: Mempool, entries: number): void {
  pool.growMemory(entries);
}

function refuseToGrow(pool: Mempool, entries: number): void {
  if (entries <= pool.header[MAPPED]) return;
  throw new PoolError(
    "this isolate cannot allocate DMA memory: extend the pool through its Device, or start the worker with run()",
  );
}
