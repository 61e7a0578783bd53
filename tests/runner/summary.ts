/**
 * What the runner prints at the end.
 *
 * @module
 */

import type { FileTime, TierReport } from "../support/runner/junit.ts";
import type { Rerun } from "../support/runner/reruns.ts";

/** How many files the summary names. */
const SLOWEST = 20;

const inSeconds = (seconds: number) => `${seconds.toFixed(1)} s`.padStart(9);

const isTime = ({ seconds }: FileTime) => seconds >= 0.05;

/** The files that took longest, the slowest first, a line each. */
export function slowestFiles(files: readonly FileTime[]): string[] {
  return files.toSorted((a, b) => b.seconds - a.seconds)
    .slice(0, SLOWEST).filter(isTime)
    .map(({ path, seconds, tests }) =>
      `${inSeconds(seconds)}  ${path} (${tests} tests)`
    );
}

/** How long the files of each folder took together, a line each. */
export function tierTimes(files: readonly FileTime[]): string[] {
  const tiers = Map.groupBy(
    files,
    ({ path }) => /^tests\/(\w+)/.exec(path)?.[1] ?? path,
  );
  return Array.from(tiers, ([tier, files]) => {
    const total = (of: "seconds" | "tests") =>
      files.reduce((sum, file) => sum + file[of], 0);
    return `${inSeconds(total("seconds"))}  tier ${tier} (${
      total("tests")
    } tests in ${files.length} files)`;
  });
}

/** Prints where the time went, what failed, what was run again or skipped, and the counts. */
export function printSummary(
  { passed, failed, failures, skipped, files }: TierReport,
  reruns: readonly Rerun[],
): void {
  console.log("\nwhere the time went, slowest first:");
  for (const line of [...slowestFiles(files), ...tierTimes(files)]) {
    console.log(line);
  }
  console.log("");
  for (const { name, why } of failures) {
    console.log(`failed: ${name}\n${why.replaceAll(/^/gm, "  ")}\n`);
  }
  for (const { name, why } of reruns) {
    console.log(`run again: ${name} (${why})`);
  }
  for (const { name, reason } of skipped) {
    console.log(`skipped: ${name} (needs ${reason})`);
  }
  const rest = skipped.length > 0 ? `, ${skipped.length} skipped` : "";
  console.log(`${passed} passed, ${failed} failed${rest}`);
}
