/** Two hosts, as far as the kernel knows, talk through two cards and our bridge between them. */

import { assertEquals, assertMatch } from "@std/assert";
import { CliProcess } from "../support/host/cli.ts";
import { Namespace } from "../support/host/namespace.ts";
import { requires } from "../support/runner/requirements.ts";
import { transferTcp } from "../support/host/tcp.ts";

const MEBIBYTES = 32;

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

    const { sent, received } = await transferTcp(
      left,
      right,
      "10.78.0.2",
      MEBIBYTES,
    );
    assertEquals(received, sent);
    assertEquals(received.bytes, MEBIBYTES << 20);

    bridge.signal("SIGINT");
    const { code, stderr } = await bridge.ended();
    assertEquals(code, 0, stderr);
  },
);
