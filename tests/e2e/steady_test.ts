/**
 * A steady worker allocates nothing per packet, so nothing is ever collected.
 */
import { assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import type { SteadyResult } from "../../bench/cards/steady.ts";
import { outcomeOf } from "../support/host/cli.ts";

const TIMEOUT_MS = 240_000;

Deno.test("steady workers forward ten million packets without a garbage collection", async () => {
  const { code, stdout, stderr } = await outcomeOf(Deno.execPath(), {
    args: ["task", "-q", "bench", "steady", "--json"],
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  assertEquals(code, 0, stderr);
  const { workers } = JSON.parse(stdout) as { workers: SteadyResult[] };
  const packets = workers.reduce((sum, worker) => sum + worker.packets, 0);
  assertGreaterOrEqual(packets, 10_000_000);
  for (const worker of workers) {
    assertEquals(worker.collections, 0);
    // What a look at the clock now and then leaves behind, and nothing per packet.
    assertLess(worker.heapGrowth, worker.packets);
  }
});
