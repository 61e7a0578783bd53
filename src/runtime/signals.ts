/**
 * Ending cleanly.
 *
 * @module
 */
import { outputGone } from "../ffi/process.ts";
import { log } from "../log.ts";

/** A runner such as `deno task` or `npx` passes Ctrl-C on: signals this close together are one request. */
const SAME_REQUEST_MS = 1000;
/** How often to look whether the output still has a reader. */
const OUTPUT_INTERVAL_MS = 200;

/** What stops now, in this isolate. */
const stops = new Set<() => unknown>();
/** How many results of {@linkcode stopOnSignals} are not disposed of. */
let users = 0;
/** When the request to stop came; undefined before. */
let asked: number | undefined;
/** The signals that are listened for. */
let signals: readonly Deno.Signal[] = [];
let outputTimer: ReturnType<typeof setInterval> | undefined;

/**
 * Calls `stop` once on SIGINT, SIGTERM or SIGHUP, and when the reader of the program's output has gone, instead of dying
 * with buffers mapped. Signals within a second of the first one are the same request; a later one ends the program at
 * once. Dispose of the result to give the signals back.
 *
 * Without `stop`, signals are only kept: the next call with a `stop` finds that it was asked for, and calls it at once.
 * A program that does so first can be ended while it opens its devices.
 *
 * @example
 * ```ts
 * import { openDevice, stopOnSignals } from "@ixl/deno";
 *
 * using _early = stopOnSignals();
 * await using device = await openDevice({ address: "sim:loopback" });
 * const ending = new AbortController();
 * using _signals = stopOnSignals(() => ending.abort());
 * ```
 */
export function stopOnSignals(stop?: () => unknown): Disposable {
  if (users++ === 0) listen();
  if (stop !== undefined) {
    // A function that is given twice is called twice.
    const once = () => stop();
    stops.add(once);
    outputTimer ??= watchOutput();
    if (asked !== undefined) call(once);
    return disposeOnce(() => stops.delete(once));
  }
  return disposeOnce(() => {});
}

function disposeOnce(action: () => void): Disposable {
  let disposed = false;
  return {
    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      action();
      if (stops.size === 0) {
        clearInterval(outputTimer);
        outputTimer = undefined;
      }
      if (--users === 0) leave();
    },
  };
}

function listen(): void {
  // The listeners of a program that ended moments ago may still be there.
  if (signals.length > 0) return;
  signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
}

/** The second signal of the same request must not kill the program while it gives everything back. */
function leave(): void {
  const left = SAME_REQUEST_MS - (performance.now() - (asked ?? -Infinity));
  asked = undefined;
  const remove = () => {
    if (users > 0) return;
    for (const signal of signals) Deno.removeSignalListener(signal, onSignal);
    signals = [];
  };
  if (left > 0) Deno.unrefTimer(setTimeout(remove, left));
  else remove();
}

function onSignal(): void {
  // Nothing is to be stopped any more.
  if (users === 0) return;
  if (asked !== undefined) {
    if (performance.now() - asked < SAME_REQUEST_MS) return;
    log("warn", "ixl", "asked again to stop: ending at once");
    Deno.exit(130);
  }
  request("stopping");
}

function request(message: string): void {
  asked = performance.now();
  log("info", "ixl", message);
  for (const stop of stops) call(stop);
}

function call(stop: () => unknown): void {
  Promise.resolve().then(stop).catch((error) =>
    log("error", "ixl", error instanceof Error ? error.message : String(error))
  );
}

/** Deno does not report that a pipe's reader has gone. Without this, a program before `head -1` would never end. */
function watchOutput(): ReturnType<typeof setInterval> {
  const timer = setInterval(() => {
    if (asked === undefined && outputGone()) {
      request("stopping: the reader of the output has gone");
    }
  }, OUTPUT_INTERVAL_MS);
  Deno.unrefTimer(timer);
  return timer;
}
