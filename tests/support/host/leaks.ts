/**
 * Counting what a test must give back.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { listFolder, readLink } from "../../../src/ffi/files.ts";

/** How long threads of the runtime, which open and close descriptors of their own, have for that. */
const SETTLE_MS = 5000;

/** Runs a test and asserts that as many descriptors of each kind are open after it as before. */
export async function withoutLeaks(
  test: () => void | Promise<void>,
): Promise<void> {
  // Timers and thread pools of the runtime open theirs with their first use.
  const timer = setInterval(() => {}, 1);
  Deno.unrefTimer(timer);
  await new Promise((resolve) => setTimeout(resolve, 2));
  clearInterval(timer);
  const before = openFiles();
  await test();
  await assertOpenFiles(before);
}

/** Asserts that these descriptors are open, and no others, once all threads have come to rest. */
export async function assertOpenFiles(
  expected: readonly string[],
): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  while (
    openFiles().join() !== expected.join() && performance.now() < deadline
  ) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals(openFiles(), expected);
}

/** The kinds of all open descriptors, sorted, without the numbers of sockets. */
export function openFiles(): string[] {
  return listFolder("/proc/self/fd")
    .map((fd) => readLink(`/proc/self/fd/${fd}`) ?? "")
    .filter((target) => target !== "" && !target.startsWith("/proc/"))
    .map((target) => target.replace(/\[\d+\]/, ""))
    .sort();
}
