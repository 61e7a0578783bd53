/**
 * A card that goes away while it works, and a process that cannot have it.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { asUser, bindForUser, guestScenarios, untilDevice } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "removal",
  nics: [{ model: "igb", hotplug: true }, { model: "igb" }],
});

const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];
const CAPTURE = ["deno", "run", "-q", "-P=demo", "examples/capture.ts"];
const INFO = ["deno", "run", "-q", "-P=demo", "src/cli/main.ts", "info"];
const START = { timeoutMs: 90_000 };
const FRAME = new Uint8Array(60).fill(0xff);

scenario(
  "a card removed under load ends the program, and works when it is back",
  async (guest) => {
    const [a, b] = guest.nics;
    for (const turn of [1, 2]) {
      for (const { address } of [a, b]) await bindForUser(guest, address);
      const forward = await guest.spawn(
        asUser([...FORWARD, a.address, b.address]),
      );
      await forward.prints(/forwarding/, START);
      await a.port.send(FRAME);
      assertEquals((await b.port.receive()).length, FRAME.length);
      const sending = a.port.send(...Array(200).fill(FRAME));
      await a.unplug();
      const { code, stderr } = await forward.ended();
      await sending.catch(() => {});
      assertEquals(code, 1, `turn ${turn}: ${stderr}`);
      assertStringIncludes(stderr, `${a.address} was removed`);
      await untilDevice(guest, a.address, "absent");
      await a.plug();
      await untilDevice(guest, a.address, "present");
    }
  },
);

scenario(
  "a card in use cannot be opened again, neither here nor elsewhere",
  async (guest) => {
    const [, { address }] = guest.nics;
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
    const [, { address }] = guest.nics;
    await bindForUser(guest, address);
    const { code, stderr } = await guest.run(
      asUser([...INFO, address], { memlockBytes: 64 << 10 }),
    );
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "ulimit -l");
  },
);
