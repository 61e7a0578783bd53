/**
 * Coming up, and frames of all sizes.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { DeviceStats, LinkState } from "../../../mod.ts";
import type { CounterName } from "../../../src/stats.ts";
import { Card } from "../console.ts";
import { numbered } from "../frames.ts";
import type { Nic } from "../lab/mod.ts";
import type { PacketReport, PoolReport } from "../programs/card_console.ts";
import { returnsAtOnce } from "../receives.ts";
import type { Model } from "./models.ts";
import { echoes, eventually, type OnCard, POLLING, type Rig } from "./rig.ts";

/** Far less than it takes to echo all sizes: the rings turn some twenty times. */
const DEPTH = 64;
const SIZES = { least: 60, most: 1514 } as const;
const STANDARD_FRAME = 1518;
/** What a card writes into one packet buffer. */
const BUFFER_BYTES = 2048;

const bytesOf = ({ hex }: PacketReport) => Uint8Array.fromHex(hex);

/** One frame of each size, with numbers. */
function ofSizes(nic: Nic, sizes: readonly number[]): Uint8Array[] {
  return sizes.map((size, number) => numbered(number, nic.mac, size));
}

/** All sizes up to the largest that is not tagged. */
function allSizes(nic: Nic): Uint8Array[] {
  const count = SIZES.most - SIZES.least + 1;
  return ofSizes(nic, Array.from({ length: count }, (_, i) => SIZES.least + i));
}

/** Registers them. */
export function frameScenarios(on: OnCard): void {
  on("comes up and carries frames of all sizes", async (rig) => {
    const { guest, nic, model, step } = rig;
    const card = await Card.open(guest, nic, {
      ...POLLING,
      rxDepth: DEPTH,
      txDepth: DEPTH,
    });
    await step("says what it is and can do", () => identity(card, nic, model));
    await card.ask("watchLink");
    await card.ask("startWorkers");
    await step(
      "echoes each size, in order, over many turns of its rings",
      () => echoesAllSizes(card, nic),
    );
    await step("changes the size of its pool in use", () => resizes(card, nic));
    await step(
      "tells of its link while it polls",
      () => tellsOfLink(card, nic, model),
    );
    await card.ask("stopWorkers");
    await step("drops a frame that is too long", async () => {
      const tooLong = STANDARD_FRAME + model.excess.standard;
      await takesOnlyTwo(card, nic, [STANDARD_FRAME, tooLong, 60]);
    });
    await step("0: polls, and never gets an interrupt", () => polls(card));
    await longFrames(card, rig);
    await card.close();
    assertEquals(nic.port.takeAll(), [], "nothing twice");
  });
}

async function polls(card: Card): Promise<void> {
  await returnsAtOnce(card);
  const counters = await card.ask<Record<CounterName, number>>("counters", 0);
  assertEquals(counters.irqs, 0);
  assert(counters.polls > 0);
}

async function identity(card: Card, nic: Nic, model: Model): Promise<void> {
  assertEquals(card.report, {
    driver: model.driver,
    model: model.name,
    macAddress: nic.mac,
    linkSpeed: model.linkSpeed,
    queues: 1,
    features: model.features,
  });
  if (model.features.rssQueues > 0) return;
  const refused = "does not hash";
  await assertRejects(() => card.call("setRssTable", [0]), Error, refused);
  await assertRejects(
    () => card.ask("setRssKey", new Array(40).fill(0)),
    Error,
    refused,
  );
}

async function echoesAllSizes(card: Card, nic: Nic): Promise<void> {
  const frames = allSizes(nic);
  await echoes(nic, frames);
  const bytes = frames.reduce((sum, { length }) => sum + length, 0);
  assertEquals(await card.ask<DeviceStats>("stats"), {
    rxPackets: frames.length,
    rxBytes: bytes,
    txPackets: frames.length,
    txBytes: bytes,
    rxMissed: 0,
    rxErrors: 0,
    rxTooShort: 0,
    rxTooLong: 0,
    rxControl: 0,
    rxFiltered: 0,
  });
}

async function resizes(card: Card, nic: Nic): Promise<void> {
  const capacity = async () => (await card.ask<PoolReport>("pool", 0)).capacity;
  const before = await capacity();
  const frames = ofSizes(nic, new Array(2 * DEPTH).fill(60));
  await card.call("extendRxMempool", 0, 256);
  assertEquals(await capacity(), before + 256);
  await echoes(nic, frames);
  await card.call("shrinkRxMempool", 0, 256);
  assertEquals(await capacity(), before);
  await echoes(nic, frames);
}

async function tellsOfLink(
  card: Card,
  nic: Nic,
  { linkSpeed }: Model,
): Promise<void> {
  const told = (count: number) =>
    eventually(
      `change ${count} of the link`,
      async () => (await card.ask<LinkState[]>("links")).length === count,
    );
  await nic.setLink(false);
  await told(1);
  await nic.setLink(true);
  await told(2);
  assertEquals(await card.ask<LinkState[]>("links"), [
    { up: false, speed: 0 },
    { up: true, speed: linkSpeed },
  ]);
  await echoes(nic, ofSizes(nic, [60]));
}

/** Of three frames, the first and the last arrive. */
async function takesOnlyTwo(
  card: Card,
  nic: Nic,
  sizes: readonly [number, number, number],
): Promise<void> {
  const [first, second, third] = ofSizes(nic, sizes);
  await nic.port.send(first, second, third);
  const received = await card.receive(2);
  assertEquals(received.map(bytesOf), [first, third]);
}

async function longFrames(
  card: Card,
  { nic, model, step }: Rig,
): Promise<void> {
  const largest = model.features.maxFrameSize;
  await card.reopen({ ...POLLING, maxFrameSize: largest });
  await step("takes long frames apart and puts them together", async () => {
    const around = [1, 2, 4].map((n) => n * BUFFER_BYTES)
      .flatMap((size) => [size - 1, size, size + 1]);
    const sizes = [...around, largest - 1, largest, 60];
    const frames = ofSizes(nic, sizes);
    await nic.port.send(...frames);
    const received = await card.receive(frames.length);
    assertEquals(received.map(bytesOf), frames);
    assertEquals(
      received.map(({ segments }) => segments),
      sizes.map((size) => Math.ceil(size / BUFFER_BYTES)),
    );
    const hexes = received.map(({ hex }) => hex);
    assertEquals(await card.ask("send", 0, hexes), frames.length);
    assertEquals(await nic.port.receiveMany(frames.length), frames);
  });
  await step("drops a long frame that is too long", async () => {
    const tooLong = largest + model.excess.jumbo;
    await takesOnlyTwo(card, nic, [largest, tooLong, 60]);
  });
}
