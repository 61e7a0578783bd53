/**
 * QEMU as a process that never outlives the test.
 *
 * @module
 */

import { existsSync } from "node:fs";

/** QEMU's command. */
export const QEMU = "qemu-system-x86_64";

/**
 * Runs QEMU with its output in a file, and kills it when standard input ends:
 * that happens when the test process dies, however it does. Removes QEMU's
 * temporary folder in the end.
 */
const WATCHDOG = `
log=$1
scratch=$2
shift 2
exec 3<&0
"$@" < /dev/null > "$log" 2>&1 3<&- &
qemu=$!
{ cat > /dev/null; kill -KILL $qemu 2> /dev/null; } <&3 &
watchdog=$!
exec 3<&-
wait $qemu
code=$?
kill $watchdog
rm -rf "$scratch"
exit $code
`;

/** A running QEMU. */
export class QemuProcess {
  /** How it ended, as soon as it has. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Whether it has. */
  hasEnded = false;
  readonly #log: string;
  readonly #life: WritableStream<Uint8Array>;

  /**
   * Starts it.
   *
   * @param command QEMU and its arguments.
   * @param files Where its output goes, and the folder to remove when it ends.
   */
  constructor(
    command: readonly string[],
    { log, scratch }: { log: string; scratch: string },
  ) {
    const child = new Deno.Command("sh", {
      args: ["-c", WATCHDOG, "watchdog", log, scratch, ...command],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#log = log;
    this.#life = child.stdin;
    this.ended = child.status.finally(() => this.hasEnded = true);
  }

  /** What it has printed. */
  get output(): string {
    return existsSync(this.#log) ? Deno.readTextFileSync(this.#log) : "";
  }

  /** Kills it, if it still runs, and waits for its end. */
  async kill(): Promise<void> {
    await this.#life.close().catch(() => {});
    await this.ended;
  }
}
