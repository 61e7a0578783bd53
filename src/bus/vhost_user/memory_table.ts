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
    for (;;) {
      this.check(this.domain.regions);
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
    this.#plan(regions);
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
    const { known, messages } = this.#plan(regions);
    this.#known = known;
    return messages;
  }

  /**
   * A table is replaced as a whole, so that each memory is one region in it. A backend with slots is told of single
   * regions: each piece that a memory grows by takes a slot. When the slots are used up, a table with one region for each
   * memory frees them. A region that the backend may be reading is never removed to be added again.
   */
  #plan(regions: readonly MemoryRegion[]): Plan {
    const { slots } = this;
    const whole = joined(regions);
    const fitsTable = whole.length <= MOST_TABLE_REGIONS;
    if (slots > 0) {
      const known = continued(this.#known, whole);
      const gone = missing(this.#known, known);
      const added = missing(known, this.#known);
      const takesApart = gone.some((old) =>
        added.some(({ memory }) => memory === old.memory)
      );
      if (known.length <= slots && !(takesApart && fitsTable)) {
        const messages = [
          ...gone.map(removeRegionMessage),
          ...added.map(addRegionMessage),
        ];
        return { known, messages };
      }
    }
    const most = slots > 0
      ? Math.min(slots, MOST_TABLE_REGIONS)
      : MOST_TABLE_REGIONS;
    if (whole.length > most) throw this.#tooMany(whole.length);
    const isKnown = whole.length === this.#known.length &&
      missing(whole, this.#known).length === 0;
    return {
      known: whole,
      messages: isKnown ? [] : [memoryTableMessage(whole)],
    };
  }

  #tooMany(count: number): IxlError {
    const most = this.slots || MOST_TABLE_REGIONS;
    const growth = this.slots === 0
      ? ""
      : ", or give pools their final size (poolEntries) from the start";
    return new IxlError(
      "not-supported",
      `${this.connection.peer} takes ${most} regions of memory, and there are ${count}, one for each device and one for each of its queues: open fewer queues or devices${growth}`,
    );
  }
}

/** How to change what a backend knows. */
interface Plan {
  /** What it knows afterwards. */
  readonly known: readonly MemoryRegion[];
  readonly messages: Message[];
}

/** Regions that cover `whole`: those of `known` that lie within it, and what is missing behind them. */
function continued(
  known: readonly MemoryRegion[],
  whole: readonly MemoryRegion[],
): MemoryRegion[] {
  return whole.flatMap((region) => {
    const pieces = known.filter(({ memory, offset, size }) =>
      memory === region.memory && offset + size <= region.size
    );
    const end = pieces.reduce((sum, { size }) => sum + size, 0);
    if (end === region.size) return pieces;
    const iova = region.iova + BigInt(end);
    const rest = { ...region, iova, offset: end, size: region.size - end };
    return [...pieces, rest];
  });
}

/** Those of `some` that are not among `others`. */
function missing(
  some: readonly MemoryRegion[],
  others: readonly MemoryRegion[],
): MemoryRegion[] {
  return some.filter((one) => !others.some((other) => same(one, other)));
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
