import { assertEquals } from "@std/assert";
import { parseReport } from "../../support/runner/junit.ts";

/** As Deno 2.9.6 writes it, for one test of each kind and two steps. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="3" errors="0" time="0.090">
    <testsuite name="./a_test.ts" tests="7" disabled="2" errors="0" failures="3">
        <testcase name="steps() fails" classname="./a_test.ts" time="0.003" line="1" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="a &gt; b" classname="./a_test.ts" time="0.000" line="2" col="6">
        </testcase>
        <testcase name="throws" classname="./a_test.ts" time="0.000" line="2" col="30">
            <failure message="Uncaught Error: &lt;/testcase&gt;">Error: &lt;/testcase&gt;</failure>
        </testcase>
        <testcase name="ignored" classname="./a_test.ts" time="0.000" line="2" col="75">
            <skipped/>
        </testcase>
        <testcase name="filtered out" classname="./a_test.ts" line="3" col="6">
            <skipped/>
        </testcase>
        <testcase name="steps() fails &gt; one" classname="./a_test.ts" time="0.000" line="1" col="45">
        </testcase>
        <testcase name="steps() fails &gt; two" classname="./a_test.ts" time="0.000" line="1" col="72">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("parseReport() counts tests, not steps or what was filtered out", () => {
  const { passed, failed, skipped } = parseReport("tests/unit", REPORT, false);
  assertEquals([passed, failed], [1, 2]);
  assertEquals(skipped.map(({ name }) => name), ["ignored"]);
});

Deno.test("parseReport() says what failed, steps too, and why", () => {
  assertEquals(parseReport("tests/unit", REPORT, false).failures, [
    { name: "steps() fails", why: "1 test step failed." },
    { name: "throws", why: "Error: </testcase>" },
    { name: "steps() fails > two", why: "Error: x" },
  ]);
});

Deno.test("parseReport() counts a crash without a report as one failure", () => {
  const { failed, failures } = parseReport("tests/unit", "", false);
  assertEquals(failed, 1);
  assertEquals(failures.map(({ name }) => name), ["tests/unit"]);
});

Deno.test("parseReport() counts a failure that no test is to blame for", () => {
  const passing = REPORT.replaceAll(/<failure.*?<\/failure>/gs, "");
  assertEquals(parseReport("tests/unit", passing, false).failed, 1);
  assertEquals(parseReport("tests/unit", passing, true).failed, 0);
});

Deno.test("parseReport() adds up how long each file's tests took", () => {
  assertEquals(parseReport("tests/unit", REPORT, false).files, [
    { path: "a_test.ts", seconds: 0.003, tests: 3 },
  ]);
});
