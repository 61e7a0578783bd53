/**
 * Interrupt lines as eventfds, and sleeping on them.
 *
 * @module
 */
import { EventFd, PollSet } from "../ffi/eventfd.ts";
import { yieldCpu as yieldThread } from "../ffi/libc.ts";

/** Yields the rest of this thread's time slice. */
export const yieldCpu: () => void = yieldThread;

/** A line that a device, or another isolate, raises. */
export class IrqLine {
  readonly #event: EventFd;

  /** @param fd The eventfd behind it, valid in every isolate of the process. */
  constructor(readonly fd: number) {
    this.#event = new EventFd(fd);
  }

  /** Makes a line; its creator closes it. */
  static create(): IrqLine {
    return new IrqLine(EventFd.create().fd);
  }

  /** Raises it from software. */
  raise(): void {
    this.#event.signal();
  }

  /** Takes a raised line down: true when it was raised. */
  clear(): boolean {
    return this.#event.clear();
  }

  /** Closes the eventfd. */
  close(): void {
    this.#event.close();
  }

  /** Instead of {@linkcode close}, where another isolate may still use the line. */
  retire(): void {
    this.#event.retire();
  }
}

/** Sleeps until one of several lines is raised. */
export class Sleeper {
  readonly #set: PollSet;

  /** @param lines What to wait for. */
  constructor(lines: readonly IrqLine[]) {
    this.#set = new PollSet(lines.map(({ fd }) => fd));
  }

  /** Blocks this isolate until a line is raised or the time is over. Returns how many are raised. */
  sleep(timeoutMs: number): number {
    return this.#set.wait(timeoutMs);
  }

  /** Waits without blocking the isolate. Returns how many are raised. */
  sleepAsync(timeoutMs: number): Promise<number> {
    return this.#set.waitAsync(timeoutMs);
  }

  /** After a sleep: whether the line at `index` was raised. */
  raised(index: number): boolean {
    return this.#set.ready(index);
  }
}
