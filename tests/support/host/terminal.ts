/**
 * Commands in a terminal of their own, ended as users end them.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { type Outcome, outcomeOf } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const SCRIPT = fileURLToPath(new URL("./in_terminal.py", import.meta.url));

/** Runs `deno task …` in a terminal, presses Ctrl-C once it has printed `ready`, and waits for its end. */
export function interruptedTask(
  args: readonly string[],
  ready: RegExp,
): Promise<Outcome> {
  return outcomeOf("python3", {
    args: [SCRIPT, ready.source, Deno.execPath(), "task", ...args],
    cwd: ROOT,
  });
}
