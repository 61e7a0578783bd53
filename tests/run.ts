/**
 * Runs the tests: sets up what they need, runs each tier in a process of its
 * own, puts everything back, and ends with a line `N passed, N failed`.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { FIGURES_FILE_ENV } from "./support/figures.ts";
import { reserveHugepages } from "./support/hugepages.ts";
import { parseReport, type TierReport } from "./support/junit.ts";
import {
  onCi,
  type Requirement,
  SKIPPED_FILE_ENV,
  type SkippedTest,
  whyMissing,
} from "./support/requirements.ts";

interface Tier {
  /** Also the folder's name below tests/. */
  name: string;
  about: string;
  /** What not one test of the tier can do without; single tests may need more. */
  needs: Requirement[];
  /** 2 MiB pages to have free while it runs. */
  hugepages: number;
  /** After that it hangs, and is ended. */
  limitMinutes: number;
  /** Its permission set in deno.json; "test" unless given. */
  permissions?: string;
  /** How many of its files run at once, each in a process of its own; all in one process unless given. */
  filesAtOnce?: number;
  /** What files that take a minute or more are called, the longest first: they begin in this order, before all others. */
  longFiles?: string[];
}

const TIERS: Tier[] = [
  {
    name: "unit",
    about: "pure functions and single parts, against published vectors",
    needs: [],
    hugepages: 16,
    limitMinutes: 10,
  },
  {
    name: "sim",
    about: "drivers and programs on the software cards",
    needs: [],
    hugepages: 128,
    limitMinutes: 15,
  },
  {
    name: "e2e",
    about: "the command line and the examples in processes of their own",
    needs: [],
    hugepages: 128,
    limitMinutes: 10,
  },
  {
    name: "guest",
    about: "drivers under VFIO in a virtual machine with QEMU's cards",
    needs: ["lab"],
    hugepages: 0,
    limitMinutes: 15,
    permissions: "guest",
    // A guest that waits leaves its core to another.
    filesAtOnce: 2,
    longFiles: [
      ...["endurance", "served_vfio", "virtio", "served_card", "gigabit"],
      ...["vfio_errors", "no_iommu", "virtio_tap", "served_tcp", "interop"],
    ],
  },
  {
    name: "vhost",
    about: "the virtio driver against DPDK over vhost-user",
    needs: ["testpmd"],
    hugepages: 64,
    limitMinutes: 10,
  },
];

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const OUT = `${HERE}out/`;
const LAB_PREPARATION = "tests/guest/lab/prepare.ts";

