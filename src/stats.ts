/**
 * Counters in shared memory: written by the worker that owns a queue, read live from any isolate.
 *
 * @module
 */

/** Slots of a queue pair's counters by name: `lows[Slot.rxPackets]`. */
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
  txErrors: 13,
  copied: 14,
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
 * - `txErrors`: packets that `send()` freed because the device cannot send them: too long, or with a request that is
 *   unsound or that the device cannot fulfil
 * - `dropped`: packets that user code gave up ({@linkcode QueueCounters.add}), `sendAll()` for one when it has to stop
 * - `irqs`: times the queue slept and was woken by its interrupt; `polls`: receives without sleeping
 * - `modeSwitches`: changes between interrupt and polling mode; `polling`: 1 while polling
 * - `user`: for the user's own count
 * - `copied`: packets that were copied to be sent, because the device cannot reach where they were received
 * - `abandoned`: packets that were with the device and not reported as sent when it was reset or its backend went away
 *
 * Each is kept in two parts, so that tight loops add 32-bit integers, for which V8 neither converts nor allocates
 * anything: the count modulo 2³², and what the whole count was some time before. The latter has to follow, by
 * {@linkcode settle}, before the former has gone half round. Together they are exact up to 2⁵³ at any moment.
 */
export class QueueCounters {
  /** For drivers: the counts modulo 2³², indexed by {@linkcode Slot}. */
  readonly lows: Int32Array;
  /**
   * What the counts were at the last {@linkcode settle}, and a half: V8 would compile sums of whole numbers for 32 bits,
   * and give that up at the first larger one.
   */
  readonly #settled: Float64Array;

  /**
   * Lays the counters over shared memory.
   *
   * @param buffer What {@linkcode QueueCounters.allocate} made; share it to read it elsewhere.
   */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.#settled = new Float64Array(buffer, 0, SLOTS.length);
    this.lows = new Int32Array(
      buffer,
      this.#settled.byteLength,
      SLOTS.length,
    );
  }

  /** Memory for one queue pair, all counts 0, on cache lines of its own. */
  static allocate(): SharedArrayBuffer {
    const bytes = SLOTS.length *
      (Float64Array.BYTES_PER_ELEMENT + Int32Array.BYTES_PER_ELEMENT);
    const buffer = new SharedArrayBuffer(Math.ceil(bytes / 64) * 64);
    new Float64Array(buffer, 0, SLOTS.length).fill(0.5);
    return buffer;
  }

  /** The value now. */
  get(name: CounterName): number {
    return this.#now(Slot[name]) - 0.5;
  }

  /** Adds a whole number below 2³¹ to a counter; one writer each. */
  add(name: CounterName, amount: number): void {
    const slot = Slot[name];
    this.lows[slot] = (this.lows[slot] + amount) | 0;
    this.settle(slot);
  }

  /** For drivers: to be called by a counter's writer before it has grown by 2³¹ since the last time. */
  settle(slot: number): void {
    this.#settled[slot] = this.#now(slot);
  }

  #now(slot: number): number {
    // Whichever of both is newer, their difference is small, and has a sign.
    const settled = this.#settled[slot];
    return settled + ((this.lows[slot] - (settled | 0)) | 0);
  }

  /** All values now. */
  snapshot(): Record<CounterName, number> {
    return Object.fromEntries(
      SLOTS.map((name) => [name, this.get(name)]),
    ) as Record<CounterName, number>;
  }
}

/**
 * What a card counted, frames and bytes without the frame check sequence. Each frame that came is in one of `rxPackets`,
 * `rxMissed`, `rxErrors`, `rxControl` and `rxFiltered`. A virtio device counts nothing: there, what passed the queues
 * is counted, and `rxMissed`, `rxControl` and `rxFiltered` stay 0.
 */
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
  /** Of `rxErrors`, the frames below 64 octets with the frame check sequence (RUC, RFC). */
  rxTooShort: number;
  /** Of `rxErrors`, the frames that the card took for too long, see `maxFrameSize` (ROC, RJC). */
  rxTooLong: number;
  /** Pause frames that the card kept for itself (82599: LXONRXCNT, LXOFFRXCNT; others: XONRXC, XOFFRXC, FCRUC). */
  rxControl: number;
  /**
   * Good frames that the filters kept out, for instance because they are addressed to others and the device was not
   * opened with `promiscuous`. 82599 and X540: RXNFGPC less GPRC and pause frames, which includes MAC control frames of
   * an unknown kind. Others: TPR less GPRC and everything above, a lower bound. Stays 0 where
   * `features.countsFiltered` is false, and on QEMU's gigabit cards, which count what passes only.
   */
  rxFiltered: number;
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
    rxTooShort: 0,
    rxTooLong: 0,
    rxControl: 0,
    rxFiltered: 0,
  };
}
