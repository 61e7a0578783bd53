/**
 * The half of a receive queue that is the same for every card: waiting, interrupts, and whose turn it is.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { Batch } from "../../memory/batch.ts";
import type { DeviceConfig } from "../../config.ts";
import type { QueueDescription, RxQueue } from "../../device_api.ts";
import { DeviceTimeoutError, IxlError } from "../../errors.ts";
import { AdaptiveSwitch } from "../../irq/adaptive.ts";
import { IrqLine, Sleeper, yieldCpu } from "../../irq/line.ts";
import { Mempool } from "../../memory/mempool.ts";
import { QueueCounters, Slot } from "../../stats.ts";
import {
  assertNotClosed,
  DEVICE_TOKEN,
  QueueControl,
  Word,
} from "./control_block.ts";

/** Empty polls before this thread yields the core to others. */
const EMPTY_POLLS_BEFORE_YIELD = 64;
/** Receives by {@linkcode BaseRxQueue.pollRing} between two looks at the clock; a power of two. */
const RECEIVES_PER_CLOCK = 256;
/** Longest uninterrupted sleep: bounds the harm of a wake-up that another sleeper took, and of a lost interrupt. */
const SLEEP_SLICE_MS = 100;
const HANDOVER_TIMEOUT_MS = 2000;
/** `irqTimeoutMs` that leaves the waiting to the caller. */
const CALLER_WAITS = -1;

/** A queue in an isolate that has the registers already. */
export type LocalQueue = Omit<QueueDescription, "bus">;

/** Takes what is usual into `handles` and returns how many; 0 leaves it to {@linkcode BaseRxQueue.pollRing}. */
export type FastPath = (handles: Uint32Array) => number;

const NO_FAST_PATH: FastPath = () => 0;

/** What a driver completes with {@linkcode pollRing} and {@linkcode unmaskIrq}. */
export abstract class BaseRxQueue implements RxQueue {
  readonly index: number;
  readonly depth: number;
  readonly pool: Mempool;
  readonly counters: QueueCounters;
  readonly irqFd: number;
  /** Ring positions and handles, shared with the next user of the queue. */
  protected readonly control: QueueControl;
  readonly #config: DeviceConfig;
  readonly #irq: IrqLine;
  readonly #wake: IrqLine;
  readonly #sleeper: Sleeper;
  readonly #adaptive: AdaptiveSwitch;
  readonly #mayWait: boolean;
  readonly #token: number;
  /** True since this object gave the queue to another that wanted it. */
  #left = false;
  /** True since another was seen to want the queue. */
  #leaving = false;
  #receives = 0;
  #emptyPolls = 0;
  /** Packets that had come at the last empty poll. */
  #packetsAtEmptyPoll = 0;
  #fastPath = NO_FAST_PATH;

