/**
 * Interrupts of a vhost-user device: every mode, the processor idle meanwhile, and the switch to polling and back.
 */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { cpuUsage } from "node:process";
import { Batch } from "../../src/memory/batch.ts";
import type { QueuePair } from "../../src/device.ts";
import { run } from "../../src/runtime/run.ts";
import { requires } from "../support/runner/requirements.ts";
import type { Testpmd } from "../support/vhost/testpmd.ts";
import { until } from "../support/until.ts";
import {
  assertEchoed,
  EchoRun,
  makeFrame,
  receive,
  send,
  VhostRig,
} from "../support/vhost/rig.ts";

const test = requires("testpmd");

const DROP = new URL("../../src/cli/drop_worker.ts", import.meta.url);
const IDLE_MS = 500;
const IDLE_TURNS = 10;
/** Of one core, with room for what the process does besides. */
const IDLE_SHARE = 0.2;

/** What this process used of one core while `action` ran. */
async function coreShare(action: () => void | Promise<void>): Promise<number> {
  const before = cpuUsage();
  const start = performance.now();
  await action();
  const { user, system } = cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - start);
}

/** Checks that this process is idle, once its compiler and its collector have done what was left to do. */
async function assertIdle(): Promise<void> {
  for (let turn = 0; turn < IDLE_TURNS; turn++) {
    if (await coreShare(() => pause(IDLE_MS)) < IDLE_SHARE) return;
  }
  throw new Error("the process is busy though no frame comes");
}

const pause = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** One frame at a time, so that the queue sleeps in between. */
function pingPong(pair: QueuePair, turns: number): void {
  for (let turn = 0; turn < turns; turn++) {
    assertEchoed(pair, [makeFrame(60, turn)]);
  }
}

/** Sends frames one by one to a queue that sleeps without blocking the isolate, and waits until each is back. */
async function sendToSleeper(
  pair: QueuePair,
  frames: number,
  first: () => Promise<void> = async () => {},
): Promise<void> {
  let count = 0;
  const receiving = (async () => {
    for await (const batch of pair.rx) {
      count += batch.free();
      if (count === frames) break;
    }
  })();
  await first();
  for (let sent = 0; sent < frames; sent++) {
    send(pair, [makeFrame(60, sent)]);
    await until("the frame came back", () => count > sent);
  }
  await receiving;
  assertEquals(count, frames);
}

/** Has a backend generate frames until `condition` holds. */
async function generateUntil(
  backend: Testpmd,
  what: string,
  condition: () => boolean,
): Promise<void> {
  await backend.command("start");
  await until(what, condition);
  await backend.command("stop");
}

for (
  const without of [[], ["packed"], ["event-index"], ["packed", "event-index"]]
) {
  const title = without.length > 0 ? `without ${without.join(", ")}` : "";
  test(`virtio: a receive that waits sleeps until the interrupt ${title}`, async () => {
    await using rig = await VhostRig.open({
      name: `sleeps-${without.join("-")}`,
      device: {
        irqTimeoutMs: IDLE_MS,
        // It shall not begin to poll.
        adaptive: { pollAbove: 1e9 },
        virtio: { without },
      },
    });
    const pair = rig.device.queue(0);
    const { counters } = pair.rx;
    const batch = new Batch(32);
    const share = await coreShare(() => {
      assertEquals(pair.rx.receive(batch), 0);
    });
    assertLess(share, IDLE_SHARE);
    pingPong(pair, 100);
    assertEquals(counters.get("polls"), 0);
    // What comes back before the queue sleeps needs no interrupt: here it sleeps before each frame is sent.
    const before = counters.get("irqs");
    await sendToSleeper(pair, 100);
    assertGreater(counters.get("irqs"), before + 90);
  });
}

test("virtio: a queue that polls asks for no interrupt", async () => {
  await using rig = await VhostRig.open({
    name: "polls",
    device: { irqTimeoutMs: 0 },
  });
  const pair = rig.device.queue(0);
  pingPong(pair, 500);
  assertEquals(pair.rx.counters.get("irqs"), 0);
  assertEquals(rig.device.checkRxIrq(0), false);
});

for (const without of [[], ["packed"]]) {
  const title = without.length > 0 ? `without ${without.join(", ")}` : "";
  test(`virtio: the caller waits by itself where it wants to ${title}`, async () => {
    await using rig = await VhostRig.open({
      name: `caller-${without.join("-")}`,
      device: { irqTimeoutMs: -1, virtio: { without } },
    });
    const { device } = rig;
    const pair = device.queue(0);
    const batch = new Batch(32);
    // The first receive fills the ring.
    assertEquals(pair.rx.receive(batch), 0);
    for (let turn = 0; turn < 20; turn++) {
      device.checkRxIrq(0);
      device.ackRxIrq(0);
      send(pair, [makeFrame(60, turn)]);
      await until("the interrupt fires", () => device.checkRxIrq(0));
      assertEquals(receive(pair, 1).length, 1);
    }
  });
}

test("virtio: a worker that waits without limit sleeps, wakes for frames, and stops", async () => {
  await using rig = await VhostRig.open({
    name: "unlimited",
    backend: { mode: "txonly", autoStart: false },
    device: { irqTimeoutMs: -2 },
  });
  const { backend, device } = rig;
  await using running = await run(device, { worker: DROP });
  const received = () => running.stats()[0].ports[0].rxPackets;
  for (let turn = 0; turn < 3; turn++) {
    const goal = received() + 1000;
    await generateUntil(backend, "frames come", () => received() > goal);
    const { txPackets } = await backend.stats();
    await until("the last frame is there", () => received() === txPackets);
    await until(
      "the queue sleeps",
      () => running.stats()[0].ports[0].polling === 0,
    );
    await assertIdle();
  }
  assertGreater(running.stats()[0].ports[0].irqs, 2);
});

test("virtio: for await sleeps without blocking, and the program is idle", async () => {
  await using rig = await VhostRig.open({ name: "await" });
  await sendToSleeper(rig.device.queue(0), 100, assertIdle);
});

test("virtio: a queue switches to polling under load, and back", async () => {
  await using rig = await VhostRig.open({ name: "adaptive" });
  await using echo = await EchoRun.start(rig.device);
  const mode = () => echo.running.stats()[0].ports[0];
  await until("the queue polls", () => mode().polling === 1);
  await echo.assertNothingLost();
  await until("the queue sleeps again", () => mode().polling === 0);
  await assertIdle();
  assertGreater(mode().modeSwitches, 1);
});
