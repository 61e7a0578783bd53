/**
 * Cards that go while they are used, and come back.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  asUser,
  bindForUser,
  type Guest,
  type Nic,
  untilDevice,
} from "../lab/mod.ts";
import { BURST, load } from "./traffic.ts";

const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];
const START = { timeoutMs: 90_000 };

/** How a card is taken from a guest, which waits until nobody uses it any more, and given back. */
export interface Hands {
  remove(guest: Guest, nic: Nic): Promise<void>;
  restore(guest: Guest, nic: Nic): Promise<void>;
}

/** Removes a card while a program of an ordinary user forwards from it, and puts it back. */
export async function replace(
  guest: Guest,
  from: Nic,
  to: Nic,
  hands: Hands,
): Promise<void> {
  for (const { address } of [from, to]) await bindForUser(guest, address);
  const forward = await guest.spawn(
    asUser([...FORWARD, from.address, to.address]),
  );
  await forward.prints(/forwarding/, START);
  {
    await using _load = load(from, { back: to.port });
    await to.port.receiveMany(BURST);
    await hands.remove(guest, from);
  }
  const { code, stderr } = await forward.ended();
  assertEquals(code, 1, stderr);
  assertStringIncludes(stderr, `${from.address} was removed`);
  await untilDevice(guest, from.address, "absent");
  await hands.restore(guest, from);
  await untilDevice(guest, from.address, "present");
}
