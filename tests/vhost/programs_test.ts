/**
 * The command line and the examples on vhost-user devices, as users run them.
 */
import {
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertStringIncludes,
} from "@std/assert";
import type { DeviceDemoResult } from "../../src/cli/demo_device.ts";
import {
  PCAP_HEADER_LENGTH,
  PCAP_RECORD_LENGTH,
  pcapRecords,
  swapMacs,
} from "../../src/net/mod.ts";
import { captureOf } from "../support/frames/capture_file.ts";
import { CliProcess, lastJson, runCli } from "../support/host/cli.ts";
import { requires } from "../support/runner/requirements.ts";
import { Testpmd } from "../support/vhost/testpmd.ts";
import { until } from "../support/until.ts";
import { SocketPath } from "../support/vhost/rig.ts";

const test = requires("testpmd");

/** Bytes of a frame that testpmd generates. */
const GENERATED_BYTES = 64;

for (const [queues, size] of [[1, 60], [2, 0], [1, 1514]]) {
  test(`virtio: demo --device checks every frame, ${queues} queues, size ${size}`, async () => {
    using socket = new SocketPath(`demo-${queues}-${size}`);
    await using backend = await Testpmd.backend({
      socket: socket.path,
      queues,
    });
    const { code, stdout, stderr } = await runCli([
      ...["demo", "--device", socket.address, "--json", "--seconds", "1"],
      ...["--queues", `${queues}`, "--size", `${size}`],
    ]);
    assertEquals(code, 0, `${stderr}${stdout}`);
    const result = lastJson<DeviceDemoResult>(stdout);
    const { lost, corrupted, reordered, duplicated, generated } = result;
    assertEquals([lost, corrupted, reordered, duplicated], [0, 0, 0, 0]);
    assertEquals(result.driver, "virtio");
    assertEquals(result.queues, queues);
    for (const queue of result.perQueue) assertGreater(queue.received, 1000);
    const { rxPackets, txPackets } = await backend.statsFrom(generated);
    assertEquals([rxPackets, txPackets], [generated, generated]);
  });
}

test("virtio: demo --device says which queues a backend does not serve", async () => {
  using socket = new SocketPath("demo-too-many");
  await using _backend = await Testpmd.backend({ socket: socket.path });
  const { code, stdout, stderr } = await runCli([
    ...["demo", "--device", socket.address, "--json", "--seconds", "1"],
    ...["--queues", "2"],
  ]);
  assertEquals(code, 1);
  const { lost, perQueue } = lastJson<DeviceDemoResult>(stdout);
  assertGreater(lost, 0);
  assertEquals(perQueue.map(({ received }) => received > 0), [true, false]);
  assertStringIncludes(stderr, "nothing came back on queue 1");
  assertStringIncludes(stderr, "queues=2");
});

test("virtio: demo --device tells what a backend took along", async () => {
  using socket = new SocketPath("demo-killed");
  const backend = await Testpmd.backend({ socket: socket.path });
  await using demo = new CliProcess([
    ...["demo", "--device", socket.address, "--json", "--seconds", "60"],
  ]);
  await demo.prints(/^ *1 s/m);
  await backend.kill();
  await demo.prints(/needs a reset/);
  await using _next = await Testpmd.backend({ socket: socket.path });
  await demo.prints(/is back/);
  demo.signal("SIGINT");
  const { code, stdout, stderr } = await demo.ended();
  assertEquals(code, 1);
  const { lost, abandoned } = lastJson<DeviceDemoResult>(stdout);
  assertGreater(abandoned, 0);
  assertGreaterOrEqual(lost, abandoned);
  assertStringIncludes(stderr, "the other side went away");
});

test("virtio: forward carries frames from one backend to another", async () => {
  using from = new SocketPath("forward-from");
  using to = new SocketPath("forward-to");
  await using source = await Testpmd.backend({
    socket: from.path,
    mode: "txonly",
    autoStart: false,
  });
  await using sink = await Testpmd.backend({ socket: to.path, mode: "rxonly" });
  await using forward = new CliProcess([
    ...["forward", from.address, to.address, "--json"],
  ]);
  await forward.prints(/forwarding/);
  await source.command("start");
  while ((await sink.stats()).rxPackets < 10_000);
  await source.command("stop");
  const { txPackets } = await source.stats();
  const deadline = performance.now() + 10_000;
  let arrived = 0;
  while (arrived < txPackets && performance.now() < deadline) {
    arrived = (await sink.stats()).rxPackets;
  }
  forward.signal("SIGINT");
  const { code, stdout } = await forward.ended();
  assertEquals(code, 0);
  assertEquals(arrived, txPackets);
  const { received, sent, dropped } = lastJson<Record<string, number>>(stdout);
  assertEquals([received, sent, dropped], [txPackets, txPackets, 0]);
});

