/**
 * What every card must stand for long: all cards of a guest go through it at the same time.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { DeviceOptions, DeviceStats } from "../../../mod.ts";
import { captureRecords } from "../../../src/net/mod.ts";
import { repetitions } from "../../support/runner/repeat.ts";
import { Card } from "../console.ts";
import { flowFrame, FLOWS } from "../flows.ts";
import { macBytes, numbered, PEER } from "../frames.ts";
import type { Guest, Nic, RegisterScenario } from "../lab/mod.ts";
import type { PoolReport } from "../programs/card_console.ts";
import { BROADCAST } from "./rig.ts";
import {
  BURST,
  echoed,
  load,
  type Opened,
  polling,
  untilBack,
  untilEchoed,
  withEach,
} from "./traffic.ts";

const LINK_CHANGES = repetitions("links", { gate: 3, soak: 100 });
const KILLS = repetitions("kills", { gate: 2, soak: 20 });
/** Descriptors of each ring of a card whose workers change. */
const DEPTH = 128;
const OTHER = "02:00:00:00:00:77";
const ONE_QUEUE: readonly string[] = ["e1000", "e1000-82545em"];

/** Which cards of the guest. */
export type Cards = (guest: Guest) => readonly Nic[];

/** Registers it all. The cards' cables are captured. */
export function enduranceScenarios(
  scenario: RegisterScenario,
  cards: Cards,
): void {
  scenario(
    `links go down and up ${LINK_CHANGES} times, and traffic resumes`,
    (guest) => withEach(guest, cards(guest), polling, changesLink),
  );
  // Before anything is too much for a card: the 8254x's models never forget how many frames they missed.
  scenario(
    "statistics are what a capture outside has",
    (guest) => withEach(guest, cards(guest), polling, counts),
  );
  scenario(
    `a clean start after each of ${KILLS} kills in mid-traffic`,
    (guest) => isKilled(guest, cards(guest)),
  );
  scenario("queue workers change under load", async (guest) => {
    const nics = cards(guest);
    const opened = await Card.openAll(guest, nics, sleeping);
    for (const [index, card] of opened.entries()) {
      await changeWorkers({ nic: nics[index], card });
    }
    await opened[0].close();
  });
}

async function changesLink({ nic, card }: Opened): Promise<void> {
  const speed = card.report.linkSpeed;
  await card.ask("watchLink");
  await card.ask("startEcho");
  for (let i = 1; i <= LINK_CHANGES; i++) {
    await nic.setLink(false);
    const down = await card.ask("linkChange", 2 * i - 1);
    assertEquals(down, { up: false, speed: 0 }, nic.model);
    await nic.setLink(true);
    const up = await card.ask("linkChange", 2 * i);
    assertEquals(up, { up: true, speed }, nic.model);
    await echoed(nic, [numbered(i, nic.mac)]);
  }
  const changes = await card.ask<unknown[]>("links");
  assertEquals(changes.length, 2 * LINK_CHANGES, nic.model);
}

/** The frames that have passed a cable since the guest's start. */
function captured(nic: Nic): Uint8Array[] {
  const file = Deno.readFileSync(nic.capture!);
  return Array.from(
    captureRecords(file),
    ({ offset, capturedLength }) =>
      file.subarray(offset, offset + capturedLength),
  );
}

const isTo = (...macs: string[]) => (frame: Uint8Array) =>
  macs.some((mac) => macBytes(mac).every((octet, i) => frame[i] === octet));

const bytesOf = (frames: Uint8Array[]) =>
  frames.reduce((sum, { length }) => sum + length, 0);

