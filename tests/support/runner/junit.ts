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
  /** What failed, steps of tests too. */
  failures: Failure[];
  /** Tests that did not run although nobody filtered them out. */
  skipped: SkippedTest[];
  /** Its files of tests and how long they took. */
  files: FileTime[];
}

/** How long the tests of a file took. */
export interface FileTime {
  /** Below the root of the checkout. */
  path: string;
  seconds: number;
  /** How many tests ran. */
  tests: number;
}

/** A test or a step that failed. */
export interface Failure {
  name: string;
  /** The error, with its stack. */
  why: string;
}

interface TestCase {
  name: string;
  /** The error of one that failed. */
  why: string;
  outcome: "passed" | "failed" | "ignored" | "filtered";
  seconds: number;
}

interface Suite {
  path: string;
  cases: TestCase[];
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
    why: unescape(/<(?:failure|error)\b[^>]*>([^<]*)/.exec(body)?.[1] ?? ""),
    outcome: outcomeOf(attributes, body),
    seconds: Number(/\btime="([^"]*)"/.exec(attributes)?.[1] ?? 0),
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

function timeOf({ path, cases }: Suite): FileTime {
  const ran = withoutSteps(cases).filter(({ outcome }) =>
    outcome === "passed" || outcome === "failed"
  );
  const seconds = ran.reduce((sum, { seconds }) => sum + seconds, 0);
  return { path, seconds, tests: ran.length };
}

/** Adds up reports. */
export function sum(reports: readonly TierReport[]): TierReport {
  return {
    passed: reports.reduce((sum, { passed }) => sum + passed, 0),
    failed: reports.reduce((sum, { failed }) => sum + failed, 0),
    failures: reports.flatMap(({ failures }) => failures),
    skipped: reports.flatMap(({ skipped }) => skipped),
    files: reports.flatMap(({ files }) => files),
  };
}

/**
 * Counts what a report says.
 *
 * @param path the file or folder of tests that it is about
 * @param xml the report; empty if none was written
 * @param success whether the process ended well. If not, and no test is to
 * blame (a file that does not compile, an error outside any test, a crash),
 * that counts as one failure.
 */
export function parseReport(
  path: string,
  xml: string,
  success: boolean,
): TierReport {
  const suites: Suite[] = Array.from(
    xml.matchAll(/<testsuite\b[^>]*?\bname="([^"]*)".*?<\/testsuite>/gs),
    ([suite, name]) => ({
      path: unescape(name).replace(/^\.\//, ""),
      cases: testCases(suite),
    }),
  );
  const tests = suites.flatMap(({ cases }) => withoutSteps(cases));
  const count = (outcome: TestCase["outcome"]) =>
    tests.filter((test) => test.outcome === outcome).length;
  const failures: Failure[] = suites.flatMap(({ cases }) => cases)
    .filter(({ outcome }) => outcome === "failed")
    .map(({ name, why }) => ({ name, why }));
  let failed = count("failed");
  if (!success && failed === 0) {
    failed = 1;
    failures.push({
      name: path,
      why: "it ended badly, and no test is to blame",
    });
  }
  return {
    passed: count("passed"),
    failed,
    failures,
    skipped: tests.filter(({ outcome }) => outcome === "ignored")
      .map(({ name }) => ({ name, reason: "nothing: it is ignored by hand" })),
    files: suites.map(timeOf).filter(({ tests }) => tests > 0),
  };
}
