/**
 * Runs the tests: sets up what they need, runs the tiers in processes of their
 * own, puts everything back, and ends with a line `N passed, N failed`.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { existsSync } from "node:fs";
import { usualSeconds } from "./runner/durations.ts";
import { beginRun, RERUNS_FILE, runTests } from "./runner/job.ts";
import { endAtSignals, isInterrupted, ROOT } from "./runner/processes.ts";
import { type Job, runJobs } from "./runner/schedule.ts";
import { buildShim, prepareLab } from "./runner/setup.ts";
import { printSummary } from "./runner/summary.ts";
import { type Tier, TIERS } from "./runner/tiers.ts";
import { reserveHugepages } from "./support/host/hugepages.ts";
import { sum, type TierReport } from "./support/runner/junit.ts";
import { onCi, whyMissing } from "./support/runner/requirements.ts";
import { readReruns, tooMany } from "./support/runner/reruns.ts";

/** Processes of tests at the same time. Three on two cores take as long: guests then wait for each other. */
const SLOTS = 2;

const HELP = `Usage: deno task test [--tier NAME]... [--filter TEXT]

Sets up what the tests need, runs them, puts everything back.

  --tier NAME    run only this tier; may be repeated
  --filter TEXT  run only the tests whose name contains TEXT (or matches /TEXT/)
  --help         print this

Tiers:
${TIERS.map((tier) => `  ${tier.name.padEnd(13)}${tier.about}`).join("\n")}

Files of the guest tier run beside unit and sim, two processes at a time. What
is mere repetition is done a few times: deno task soak does it in full.

With CI=true in the environment a test that lacks a prerequisite fails
instead of being skipped.`;

interface Options {
  tiers: Tier[];
  filter: string | undefined;
}

class UsageError extends Error {}

function parseOptions(args: string[]): Options | "help" {
  const given = parseArgs(args, {
    boolean: ["help"],
    string: ["tier", "filter", "_"],
    collect: ["tier"],
    unknown: (arg) => {
      throw new UsageError(
        `unknown argument ${arg}; --help lists what there is`,
      );
    },
  });
  if (given.help) return "help";
  for (const name of given.tier) {
    if (TIERS.some((tier) => tier.name === name)) continue;
    const known = TIERS.map((tier) => tier.name).join(", ");
    throw new UsageError(`there is no tier "${name}"; the tiers are ${known}`);
  }
  const wanted = (tier: Tier) =>
    given.tier.length === 0 || given.tier.includes(tier.name);
  return { tiers: TIERS.filter(wanted), filter: given.filter || undefined };
}

const hasTests = (tier: Tier) => existsSync(`${ROOT}tests/${tier.name}`);

/** The report of a tier that cannot run here; undefined if it can. */
function withoutNeeds({ name, needs }: Tier): TierReport | undefined {
  const lacking = needs.map(whyMissing).filter((why) => why !== undefined);
  if (lacking.length === 0) return undefined;
  const reason = lacking.join("; ");
  const failures = onCi()
    ? [{ name: `tier ${name}`, why: `needs ${reason}` }]
    : [];
  return {
    passed: 0,
    failed: failures.length,
    failures,
    skipped: [{ name: `tier ${name}`, reason }],
    files: [],
  };
}

/** What is run in a process of its own: the tier, or each of its files. */
function pathsOf({ name, byFile }: Tier): string[] {
  if (!byFile) return [`tests/${name}`];
  return Array.from(
    Deno.readDirSync(`${ROOT}tests/${name}`),
    ({ name }) => name,
  )
    .filter((file) => file.endsWith("_test.ts"))
    .map((file) => `tests/${name}/${file}`);
}

function jobsOf(
  tier: Tier,
  filter: string | undefined,
  beside: boolean,
): Job<TierReport>[] {
  const { claims } = tier;
  return pathsOf(tier).map((path) => ({
    claims,
    seconds: usualSeconds(path),
    run: async () => {
      using hugepages = reserveHugepages(tier.hugepages);
      const env = { IXL_TEST_HUGEPAGES: hugepages.available ? "1" : "0" };
      const alone = claims === "machine" || !beside;
      if (alone) console.log(`\n=== ${tier.name}: ${tier.about}`);
      return await runTests(tier, path, { filter, env, beside: !alone });
    },
  }));
}

async function runTiers({ tiers, filter }: Options): Promise<TierReport> {
  const present = tiers.filter(hasTests);
  const reports = present.map(withoutNeeds).filter((report) =>
    report !== undefined
  );
  const able = present.filter((tier) => withoutNeeds(tier) === undefined);
  const beside = able.length > 1 || able.some(({ byFile }) => byFile);
  const jobs = able.flatMap((tier) => jobsOf(tier, filter, beside));
  return sum([...reports, ...await runJobs(jobs, SLOTS, isInterrupted)]);
}

async function main(): Promise<number> {
  const options = parseOptions(Deno.args);
  if (options === "help") {
    console.log(HELP);
    return 0;
  }
  endAtSignals();
  beginRun();
  await buildShim();
  await prepareLab(options.tiers.filter(hasTests));
  const report = await runTiers(options);
  const reruns = readReruns(RERUNS_FILE);
  const why = tooMany(reruns);
  if (why !== undefined) {
    report.failures.push({ name: "tests run again", why });
    report.failed++;
  }
  if (report.passed + report.failed === 0) {
    console.error("no test ran");
    report.failed++;
  }
  printSummary(report, reruns);
  if (isInterrupted()) return 130;
  return report.failed === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main());
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}