async function counts({ nic, card }: Opened): Promise<void> {
  await card.ask("startEcho");
  let before = captured(nic).length;
  for (const rounds of [1, 2]) {
    for (let round = 1; round <= rounds; round++) {
      const frames = Array.from(
        { length: 200 },
        (_, i) => numbered(i, i % 10 ? nic.mac : BROADCAST, 60 + 7 * i),
      );
      await nic.port.send(numbered(0, OTHER, 300));
      await echoed(nic, frames);
    }
    const passed = captured(nic).slice(before);
    before += passed.length;
    const received = passed.filter(isTo(nic.mac, BROADCAST));
    const sent = passed.filter(isTo(PEER));
    assertEquals(passed.length, received.length + sent.length + rounds);
    assertEquals(received.length, 200 * rounds);
    // QEMU's gigabit cards do not count what their filters keep out.
    const { rxFiltered: _, ...stats } = await card.ask<DeviceStats>("stats");
    assertEquals(
      stats,
      {
        rxPackets: received.length,
        rxBytes: bytesOf(received),
        txPackets: sent.length,
        txBytes: bytesOf(sent),
        rxMissed: 0,
        rxErrors: 0,
        rxTooShort: 0,
        rxTooLong: 0,
        rxControl: 0,
      },
      nic.model,
    );
  }
}

async function isKilled(guest: Guest, nics: readonly Nic[]): Promise<void> {
  for (let round = 1; round <= KILLS; round++) {
    const cards = await Card.openAll(guest, nics, polling);
    await Promise.all(cards.map(async (card, i) => {
      await card.ask("startEcho");
      await untilEchoed(nics[i], round);
    }));
    await using loads = new AsyncDisposableStack();
    for (const nic of nics) loads.use(load(nic));
    await Promise.all(nics.map(({ port }) => port.receiveMany(BURST)));
    await cards[0].program.kill();
  }
  await withEach(guest, nics, polling, async ({ nic, card }) => {
    await card.ask("startEcho");
    await untilEchoed(nic, KILLS + 1);
    await echoed(
      nic,
      Array.from({ length: 200 }, (_, i) => numbered(i, nic.mac, 60 + i)),
    );
  });
}

/** Receives that sleep until something comes, or somebody else wakes them; on several queues where there are some. */
const sleeping = ({ model }: Nic): DeviceOptions => ({
  ...polling(),
  irqTimeoutMs: -2,
  queues: ONE_QUEUE.includes(model) ? 1 : 2,
  rxDepth: DEPTH,
  txDepth: DEPTH,
});

/** Puts other workers in the place of each queue's while frames arrive, takes all away, and starts them once more. */
async function changeWorkers({ nic, card }: Opened): Promise<void> {
  const { queues } = card.report;
  const frame = (i: number) =>
    flowFrame(nic.mac, FLOWS[i % FLOWS.length], "tcp");
  await card.ask("startWorkers");
  {
    await using _load = load(nic, { frame });
    await nic.port.receiveMany(BURST);
    for (let queue = 0; queue < queues; queue++) {
      await card.ask("restartWorker", queue);
      await card.ask("moveWorker", queue);
    }
    assertEquals(await card.ask("stopWorkers"), [], nic.model);
  }
  const before = await receivedByQueue(card);
  await card.ask("startWorkers");
  for (const flow of FLOWS) {
    await untilBack(nic, flowFrame(nic.mac, flow, "none"));
  }
  assertEquals(await card.ask("stopWorkers"), [], nic.model);
  for (const [queue, count] of (await receivedByQueue(card)).entries()) {
    const what = `queue ${queue} of ${nic.model}`;
    assert(count > before[queue], `${what} receives nothing any more`);
    const { inUse } = await card.ask<PoolReport>("pool", queue);
    assert(inUse <= 2 * DEPTH, `${what}: ${inUse} packets are out`);
  }
}

/** How many packets each queue has received so far. */
async function receivedByQueue(card: Card): Promise<number[]> {
  const counts: number[] = [];
  for (let queue = 0; queue < card.report.queues; queue++) {
    const { rxPackets } = await card.ask<{ rxPackets: number }>(
      "counters",
      queue,
    );
    counts.push(rxPackets);
  }
  return counts;
}
