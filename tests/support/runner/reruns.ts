/**
 * Tests that failed for a reason outside the project and were run again.
 *
 * @module
 */

import { existsSync } from "node:fs";

/** Where the runner wants to hear of them, from all processes of a run: one JSON object a line. */
export const RERUNS_FILE_ENV = "IXL_TEST_RERUNS";
/** More of them in one run fail it. */
export const MOST_RERUNS = 2;

/** One line of that file. */
export interface Rerun {
  /** Name of the test. */
  name: string;
  /** What failed outside the project. */
  why: string;
}

/** Says that a test is run again, and has the runner count it. */
export function noteRerun(rerun: Rerun): void {
  console.error(`${rerun.name}: run again: ${rerun.why}`);
  const file = Deno.env.get(RERUNS_FILE_ENV);
  if (file === undefined) return;
  Deno.writeTextFileSync(file, `${JSON.stringify(rerun)}\n`, { append: true });
}

/** What all processes of a run have noted. */
export function readReruns(file: string): Rerun[] {
  if (!existsSync(file)) return [];
  const lines = Deno.readTextFileSync(file).split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

/** Says why a run with so many fails; undefined if it does not. */
export function tooMany(reruns: readonly Rerun[]): string | undefined {
  if (reruns.length <= MOST_RERUNS) return undefined;
  return `${reruns.length} tests were run again, and at most ${MOST_RERUNS} may be`;
}
