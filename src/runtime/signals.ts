/**
 * Ending cleanly.
 *
 * @module
 */
import { log } from "../log.ts";

/**
 * Calls `stop` once on SIGINT or SIGTERM, instead of dying with buffers mapped. A second signal ends at once.
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
  let asked = false;
  const listener = () => {
    if (asked) Deno.exit(130);
    asked = true;
    log("info", "ixl", "stopping");
    void Promise.resolve(stop());
  };
  Deno.addSignalListener("SIGINT", listener);
  Deno.addSignalListener("SIGTERM", listener);
  return {
    [Symbol.dispose]() {
      Deno.removeSignalListener("SIGINT", listener);
      Deno.removeSignalListener("SIGTERM", listener);
    },
  };
}
