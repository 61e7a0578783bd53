/**
 * A device from its first DRIVER_OK to its end: pairs of virtqueues that are halted and started again, and what happens
 * when the device needs a reset or its backend goes away.
 *
 * Only its user touches a ring. After a reset the device object raises each pair's epoch. The pair's user sees that at
 * its next `receive()` or `send()`, frees what the rings held, and follows (`virtqueue/reset.ts`). Then the device is
 * given the rings again. It continues without a pair whose user does not follow in time, and adds it later.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type {
  VirtioTransport,
  VirtqueueSetup,
} from "../../bus/virtio/transport.ts";
import { NotSupportedError } from "../../errors.ts";
import { log, repeatedly } from "../../log.ts";
import { Word } from "../queue/control_block.ts";
import { delay, Turns, until } from "../../wait.ts";
import { featureNames } from "./features.ts";
import { State } from "./virtqueue/state.ts";

/** How soon it is seen that the device needs a reset. */
const WATCH_INTERVAL_MS = 100;
/** How long the users of queues may take to start their rings afresh before the others go on without them. */
const RENEWAL_TIMEOUT_MS = 2000;
/** Between two attempts to get a device back. */
const RETRY_INTERVAL_MS = 500;

/** The queue pairs of a device. */
export interface Pairs {
  /** How many there are. */
  readonly count: number;
  /** The words that the users of a pair share. */
  words(index: number): Int32Array;
  /** How both virtqueues of a pair are set up: receive, transmit. */
  setups(index: number): readonly VirtqueueSetup[];
  /** Fresh rings. The pair must have no user, and its packets must be back in the pool. */
  resetRings(index: number): void;
  /** Frees what the rings of a pair hold, where this isolate alone uses it. */
  renew(index: number): void;
  /** True when another isolate may use the pair. */
  isShared(index: number): boolean;
  /** Makes the user of a pair look at its words. */
  wake(index: number): void;
}

/** What a lifecycle needs. */
export interface LifecycleOptions {
  /** The device, reset and with its features accepted. */
  readonly transport: VirtioTransport;
  /** What was accepted. */
  readonly bits: bigint;
  /** Its queue pairs, none of them used yet. */
  readonly pairs: Pairs;
  /** The vector for changes of configuration. */
  readonly configVector: number;
  /** Where the log says that it is. */
  readonly address: string;
  /** Sets up and enables virtqueues besides those of the pairs. */
  readonly enableOthers: () => Promise<void>;
  /** Called when the device went live, and when it ceased to be. */
  readonly onChange: (live: boolean) => void;
  /** Called now and then while it is live. */
  readonly onWatch: () => void;
  /** True once the device is being closed. */
  readonly isClosed: () => boolean;
}

