/**
 * Garbage collections, as V8 prints them under `--trace-gc`.
 *
 * @module
 */

const TRACE =
  /^\[\d+:(0x[0-9a-f]+)(?::\d+)?\]\s+\d+ ms: (Scavenge|Mark-Compact|Minor)(.*)$/;
/** What it says of a collection that `gc()` asked for. */
const ON_REQUEST = "testing";

/** Counts the collections of an isolate between two of its calls of `gc()`, for each such pair. */
export function collectionsBetweenMarks(trace: readonly string[]): number[] {
  const counting = new Map<string, number>();
  const finished: number[] = [];
  for (const line of trace) {
    const [, isolate, , rest] = TRACE.exec(line) ?? [];
    if (isolate === undefined) continue;
    const count = counting.get(isolate);
    if (!rest.includes(ON_REQUEST)) {
      if (count !== undefined) counting.set(isolate, count + 1);
    } else if (count === undefined) counting.set(isolate, 0);
    else {
      finished.push(count);
      counting.delete(isolate);
    }
  }
  return finished;
}
