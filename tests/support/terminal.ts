/**
 * Commands in a terminal of their own, ended as users end them.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Outcome } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SCRIPT = fileURLToPath(new URL("./in_terminal.py", import.meta.url));

/** Runs `deno task …` in a terminal, presses Ctrl-C once it has printed `ready`, and waits for its end. */
export async function interruptedTask(
  args: readonly string[],
  ready: RegExp,
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command("python3", {
    args: [SCRIPT, ready.source, Deno.execPath(), "task", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}
