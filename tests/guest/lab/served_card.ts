/**
 * Our software card in a process of its own, as a user serves it: `ixl sim serve`.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { ROOT } from "./lab.ts";

const TIMEOUT_MS = 30_000;

/** What is served. */
export interface ServedCardOptions {
  /** Where QEMU connects to. */
  readonly socket: string;
  readonly model: "82599" | "x540";
  readonly mac: string;
  /** The best kind of interrupts that it declares: "msix" by default. */
  readonly interrupts?: string;
  /** As for `--wire`. */
  readonly wire: string;
  /** File of what it prints. */
  readonly log: string;
}

/** A card that is served. It ends with the test process, however that does. */
export class ServedCard {
  /** Resolves when QEMU can connect; rejects with what was printed. */
  readonly ready: Promise<void>;
  readonly #child: Deno.ChildProcess;
  readonly #log: string;
  #ended = false;
  #plugged = true;

  /** Starts it. */
  constructor(
    { socket, model, mac, interrupts = "msix", wire, log }: ServedCardOptions,
  ) {
    this.#log = log;
    const command = [
      ...[Deno.execPath(), "run", "-q", "-P=serve", "src/cli/main.ts"],
      ...["sim", "serve", "--socket", socket, "--model", model],
      ...["--mac", mac, "--wire", wire, "--interrupts", interrupts],
    ];
    this.#child = new Deno.Command("sh", {
      args: ["-c", WATCHDOG, "watchdog", log, ...command],
      cwd: ROOT,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#child.status.then(() => this.#ended = true);
    this.ready = this.#until(
      () => this.output.includes("serving "),
      "is served",
    );
    this.ready.catch(() => {});
  }

  /** What it has printed. */
  get output(): string {
    return existsSync(this.#log) ? Deno.readTextFileSync(this.#log) : "";
  }

  /** Waits until it has printed something. */
  async prints(pattern: RegExp): Promise<void> {
    await this.#until(() => pattern.test(this.output), `prints ${pattern}`);
  }

  /** Plugs its cable in, or pulls it. */
  async setCable(plugged: boolean): Promise<void> {
    if (plugged === this.#plugged) return;
    this.#plugged = plugged;
    const said = this.#cableLines;
    this.#child.kill("SIGUSR2");
    await this.#until(() => this.#cableLines > said, "follows its cable");
  }

  get #cableLines(): number {
    return this.output.split("the cable is ").length;
  }

  /** Ends it as a user does, and waits for that. Returns its exit code. */
  async close(): Promise<number> {
    await this.#child.stdin.close().catch(() => {});
    return (await this.#child.status).code;
  }

  async #until(done: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + TIMEOUT_MS;
    while (!done()) {
      if (this.#ended || performance.now() > deadline) {
        throw new Error(`No card that ${what}: ${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/**
 * Ends the command when standard input ends: when the test says so, and when the test process dies. Passes on the
 * signal for the cable.
 */
const WATCHDOG = `
log=$1
shift
exec 3<&0
"$@" < /dev/null > "$log" 2>&1 3<&- &
card=$!
{ cat > /dev/null; kill -TERM $card 2> /dev/null; } <&3 &
watchdog=$!
exec 3<&-
trap "kill -USR2 $card" USR2
wait $card
code=$?
while kill -0 $card 2> /dev/null; do
  wait $card
  code=$?
done
kill $watchdog 2> /dev/null
exit $code
`;
