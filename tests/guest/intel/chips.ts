/**
 * What only some chips can, or only two of them together.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { LinkState } from "../../../mod.ts";
import { Card } from "../console.ts";
import { numbered, numberOf } from "../frames.ts";
import { asUser, bindForUser, type Guest, type Nic } from "../lab/mod.ts";
import type { Model } from "./models.ts";
import { BROADCAST, echoes, eventually, type OnCard } from "./rig.ts";
import { sleeps } from "./waiting.ts";

const FRAMES = 100;
const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];

/** Registers them. */
export function interruptScenarios(on: OnCard, model: Model): void {
  if (model.name !== "82574L") return;
  on("works with MSI and with INTx", async ({ guest, nic, step }) => {
    const card = await Card.open(guest, nic, sleepingWith("msi"));
    await step("MSI", () => oneVector(card, nic));
    await card.reopen(sleepingWith("intx"));
    await step("INTx", () => oneVector(card, nic));
    await card.close();
  });
}

const sleepingWith = (interrupts: "msi" | "intx") => ({
  interrupts,
  irqTimeoutMs: -2,
  interruptIntervalUs: 0,
});

/** One vector for the queue and the link: it wakes for both. */
async function oneVector(card: Card, nic: Nic): Promise<void> {
  const { maxQueues, queueInterrupts } = card.report.features;
  assertEquals([maxQueues, queueInterrupts], [1, false]);
  await card.ask("watchLink");
  await card.ask("startWorkers");
  const frames = Array.from({ length: FRAMES }, (_, i) => numbered(i, nic.mac));
  await echoes(nic, frames);
  for (const up of [false, true]) {
    await nic.setLink(up);
    await eventually("news of the link", async () => {
      const links = await card.ask<LinkState[]>("links");
      return links.at(-1)?.up === up;
    });
  }
  await echoes(nic, frames);
  await card.ask("stopWorkers");
  await sleeps(card, nic);
}

/** An ordinary user forwards from one card to another, of whatever chips. */
export async function forwards(
  guest: Guest,
  from: Nic,
  to: Nic,
): Promise<void> {
  for (const { address } of [from, to]) await bindForUser(guest, address);
  const forward = await guest.spawn(
    asUser([...FORWARD, from.address, to.address]),
  );
  await forward.prints(/forwarding/);
  const frames = Array.from(
    { length: FRAMES },
    (_, i) => numbered(i, BROADCAST),
  );
  for (const frame of frames) await from.port.send(frame);
  const forwarded = await to.port.receiveMany(FRAMES);
  assertEquals(forwarded.map(numberOf), frames.map(numberOf));
  await forward.signal("SIGINT");
  const { code, stdout } = await forward.ended();
  assertEquals(code, 0);
  assert(new RegExp(`sent ${FRAMES} frames`).test(stdout), stdout);
}