test("virtio: generate's frames are all counted by the backend", async () => {
  using socket = new SocketPath("generate");
  await using backend = await Testpmd.backend({
    socket: socket.path,
    mode: "rxonly",
  });
  const { code, stdout, stderr } = await runCli([
    ...["generate", socket.address, "--json", "--seconds", "1"],
  ]);
  assertEquals(code, 0, stderr);
  const { packets } = lastJson<{ packets: number }>(stdout);
  assertGreater(packets, 1000);
  assertEquals((await backend.stats()).rxPackets, packets);
});

test("virtio: capture writes what a backend generates", async () => {
  using socket = new SocketPath("capture");
  await using _backend = await Testpmd.backend({
    socket: socket.path,
    mode: "txonly",
  });
  const file = `${socket.path}.pcap`;
  const { code, stdout, stderr } = await runCli([
    ...["capture", socket.address, file, "--count", "1000", "--json"],
  ]);
  assertEquals(code, 0, stderr);
  assertEquals(lastJson<{ frames: number }>(stdout).frames, 1000);
  const record = PCAP_RECORD_LENGTH + GENERATED_BYTES;
  const { size } = await Deno.stat(file);
  assertEquals(size, PCAP_HEADER_LENGTH + 1000 * record);
});

test("virtio: info says what was agreed with the backend", async () => {
  using socket = new SocketPath("info");
  await using _backend = await Testpmd.backend({ socket: socket.path });
  const { code, stdout, stderr } = await runCli([
    ...["info", socket.address, "--json"],
    ...["--virtio-with", "guest-checksum,guest-tso4"],
  ]);
  assertEquals(code, 0, stderr);
  const { driver, link, features } = JSON.parse(stdout);
  assertEquals(driver, "virtio");
  assertEquals(link.up, true);
  for (const name of ["packed", "guest-checksum", "guest-tso4"]) {
    assertEquals(features.virtio.includes(name), true, name);
  }
});

test("virtio: a software card and a backend exchange frames through the bridge, every byte right", () =>
  exchangesThroughBridge("bridge-sim", { copied: 0 }));

// What the software card receives on hugepages is copied, by one worker, while the other one uses the backend's packets.
requires("testpmd", "hugepages")(
  "virtio: a backend on ordinary pages exchanges frames with a card on hugepages, every byte right",
  () => exchangesThroughBridge("bridge-copy", { copied: 400 }, "?memory=pages"),
);

async function exchangesThroughBridge(
  name: string,
  expectedCounts: { readonly copied: number },
  options = "",
): Promise<void> {
  using socket = new SocketPath(name);
  await using _backend = await Testpmd.backend({ socket: socket.path });
  const [input, output] = [`${socket.path}-in.pcap`, `${socket.path}-out.pcap`];
  // Fewer than the receive ring has room for: testpmd drops what does not fit.
  const frames = Array.from({ length: 400 }, (_, i) => patternFrame(i));
  Deno.writeFileSync(input, captureOf(frames));
  await using bridge = new CliProcess([
    ...[
      "bridge",
      `sim:pcap?in=${input}&out=${output}`,
      `${socket.address}${options}`,
    ],
    "--json",
  ]);
  await bridge.prints(/bridging/);
  const size = () => Deno.statSync(output).size;
  await until("all frames are back", () => size() >= Deno.statSync(input).size);
  bridge.signal("SIGINT");
  const { code, stdout, stderr } = await bridge.ended();
  assertEquals(code, 0, stderr);
  // testpmd exchanges the addresses.
  const expected = frames.map((frame) => {
    swapMacs(frame, 0);
    return frame;
  });
  const bytes = Deno.readFileSync(output);
  const back = [...pcapRecords(bytes)].map(({ offset, capturedLength }) =>
    bytes.subarray(offset, offset + capturedLength)
  );
  assertEquals(back, expected);
  const { toRight, toLeft, copied } = lastJson<Record<string, number>>(stdout);
  assertEquals([toRight, toLeft], [400, 400]);
  assertEquals({ copied }, expectedCounts);
}

test("virtio: a backend counts each frame of a software card", async () => {
  using socket = new SocketPath("forward-sim");
  await using backend = await Testpmd.backend({
    socket: socket.path,
    mode: "rxonly",
  });
  await using forward = new CliProcess([
    ...["forward", "sim:generator?count=20000&size=0", socket.address],
    "--json",
  ]);
  await forward.prints(/forwarding/);
  let seen = 0;
  while (seen < 20_000) seen = (await backend.stats()).rxPackets;
  forward.signal("SIGINT");
  const { code, stdout, stderr } = await forward.ended();
  assertEquals(code, 0, stderr);
  assertEquals(seen, 20_000);
  const { received, sent } = lastJson<Record<string, number>>(stdout);
  assertEquals([received, sent], [20_000, 20_000]);
});

/** A frame of its own size and content, to a unicast address. */
function patternFrame(number: number): Uint8Array {
  const frame = new Uint8Array(60 + (number * 37) % 1455);
  for (let i = 0; i < frame.length; i++) {
    frame[i] = (number * 31 + i * 7) & 0xff;
  }
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return frame;
}
