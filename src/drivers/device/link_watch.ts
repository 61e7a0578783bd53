/**
 * Telling the program of link changes.
 *
 * @module
 */
import type { LinkState } from "../../device_api.ts";
import { type IrqLine, Sleeper } from "../../irq/line.ts";
import { log } from "../../log.ts";

/** How long a change can go unnoticed whose interrupt got lost. */
const LOOK_AT_LEAST_EVERY_MS = 1000;

/** What a device gives to its link watch. */
export interface LinkSource {
  /** The link now. */
  link(): LinkState;
  /** Clears the cause of a link interrupt and lets the next one through. */
  acknowledgeLink(): void;
}

/** Sleeps on the link interrupt while somebody wants to know. */
export class LinkWatch {
  readonly #line: IrqLine;
  readonly #source: LinkSource;
  readonly #listeners = new Set<(state: LinkState | undefined) => void>();
  #loop: Promise<void> | undefined;
  /** Why the link could not be read the last time. */
  #reason = "";
  #stopped = false;

  /**
   * @param line The interrupt line, which {@linkcode stop} raises to wake the watch.
   * @param source Where the state comes from.
   */
  constructor(line: IrqLine, source: LinkSource) {
    this.#line = line;
    this.#source = source;
  }

  /** Each change from now on, until {@linkcode stop}. Changes are kept until they are asked for. */
  async *changes(): AsyncGenerator<LinkState> {
    const queue: (LinkState | undefined)[] = [];
    let ring = () => {};
    const listen = (state: LinkState | undefined) => {
      queue.push(state);
      ring();
    };
    if (this.#stopped) return;
    this.#listeners.add(listen);
    this.#loop ??= this.#watch();
    try {
      for (;;) {
        while (queue.length > 0) {
          const state = queue.shift();
          if (state === undefined) return;
          yield state;
        }
        await new Promise<void>((resolve) => ring = resolve);
      }
    } finally {
      this.#listeners.delete(listen);
    }
  }

  /** Ends all iterations and resolves when the line is no longer used. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tell(undefined);
    if (this.#loop === undefined) return;
    this.#line.raise();
    await this.#loop;
  }

  async #watch(): Promise<void> {
    const sleeper = new Sleeper([this.#line]);
    let last = this.#read();
    while (!this.#stopped && this.#listeners.size > 0) {
      await sleeper.sleepAsync(LOOK_AT_LEAST_EVERY_MS);
      if (this.#stopped) break;
      const raised = this.#line.clear();
      const state = this.#read(raised);
      if (state === undefined || isSame(state, last)) continue;
      last = state;
      this.#tell(state);
    }
    this.#loop = undefined;
  }

  /** The link now; undefined while the device gives no answer that makes sense. Then it is asked again later. */
  #read(raised = false): LinkState | undefined {
    try {
      if (raised) this.#source.acknowledgeLink();
      const state = this.#source.link();
      this.#reason = "";
      return state;
    } catch (error) {
      const reason = String(error);
      // The device may do this at each look.
      if (reason !== this.#reason && !this.#stopped) {
        log("warn", "link", `its state cannot be read: ${reason}`);
      }
      this.#reason = reason;
      return undefined;
    }
  }

  #tell(state: LinkState | undefined): void {
    for (const listener of this.#listeners) listener(state);
  }
}

function isSame(a: LinkState, b: LinkState | undefined): boolean {
  return a.up === b?.up && a.speed === b.speed &&
    a.announcements === b.announcements;
}
