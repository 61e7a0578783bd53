/**
 * A process that cannot have a card: another has it, or too little memory may be locked.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { asUser, bindForUser, guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "in_use",
  nics: [{ model: "igb" }],
});

const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];
const CAPTURE = ["deno", "run", "-q", "-P=demo", "examples/capture.ts"];
const INFO = ["deno", "run", "-q", "-P=demo", "src/cli/main.ts", "info"];
const START = { timeoutMs: 90_000 };

scenario(
  "a card in use cannot be opened again, neither here nor elsewhere",
  async (guest) => {
    const [{ address }] = guest.nics;
    await bindForUser(guest, address);
    const twice = await guest.run(asUser([...FORWARD, address, address]));
    assertEquals(twice.code, 1);
    assertStringIncludes(twice.stderr, "in use by this program");
    const first = await guest.spawn(asUser([...CAPTURE, address, "/dev/null"]));
    await first.prints(/capturing/, START);
    const second = await guest.run(asUser([...INFO, address]));
    assertEquals(second.code, 1);
    assertStringIncludes(second.stderr, "used by another process");
    await first.signal("SIGTERM");
    assertEquals((await first.ended()).code, 0);
  },
);

scenario(
  "too little lockable memory is named, with the limit to raise",
  async (guest) => {
    const [{ address }] = guest.nics;
    await bindForUser(guest, address);
    const { code, stderr } = await guest.run(
      asUser([...INFO, address], { memlockBytes: 64 << 10 }),
    );
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "ulimit -l");
  },
);
