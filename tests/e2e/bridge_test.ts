/** Two hosts, as far as the kernel knows, talk through two cards and our bridge between them. */

import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { CliProcess, lastJson } from "../support/cli.ts";
import { Namespace } from "../support/namespace.ts";
import { requires } from "../support/requirements.ts";

const MEBIBYTES = 32;

/** A Deno program in a namespace. */
function program(space: Namespace, file: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../fixtures/${file}`, import.meta.url));
  return space.run(
    ...[Deno.execPath(), "run", "-q", "--no-config", "--allow-net", path],
    ...args,
  );
}

requires("netns", "tap", "ip", "ping")(
  "bridge carries ping and a bulk TCP transfer between two kernels' stacks",
  async () => {
    const id = Deno.pid % 1e5;
    const [a, b] = [`ixlbra${id}`, `ixlbrb${id}`];
    await using left = await Namespace.create(a);
    await using right = await Namespace.create(b);
    await using bridge = new CliProcess(
      `bridge sim:tap/${a} sim:tap/${b} --json`.split(" "),
    );
    await bridge.prints(/bridging/);
    await left.adopt(a, "10.78.0.1/24");
    await right.adopt(b, "10.78.0.2/24");

    const ping = await left.run("ping", "-c", "3", "-i", "0.2", "10.78.0.2");
    assertMatch(ping, /3 packets transmitted, 3 received, 0% packet loss/);

    const receiving = program(right, "tcp_receive.ts");
    // The server says nothing until its end: the client asks until it is there.
    const sent = await retry(() =>
      program(left, "tcp_send.ts", "10.78.0.2", `${MEBIBYTES}`)
    );
    const received = await receiving;
    assertEquals(lastJson(received), lastJson(sent));
    assertEquals(lastJson<{ bytes: number }>(received).bytes, MEBIBYTES << 20);

    bridge.signal("SIGINT");
    const { code, stderr } = await bridge.ended();
    assertEquals(code, 0, stderr);
  },
);

/** Tries until it works: a connection is refused until somebody listens. */
async function retry<T>(action: () => Promise<T>, tries = 50): Promise<T> {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (--tries === 0 || !/refused/.test(String(error))) throw error;
    }
  }
}
