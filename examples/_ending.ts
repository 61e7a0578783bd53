/**
 * How a command ends: what it throws becomes one line and an exit code.
 *
 * @module
 */
import { IxlError, stopOnSignals } from "../mod.ts";
import { CaptureInUseError, PcapError } from "../src/net/mod.ts";

/**
 * Runs a program to its exit code: what it throws becomes one line on standard error, with exit code 2 for bad
 * arguments and 1 for everything else. The stack is shown for what is a mistake of ours, or where `showStack`.
 *
 * Signals are kept from the start on, for the program's own `stopOnSignals()`.
 */
export async function exitCode(
  program: () => Promise<number>,
  showStack = false,
): Promise<number> {
  using _signals = stopOnSignals();
  try {
    return await program();
  } catch (thrown) {
    const error = firstCause(thrown);
    console.error(`ixl: ${messageOf(error)}`);
    if (showStack || !isExpected(error)) {
      console.error((error as Error)?.stack ?? error);
    }
    return isBadInput(error) ? 2 : 1;
  }
}

/** A wrong configuration counts as bad input: it came from the command line. */
function isBadInput(error: unknown): boolean {
  return error instanceof CaptureInUseError ||
    (error instanceof IxlError && error.code === "bad-config");
}

/** Also a file that is not there, a permission that is missing, a disk that is full. */
function isExpected(error: unknown): boolean {
  return error instanceof IxlError || error instanceof PcapError ||
    (error instanceof Error &&
      (error.name in Deno.errors || /\(os error \d+\)/.test(error.message)));
}

/** What failed first, where giving things back failed as well. */
function firstCause(error: unknown): unknown {
  return error instanceof SuppressedError
    ? firstCause(error.suppressed)
    : error;
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\s*\n\s*/g, " ");
}
