/**
 * Reads the report that `deno test --junit-path` writes.
 *
 * @module
 */

import type { SkippedTest } from "./requirements.ts";

/** What became of the tests of one tier. */
export interface TierReport {
  /** Tests that passed; steps are part of their test. */
  passed: number;
  /** Tests that failed, or 1 when the process failed without naming one. */
  failed: number;
  /** Tests that did not run although nobody filtered them out. */
  skipped: SkippedTest[];
}

interface TestCase {
  name: string;
  outcome: "passed" | "failed" | "ignored" | "filtered";
}

const ENTITIES: Record<string, string> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&apos;": "'",
  "&amp;": "&",
};

const unescape = (text: string): string =>
  text.replace(/&(?:lt|gt|quot|apos|amp);/g, (entity) => ENTITIES[entity]);

function outcomeOf(attributes: string, body: string): TestCase["outcome"] {
  if (/<(?:failure|error)\b/.test(body)) return "failed";
  if (!/<skipped\b/.test(body)) return "passed";
  // Deno gives a test that was ignored a time, one that was filtered out none.
  return /\btime=/.test(attributes) ? "ignored" : "filtered";
}

/** The test cases of one file. In text and attributes `<` is always escaped. */
function testCases(suite: string): TestCase[] {
  const pattern = /<testcase\b([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs;
  return Array.from(suite.matchAll(pattern), ([, attributes, body = ""]) => ({
    name: unescape(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? ""),
    outcome: outcomeOf(attributes, body),
  }));
}

/** Leaves out steps, which Deno lists as test cases named `test > step`. */
function withoutSteps(cases: TestCase[]): TestCase[] {
  const names = new Set(cases.map(({ name }) => name));
  const isStep = (name: string) => {
    for (
      let at = name.indexOf(" > ");
      at >= 0;
      at = name.indexOf(" > ", at + 1)
    ) {
      if (names.has(name.slice(0, at))) return true;
    }
    return false;
  };
  return cases.filter(({ name }) => !isStep(name));
}

/**
 * Counts what a report says.
 *
 * @param xml the report; empty if none was written
 * @param success whether the process ended well. If not, and no test is to
 * blame (a file that does not compile, an error outside any test, a crash),
 * that counts as one failure.
 */
export function parseReport(xml: string, success: boolean): TierReport {
  const suites = Array.from(
    xml.matchAll(/<testsuite\b.*?<\/testsuite>/gs),
    ([suite]) => withoutSteps(testCases(suite)),
  ).flat();
  const count = (outcome: TestCase["outcome"]) =>
    suites.filter((test) => test.outcome === outcome).length;
  const failed = count("failed");
  return {
    passed: count("passed"),
    failed: !success && failed === 0 ? 1 : failed,
    skipped: suites.filter(({ outcome }) => outcome === "ignored")
      .map(({ name }) => ({ name, reason: "nothing: it is ignored by hand" })),
  };
}
