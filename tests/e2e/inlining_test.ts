/**
 * What the benchmarks' figures rest on: V8 compiles sending into the loop that calls it, and with its limits raised
 * receiving, too. A fast path that grew beyond them would only be slower.
 */
import { assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { INLINING } from "../../bench/beside_c/intel.ts";
import { INTEL_MODELS } from "../../bench/rings/intel_rings.ts";
import type { IntelWork } from "../../bench/beside_c/intel_loop.ts";

const LOOP = fileURLToPath(
  new URL("../../bench/beside_c/intel_loop.ts", import.meta.url),
);
const TRACE = "--trace-turbo-inlining";
const PACKETS = 1 << 17;
/** Far more than V8 needs, also where the other core is busy. */
const MOST_ROUNDS = 2000;

/** Lets the loop run until V8 has compiled all of these into others; the names of those that it did not. */
async function missing(
  work: IntelWork,
  flags: string,
  wanted: readonly string[],
): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-P=bench", flags, LOOP, JSON.stringify(work)],
    stdin: "piped",
    stdout: "piped",
    env: { IXL_DEBUG: "0" },
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  const left = () =>
    wanted.filter((name) =>
      !new RegExp(`^Inlining .*SharedFunctionInfo ${name}>} into`, "m")
        .test(said)
    );
  // V8 writes its lines in pieces, also before an answer.
  const answers = () => said.match(/\d\.\d+$/gm)?.length ?? 0;
  for (let round = 1; round <= MOST_ROUNDS && left().length > 0; round++) {
    await input.write(new TextEncoder().encode(`${PACKETS}\n`));
    while (answers() < round) {
      const { value, done } = await output.read();
      if (done) throw new Error(`the loop has ended: ${said}`);
      said += value;
    }
  }
  await input.close();
  await output.cancel();
  await child.status;
  return left();
}

for (const chip of INTEL_MODELS) {
  const work = { chip, core: 0, batch: 1, ring: 512, size: 60 };
  Deno.test(`${chip.driver}: V8 compiles sending into the user's loop`, async () => {
    assertEquals(await missing(work, `--v8-flags=${TRACE}`, ["sendWhole"]), []);
  });
  Deno.test(`${chip.driver}: with its limits raised, V8 compiles receiving into it, too`, async () => {
    const both = ["receiveWhole", "sendWhole"];
    assertEquals(await missing(work, `${INLINING},${TRACE}`, both), []);
  });
}
