/** The kernel's own network stack talks to the responder over a TAP device. */

import { assertEquals, assertMatch } from "@std/assert";
import { CliProcess, lastJson } from "../support/host/cli.ts";
import { Namespace } from "../support/host/namespace.ts";
import { requires } from "../support/runner/requirements.ts";

const test = requires("netns", "tap", "ip", "ping");

test("ping gets its answers from the responder", async () => {
  const name = `ixlping${Deno.pid % 1e5}`;
  await using inside = await Namespace.create(name);
  await using responder = new CliProcess(
    `responder sim:tap/${name} --ip 10.77.0.2 --json`.split(" "),
  );
  await responder.prints(/10\.77\.0\.2 is at/);
  await inside.adopt(name, "10.77.0.1/24");

  const small = await inside.run("ping", "-c", "3", "-i", "0.2", "10.77.0.2");
  assertMatch(small, /3 packets transmitted, 3 received, 0% packet loss/);
  const large = await inside.run(
    ...["ping", "-c", "2", "-i", "0.2", "-s", "1400", "10.77.0.2"],
  );
  assertMatch(large, /2 packets transmitted, 2 received, 0% packet loss/);

  responder.signal("SIGINT");
  const { code, stdout } = await responder.ended();
  assertEquals(code, 0);
  assertEquals(lastJson<{ echo: number }>(stdout).echo, 5);
  const left = await inside.run("ls", "/sys/class/net");
  assertEquals(left.split(/\s+/).includes(name), false);
});

test("ping for another address gets no answer", async () => {
  const name = `ixlmute${Deno.pid % 1e5}`;
  await using inside = await Namespace.create(name);
  await using responder = new CliProcess(
    `responder sim:tap/${name} --ip 10.77.0.2 --json`.split(" "),
  );
  await responder.prints(/10\.77\.0\.2 is at/);
  await inside.adopt(name, "10.77.0.1/24");
  const ping = inside.run("ping", "-c", "1", "-W", "1", "10.77.0.9");
  const answered = await ping.then(() => true, () => false);
  assertEquals(answered, false);
  responder.signal("SIGTERM");
  const { stdout } = await responder.ended();
  const { arp, echo } = lastJson<{ arp: number; echo: number }>(stdout);
  assertEquals([arp, echo], [0, 0]);
});
