/** The kernel's own network stack talks to the responder over a TAP device. */

import { assertEquals, assertMatch } from "@std/assert";
import { CliProcess, command, lastJson } from "../support/cli.ts";
import { requires } from "../support/requirements.ts";

const test = requires("netns", "tap", "ip", "ping");

/** A network namespace of its own. */
async function namespace(name: string) {
  await command("ip", "netns", "add", name);
  return {
    run: (...args: string[]) => command("ip", "netns", "exec", name, ...args),
    async [Symbol.asyncDispose]() {
      await command("ip", "netns", "delete", name);
    },
  };
}

test("ping gets its answers from the responder", async () => {
  const name = `ixlping${Deno.pid % 1e5}`;
  await using inside = await namespace(name);
  await using responder = new CliProcess(
    `responder sim:tap/${name} --ip 10.77.0.2 --json`.split(" "),
  );
  await responder.prints(/10\.77\.0\.2 is at/);
  await command("ip", "link", "set", name, "netns", name);
  await inside.run("ip", "address", "add", "10.77.0.1/24", "dev", name);
  await inside.run("ip", "link", "set", name, "up");

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
  await using inside = await namespace(name);
  await using responder = new CliProcess(
    `responder sim:tap/${name} --ip 10.77.0.2 --json`.split(" "),
  );
  await responder.prints(/10\.77\.0\.2 is at/);
  await command("ip", "link", "set", name, "netns", name);
  await inside.run("ip", "address", "add", "10.77.0.1/24", "dev", name);
  await inside.run("ip", "link", "set", name, "up");
  const ping = inside.run("ping", "-c", "1", "-W", "1", "10.77.0.9");
  const answered = await ping.then(() => true, () => false);
  assertEquals(answered, false);
  responder.signal("SIGTERM");
  const { stdout } = await responder.ended();
  assertEquals(lastJson<{ arp: number; echo: number }>(stdout), {
    arp: 0,
    echo: 0,
  });
});
