/**
 * The data path of every driver in its steady state: what V8 says of collections, allocations and deoptimisations.
 */
import { assertEquals, assertLess, assertMatch } from "@std/assert";
import { RING_DRIVERS } from "../../bench/rings.ts";
import { lastJson } from "../support/cli.ts";

const FIXTURE = new URL("../fixtures/steady_rings.ts", import.meta.url);
/** A collection that was asked for: the fixture does so around its steady phase. */
const MARK = "testing; GC";
/** What does not depend on the number of packets: code that a compiler thread has finished, say. */
const ALLOWED_BYTES = 500_000;

/** Runs the fixture; returns V8's trace and the fixture's own figures. */
async function steady(
  driver: string,
): Promise<{ trace: string[]; packets: number; heapGrowth: number }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=test",
      "--v8-flags=--trace-gc,--expose-gc,--trace-deopt",
      FIXTURE.pathname,
      driver,
    ],
    env: { IXL_DEBUG: "0" },
  }).output();
  const [trace, said] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  assertEquals(code, 0, said);
  return { trace: trace.split("\n"), ...lastJson(said) };
}

for (const driver of RING_DRIVERS) {
  Deno.test(`${driver}: the steady data path allocates nothing and is not deoptimised`, async () => {
    const { trace, packets, heapGrowth } = await steady(driver);
    const marks = trace.flatMap((line, i) => line.includes(MARK) ? [i] : []);
    assertEquals(marks.length, 3);
    assertMatch(trace.slice(0, marks[0]).join("\n"), /^\[bailout/m);
    const phase = trace.slice(marks[1] + 1, marks[2]);
    // Entering the optimised code of a loop that runs is traced as a bailout, too.
    const deoptimised = phase.filter((line) =>
      line.startsWith("[bailout") && !line.includes("on stack replacement")
    );
    assertEquals(deoptimised, []);
    assertEquals(phase.filter((line) => / ms: \w/.test(line)), []);
    assertLess(ALLOWED_BYTES, packets);
    assertLess(heapGrowth, ALLOWED_BYTES);
  });
}
