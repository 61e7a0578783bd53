/**
 * What the benchmarks' figures rest on: V8 compiles sending into the loop that calls it, and with its limits raised
 * receiving, too. A fast path that grew beyond them would only be slower.
 */
import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { INLINING } from "../../bench/intel.ts";
import { INTEL_MODELS } from "../../bench/intel_rings.ts";
import type { IntelWork } from "../../bench/intel_loop.ts";

const LOOP = fileURLToPath(
  new URL("../../bench/intel_loop.ts", import.meta.url),
);
/** It compiles where it stands, however busy the other core is. */
const TRACE =
  "--trace-turbo-inlining,--no-concurrent-recompilation,--no-concurrent-osr";
/** Enough for V8 to compile the loop for good. */
const PACKETS = 1 << 23;

/** Names of the functions that V8 compiled into others while the benchmark's loop ran. */
async function inlined(work: IntelWork, flags: string): Promise<Set<string>> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=bench", flags, LOOP, JSON.stringify(work)],
    stdin: "piped",
    stdout: "piped",
    env: { IXL_DEBUG: "0" },
  }).spawn();
  const output = child.output();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(`${PACKETS}\n`));
  await input.close();
  const { code, stdout } = await output;
  const said = new TextDecoder().decode(stdout);
  assertEquals(code, 0, said);
  const names = said.matchAll(
    /^Inlining .*?SharedFunctionInfo (\w+)>\} into/gm,
  );
  return new Set([...names].map(([, name]) => name));
}

for (const chip of INTEL_MODELS) {
  const work = { chip, core: 0, batch: 1, ring: 512, size: 60 };
  Deno.test(`${chip.driver}: V8 compiles sending into the user's loop`, async () => {
    const names = await inlined(work, `--v8-flags=${TRACE}`);
    assert(names.has("sendWhole"));
  });
  Deno.test(`${chip.driver}: with its limits raised, V8 compiles receiving into it, too`, async () => {
    const names = await inlined(work, `${INLINING},${TRACE}`);
    assert(names.has("receiveWhole"));
    assert(names.has("sendWhole"));
  });
}
