/**
 * The data path of each driver in its steady state, on rings in memory: what V8 says of collections and deoptimisations,
 * and by how much the heap grows.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { fileURLToPath } from "node:url";
import { Batch } from "../../src/memory/batch.ts";
import { RING_DRIVERS, ringsOf } from "./rings.ts";

const PACKETS = 100_000_000;
const ROUND = 1 << 15;
const WARM_UP_ROUNDS = 64;
const BATCHES = [1, 32, 256];
/** A collection that was asked for: the child does so before and after each phase. */
const MARK = "testing; GC";

/** What was seen of a driver. */
export interface SteadyRings {
  /** Which. */
  readonly driver: string;
  /** Packets forwarded in the steady phase, at batches of 1, 32 and 256 in equal parts. */
  readonly packets: number;
  /** Garbage collections meanwhile. */
  readonly collections: number;
  /** Bytes by which the heap grew. */
  readonly heapGrowth: number;
  /** Deoptimisations meanwhile, as V8 prints them. */
  readonly deoptimised: readonly string[];
}

/** Forwards at least so many packets in a child whose V8 says what it does. */
export async function steadyRings(
  driver: string,
  packets: number,
): Promise<SteadyRings> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      "--v8-flags=--trace-gc,--expose-gc,--trace-deopt",
      fileURLToPath(import.meta.url),
      `--child=${driver}`,
      `--packets=${packets}`,
    ],
    env: { IXL_DEBUG: "0" },
  }).output();
  const [trace, said] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trim().split("\n")
  );
  if (code !== 0) throw new Error(said.join("\n"));
  const marks = trace.flatMap((line, i) => line.includes(MARK) ? [i] : []);
  const [warmUp, from, to] = marks;
  // What is looked for is known to be there before the steady phase.
  if (
    marks.length !== 3 ||
    !trace.slice(0, warmUp).some((line) => line.startsWith("[bailout"))
  ) throw new Error("V8 does not print what is looked for");
  const phase = trace.slice(from + 1, to);
  return {
    driver,
    collections: phase.filter((line) => / ms: \w/.test(line)).length,
    // Entering the optimised code of a loop that runs is traced as a bailout, too.
    deoptimised: phase.filter((line) =>
      line.startsWith("[bailout") && !line.includes("on stack replacement")
    ),
    ...JSON.parse(said[said.length - 1]),
  };
}

/** With `--expose-gc`. */
declare const gc: () => void;

/** The child. */
function forward(driver: string, packets: number): void {
  const rings = ringsOf(driver);
  const { pool, pair: { rx, tx } } = rings;
  const batches = BATCHES.map((size) => new Batch(size));
  const round = (batch: Batch) => {
    for (let done = 0; done < ROUND; done += batch.capacity) {
      rings.step(batch.capacity);
      const received = rx.receive(batch);
      for (let i = 0; i < received; i++) {
        pool.u8[pool.offset(batch.handles[i])] ^= 1;
      }
      if (tx.send(batch) !== batch.capacity) {
        throw new Error("a packet is gone");
      }
    }
  };
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      for (const batch of batches) round(batch);
    }
  };

  rounds(WARM_UP_ROUNDS);
  // Once more, over compiled code that a collection has looked at.
  gc();
  rounds(WARM_UP_ROUNDS);
  gc();
  const steady = Math.ceil(packets / ROUND / batches.length);
  const before = Deno.memoryUsage().heapUsed;
  rounds(steady);
  const heapGrowth = Deno.memoryUsage().heapUsed - before;
  gc();
  // V8 writes its trace to standard output, in pieces.
  console.error(JSON.stringify({
    packets: steady * batches.length * ROUND,
    heapGrowth,
  }));
  rings.close();
}

if (import.meta.main) {
  const { child, packets, json } = parseArgs(Deno.args, {
    boolean: ["json"],
    string: ["child", "packets"],
  });
  if (child !== undefined) {
    forward(child, Number(packets));
    Deno.exit();
  }
  const drivers: SteadyRings[] = [];
  for (const driver of RING_DRIVERS) {
    console.error(`${driver}: ${PACKETS} packets`);
    drivers.push(await steadyRings(driver, PACKETS));
  }
  console.table(drivers.map(({ deoptimised, ...seen }) => ({
    ...seen,
    deoptimisations: deoptimised.length,
  })));
  if (json) console.log(JSON.stringify({ name: "steady-rings", drivers }));
}
