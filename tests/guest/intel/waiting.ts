/**
 * Waiting for packets: what `irqTimeoutMs` says, the processor idle meanwhile, and the switch to polling and back.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { DeviceStats } from "../../../mod.ts";
import type { CounterName } from "../../../src/stats.ts";
import { Card } from "../console.ts";
import { numbered } from "../frames.ts";
import type { Nic } from "../lab/mod.ts";
import {
  once,
  receiveOnce,
  returnsAtOnce,
  sleepsThrough,
  wakes,
} from "../receives.ts";
import { eventually, type OnCard } from "./rig.ts";

/** How long a card sleeps with nothing to receive. */
const WAIT_MS = 1000;
/** QEMU's models raise a vector of their own when the interval is over. */
const NO_INTERVAL = { interruptIntervalUs: 0 } as const;
/** Rates that an emulated guest reaches. */
const ADAPTIVE = { pollAbove: 20, sleepBelow: 5, windowMs: 50 } as const;
const SWITCH_TIMEOUT_MS = 20_000;

/** Registers them. */
export function waitingScenarios(on: OnCard): void {
  on("waits as each mode says", async ({ guest, nic, model, step }) => {
    const card = await Card.open(guest, nic, {
      ...NO_INTERVAL,
      irqTimeoutMs: -1,
    });
    await step(
      "-1: leaves the waiting to its caller",
      () => callerWaits(card, nic),
    );
    await card.reopen({ ...NO_INTERVAL, irqTimeoutMs: -2 });
    await step("-2: sleeps until something comes", () => sleeps(card, nic));
    await card.reopen({
      ...NO_INTERVAL,
      irqTimeoutMs: WAIT_MS,
      adaptive: ADAPTIVE,
    });
    await step("above 0: sleeps so long, if nothing comes", async () => {
      await sleepsThrough(card, WAIT_MS);
      const wake = async () => {
        await nic.port.send(numbered(1, nic.mac));
        return await receiveOnce(card);
      };
      await once(
        "woken",
        wake,
        ({ packets, elapsed }) => packets > 0 && elapsed < WAIT_MS,
      );
    });
    await step(
      "polls under load, and goes back to sleep",
      () => switches(card, nic),
    );
    const refused = model.refusedInterrupts;
    if (refused !== undefined) {
      await step(`refuses ${refused.kind} interrupts`, async () => {
        const { kind, why } = refused;
        const reopen = () => card.reopen({ interrupts: kind });
        await assertRejects(reopen, Error, why);
      });
    }
    await card.close();
  });
}

async function callerWaits(card: Card, nic: Nic): Promise<void> {
  await returnsAtOnce(card);
  const fired = () => card.call<boolean>("checkRxIrq", 0);
  // Where the link shares the interrupt, it may have come up with one.
  while (await fired()) await card.call("ackRxIrq", 0);
  await card.call("resetStats");
  for (const number of [1, 2]) {
    await nic.port.send(numbered(number, nic.mac));
    await eventually("an interrupt", fired);
    assertEquals(await fired(), false, "it was taken");
    assertEquals((await card.receive(1)).length, 1);
    await nic.port.send(numbered(10 + number, nic.mac));
    await untilCounted(card, 2);
    assertEquals(await fired(), false, "it is masked");
    await card.call("ackRxIrq", 0);
    await eventually("the interrupt that was kept back", fired);
    assertEquals((await card.receive(1)).length, 1);
    await card.call("ackRxIrq", 0);
    while (await fired()) await card.call("ackRxIrq", 0);
  }
}

/** Waits until the card has so many frames more, received by us or not. */
async function untilCounted(card: Card, frames: number): Promise<void> {
  let counted = 0;
  await eventually(`frame ${frames}`, async () => {
    counted += (await card.ask<DeviceStats>("stats")).rxPackets;
    return counted === frames;
  });
}

/** Receives without a limit while nothing comes, then something. Its interrupt must wake it. */
export function sleeps(card: Card, nic: Nic): Promise<void> {
  return wakes(
    card,
    WAIT_MS,
    () => nic.port.send(numbered(1, nic.mac)),
  );
}

async function switches(card: Card, nic: Nic): Promise<void> {
  const counters = () => card.ask<Record<CounterName, number>>("counters", 0);
  const becomes = (wanted: boolean) =>
    card.ask<boolean>("receiveUntilPolling", wanted, SWITCH_TIMEOUT_MS);
  assert(await becomes(false), "never sleeps");
  const { modeSwitches, polling } = await counters();
  assertEquals(polling, 0);
  let done = false;
  const load = (async () => {
    for (let i = 0; !done; i++) {
      await nic.port.send(numbered(i, nic.mac));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  assert(await becomes(true), "never polls");
  assertEquals((await counters()).polling, 1);
  done = true;
  await load;
  assert(await becomes(false), "never sleeps again");
  assertEquals((await counters()).polling, 0);
  assertEquals((await counters()).modeSwitches, modeSwitches + 2);
}
