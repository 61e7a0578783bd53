/**
 * Runs a file or folder of tests in a process of its own.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { FIGURES_FILE_ENV } from "../support/runner/figures.ts";
import {
  type FileTime,
  parseReport,
  type TierReport,
} from "../support/runner/junit.ts";
import { RERUNS_FILE_ENV } from "../support/runner/reruns.ts";
import {
  SKIPPED_FILE_ENV,
  type SkippedTest,
} from "../support/runner/requirements.ts";
import { ROOT, spawn } from "./processes.ts";
import type { Tier } from "./tiers.ts";

/** What the runner writes, and what tests leave. */
export const OUT = `${ROOT}tests/out/`;
/** What all processes of a run note of tests that are run again. */
export const RERUNS_FILE = `${OUT}reruns`;

/** How tests are run. */
export interface TestRun {
  /** As for `deno test --filter`. */
  filter?: string | undefined;
  env?: Record<string, string>;
  /** Others run beside it: print what it printed at its end, in one piece. */
  beside?: boolean;
}

function removeIfThere(file: string): void {
  if (existsSync(file)) Deno.removeSync(file);
}

/** Makes the folder of what is written, and forgets what the last run noted. */
export function beginRun(): void {
  Deno.mkdirSync(OUT, { recursive: true });
  removeIfThere(RERUNS_FILE);
}

/** Whether a filter lets a test through, as Deno does. */
export function fits(name: string, filter: string | undefined): boolean {
  if (filter === undefined) return true;
  const pattern = /^\/(.+)\/$/.exec(filter)?.[1];
  return pattern === undefined
    ? name.includes(filter)
    : new RegExp(pattern).test(name);
}

function readSkipped(file: string): SkippedTest[] {
  if (!existsSync(file)) return [];
  const lines = Deno.readTextFileSync(file).split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

/** Deno takes a test that `requires()` registers for one of the file with that function, not of its own. */
function ofTier(folder: string, file: FileTime): FileTime {
  if (file.path.startsWith(`${folder}/`)) return file;
  return { ...file, path: `${folder}: all that requires() registers` };
}

/** Runs the tests of a file or folder. */
export async function runTests(
  { permissions = "test", limitMinutes }: Tier,
  path: string,
  { filter, env = {}, beside = false }: TestRun,
): Promise<TierReport> {
  const name = path.slice("tests/".length).replaceAll("/", "-");
  const files = [".xml", ".skipped", ".figures"].map((suffix) =>
    `${OUT}${name}${suffix}`
  );
  files.forEach(removeIfThere);
  const [report, skippedFile, figures] = files;
  const args = ["test", "-q", `-P=${permissions}`, "--no-prompt"];
  args.push(`--junit-path=${report}`);
  if (filter !== undefined) args.push(`--filter=${filter}`);
  const begin = performance.now();
  const success = await spawn([...args, path], {
    env: {
      ...env,
      [SKIPPED_FILE_ENV]: skippedFile,
      [FIGURES_FILE_ENV]: figures,
      [RERUNS_FILE_ENV]: RERUNS_FILE,
    },
    limitMinutes,
    atTheEnd: beside,
  });
  const seconds = (performance.now() - begin) / 1000;
  console.log(`--- ${path}: ${seconds.toFixed(0)} s`);
  if (existsSync(figures)) console.log(Deno.readTextFileSync(figures));
  const result = parseReport(
    path,
    existsSync(report) ? Deno.readTextFileSync(report) : "",
    success,
  );
  result.skipped.push(
    ...readSkipped(skippedFile).filter(({ name }) => fits(name, filter)),
  );
  result.files = path.endsWith(".ts")
    // A guest boots in no test: all of the process is the file's time.
    ? [{ path, seconds, tests: result.passed + result.failed }]
    : result.files.map((file) => ofTier(path, file));
  return result;
}