const HELP = `Usage: deno task test [--tier NAME]... [--filter TEXT]

Sets up what the tests need, runs them, puts everything back.

  --tier NAME    run only this tier; may be repeated
  --filter TEXT  run only the tests whose name contains TEXT (or matches /TEXT/)
  --help         print this

Tiers:
${TIERS.map((tier) => `  ${tier.name.padEnd(13)}${tier.about}`).join("\n")}

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

const hasTests = (tier: Tier) => existsSync(`${HERE}${tier.name}`);

/** The processes that are running, for signals to end. */
const children = new Set<Deno.ChildProcess>();
let interrupted = false;

interface SpawnOptions {
  env?: Record<string, string>;
  limitMinutes: number;
  /** Print what it printed at its end, in one piece. */
  atTheEnd?: boolean;
}

/** Runs a command of Deno with its output on ours; false if it fails. */
async function spawn(
  args: string[],
  { env = {}, limitMinutes, atTheEnd = false }: SpawnOptions,
): Promise<boolean> {
  if (interrupted) return false;
  const output = atTheEnd ? "piped" : "inherit";
  const process = new Deno.Command(Deno.execPath(), {
    args,
    env,
    cwd: ROOT,
    stdin: "null",
    stdout: output,
    stderr: output,
  }).spawn();
  children.add(process);
  const limit = setTimeout(() => {
    console.error(`\nno end after ${limitMinutes} minutes: ended by force`);
    // A worker that spins cannot be asked to stop.
    process.kill("SIGKILL");
  }, limitMinutes * 60_000);
  const printed = atTheEnd ? await process.output() : undefined;
  const { success } = await process.status;
  clearTimeout(limit);
  children.delete(process);
  if (printed !== undefined) {
    const texts = [printed.stdout, printed.stderr].map((bytes) =>
      new TextDecoder().decode(bytes).trim()
    );
    console.log(texts.filter(Boolean).join("\n"));
  }
  return success;
}

/** Builds the C shim, for the tests that compare with and without it. */
async function buildShim(): Promise<void> {
  if (whyMissing("cc") !== undefined) return;
  const args = ["run", "-q", "-P=native", "native/build.ts"];
  if (!await spawn(args, { limitMinutes: 2 })) {
    console.error("the C shim did not build: the tests that need it fail");
  }
}

/** What `deno task lab` prepares, by what tiers need. */
const PREPARED = { lab: "guests", testpmd: "dpdk" } as const;

/**
 * Prepares virtual machines and DPDK, for the tiers that need them: on CI from
 * nothing, elsewhere only if somebody has done it before.
 */
async function prepareLab(tiers: Tier[]): Promise<void> {
  const needs = Object.keys(PREPARED) as (keyof typeof PREPARED)[];
  const names = needs.filter((need) =>
    tiers.some((tier) => tier.needs.includes(need)) &&
    (onCi() || whyMissing(need) === undefined)
  ).map((need) => PREPARED[need]);
  if (names.length === 0) return;
  const args = ["run", "-q", "-P=lab", LAB_PREPARATION, ...names];
  if (!await spawn(args, { limitMinutes: 15 })) {
    console.error("the lab was not prepared: the tests that need it fail");
  }
}

function readSkipped(file: string): SkippedTest[] {
  if (!existsSync(file)) return [];
  const lines = Deno.readTextFileSync(file).split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

async function runTier(
  tier: Tier,
  filter: string | undefined,
): Promise<TierReport> {
  const lacking = tier.needs.map(whyMissing).filter((why) => why !== undefined);
  if (lacking.length > 0) {
    const skipped = [{ name: `tier ${tier.name}`, reason: lacking.join("; ") }];
    const failures = onCi()
      ? skipped.map(({ name, reason }) => ({ name, why: `needs ${reason}` }))
      : [];
    return { passed: 0, failed: failures.length, failures, skipped };
  }
  using hugepages = reserveHugepages(tier.hugepages);
  const env = { IXL_TEST_HUGEPAGES: hugepages.available ? "1" : "0" };
  const { filesAtOnce } = tier;
  if (filesAtOnce === undefined) {
    return await runTests(tier, `tests/${tier.name}`, { filter, env });
  }
  const files = filesOf(tier);
  const reports: TierReport[] = [];
  const takeFiles = async () => {
    for (let file = files.shift(); file; file = files.shift()) {
      const options = { filter, env, atTheEnd: true };
      reports.push(await runTests(tier, file, options));
    }
  };
  await Promise.all(Array.from({ length: filesAtOnce }, takeFiles));
  return sum(reports);
}

/** The files with a tier's tests, those that take longest first. */
function filesOf({ name, longFiles = [] }: Tier): string[] {
  const rank = (file: string) => {
    const place = longFiles.indexOf(file.slice(0, -"_test.ts".length));
    return place < 0 ? longFiles.length : place;
  };
  return Array.from(Deno.readDirSync(HERE + name), ({ name }) => name)
    .filter((file) => file.endsWith("_test.ts"))
    .sort((a, b) => rank(a) - rank(b))
    .map((file) => `tests/${name}/${file}`);
}

interface TestRun {
  filter: string | undefined;
  env: Record<string, string>;
  atTheEnd?: boolean;
}

/** Runs the tests of a file or folder in a process of its own. */
async function runTests(
  { permissions = "test", limitMinutes }: Tier,
  path: string,
  { filter, env, atTheEnd = false }: TestRun,
): Promise<TierReport> {
  const name = path.slice("tests/".length).replaceAll("/", "-");
  const files = [".xml", ".skipped", ".figures"].map((suffix) =>
    `${OUT}${name}${suffix}`
  );
  for (const file of files) {
    if (existsSync(file)) Deno.removeSync(file);
  }
  const [report, skippedFile, figures] = files;
  const args = ["test", "-q", `-P=${permissions}`, "--no-prompt"];
  args.push(`--junit-path=${report}`);
  if (filter !== undefined) args.push(`--filter=${filter}`);
  const success = await spawn([...args, path], {
    env: {
      ...env,
      [SKIPPED_FILE_ENV]: skippedFile,
      [FIGURES_FILE_ENV]: figures,
    },
    limitMinutes,
    atTheEnd,
  });
  if (existsSync(figures)) console.log(Deno.readTextFileSync(figures));
  const result = parseReport(
    path,
    existsSync(report) ? Deno.readTextFileSync(report) : "",
    success,
  );
  result.skipped.push(
    ...readSkipped(skippedFile).filter(({ name }) =>
      filter === undefined || name.includes(filter)
    ),
  );
  return result;
}

function sum(reports: readonly TierReport[]): TierReport {
  return {
    passed: reports.reduce((sum, { passed }) => sum + passed, 0),
    failed: reports.reduce((sum, { failed }) => sum + failed, 0),
    failures: reports.flatMap(({ failures }) => failures),
    skipped: reports.flatMap(({ skipped }) => skipped),
  };
}

async function runTiers({ tiers, filter }: Options): Promise<TierReport> {
  const reports: TierReport[] = [];
  for (const tier of tiers.filter(hasTests)) {
    console.log(`\n=== ${tier.name}: ${tier.about}`);
    reports.push(await runTier(tier, filter));
    if (interrupted) break;
  }
  return sum(reports);
}

function printSummary(
  { passed, failed, failures, skipped }: TierReport,
): void {
  console.log("");
  for (const { name, why } of failures) {
    console.log(`failed: ${name}\n${why.replaceAll(/^/gm, "  ")}\n`);
  }
  for (const { name, reason } of skipped) {
    console.log(`skipped: ${name} (needs ${reason})`);
  }
  const rest = skipped.length > 0 ? `, ${skipped.length} skipped` : "";
  console.log(`${passed} passed, ${failed} failed${rest}`);
}

/** Ends the running tests and lets the clean-up run. */
function onSignal(): void {
  interrupted = true;
  for (const child of children) {
    try {
      child.kill("SIGTERM");
    } catch {
      // It has ended by itself in this moment.
    }
  }
}

async function main(): Promise<number> {
  const options = parseOptions(Deno.args);
  if (options === "help") {
    console.log(HELP);
    return 0;
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, onSignal);
  }
  Deno.mkdirSync(OUT, { recursive: true });
  await buildShim();
  await prepareLab(options.tiers.filter(hasTests));
  const report = await runTiers(options);
  if (report.passed + report.failed === 0) {
    console.error("no test ran");
    report.failed++;
  }
  printSummary(report);
  if (interrupted) return 130;
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
