/**
 * Counting what a test must give back.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { listFolder, readLink } from "../../src/ffi/files.ts";

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
  assertEquals(openFiles(), before);
}

/** The kinds of all open descriptors, sorted, without the numbers of sockets. */
function openFiles(): string[] {
  return listFolder("/proc/self/fd")
    .map((fd) => readLink(`/proc/self/fd/${fd}`) ?? "")
    .filter((target) => target !== "" && !target.startsWith("/proc/"))
    .map((target) => target.replace(/\[\d+\]/, ""))
    .sort();
}
