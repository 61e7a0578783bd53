/**
 * Counters in shared memory: written by the worker that owns a queue, read live from any isolate.
 *
 * @module
 */

/** Slots of a queue pair's counters by name, 64 bits each: `values[Slot.rxPackets]`. */
export const Slot = {
  rxPackets: 0,
  rxBytes: 1,
  rxErrors: 2,
  rxNoBuffer: 3,
  txPackets: 4,
  txBytes: 5,
  dropped: 6,
  irqs: 7,
  polls: 8,
  modeSwitches: 9,
  polling: 10,
  user: 11,
  abandoned: 12,
} as const;

/** The name of a counter. */
export type CounterName = keyof typeof Slot;

const SLOTS = Object.keys(Slot) as CounterName[];

/**
 * Live counters of one queue pair.
 *
 * - `rxPackets`, `rxBytes`, `txPackets`, `txBytes`: frames and bytes moved, without the frame check sequence
 * - `rxErrors`: frames that the device marked as damaged, or that made no sense; freed, not delivered
 * - `rxNoBuffer`: receive descriptors that could not be refilled at once because the pool was empty
 * - `dropped`: packets that user code gave up ({@linkcode QueueCounters.add})
 * - `irqs`: times the queue slept and was woken by its interrupt; `polls`: receives without sleeping
 * - `modeSwitches`: changes between interrupt and polling mode; `polling`: 1 while polling
 * - `user`: for the user's own count
 * - `abandoned`: packets that were with the device and not reported as sent when it was reset or its backend went away
 */
export class QueueCounters {
  /**
   * For tight loops: the values, indexed by {@linkcode Slot}. V8 adds such integers without allocating anything, and
   * without the conversions and checks that it puts around whole numbers in a Float64Array.
   */
  readonly values: BigInt64Array;
  /** The same as words, the lower first. */
  readonly #words: Int32Array;

  /**
   * Lays the counters over shared memory.
   *
   * @param buffer What {@linkcode QueueCounters.allocate} made; share it to read it elsewhere.
   */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.values = new BigInt64Array(buffer, 0, SLOTS.length);
    this.#words = new Int32Array(buffer, 0, 2 * SLOTS.length);
  }

  /** Zeroed memory for one queue pair, on cache lines of its own. */
  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(Math.ceil(SLOTS.length / 8) * 64);
  }

  /** The value now. */
  get(name: CounterName): number {
    return Number(this.values[Slot[name]]);
  }

  /** For drivers: the lower 32 bits of a slot, signed, without making a BigInt. Differences are exact below 2³¹. */
  low(slot: number): number {
    return this.#words[2 * slot];
  }

  /** Adds a whole number to a counter; one writer each. */
  add(name: CounterName, amount: number): void {
    const slot = Slot[name];
    const low = (this.#words[2 * slot] >>> 0) + amount;
    // Without a BigInt, which only compiled code adds without making one.
    if (low >= 0 && low < 2 ** 32) this.#words[2 * slot] = low;
    else this.values[slot] += BigInt(amount);
  }

  /** All values now. */
  snapshot(): Record<CounterName, number> {
    return Object.fromEntries(
      SLOTS.map((name) => [name, this.get(name)]),
    ) as Record<CounterName, number>;
  }
}

/** What a card counted, frames and bytes without the frame check sequence. */
export interface DeviceStats {
  /** Frames delivered to the queues. */
  rxPackets: number;
  /** Bytes of those frames. */
  rxBytes: number;
  /** Frames sent. */
  txPackets: number;
  /** Bytes of those frames. */
  txBytes: number;
  /** Good frames that the card dropped because no descriptor or no packet buffer was free. */
  rxMissed: number;
  /** Frames dropped as damaged: checksum, length. */
  rxErrors: number;
}

/** Statistics with every field 0. */
export function emptyStats(): DeviceStats {
  return {
    rxPackets: 0,
    rxBytes: 0,
    txPackets: 0,
    txBytes: 0,
    rxMissed: 0,
    rxErrors: 0,
  };
}
