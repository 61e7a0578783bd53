/**
 * Several queues: the hash and the queue of each frame, and what changes them.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { PacketFlag } from "../../../mod.ts";
import { DEFAULT_RSS_KEY } from "../../../src/config.ts";
import type { CounterName } from "../../../src/stats.ts";
import { Card } from "../console.ts";
import { type Flow, flowFrame, FLOWS, type Transport } from "../flows.ts";
import { numbered, numberOf } from "../frames.ts";
import type { Nic } from "../lab/mod.ts";
import type { PacketReport } from "../programs/card_console.ts";
import type { Model } from "./models.ts";
import { echoes, type OnCard, POLLING } from "./rig.ts";

const TABLE_MASK = 127;
const TRANSPORTS: readonly Transport[] = ["tcp", "udp", "none"];

/** Where a frame came in, and its hash. */
interface Seen {
  readonly queue: number;
  readonly hash: number;
}

type Counters = Record<CounterName, number>;

/** Which hash of a flow the card shall have. */
type HashOf = (flow: typeof FLOWS[number], transport: Transport) => number;

const noPorts: HashOf = ({ addresses }) => addresses;

/** Registers them. */
export function spreadingScenarios(on: OnCard, model: Model): void {
  const queues = model.features.maxQueues;
  if (queues === 1) return;
  on("spreads over its queues", async ({ guest, nic, step }) => {
    const card = await Card.open(guest, nic, { ...POLLING, queues });
    await step(
      "hashes as published, ports where it can",
      () => hashes(card, nic, portsOf(model), (entry) => entry % queues),
    );
    await step(
      "changes key and table while it runs",
      () => changes(card, nic, portsOf(model)),
    );
    await step(
      "receives and sends on its queues",
      () => usesQueues(card, nic, queues),
    );
    const fewer = Math.min(queues, 5);
    await card.reopen({ ...POLLING, queues: fewer, rss: { ports: false } });
    await step(
      "hashes addresses alone",
      () => hashes(card, nic, noPorts, (entry) => entry % fewer),
    );
    await step("spreads on after each queue was restarted", async () => {
      for (let queue = 0; queue < fewer; queue++) {
        await card.call("restartQueue", queue);
      }
      await hashes(card, nic, noPorts, (entry) => entry % fewer);
    });
    await card.reopen({ queues: 2, interruptIntervalUs: 0 });
    await step("wakes each queue by its own interrupt", () => wakes(card, nic));
    if (model.name === "82576") {
      await step(
        "wants a vector for each queue that sleeps",
        () => wantsVectors(card, queues),
      );
    }
    await card.close();
  });
}

function portsOf({ hashedPorts }: Model): HashOf {
  const hashed: readonly Transport[] = hashedPorts;
  return ({ addresses, withPorts }, transport) =>
    hashed.includes(transport) ? withPorts : addresses;
}

/** Sends frames, and returns what came of each, in the order of sending. */
async function sendAll(
  card: Card,
  nic: Nic,
  frames: Uint8Array[],
): Promise<PacketReport[]> {
  await nic.port.send(...frames);
  const received = await card.receive(frames.length);
  // Queues are looked at in turn.
  return frames.map((frame) =>
    received.find(({ hex }) => hex === frame.toHex())!
  );
}

/** What is seen of all published flows. */
async function seen(
  card: Card,
  nic: Nic,
  transport: Transport,
): Promise<Seen[]> {
  const frames = FLOWS.map((flow) => flowFrame(nic.mac, flow, transport));
  return (await sendAll(card, nic, frames))
    .map(({ queue, rssHash, flags }) => {
      assert((flags & PacketFlag.RssHash) !== 0);
      return { queue, hash: rssHash };
    });
}

async function hashes(
  card: Card,
  nic: Nic,
  hashOf: HashOf,
  queueOf: (entry: number) => number,
): Promise<void> {
  for (const transport of TRANSPORTS) {
    const expected = FLOWS.map((flow) => {
      const hash = hashOf(flow, transport);
      return { queue: queueOf(hash & TABLE_MASK), hash };
    });
    assertEquals(await seen(card, nic, transport), expected, transport);
  }
}

async function changes(card: Card, nic: Nic, hashOf: HashOf): Promise<void> {
  await card.call("setRssTable", [1, 0]);
  await hashes(card, nic, hashOf, (entry) => 1 - entry % 2);
  await card.ask("setRssKey", new Array(40).fill(0));
  const unhashed = FLOWS.map(() => ({ queue: 1, hash: 0 }));
  assertEquals(await seen(card, nic, "tcp"), unhashed);
  await card.ask("setRssKey", [...DEFAULT_RSS_KEY]);
  await card.call("setRssTable", [0]);
  await hashes(card, nic, hashOf, () => 0);
}

async function usesQueues(
  card: Card,
  nic: Nic,
  queues: number,
): Promise<void> {
  await card.call("setRssTable", Array.from({ length: queues }, (_, q) => q));
  const flows: Flow[] = Array.from({ length: 64 }, (_, i) => ({
    source: ["10.0.0.1", 1000 + i],
    destination: ["10.0.0.2", 2000],
  }));
  const frames = flows.map((flow) => flowFrame(nic.mac, flow, "tcp"));
  const received = await sendAll(card, nic, frames);
  for (const { queue, rssHash } of received) {
    assertEquals(queue, (rssHash & TABLE_MASK) % queues);
  }
  const used = new Set(received.map(({ queue }) => queue));
  assert(used.size > queues / 2, `${used.size} queues`);
  for (let queue = 0; queue < queues; queue++) {
    await card.ask("send", queue, [numbered(queue, nic.mac).toHex()]);
    assertEquals(numberOf(await nic.port.receive()), queue);
  }
}

/** Two workers sleep, each on the vector of its queue. */
async function wakes(card: Card, nic: Nic): Promise<void> {
  await card.ask("startWorkers");
  for (const flow of FLOWS) {
    await echoes(nic, [flowFrame(nic.mac, flow, "tcp")]);
  }
  await card.ask("stopWorkers");
  for (const queue of [0, 1]) {
    const { rxPackets, irqs } = await card.ask<Counters>("counters", queue);
    assert(rxPackets > 0, `nothing on queue ${queue}`);
    assert(irqs > 0, `queue ${queue} never woke by an interrupt`);
  }
}

/** QEMU's 82576 shows ten vectors, one of them for the link. */
async function wantsVectors(card: Card, queues: number): Promise<void> {
  await assertRejects(
    () => card.reopen({ queues }),
    Error,
    `${queues} queues need ${queues + 1} interrupt vectors`,
  );
}
