/**
 * A program that runs in the guest.
 *
 * @module
 */

import type { Ending, Report } from "./protocol.ts";

/** What became of a program. */
export interface Outcome extends Ending {
  /** What it printed. */
  readonly stdout: string;
  /** What it printed on standard error. */
  readonly stderr: string;
}

/** What a program can ask of its guest. */
export interface ProgramHost {
  /** Sends standard input or a signal. */
  request(
    request: { write: string } | { closeInput: true } | { signal: Deno.Signal },
  ): Promise<void>;
  /** Ends the guest because it does not react; returns the error that says so. */
  giveUp(what: string): Promise<Error>;
}

const DEFAULT_TIMEOUT_MS = 60_000;
/** For the guest to say that a killed program has ended. */
const KILL_TIMEOUT_MS = 10_000;

const TIMED_OUT = Symbol("timed out");

async function within<T>(
  promise: Promise<T>,
  timeoutMs: number,
): Promise<T | typeof TIMED_OUT> {
  const { promise: timeout, resolve } = Promise.withResolvers<
    typeof TIMED_OUT
  >();
  const timer = setTimeout(() => resolve(TIMED_OUT), timeoutMs);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** A program in the guest, while it runs and after. Disposing of it kills it. */
export class Program implements AsyncDisposable {
  /** What it has printed so far. */
  stdout = "";
  /** What it has printed on standard error so far. */
  stderr = "";
  /** Whether it still runs. */
  isRunning = true;
  /** Its command and arguments. */
  readonly command: readonly string[];
  readonly #host: ProgramHost;
  readonly #ended = Promise.withResolvers<Outcome>();
  #changed = Promise.withResolvers<void>();

  /** Made by `Guest.spawn()`. */
  constructor(command: readonly string[], host: ProgramHost) {
    this.command = command;
    this.#host = host;
    // Whoever wants to know asks ended().
    this.#ended.promise.catch(() => {});
  }

  /** Takes note of what the agent says. */
  take(report: Report): void {
    if ("stdout" in report) this.stdout += report.stdout;
    if ("stderr" in report) this.stderr += report.stderr;
    if ("ended" in report) {
      const { stdout, stderr } = this;
      this.isRunning = false;
      this.#ended.resolve({ ...report.ended, stdout, stderr });
    }
    if ("failed" in report) {
      this.fail(new Error(`${this.command.join(" ")}: ${report.failed}`));
    }
    this.#notify();
  }

  /** Gives up waiting for the agent. */
  fail(error: Error): void {
    this.isRunning = false;
    this.#ended.reject(error);
    this.#notify();
  }

  /** Waits until it has printed this, on either output. */
  async prints(
    pattern: RegExp,
    { timeoutMs = DEFAULT_TIMEOUT_MS }: { timeoutMs?: number } = {},
  ): Promise<void> {
    const seen = () => pattern.test(this.stdout) || pattern.test(this.stderr);
    const deadline = performance.now() + timeoutMs;
    while (!seen()) {
      const left = deadline - performance.now();
      if (!this.isRunning || left <= 0) {
        const end = this.isRunning
          ? `within ${timeoutMs} ms`
          : "before its end";
        throw new Error(`no ${pattern} ${end}:${this.#printed()}`);
      }
      await within(this.#changed.promise, left);
    }
  }

  /**
   * Waits for its end. One that takes longer is killed, and a guest that cannot
   * even do that is ended.
   *
   * @throws {Error} When it takes too long, or the guest ends first.
   */
  async ended(
    { timeoutMs = DEFAULT_TIMEOUT_MS }: { timeoutMs?: number } = {},
  ): Promise<Outcome> {
    const outcome = await within(this.#ended.promise, timeoutMs);
    if (outcome !== TIMED_OUT) return outcome;
    await this.kill();
    throw new Error(
      `no end of ${
        this.command.join(" ")
      } within ${timeoutMs} ms:${this.#printed()}`,
    );
  }

  /** Writes to its standard input. */
  write(text: string): Promise<void> {
    return this.#host.request({ write: text });
  }

  /** Ends its standard input. */
  closeInput(): Promise<void> {
    return this.#host.request({ closeInput: true });
  }

  /** Sends a signal to it and its children. */
  signal(signal: Deno.Signal): Promise<void> {
    return this.#host.request({ signal });
  }

  /** Kills it, if it still runs, and waits for its end. */
  async kill(): Promise<void> {
    if (!this.isRunning) return;
    await this.signal("SIGKILL");
    const ended = this.#ended.promise.catch(() => undefined);
    if (await within(ended, KILL_TIMEOUT_MS) !== TIMED_OUT) return;
    throw await this.#host.giveUp(`to kill ${this.command.join(" ")}`);
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #printed(): string {
    return `\n${this.stdout}${this.stderr}`.trimEnd();
  }
}
