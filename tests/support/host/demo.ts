/**
 * The demo in a process of its own.
 *
 * @module
 */
import { assertEquals, assertGreater } from "@std/assert";
import { total } from "../../../examples/_accounts.ts";
import type { DemoResult } from "../../../src/cli/demo.ts";
import { runCli } from "./cli.ts";

/** Runs the demo and returns what it found. */
export async function demo(
  args: string[],
  env: Record<string, string> = {},
): Promise<DemoResult> {
  const { code, stdout, stderr } = await runCli(["demo", "--json", ...args], {
    env,
  });
  assertEquals(code, 0, `${stderr}${stdout}`);
  return JSON.parse(stdout);
}

/** Nothing was lost, damaged or reordered, and every frame is in a counter. */
export function assertClean(result: DemoResult): void {
  assertEquals(result.lost, 0);
  assertEquals(result.corrupted, 0);
  assertEquals(result.reordered, 0);
  assertEquals(result.violations, 0);
  assertGreater(result.generated, 0);
  assertEquals(result.undelivered.unaccounted, 0);
  assertEquals(result.generated, result.sent + total(result.undelivered));
}
