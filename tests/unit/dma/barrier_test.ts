/** Memory barriers that are missing must not go unnoticed. */

import { assertEquals, assertThrows } from "@std/assert";
import { assertBarriers, WEAK_ORDER } from "../../../src/dma/barrier.ts";
import { IxlError } from "../../../src/errors.ts";

Deno.test("a processor that reorders stores is refused without the shim", () => {
  const error = assertThrows(
    () => assertBarriers(true, false),
    IxlError,
    "deno task native",
  );
  assertEquals(error.code, "not-supported");
});

Deno.test("barriers are there with the shim, and not needed on x86-64", () => {
  assertBarriers(true, true);
  assertBarriers(false, false);
  if (!WEAK_ORDER) assertBarriers();
});
