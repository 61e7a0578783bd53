/**
 * Two hosts, as far as their kernels know, talk through two cards of different families and our bridge in the guest,
 * which runs as an ordinary user.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { Namespace } from "../support/host/namespace.ts";
import type { Requirement } from "../support/runner/requirements.ts";
import { transferTcp } from "../support/host/tcp.ts";
import {
  asUser,
  bindForUser,
  type Guest,
  guestScenarios,
  type NicModel,
} from "./lab/mod.ts";

const MEBIBYTES = 4;

let taps = 0;
/** The name of another TAP interface. */
const nextTap = () => `ixl${taps++}p${Deno.pid % 1e5}`;

/** Registers it for two cards. */
function bridges(
  name: string,
  models: readonly [NicModel, NicModel],
  ...needs: Requirement[]
): void {
  const nics = models.map((model) => ({ model, tap: nextTap() }));
  const scenario = guestScenarios(
    { name, nics },
    ...(["root", "tap", "netns", "ping"] as const),
    ...needs,
  );
  scenario(
    `a bridge between ${models.join(" and ")} carries ping and bulk TCP`,
    (guest) => carries(guest, nics.map(({ tap }) => tap)),
  );
}

async function carries(
  guest: Guest,
  [leftTap, rightTap]: readonly string[],
): Promise<void> {
  const [a, b] = guest.nics;
  for (const { address } of [a, b]) await bindForUser(guest, address);
  const bridge = await guest.spawn(asUser([
    ...["deno", "run", "-q", "-P=demo", "examples/bridge.ts"],
    ...[a.address, b.address],
  ]));
  await bridge.prints(/bridging/, { timeoutMs: 90_000 });
  await using left = await Namespace.create(leftTap);
  await using right = await Namespace.create(rightTap);
  await left.adopt(leftTap, "10.79.0.1/24");
  await right.adopt(rightTap, "10.79.0.2/24");

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
}

bridges("interop", ["igb", "e1000e"]);
bridges("interop-served", ["igb", "82599"], "newerQemu");
