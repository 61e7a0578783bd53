/**
 * What the tests need on the machine, built and prepared.
 *
 * @module
 */

import { onCi, whyMissing } from "../support/runner/requirements.ts";
import { spawn } from "./processes.ts";
import type { Tier } from "./tiers.ts";

/** Builds the C shim, for the tests that compare with and without it. */
export async function buildShim(): Promise<void> {
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
export async function prepareLab(
  tiers: readonly Tier[],
): Promise<void> {
  const needs = Object.keys(PREPARED) as (keyof typeof PREPARED)[];
  const names = needs.filter((need) =>
    tiers.some((tier) => tier.needs.includes(need)) &&
    (onCi() || whyMissing(need) === undefined)
  ).map((need) => PREPARED[need]);
  if (names.length === 0) return;
  const args = ["run", "-q", "-P=lab", "tests/guest/lab/prepare.ts", ...names];
  if (!await spawn(args, { limitMinutes: 15 })) {
    console.error(
      "the lab is not complete: the tests that need what it lacks fail",
    );
  }
}
