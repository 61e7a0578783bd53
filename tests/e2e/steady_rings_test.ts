/**
 * The data path of every driver in its steady state: what V8 says of collections, allocations and deoptimisations.
 */
import { assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import { RING_DRIVERS } from "../../bench/rings/rings.ts";
import { steadyRings } from "../../bench/rings/steady_rings.ts";

const PACKETS = 10_000_000;
/** What does not depend on the number of packets: code that a compiler thread has finished, say. */
const ALLOWED_BYTES = 500_000;

for (const driver of RING_DRIVERS) {
  Deno.test(`${driver}: the steady data path allocates nothing and is not deoptimised`, async () => {
    const seen = await steadyRings(driver, PACKETS);
    assertGreaterOrEqual(seen.packets, PACKETS);
    assertEquals(seen.deoptimised, []);
    assertEquals(seen.collections, 0);
    assertLess(seen.heapGrowth, ALLOWED_BYTES);
  });
}
