/** Settings in environment variables. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { assertSettings, readEnv, setting } from "../../src/environment.ts";
import { ConfigError } from "../../src/errors.ts";
import { openDevice } from "../../mod.ts";

const WRONG = [
  ["IXL_HUGEPAGES", "Require", "auto, never, require"],
  ["IXL_DEBUG", "true", "0, 1"],
  ["IXL_LOG", "bogus", "debug, info, warn, error, silent"],
] as const;

/** With a variable set, and as it was afterwards. */
async function withEnv(
  name: string,
  value: string,
  use: () => void | Promise<void>,
): Promise<void> {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  try {
    await use();
  } finally {
    if (before === undefined) Deno.env.delete(name);
    else Deno.env.set(name, before);
  }
}

for (const [name, value, values] of WRONG) {
  Deno.test(`${name}=${value} is an error that lists the values`, () =>
    withEnv(name, value, async () => {
      const says = `"${value}" is not one of its values: use ${values}`;
      const error = assertThrows(() => setting(name), ConfigError, says);
      assertEquals(error.field, name);
      assertThrows(assertSettings, ConfigError, says);
      const open = () => openDevice({ address: "sim:loopback" });
      await assertRejects(open, ConfigError, says);
    }));
}

Deno.test("a setting is one of its values, or not set", async () => {
  await withEnv("IXL_LOG", "warn", () => {
    assertEquals(setting("IXL_LOG"), "warn");
    assertSettings();
  });
  await withEnv("IXL_LOG", "", () => {
    assertEquals(readEnv("IXL_LOG"), "");
    assertEquals(setting("IXL_LOG"), undefined);
  });
});
