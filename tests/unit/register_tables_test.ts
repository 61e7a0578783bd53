/**
 * The driver's register table and the model's were written apart, each from the datasheet. What both have must be at
 * the same place.
 */
import { assertEquals, assertGreater } from "@std/assert";
import * as driver from "../../src/drivers/intel/ixgbe/registers.ts";
import type { Register } from "../../src/drivers/intel/register.ts";
import { REGISTERS, type Span } from "../../src/sim/registers/registers.ts";

const OURS = Object.values(driver).filter((value): value is Register =>
  typeof value === "object" && "offset" in value && "section" in value
);

/** In the driver's table and not in the model's, each with the reason. */
const DRIVER_ONLY: Readonly<Record<string, string>> = {
  ERETA: "the X550 alone has it, and the model is an 82599 or X540",
};

/** Arrays of another length in the driver's table than in the model's, each with the reason. */
const OTHER_COUNT: Readonly<Record<string, string>> = {
  EITR: "entry 128 is for virtual functions (8.2.3.5.12)",
};

/** Offset of entry `n`, as the model has it. */
function inModel(spans: readonly Span[], n: number): number | undefined {
  const span = spans.find(({ first, count }) =>
    n >= first && n < first + count
  );
  return span && span.at + (n - span.first) * span.stride;
}

function inDriver({ offset, stride, rest }: Register, n: number): number {
  return rest !== undefined && n >= rest.from
    ? rest.offset + (n - rest.from) * stride
    : offset + n * stride;
}

Deno.test("registers of the ixgbe driver are where the model has them", () => {
  assertGreater(OURS.length, 80);
  const missing: string[] = [];
  const others: string[] = [];
  for (const register of OURS) {
    const { name, count } = register;
    const model =
      (REGISTERS as Record<string, { spans: readonly Span[] }>)[name];
    if (model === undefined) {
      missing.push(name);
      continue;
    }
    for (let n = 0; n < count; n++) {
      const there = inModel(model.spans, n);
      assertEquals(inDriver(register, n), there, `${name}[${n}]`);
    }
    const most = Math.max(
      ...model.spans.map(({ first, count }) => first + count),
    );
    if (most !== count) others.push(name);
  }
  assertEquals(missing, Object.keys(DRIVER_ONLY));
  assertEquals(others, Object.keys(OTHER_COUNT));
});
