/**
 * Queue workers on a vhost-user device: numbered frames, and changes under load.
 */
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { run } from "../../src/runtime/run.ts";
import { requires } from "../support/runner/requirements.ts";
import { until } from "../support/until.ts";
import { EchoRun, receive, VhostRig } from "../support/vhost/rig.ts";

const test = requires("testpmd");

const CIRCULATE = new URL(
  "../fixtures/circulate_worker.ts",
  import.meta.url,
);
const RING = 64;
const WRAPS = 1000;

for (const queues of [1, 2]) {
  for (const without of [["packed"], []]) {
    const ring = without.length > 0 ? "split" : "packed";
    test(`virtio: numbered frames pass ${WRAPS} times around ${ring} rings of ${queues} queues`, async () => {
      await using rig = await VhostRig.open({
        name: `wraps-${ring}-${queues}`,
        backend: { queues },
        device: {
          queues,
          rxDepth: RING,
          txDepth: RING,
          virtio: { without },
        },
      });
      await using echo = await EchoRun.start(rig.device, { size: "imix" });
      await echo.moreThan(WRAPS * RING);
      await echo.assertNothingLost();
      const received = echo.total("received");
      const { rxPackets, txPackets } = await rig.backend.statsFrom(received);
      assertEquals(rxPackets, echo.total("generated"));
      assertEquals(txPackets, received);
    });
  }
}

test("virtio: a flood is dropped by the backend, and what comes is sound", async () => {
  await using rig = await VhostRig.open({ name: "flood" });
  await using echo = await EchoRun.start(rig.device, { window: Infinity });
  await echo.moreThan(200_000);
  echo.assertSound();
});

test("virtio: pools grow and shrink under traffic", async () => {
  await using rig = await VhostRig.open({ name: "pools" });
  const { device } = rig;
  await using echo = await EchoRun.start(device);
  const capacity = () => echo.running.stats()[0].poolCapacity;
  const before = capacity();
  // More pieces of memory than DPDK has regions.
  const steps = Array.from({ length: 15 }, (_, i) => before + 800 * i);
  for (const entries of steps) {
    await device.extendRxMempool(0, 800);
    assertEquals(capacity(), entries + 800);
    await echo.moreThan(500);
  }
  for (const entries of steps.reverse()) {
    await device.shrinkRxMempool(0, 800);
    assertEquals(capacity(), entries);
    await echo.moreThan(500);
  }
  await echo.assertNothingLost();
});

test("virtio: a worker moves under load, and every packet with it", async () => {
  await using rig = await VhostRig.open({ name: "move" });
  const { device } = rig;
  const packets = 200;
  const done = new SharedArrayBuffer(4);
  await using running = await run(device, {
    worker: CIRCULATE,
    args: { packets, done },
  });
  const passed = () => running.stats()[0].ports[0].user;
  for (let turn = 0; turn < 10; turn++) {
    const goal = passed() + 5000;
    await until("packets circulate", () => passed() > goal);
    await running.move(0);
  }
  await running.stop();
  assertEquals(running.failures, []);
  device.resumeQueue(0);
  const numbers = receive(device.queue(0), packets)
    .map((frame) => new DataView(frame.buffer).getUint32(14));
  numbers.sort((a, b) => a - b);
  assertEquals(numbers, Array.from({ length: packets }, (_, i) => i));
});

test("virtio: a worker is replaced under load, and its rings start afresh", async () => {
  await using rig = await VhostRig.open({ name: "restart" });
  const { device } = rig;
  await using running = await run(device, {
    worker: CIRCULATE,
    args: { packets: 200, done: undefined },
  });
  const passed = () => running.stats()[0].ports[0].user;
  for (let turn = 0; turn < 5; turn++) {
    const goal = passed() + 5000;
    await until("packets circulate", () => passed() > goal);
    await running.restart(0);
  }
  await running.stop();
  assertEquals(running.failures, []);
  await device.haltQueue(0);
  await device.restartQueue(0);
  // Every packet of the workers that were replaced is at home, or posted for receiving.
  const { rx } = device.queue(0);
  assertLessOrEqual(rx.pool.inUse, rx.depth);
});
