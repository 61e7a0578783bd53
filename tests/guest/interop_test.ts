/**
 * Two hosts, as far as their kernels know, talk through two cards of different families and our bridge in the guest,
 * which runs as an ordinary user.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { Namespace } from "../support/namespace.ts";
import { transferTcp } from "../support/tcp.ts";
import { asUser, bindForUser, guestScenarios } from "./lab/mod.ts";

const LEFT = `ixll${Deno.pid % 1e5}`;
const RIGHT = `ixlr${Deno.pid % 1e5}`;
const MEBIBYTES = 4;

const scenario = guestScenarios(
  {
    name: "interop",
    nics: [{ model: "igb", tap: LEFT }, { model: "e1000e", tap: RIGHT }],
  },
  ...["root", "tap", "netns", "ping"] as const,
);

scenario(
  "a bridge between igb and e1000e carries ping and bulk TCP",
  async (guest) => {
    const [a, b] = guest.nics;
    for (const { address } of [a, b]) await bindForUser(guest, address);
    const bridge = await guest.spawn(asUser([
      ...["deno", "run", "-q", "-P=demo", "examples/bridge.ts"],
      ...[a.address, b.address],
    ]));
    await bridge.prints(/bridging/, { timeoutMs: 90_000 });
    await using left = await Namespace.create(LEFT);
    await using right = await Namespace.create(RIGHT);
    await left.adopt(LEFT, "10.79.0.1/24");
    await right.adopt(RIGHT, "10.79.0.2/24");

    const ping = ["ping", "-c", "3", "-i", "0.5", "-w", "30", "10.79.0.2"];
    // It sends more than three where answers are slow.
    assertMatch(await left.run(...ping), / ([3-9]|\d\d) received/);
    const { sent, received } = await transferTcp(
      left,
      right,
      "10.79.0.2",
      MEBIBYTES,
    );
    assertEquals(received, sent);

    await bridge.signal("SIGINT");
    const { code, stderr } = await bridge.ended();
    assertEquals(code, 0, stderr);
  },
);
