/**
 * Does a steady forwarding worker collect garbage?
 *
 * Two workers forward between two software cards. After a warm-up each of them calls `gc()`, forwards ten million
 * packets together, and calls `gc()` again. V8 itself (`--trace-gc`) prints a line for every collection of every
 * isolate, so what stands between the two marks of an isolate is the collections of the steady phase; and the heap's
 * growth between them is all that was allocated.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { openDevice, run, simControls } from "../../mod.ts";
import { collectionsBetweenMarks } from "../support/gc_trace.ts";
import type { SteadyArgs } from "./steady_worker.ts";

const PACKETS = 10_000_000;
const QUEUES = 2;
const WORKER = new URL("./steady_worker.ts", import.meta.url);

/** What a worker found, as it prints it. */
export interface SteadyReport {
  /** Its queue. */
  readonly queue: number;
  /** Packets forwarded between the two marks. */
  readonly packets: number;
  /** Bytes by which the heap grew meanwhile. */
  readonly heapGrowth: number;
}

/** One worker's line of the result. */
export interface SteadyResult extends SteadyReport {
  /** Collections of that worker's isolate between its marks, as V8 reported them. */
  readonly collections: number;
}

/** The child: forwards until both workers have reported. */
async function forward(): Promise<void> {
  const config = { queues: QUEUES, promiscuous: true };
  await using a = await openDevice({
    ...config,
    address: "sim:generator?flows=256",
  });
  await using b = await openDevice({ ...config, address: "sim:sink" });
  const args: SteadyArgs = {
    packets: PACKETS / QUEUES,
    workers: QUEUES,
    reported: new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT),
  };
  await using running = await run([a, b], {
    worker: WORKER,
    args,
  });
  await running.done;
  simControls(a).wire.pause();
}

/** Runs the child under `--trace-gc` and reads what V8 and the workers say. */
async function measure(): Promise<SteadyResult[]> {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      "--v8-flags=--trace-gc,--expose-gc",
      new URL(import.meta.url).pathname,
      "--child",
    ],
  }).output();
  const [trace, said] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trim().split("\n")
  );
  if (code !== 0) throw new Error(said.join("\n"));
  return results(trace, said);
}

function results(
  trace: readonly string[],
  said: readonly string[],
): SteadyResult[] {
  const finished = collectionsBetweenMarks(trace);
  const reports: SteadyReport[] = said.filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  if (finished.length !== QUEUES || reports.length !== QUEUES) {
    throw new Error("a worker's marks are missing from the trace");
  }
  // Which isolate is which queue does not matter: the worst is what counts.
  return reports.sort((x, y) => x.queue - y.queue)
    .map((report, i) => ({ ...report, collections: finished[i] }));
}

if (import.meta.main) {
  const given = parseArgs(Deno.args, { boolean: ["child", "json"] });
  if (given.child) {
    await forward();
  } else {
    const workers = await measure();
    console.table(workers);
    if (given.json) console.log(JSON.stringify({ name: "steady", workers }));
  }
}
