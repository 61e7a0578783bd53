/**
 * Which memory a backend reaches: what was said so far, and what to say for a change.
 *
 * @module
 */
import { DeviceFaultError, IxlError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import type { MemoryUser, VhostUserDomain } from "./domain.ts";
import {
  addRegionMessage,
  type MemoryRegion,
  memoryTableMessage,
  type Message,
  MOST_TABLE_REGIONS,
  removeRegionMessage,
} from "./protocol.ts";

/** The regions of one connection. */
export class MemoryTable implements MemoryUser {
  #known: readonly MemoryRegion[] = [];

  /**
   * @param connection The connection.
   * @param domain The memory.
   * @param slots Regions that the backend has room for and takes one by one (CONFIGURE_MEM_SLOTS); 0 for a backend
   * that takes them all at once.
   */
  constructor(
    readonly connection: Connection,
    readonly domain: VhostUserDomain,
    readonly slots: number,
  ) {}

  /** Tells the backend of all memory that there is, and of each change from then on. */
  async join(): Promise<void> {
    this.check(this.domain.regions);
    for (;;) {
      const messages = this.#changes(this.domain.regions);
      if (messages.length === 0) break;
      // All are sent at once: memory that is freed while a reply is awaited takes its file along.
      await Promise.all(
        messages.map((message) => this.connection.tell(message)),
      );
      await this.connection.barrier();
    }
    this.domain.join(this);
  }

  /** Tells it no more: it uses none. */
  leave(): void {
    this.domain.leave(this);
  }

  check(regions: readonly MemoryRegion[]): void {
    const { length } = this.#prepare(regions);
    const most = this.slots || MOST_TABLE_REGIONS;
    if (length <= most) return;
    const growth = this.slots === 0
      ? ""
      : ", or give pools their final size (poolEntries) from the start";
    throw new IxlError(
      "not-supported",
      `${this.connection.peer} takes ${most} regions of memory, and there are ${length}, one for each device and one for each of its queues: open fewer queues or devices${growth}`,
    );
  }

  update(regions: readonly MemoryRegion[]): void {
    const { connection } = this;
    try {
      for (const message of this.#changes(regions)) connection.tellNow(message);
      connection.barrierNow();
    } catch (error) {
      // A backend without the right memory is of no use: it may come back as another one.
      const reason = error instanceof IxlError
        ? error
        : new DeviceFaultError(`${error}`);
      connection.end(reason);
      this.leave();
    }
  }

  /** What to say to get from what it knows to `regions`. It knows them from then on. */
  #changes(regions: readonly MemoryRegion[]): Message[] {
    const known = this.#known;
    const wanted = this.#prepare(regions);
    this.#known = wanted;
    const gone = known.filter((old) => !wanted.some((now) => same(old, now)));
    const added = wanted.filter((now) => !known.some((old) => same(old, now)));
    if (gone.length + added.length === 0) return [];
    if (this.slots === 0) return [memoryTableMessage(wanted)];
    return [...gone.map(removeRegionMessage), ...added.map(addRegionMessage)];
  }

  /** A table is replaced as a whole, hence the pieces of a memory can be one region. */
  #prepare(regions: readonly MemoryRegion[]): readonly MemoryRegion[] {
    return this.slots === 0 ? joined(regions) : regions;
  }
}

function same(a: MemoryRegion, b: MemoryRegion): boolean {
  return a.memory === b.memory && a.offset === b.offset && a.size === b.size;
}

/** The regions, with neighbours of the same file as one. */
function joined(regions: readonly MemoryRegion[]): MemoryRegion[] {
  const result: MemoryRegion[] = [];
  for (const region of regions) {
    const last = result.at(-1);
    if (
      last?.memory === region.memory &&
      last.offset + last.size === region.offset
    ) {
      const size = last.size + region.size;
      result[result.length - 1] = { ...last, size };
    } else {
      result.push(region);
    }
  }
  return result;
}
