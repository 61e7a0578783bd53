/**
 * Does in full what the gate does a few times: kills, link changes, reloads and
 * long random runs. Ends with a line `N passed, N failed`.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { beginRun, RERUNS_FILE, runTests } from "./runner/job.ts";
import { endAtSignals, isInterrupted } from "./runner/processes.ts";
import { buildShim, prepareLab } from "./runner/setup.ts";
import { printSummary } from "./runner/summary.ts";
import { type Tier, TIERS } from "./runner/tiers.ts";
import { reserveHugepages } from "./support/host/hugepages.ts";
import { sum, type TierReport } from "./support/runner/junit.ts";
import {
  SEED_ENV,
  type Soak,
  SOAK_ENV,
  type SoakName,
  SOAKS,
} from "./support/runner/repeat.ts";
import {
  onCi,
  type Requirement,
  whyMissing,
} from "./support/runner/requirements.ts";
import { readReruns } from "./support/runner/reruns.ts";

const NAMES = Object.keys(SOAKS) as SoakName[];
/** Seeds are drawn below that: the generators take 32 bits, and count on from it. */
const SEEDS = 2 ** 30;
/** A soak of one file that takes longer hangs. */
const LIMIT_MINUTES = 40;

const list = NAMES.map((name) => {
  const { about, minutes }: Soak = SOAKS[name];
  return `  ${name.padEnd(15)}${about} (${minutes} min)`;
}).join("\n");

const HELP = `Usage: deno task soak [NAME]... [--minutes N] [--seed N]

Does in full what the tests do a few times.

  --minutes N    begin again until so many minutes have passed
  --seed N       the random numbers of an earlier soak, which printed the seed
  --help         print this

Names, all of them unless given, and how long they take on two quiet cores:
${list}`;

interface Options {
  names: SoakName[];
  minutes: number;
  seed: number | undefined;
}

class UsageError extends Error {}

function numberOf(
  option: string,
  text: string | undefined,
  isValid: (value: number) => boolean,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== "" && isValid(value)) return value;
  throw new UsageError(`--${option} takes a number, not "${text}"`);
}

const isSoak = (name: string): name is SoakName =>
  (NAMES as string[]).includes(name);

function parseOptions(args: string[]): Options | "help" {
  const given = parseArgs(args, {
    boolean: ["help"],
    string: ["minutes", "seed", "_"],
    unknown: (arg) => {
      if (!arg.startsWith("-")) return true;
      throw new UsageError(
        `unknown argument ${arg}; --help lists what there is`,
      );
    },
  });
  if (given.help) return "help";
  const names = given._.map(String).map((name) => {
    if (isSoak(name)) return name;
    throw new UsageError(
      `there is no soak "${name}"; there are ${NAMES.join(", ")}`,
    );
  });
  const isSeed = (value: number) => Number.isInteger(value) && value >= 0;
  const seed = numberOf("seed", given.seed, isSeed);
  const minutes = numberOf("minutes", given.minutes, (value) => value > 0);
  return {
    names: names.length > 0 ? names : NAMES,
    minutes: minutes ?? 0,
    seed,
  };
}

const tierOf = (file: string): Tier =>
  TIERS.find(({ name }) => file.startsWith(`tests/${name}/`))!;

const drawSeed = () => Math.floor(Math.random() * SEEDS);

/** The report of a file that cannot run here; undefined if it can. */
function withoutNeeds(file: string): TierReport | undefined {
  const needs: Requirement[] = tierOf(file).needs;
  const lacking = needs.map(whyMissing).filter((why) => why !== undefined);
  if (lacking.length === 0) return undefined;
  const [name, reason] = [file, lacking.join("; ")];
  const failures = onCi() ? [{ name, why: `needs ${reason}` }] : [];
  return {
    passed: 0,
    failed: failures.length,
    failures,
    skipped: [{ name, reason }],
    files: [],
  };
}

/** One soak, once; its files run one after the other, to show how far they are. */
async function once(name: SoakName, seed: number): Promise<TierReport> {
  const { about, files, tests, random = false }: Soak = SOAKS[name];
  console.log(
    `\n=== ${name}: ${about}${random ? ` (--seed ${seed})` : ""}`,
  );
  const reports: TierReport[] = [];
  for (const file of files) {
    if (isInterrupted()) break;
    const tier = { ...tierOf(file), limitMinutes: LIMIT_MINUTES };
    using hugepages = reserveHugepages(tier.hugepages);
    const report = withoutNeeds(file) ?? await runTests(tier, file, {
      filter: `/${tests.source}/`,
      env: {
        [SOAK_ENV]: name,
        [SEED_ENV]: `${seed}`,
        IXL_TEST_HUGEPAGES: hugepages.available ? "1" : "0",
      },
    });
    if (report.passed + report.failed + report.skipped.length === 0) {
      report.failures.push({ name: file, why: `no test fits ${tests}` });
      report.failed++;
    }
    if (random && report.failed > 0) {
      console.log(`again: deno task soak ${name} --seed ${seed}`);
    }
    reports.push(report);
  }
  return sum(reports);
}

async function soak({ names, minutes, seed }: Options): Promise<TierReport> {
  const end = performance.now() + minutes * 60_000;
  const reports: TierReport[] = [];
  do {
    for (const name of names) {
      if (!isInterrupted()) reports.push(await once(name, seed ?? drawSeed()));
    }
  } while (performance.now() < end && !isInterrupted());
  return sum(reports);
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
  const files = options.names.flatMap((name) => SOAKS[name].files);
  await prepareLab(TIERS.filter((tier) => files.map(tierOf).includes(tier)));
  const report = await soak(options);
  printSummary(report, readReruns(RERUNS_FILE));
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
