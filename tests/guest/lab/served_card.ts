/**
 * Our software card in a process of its own, as a user serves it: `ixl sim serve`.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { ROOT } from "./lab.ts";

const START_TIMEOUT_MS = 30_000;

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
    this.ready = this.#untilServing();
    this.ready.catch(() => {});
  }

  /** What it has printed. */
  get output(): string {
    return existsSync(this.#log) ? Deno.readTextFileSync(this.#log) : "";
  }

  /** Ends it as a user does, and waits for that. Returns its exit code. */
  async close(): Promise<number> {
    await this.#child.stdin.close().catch(() => {});
    return (await this.#child.status).code;
  }

  async #untilServing(): Promise<void> {
    let ended = false;
    this.#child.status.then(() => ended = true);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!this.output.includes("serving ")) {
      if (ended || performance.now() > deadline) {
        throw new Error(`The card is not served: ${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Interrupts the command when standard input ends: when the test says so, and when the test process dies. */
const WATCHDOG = `
log=$1
shift
exec 3<&0
"$@" < /dev/null > "$log" 2>&1 3<&- &
card=$!
{ cat > /dev/null; kill -TERM $card 2> /dev/null; } <&3 &
watchdog=$!
exec 3<&-
wait $card
code=$?
kill $watchdog 2> /dev/null
exit $code
`;