/** Keeps a device running. */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #transport: VirtioTransport;
  readonly #pairs: Pairs;
  /** True from DRIVER_OK until the device is reset or gone. */
  #live = false;
  /** Pairs that the device uses. */
  readonly #enabled = new Set<number>();
  /** Pairs that stand still until they are started again. */
  readonly #halted = new Set<number>();
  /** One change of the virtqueues after the other. */
  readonly #turns = new Turns();
  #recovering = false;
  /** True when the device was reset and did not come up again. */
  #failed = false;
  #watch: ReturnType<typeof setInterval> | undefined;
  /** Why it did not come back the last time. */
  #reason = "";

  /** @param options The device, and whom to tell. */
  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.#transport = options.transport;
    this.#pairs = options.pairs;
  }

  /** True while the device can be told something, and its queues work. */
  get live(): boolean {
    return this.#live;
  }

  /** True while the device uses this pair. */
  uses(index: number): boolean {
    return this.#live && this.#enabled.has(index);
  }

  /** Section 3.1.1, steps 7 and 8, for the first time. */
  async start(): Promise<void> {
    for (const index of this.#indexes()) this.#pairs.resetRings(index);
    await this.#turns.take(() => this.#bringUp());
    const { address } = this.#options;
    this.#watch = repeatedly(address, () => this.#look(), WATCH_INTERVAL_MS);
  }

  /** Stops a pair: the device touches no packet of it when this resolves. */
  async halt(index: number): Promise<void> {
    await this.#turns.take(async () => {
      this.#halted.add(index);
      if (this.#enabled.delete(index)) await this.#disable(index);
    });
  }

  /** Starts a halted pair that has no user yet, with fresh rings. */
  async resume(index: number): Promise<void> {
    await this.#turns.take(async () => {
      this.#pairs.resetRings(index);
      this.#halted.delete(index);
      // Otherwise it comes up with the device.
      if (!this.#live) return;
      if (this.#transport.queuesAlone) await this.#enableLate([index]);
      else await this.#restart(index);
    });
  }

  /** Stops all of it, for good. */
  async end(): Promise<void> {
    clearInterval(this.#watch);
    this.#live = false;
    await this.#turns.take(() => this.#transport.shutDown());
  }

  #indexes(): number[] {
    return Array.from({ length: this.#pairs.count }, (_, index) => index);
  }

  /** Section 3.1.1, steps 7 and 8, with the pairs whose rings are fresh. */
  async #bringUp(): Promise<void> {
    const { configVector, enableOthers, onChange } = this.#options;
    const transport = this.#transport;
    this.#enabled.clear();
    await transport.routeConfig(configVector);
    const ready = this.#indexes().filter((index) => this.#isFresh(index));
    for (const index of ready) await this.#enable(index);
    await enableOthers();
    await transport.start();
    this.#live = true;
    this.#failed = false;
    for (const index of ready) this.#notify(index);
    onChange(true);
  }

  async #enable(index: number): Promise<void> {
    const setups = this.#pairs.setups(index);
    for (const [direction, setup] of setups.entries()) {
      const virtqueue = 2 * index + direction;
      await this.#transport.setUp(virtqueue, setup);
      await this.#transport.enable(virtqueue);
    }
    this.#enabled.add(index);
  }

  /** Its user may have filled the rings already, while there was no device to notify. */
  #notify(index: number): void {
    this.#transport.notify(2 * index);
    this.#transport.notify(2 * index + 1);
  }

  /** Starts pairs while others run. */
  async #enableLate(pairs: readonly number[]): Promise<void> {
    for (const index of pairs) {
      await this.#enable(index);
      this.#notify(index);
    }
  }

  /** Stops one pair, or all of them and starts the others anew where the device cannot do that. */
  async #disable(index: number): Promise<void> {
    const transport = this.#transport;
    if (transport.queuesAlone && !transport.needsReset) {
      try {
        await transport.stop(2 * index);
        return await transport.stop(2 * index + 1);
      } catch (error) {
        this.#warn(`could not stop queue ${index}: ${error}`);
      }
    }
    // It comes back by itself, without this pair. Do not wait here for the next backend.
    if (transport.needsReset) return await transport.shutDown();
    await this.#restart();
  }

  /** True for a pair that the device may use: not halted, and its rings need not be started afresh. */
  #isFresh(index: number): boolean {
    const words = this.#pairs.words(index);
    const epoch = Atomics.load(words, State.Epoch);
    return !this.#halted.has(index) &&
      Atomics.load(words, State.RxRenewed) === epoch &&
      Atomics.load(words, State.TxRenewed) === epoch;
  }

  /**
   * Resets the device and brings it up again: what it had of other pairs is lost to them.
   * @param idle A pair with fresh rings that has no user yet.
   */
  async #restart(idle?: number): Promise<void> {
    this.#live = false;
    try {
      await this.#transport.reset();
      await this.#renew(idle);
    } catch (error) {
      this.#live = false;
      this.#failed = true;
      throw error;
    }
  }

  /** After a reset: fresh rings in every pair, then everything as it was. */
  async #renew(idle?: number): Promise<void> {
    const { address, bits, isClosed } = this.#options;
    const missing = bits & ~this.#transport.offered;
    if (missing !== 0n) {
      throw new NotSupportedError(
        `${address} came back without ${
          featureNames(missing).join(", ")
        }, which its queues use: open it anew`,
      );
    }
    await this.#transport.acceptFeatures(bits);
    await this.#renewPairs(
      this.#indexes().filter((index) =>
        index !== idle && !this.#halted.has(index)
      ),
    );
    if (!isClosed()) await this.#bringUp();
  }

  /** Makes the rings of pairs fresh where this isolate alone uses them, and asks their users where not. */
  async #renewPairs(indexes: readonly number[]): Promise<void> {
    const pairs = this.#pairs;
    for (const index of indexes) {
      Atomics.add(pairs.words(index), State.Epoch, 1);
      if (pairs.isShared(index)) continue;
      pairs.renew(index);
      pairs.resetRings(index);
    }
    // After a request to stop, the pair may have no user. The next one follows.
    const active = indexes.filter((index) =>
      pairs.words(index)[Word.Stop] === 0
    );
    const followed = (index: number) => {
      if (this.#isFresh(index)) return true;
      pairs.wake(index);
      return false;
    };
    const all = () => this.#options.isClosed() || active.every(followed);
    if (await until(all, RENEWAL_TIMEOUT_MS)) return;
    const late = active.filter((index) => !this.#isFresh(index));
    this.#warn(
      `goes on without queue ${
        late.join(", ")
      }, whose user does not call receive() or send(): it is started when it does`,
    );
  }

  #look(): void {
    if (this.#options.isClosed() || this.#recovering) return;
    if (this.#transport.needsReset || this.#failed) {
      void this.#recover();
      return;
    }
    if (!this.#live) return;
    this.#options.onWatch();
    if (this.#late().length > 0) void this.#attempt(() => this.#startLate());
  }

  /** Pairs whose rings were made fresh after the device had gone on without them. */
  #late(): number[] {
    return this.#indexes().filter((index) =>
      !this.#enabled.has(index) && this.#isFresh(index)
    );
  }

  async #startLate(): Promise<void> {
    const late = this.#late();
    if (late.length === 0 || !this.#live) return;
    if (this.#transport.queuesAlone) await this.#enableLate(late);
    else await this.#restart();
  }

  /** Gets the device back, however long that takes. */
  async #recover(): Promise<void> {
    const { isClosed } = this.#options;
    this.#recovering = true;
    await this.#attempt(() => this.#giveUp());
    while (!this.#live && !isClosed() && !await this.#comeBack()) {
      await delay(RETRY_INTERVAL_MS);
    }
    this.#recovering = false;
  }

  /** The device works no more, unless what was done meanwhile has helped. */
  async #giveUp(): Promise<void> {
    if (this.#live && !this.#transport.needsReset) return;
    this.#failed = this.#live = false;
    this.#enabled.clear();
    this.#options.onChange(false);
    this.#warn("needs a reset: its queues stand still");
    await this.#transport.shutDown();
  }

  /** One attempt. Waiting for a backend blocks nothing else. */
  async #comeBack(): Promise<boolean> {
    const { isClosed } = this.#options;
    try {
      await this.#transport.reset();
      if (isClosed()) return false;
      await this.#turns.take(() => this.#renew());
      this.#reason = "";
      this.#warn("is back");
      return true;
    } catch (error) {
      this.#live = false;
      if (!isClosed()) this.#warnOnce(`is not back: ${error}`);
      return false;
    }
  }

  /** Many attempts fail for the same reason. */
  #warnOnce(reason: string): void {
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#warn(reason);
  }

  async #attempt(action: () => Promise<void>): Promise<void> {
    try {
      await this.#turns.take(action);
    } catch (error) {
      this.#warn(String(error));
    }
  }

  #warn(message: string): void {
    log("warn", this.#options.address, message);
  }
}