  /** @param description What the device said of the queue. */
  constructor(description: LocalQueue) {
    const { config } = description;
    this.index = description.index;
    this.depth = config.rxDepth;
    this.pool = Mempool.attach(description.pool);
    this.counters = new QueueCounters(description.counters);
    this.control = new QueueControl(
      description.control,
      config.rxDepth,
      config.txDepth,
    );
    this.irqFd = description.irqFd;
    this.#config = config;
    this.#irq = new IrqLine(description.irqFd);
    this.#wake = new IrqLine(description.wakeFd);
    this.#sleeper = new Sleeper([this.#irq, this.#wake]);
    this.#adaptive = new AdaptiveSwitch(
      config.adaptive,
      config.interruptIntervalUs,
      performance.now(),
      this.counters.lows[Slot.rxPackets],
    );
    this.#mayWait = config.irqTimeoutMs > 0 ||
      config.irqTimeoutMs < CALLER_WAITS;
    this.#token = Atomics.add(this.control.words, Word.LastToken, 1) + 1;
  }

  /** Takes what has arrived into `batch` from index 0 on, refills the ring, and returns the number of packets. */
  protected abstract pollRing(batch: Batch): number;
  /**
   * The common case in a function of its own, which counts packets and polls itself; undefined where every packet
   * takes {@linkcode pollRing}. Made when the queue is used first: one that is not used costs nothing.
   *
   * @param token The value of `Word.Ready` that lets it receive.
   * @param onRound To be called after each round of the ring.
   */
  protected fastPath(
    _token: number,
    _onRound: () => void,
  ): FastPath | undefined {
    return undefined;
  }
  /** Whether the ring is as the fast path needs it. */
  protected get fastPathReady(): boolean {
    return false;
  }
  /** Lets the card raise this queue's interrupt. A cause that came while it was masked must fire now. */
  protected abstract unmaskIrq(): void;

  get polling(): boolean {
    return this.#config.irqTimeoutMs === 0 || this.#adaptive.polling;
  }

  /** True while this object is the one that receives, and so the user of the pool. */
  get holding(): boolean {
    return Atomics.load(this.control.words, Word.Owner) === this.#token;
  }

  get stopped(): boolean {
    const { words } = this.control;
    if (this.#left || words[Word.Stop] !== 0) return true;
    const wanted = words[Word.Wanted];
    if (wanted === 0 || wanted === this.#token) return false;
    // This object will not receive again, so the other one would wait in vain.
    this.#leave();
    return true;
  }

  receive(batch: Batch): number {
    const count = this.#fastPath(batch.handles);
    if (count === 0) return this.#receiveOtherwise(batch);
    batch.length = count;
    return count;
  }

  /** The device is closed: from now on `receive()` says so. */
  close(): void {
    this.#fastPath = NO_FAST_PATH;
  }

  #receiveOtherwise(batch: Batch): number {
    // Packets of the batch before must not be taken for new ones.
    batch.length = 0;
    assertNotClosed(this.control.words);
    if (!this.#mine()) return 0;
    let count = this.#poll(batch);
    if (count === 0) {
      if (this.#mayWait && !this.#adaptive.polling) {
        count = this.#sleepAndReceive(batch);
      } else {
        this.#countEmptyPoll();
      }
    }
    batch.length = count;
    if (this.polling) this.counters.add("polls", 1);
    if ((++this.#receives & (RECEIVES_PER_CLOCK - 1)) === 0) this.#decide();
    return count;
  }

  /** One look at the ring by {@linkcode pollRing}, after which the fast path may go on if all is as usual. */
  #poll(batch: Batch): number {
    const { words } = this.control;
    words[Word.Ready] = 0;
    this.pool.sync();
    const count = this.pollRing(batch);
    if (this.#fastPath !== NO_FAST_PATH && this.fastPathReady) {
      Atomics.store(words, Word.Ready, this.#token);
      // Who asks for something writes that first and Ready then.
      const asked = Atomics.load(words, Word.Stop) |
        Atomics.load(words, Word.Wanted);
      if (asked !== 0) words[Word.Ready] = 0;
    }
    return count;
  }

  /** What needs doing now and then while packets keep coming. */
  #onRound(): void {
    this.pool.sync();
    this.#decide();
  }

  /** After many in a row the rest of the time slice goes to others. */
  #countEmptyPoll(): void {
    const packets = this.counters.lows[Slot.rxPackets];
    if (packets !== this.#packetsAtEmptyPoll) {
      this.#packetsAtEmptyPoll = packets;
      this.#emptyPolls = 0;
    }
    if (++this.#emptyPolls >= EMPTY_POLLS_BEFORE_YIELD) yieldCpu();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Batch> {
    const batch = new Batch(64);
    while (this.#mine()) {
      const count = this.#poll(batch);
      batch.length = count;
      if (count > 0) {
        yield batch;
        // A macrotask now and then, or a busy queue would starve timers and signals.
        if ((++this.#receives & 15) === 0) await nextMacrotask();
        continue;
      }
      this.ackIrq();
      await this.#sleeper.sleepAsync(SLEEP_SLICE_MS);
      this.#takeWakeups();
    }
    if (this.#leaving) this.#leave();
  }

  checkIrq(): boolean {
    return this.#irq.clear();
  }

  ackIrq(): void {
    this.unmaskIrq();
  }

  rebindIrq(): void {
    const { words } = this.control;
    if (Atomics.load(words, Word.Owner) === this.#token) return;
    this.control.ask(Word.Wanted, this.#token);
    const until = performance.now() + HANDOVER_TIMEOUT_MS;
    for (;;) {
      const owner = Atomics.load(words, Word.Owner);
      if (owner === 0) break;
      if (performance.now() > until) {
        Atomics.store(words, Word.Wanted, 0);
        throw new DeviceTimeoutError(
          `release of queue ${this.index} by the isolate that receives on it`,
          HANDOVER_TIMEOUT_MS,
          `queue ${this.index} already has a worker: stop it first, or let it call receive()`,
        );
      }
      this.#wake.raise();
      Atomics.wait(words, Word.Owner, owner, 10);
    }
    Atomics.store(words, Word.Owner, this.#token);
    Atomics.store(words, Word.Wanted, 0);
    this.#left = this.#leaving = false;
  }

  /** True when this object may touch the ring. Claims a free ring, and leaves its own when asked to. */
  #mine(): boolean {
    const { words } = this.control;
    if (words[Word.Stop] !== 0) return false;
    const owner = words[Word.Owner];
    if (words[Word.Wanted] === 0 && owner === this.#token) return true;
    return this.#settleOwner();
  }

  #settleOwner(): boolean {
    const { words } = this.control;
    const wanted = Atomics.load(words, Word.Wanted);
    if (wanted !== 0 && wanted !== this.#token) {
      // Not before the caller has been through the rest of its loop, where it may send or free.
      if (this.#leaving) this.#leave();
      this.#leaving = true;
      return false;
    }
    const owner = Atomics.compareExchange(words, Word.Owner, 0, this.#token);
    if (owner !== 0 && owner !== this.#token) return this.#failFor(owner);
    this.#left = this.#leaving = false;
    if (this.#fastPath === NO_FAST_PATH) {
      this.#fastPath = this.fastPath(this.#token, () => this.#onRound()) ??
        NO_FAST_PATH;
    }
    this.counters.lows[Slot.polling] = this.polling ? 1 : 0;
    return true;
  }

  /** Another one has the queue. That is a mistake, unless it has been handed over, or is resized right now. */
  #failFor(owner: number): false {
    if (this.#left || owner === DEVICE_TOKEN) return false;
    throw new IxlError(
      "device-busy",
      `queue ${this.index} already has a worker, or another isolate that receives on it: stop that one first, or take the queue over with rebindIrq()`,
    );
  }

  /** Lets go of the queue, if this object has it. */
  #leave(): void {
    const { words } = this.control;
    const owner = Atomics.compareExchange(words, Word.Owner, this.#token, 0);
    if (owner !== this.#token) return;
    Atomics.compareExchange(words, Word.Ready, this.#token, 0);
    this.#left = true;
    Atomics.notify(words, Word.Owner);
  }

  #sleepAndReceive(batch: Batch): number {
    const { irqTimeoutMs } = this.#config;
    const until = irqTimeoutMs < 0
      ? Infinity
      : performance.now() + irqTimeoutMs;
    for (;;) {
      this.#decide();
      this.unmaskIrq();
      const left = until - performance.now();
      if (left <= 0) return 0;
      this.#sleeper.sleep(Math.min(left, SLEEP_SLICE_MS));
      this.#takeWakeups();
      if (!this.#mine()) return 0;
      const count = this.#poll(batch);
      if (count > 0) return count;
    }
  }

  #takeWakeups(): void {
    if (this.#sleeper.raised(0) && this.#irq.clear()) {
      this.counters.add("irqs", 1);
    }
    if (this.#sleeper.raised(1)) this.#wake.clear();
  }

  #decide(): void {
    if (this.#config.irqTimeoutMs === 0) return;
    const packets = this.counters.lows[Slot.rxPackets];
    if (!this.#adaptive.decide(performance.now(), packets)) return;
    this.counters.add("modeSwitches", 1);
    this.counters.lows[Slot.polling] = this.#adaptive.polling ? 1 : 0;
  }
}

function nextMacrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
