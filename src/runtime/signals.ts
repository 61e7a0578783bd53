/**
 * Ending cleanly.
 *
 * @module
 */
import { log } from "../log.ts";

/** A runner such as `deno task` or `npx` passes Ctrl-C on: signals this close together are one request. */
const SAME_REQUEST_MS = 1000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Calls `stop` once on SIGINT, SIGTERM or SIGHUP, instead of dying with buffers mapped. Signals within a second of the
 * first one are the same request; a later one ends the program at once.
 * Dispose of the result to give the signals back.
 *
 * @example
 * ```ts
 * import { stopOnSignals } from "@ixl/deno";
 *
 * const ending = new AbortController();
 * using _signals = stopOnSignals(() => ending.abort());
 * ```
 */
export function stopOnSignals(stop: () => unknown): Disposable {
  let asked: number | undefined;
  const listener = () => {
    if (asked !== undefined) {
      if (performance.now() - asked < SAME_REQUEST_MS) return;
      log("warn", "ixl", "asked again to stop: ending at once");
      Deno.exit(130);
    }
    asked = performance.now();
    log("info", "ixl", "stopping");
    void Promise.resolve(stop());
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, listener);
  const remove = () => {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, listener);
  };
  return {
    [Symbol.dispose]() {
      const left = SAME_REQUEST_MS - (performance.now() - (asked ?? -Infinity));
      // The second signal of the same request must not kill the program while it gives everything back.
      if (left > 0) Deno.unrefTimer(setTimeout(remove, left));
      else remove();
    },
  };
}
