/**
 * What each card model must stand for long, all of them at the same time in one guest.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import type { DeviceOptions, DeviceStats } from "../../mod.ts";
import { captureRecords } from "../../src/net/mod.ts";
import { Card } from "./console.ts";
import { flowFrame, FLOWS } from "./flows.ts";
import { macBytes, numbered, numberOf, PEER, swapped } from "./frames.ts";
import {
  asUser,
  bindForUser,
  type Guest,
  guestScenarios,
  type Nic,
  untilDevice,
} from "./lab/mod.ts";

/** 82540EM, 82545EM, 82574L, 82576: all that QEMU has of what there are drivers for. */
const MODELS = ["e1000", "e1000-82545em", "e1000e", "igb"] as const;
const SEVERAL_QUEUES: readonly string[] = ["e1000e", "igb"];

const scenario = guestScenarios({
  name: "endurance",
  nics: [
    ...MODELS.map((model) => ({ model, capture: true })),
    // Apart, as each reset of these is one of the slot, and takes a second.
    ...MODELS.map((model) => ({ model, hotplug: true })),
  ],
  // Here all memory is in small pages, in gigabit_test.ts in huge ones.
  hugepages: 0,
});

const LINK_CHANGES = 100;
const KILLS = 20;
/** Frames of one send. Those beyond a full ring the 8254x's models drop and count, as silicon does. */
const BURST = 48;
/** Numbers of frames that {@linkcode untilEchoed} sends begin here. */
const MARKER = 1_000_000;
/** When nothing comes back for so long, frames have been dropped. */
const SILENCE_MS = 1000;
const FAULT_TIMEOUT_MS = 30_000;
/** Descriptors of each ring of a card whose workers change. */
const DEPTH = 128;
const ECHO_TIMEOUT_MS = 30_000;
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const OTHER = "02:00:00:00:00:77";
const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];
const START = { timeoutMs: 90_000 };

/** A cable and the program that has opened the card at its end. */
interface Opened {
  readonly nic: Nic;
  readonly card: Card;
}

/** The cards that stay where they are. */
const fixed = ({ nics }: Guest) => nics.slice(0, MODELS.length);
/** The cards that can be taken out. */
const removable = ({ nics }: Guest) => nics.slice(MODELS.length);

/** Opens cards in one program, and does the same with each at the same time. */
async function withEach(
  guest: Guest,
  nics: readonly Nic[],
  optionsOf: (nic: Nic) => DeviceOptions,
  action: (opened: Opened) => Promise<void>,
): Promise<void> {
  const cards = await Card.openAll(guest, nics, optionsOf);
  await Promise.all(cards.map((card, i) => action({ nic: nics[i], card })));
  await cards[0].close();
}

const polling = (): DeviceOptions => ({ irqTimeoutMs: 0 });

/** Receives that sleep until something comes, or somebody else wakes them; on several queues where there are some. */
const sleeping = ({ model }: Nic): DeviceOptions => ({
  irqTimeoutMs: -2,
  queues: SEVERAL_QUEUES.includes(model) ? 2 : 1,
  rxDepth: DEPTH,
  txDepth: DEPTH,
});

/** Has frames go through a card one burst after the other, and expects each of them back. */
async function echoed(nic: Nic, frames: Uint8Array[]): Promise<void> {
  for (let at = 0; at < frames.length; at += BURST) {
    const some = frames.slice(at, at + BURST);
    await nic.port.send(...some);
    assertEquals(
      await nic.port.receiveMany(some.length, {
        where: (frame) => numberOf(frame) < MARKER,
      }),
      some.map((frame) => swapped(frame)),
    );
  }
}

/**
 * Sends bursts until it is disposed of: the next one when something has come back of the one before, so that the cable
 * does not fill up, or nothing has for a while.
 */
function load(
  { port, mac }: Nic,
  {
    back = port,
    frame = (i: number) => numbered(i, mac),
  } = {},
): AsyncDisposable {
  const burst = Array.from({ length: BURST }, (_, i) => frame(i));
  let done = false;
  const sending = (async () => {
    while (!done) {
      const { received } = back;
      await port.send(...burst);
      const end = performance.now() + SILENCE_MS;
      while (!done && back.received === received && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  })();
  // Whoever disposes of it hears of an error.
  sending.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      done = true;
      await sending;
    },
  };
}

/** Sends a frame, again and again if need be, until it comes back: what was sent before fills the rings at first. */
async function untilBack(nic: Nic, frame: Uint8Array): Promise<void> {
  const expected = swapped(frame).toHex();
  const where = (other: Uint8Array) => other.toHex() === expected;
  const end = performance.now() + ECHO_TIMEOUT_MS;
  for (;;) {
    await nic.port.send(frame);
    const options = { where, timeoutMs: SILENCE_MS };
    const back = await nic.port.receive(options).catch(() => undefined);
    if (back !== undefined) return;
    assert(performance.now() < end, `${nic.model}: nothing comes back`);
  }
}

