/**
 * The processes that the runner starts, and their ends.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** The checkout. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const children = new Set<Deno.ChildProcess>();
let interrupted = false;

/** Whether a signal has asked for the end. */
export const isInterrupted = (): boolean => interrupted;

/** Ends the running tests at a signal, and lets the clean-up run. */
export function endAtSignals(): void {
  const end = () => {
    interrupted = true;
    for (const child of children) {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended by itself in this moment.
      }
    }
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, end);
  }
}

/** How a process runs. */
export interface SpawnOptions {
  env?: Record<string, string>;
  limitMinutes: number;
  /** Print what it printed at its end, in one piece. */
  atTheEnd?: boolean;
}

/** Runs a command of Deno with its output on ours; false if it fails. */
export async function spawn(
  args: string[],
  { env = {}, limitMinutes, atTheEnd = false }: SpawnOptions,
): Promise<boolean> {
  if (interrupted) return false;
  const output = atTheEnd ? "piped" : "inherit";
  const process = new Deno.Command(Deno.execPath(), {
    args,
    env,
    cwd: ROOT,
    stdin: "null",
    stdout: output,
    stderr: output,
  }).spawn();
  children.add(process);
  const limit = setTimeout(() => {
    console.error(`\nno end after ${limitMinutes} minutes: ended by force`);
    // A worker that spins cannot be asked to stop.
    process.kill("SIGKILL");
  }, limitMinutes * 60_000);
  const printed = atTheEnd ? await process.output() : undefined;
  const { success } = await process.status;
  clearTimeout(limit);
  children.delete(process);
  if (printed !== undefined) {
    const texts = [printed.stdout, printed.stderr].map((bytes) =>
      new TextDecoder().decode(bytes).trim()
    );
    console.log(texts.filter(Boolean).join("\n"));
  }
  return success;
}
