/**
 * Frames there and back, byte by byte, in every layout that DPDK offers.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { openDevice } from "../../src/device.ts";
import { IxlError } from "../../src/errors.ts";
import { requires } from "../support/runner/requirements.ts";
import { Testpmd } from "../support/vhost/testpmd.ts";
import {
  assertEchoed,
  makeFrame,
  receive,
  send,
  SocketPath,
  VhostRig,
} from "../support/vhost/rig.ts";

const test = requires("testpmd");

const SHORTEST = 60;
const LONGEST = 1514;
const JUMBO = 9018;
/** The virtio header, which shares an entry with the data where buffers are merged. */
const HEADER = 12;
/** What DPDK's buffers hold. */
const PEER_BUFFER = 2048;

/** What a device may use or do without. */
const OPTIONAL = [
  "packed",
  "mergeable",
  "event-index",
  "indirect",
  "in-order",
] as const;

/** Every choice of features not to accept. */
const CHOICES = Array.from(
  { length: 1 << OPTIONAL.length },
  (_, choice) => OPTIONAL.filter((_, i) => (choice & (1 << i)) !== 0),
);

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

const framesOf = (sizes: readonly number[]) =>
  sizes.map((size, i) => makeFrame(size, i));

/** In portions that no ring is too small for. */
function* portions<T>(all: readonly T[], size = 32): Generator<T[]> {
  for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
}

for (
  const without of [[], ["packed"], ["mergeable"], ["packed", "mergeable"]]
) {
  const title = without.length > 0 ? `without ${without.join(", ")}` : "";
  test(`virtio: every size from 60 to 1514 bytes comes back ${title}`, async () => {
    await using rig = await VhostRig.open({
      name: `sizes-${without.join("-")}`,
      device: { virtio: { without } },
    });
    const pair = rig.device.queue(0);
    for (const sizes of portions(range(SHORTEST, LONGEST))) {
      assertEchoed(pair, framesOf(sizes));
    }
  });
}

test("virtio: every combination of features that DPDK offers carries frames over the rings' ends", async () => {
  using socket = new SocketPath("combinations");
  await using _backend = await Testpmd.backend({ socket: socket.path });
  for (const without of CHOICES) {
    await using device = await openDevice({
      address: socket.address,
      rxDepth: 64,
      txDepth: 64,
      entrySize: 512,
      maxFrameSize: without.includes("mergeable") ? 508 : LONGEST,
      virtio: { without },
    });
    const accepted = device.features.virtio ?? [];
    for (const feature of OPTIONAL) {
      assertEquals(
        accepted.includes(feature),
        !without.includes(feature),
        `${feature} without ${without}`,
      );
    }
    const pair = device.queue(0);
    const longest = Math.min(device.maxFrameSize, LONGEST);
    const sizes = range(0, 499).map((i) =>
      SHORTEST + i * 37 % (longest - SHORTEST + 1)
    );
    for (const some of portions(sizes, 8)) assertEchoed(pair, framesOf(some));
    assertEquals(pair.rx.counters.get("rxErrors"), 0);
    assertEquals(pair.rx.counters.get("txErrors"), 0);
  }
});

for (const without of [[], ["packed"], ["indirect"], ["packed", "indirect"]]) {
  const title = without.length > 0 ? `without ${without.join(", ")}` : "";
  test(`virtio: jumbo frames come back around every boundary ${title}`, async () => {
    await using rig = await VhostRig.open({
      name: `jumbo-${without.join("-")}`,
      device: { maxFrameSize: JUMBO, virtio: { without } },
    });
    const { device } = rig;
    const pair = device.queue(0);
    const { entrySize } = pair.rx.pool;
    const boundaries = [1, 2, 3, 4].flatMap((n) => [
      n * entrySize,
      n * entrySize - HEADER,
      n * (entrySize - HEADER),
      n * PEER_BUFFER,
    ]).filter((size) => size + 1 <= JUMBO);
    const sizes = boundaries.flatMap((size) => [size - 1, size, size + 1]);
    for (const some of portions([...sizes, JUMBO - 1, JUMBO], 8)) {
      assertEchoed(pair, framesOf(some));
    }
  });
}

test("virtio: a frame above the largest is dropped, and counted, before the device has it", async () => {
  await using rig = await VhostRig.open({ name: "oversize" });
  const pair = rig.device.queue(0);
  const { counters } = pair.rx;
  const { maxFrameSize } = rig.device.features;
  send(pair, [makeFrame(maxFrameSize + 1, 1), makeFrame(60, 2)]);
  assertEquals(receive(pair, 1)[0].length, 60);
  assertEquals(counters.get("txErrors"), 1);
});

test("virtio: a backend that changes nothing gives the same frame back", async () => {
  await using rig = await VhostRig.open({
    name: "io",
    backend: { mode: "io" },
  });
  const pair = rig.device.queue(0);
  const frames = framesOf([60, 61, 508, 1514]);
  send(pair, frames);
  assertEquals(receive(pair, frames.length), frames);
});

test("virtio: what a backend generates arrives to the last frame", async () => {
  await using rig = await VhostRig.open({
    name: "txonly",
    backend: { mode: "txonly" },
  });
  const { backend } = rig;
  const pair = rig.device.queue(0);
  const { counters } = pair.rx;
  for (const frame of receive(pair, 20_000)) assertEquals(frame.length, 64);
  // It goes on until it is told not to, and drops what nobody fetches.
  const stopped = backend.command("stop");
  let done = false;
  void stopped.then(() => done = true);
  while (!done) {
    receive(pair, 0);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const { txPackets, txBytes } = await backend.stats();
  receive(pair, txPackets - counters.get("rxPackets"));
  assertEquals(counters.get("rxPackets"), txPackets);
  assertEquals(counters.get("rxBytes"), txBytes);
});

test("virtio: a backend counts what we send as we do", async () => {
  await using rig = await VhostRig.open({
    name: "rxonly",
    backend: { mode: "rxonly" },
  });
  const { backend, device } = rig;
  const pair = device.queue(0);
  for (const sizes of portions(range(SHORTEST, LONGEST))) {
    send(pair, framesOf(sizes));
  }
  const { counters } = pair.tx;
  const deadline = performance.now() + 10_000;
  let stats = await backend.stats();
  while (stats.rxPackets < LONGEST - SHORTEST + 1) {
    assert(performance.now() < deadline, `${stats.rxPackets} have arrived`);
    stats = await backend.stats();
  }
  assertEquals(stats.rxPackets, counters.get("txPackets"));
  assertEquals(stats.rxBytes, counters.get("txBytes"));
  assertEquals(stats.rxBytes, (SHORTEST + LONGEST) * stats.rxPackets / 2);
  assertEquals(device.readStats().txPackets, stats.rxPackets);
});

test("virtio: opening fails with advice where nobody listens", async () => {
  using socket = new SocketPath("nobody");
  const error = await assertRejects(
    () => openDevice({ address: `${socket.address}?timeout=100` }),
    IxlError,
  );
  assert(error.message.includes(socket.path), error.message);
});