/** The same with a frame that has a number. */
const untilEchoed = (nic: Nic, number: number) =>
  untilBack(nic, numbered(MARKER + number, nic.mac));

scenario(
  `links go down and up ${LINK_CHANGES} times, and traffic resumes`,
  (guest) =>
    withEach(guest, fixed(guest), polling, async ({ nic, card }) => {
      await card.ask("watchLink");
      await card.ask("startEcho");
      for (let i = 1; i <= LINK_CHANGES; i++) {
        await nic.setLink(false);
        const down = await card.ask("linkChange", 2 * i - 1);
        assertEquals(down, { up: false, speed: 0 }, nic.model);
        await nic.setLink(true);
        const up = await card.ask("linkChange", 2 * i);
        assertEquals(up, { up: true, speed: 1000 }, nic.model);
        await echoed(nic, [numbered(i, nic.mac)]);
      }
      const changes = await card.ask<unknown[]>("links");
      assertEquals(changes.length, 2 * LINK_CHANGES, nic.model);
    }),
);

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

// Before anything is too much for a card: the 8254x's models never forget how many frames they missed.
scenario(
  "statistics are what a capture outside has",
  (guest) =>
    withEach(guest, fixed(guest), polling, async ({ nic, card }) => {
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
        assertEquals(
          await card.ask<DeviceStats>("stats"),
          {
            rxPackets: received.length,
            rxBytes: bytesOf(received),
            txPackets: sent.length,
            txBytes: bytesOf(sent),
            rxMissed: 0,
            rxErrors: 0,
          },
          nic.model,
        );
      }
    }),
);

scenario(
  `a clean start after each of ${KILLS} kills in mid-traffic`,
  async (guest) => {
    const nics = fixed(guest);
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
    await withEach(guest, fixed(guest), polling, async ({ nic, card }) => {
      await card.ask("startEcho");
      await untilEchoed(nic, KILLS + 1);
      await echoed(
        nic,
        Array.from({ length: 200 }, (_, i) => numbered(i, nic.mac, 60 + i)),
      );
    });
  },
);

scenario("queue workers change under load", async (guest) => {
  const nics = fixed(guest);
  const cards = await Card.openAll(guest, nics, sleeping);
  for (const [index, card] of cards.entries()) {
    await changeWorkers({ nic: nics[index], card });
  }
  await cards[0].close();
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
    const { inUse } = await card.ask<{ inUse: number }>("pool", queue);
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

scenario("the IOMMU catches a buffer that nobody mapped", async (guest) => {
  const nics = fixed(guest);
  const cards = await Card.openAll(guest, nics, polling);
  for (const [index, card] of cards.entries()) {
    const nic = nics[index];
    for (const fault of await unmappedFaults(guest, card)) {
      assertStringIncludes(fault, `[${nic.address.slice("0000:".length)}]`);
      assertMatch(fault, /DMA Read .* fault addr 0xc0[0-9a-f]{6} /);
    }
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
  }
  await cards[0].close();
}, { expectFaults: true });

/**
 * Has a card read what nobody mapped for it, and returns what the IOMMU says of that. The kernel tells of three faults
 * in five seconds, and keeps more to itself.
 */
async function unmappedFaults(guest: Guest, card: Card): Promise<string[]> {
  const end = performance.now() + FAULT_TIMEOUT_MS;
  for (;;) {
    await card.ask("sendUnmapped");
    await card.call("restartQueue", 0);
    const faults = await guest.dmarFaults();
    if (faults.length > 0) return faults;
    assert(performance.now() < end, `${card.report.model}: no fault`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Removes a card while a program of an ordinary user forwards from it, and puts it back. */
async function replace(guest: Guest, from: Nic, to: Nic): Promise<void> {
  for (const { address } of [from, to]) await bindForUser(guest, address);
  const forward = await guest.spawn(
    asUser([...FORWARD, from.address, to.address]),
  );
  await forward.prints(/forwarding/, START);
  {
    await using _load = load(from, { back: to.port });
    await to.port.receiveMany(BURST);
    await from.unplug();
  }
  const { code, stderr } = await forward.ended();
  assertEquals(code, 1, stderr);
  assertStringIncludes(stderr, `${from.address} was removed`);
  await untilDevice(guest, from.address, "absent");
  await from.plug();
  await untilDevice(guest, from.address, "present");
}

scenario("cards removed under load work when they are back", async (guest) => {
  const [a, b, c, d] = removable(guest);
  await Promise.all([replace(guest, a, b), replace(guest, c, d)]);
  await Promise.all([replace(guest, b, a), replace(guest, d, c)]);
  await withEach(guest, removable(guest), polling, async ({ nic, card }) => {
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
  });
});
