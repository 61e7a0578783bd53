/**
 * The demo as a user runs it.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { total } from "../../examples/_accounts.ts";
import type { DemoResult } from "../../src/cli/demo.ts";
import type { DeviceDemoResult } from "../../src/cli/demo_device.ts";
import {
  decodePcapHeader,
  encodePcapHeader,
  encodePcapRecord,
  isPcapng,
} from "../../src/net/mod.ts";
import { comparePcaps } from "../../src/cli/compare_pcaps.ts";
import { lastJson, runCli } from "../support/host/cli.ts";
import { assertClean, demo } from "../support/host/demo.ts";
import { requires } from "../support/runner/requirements.ts";

Deno.test("demo --device checks what a device's other side gives back", async () => {
  const args = ["--json", "--device", "sim:loopback", "--seconds", "1"];
  const { code, stdout, stderr } = await runCli(["demo", ...args]);
  assertEquals(code, 0, stderr);
  const result = lastJson<DeviceDemoResult>(stdout);
  assertGreater(result.generated, 1000);
  assertEquals(result.received, result.generated);
  const { lost, corrupted, reordered, duplicated } = result;
  assertEquals([lost, corrupted, reordered, duplicated], [0, 0, 0, 0]);
});

Deno.test("demo --device notices what does not come back", async () => {
  const args = ["--json", "--device", "sim:sink", "--seconds", "0.1"];
  const { code, stdout, stderr } = await runCli(["demo", ...args]);
  assertEquals(code, 1);
  const { generated, lost, abandoned } = lastJson<DeviceDemoResult>(stdout);
  assertGreater(generated, 0);
  assertEquals([lost, abandoned], [generated, 0]);
  assertStringIncludes(stderr, "nothing came back at all");
});

Deno.test("demo --device says that answers came on another queue, and checks them", async () => {
  // The card chooses the receive queue by its hash, not by the queue that sent the frame.
  const args = "--device sim:loopback --queues 2 --seconds 0.3 --json";
  const { code, stdout, stderr } = await runCli(["demo", ...args.split(" ")]);
  assertEquals(code, 0, stderr);
  const result = lastJson<DeviceDemoResult>(stdout);
  const { lost, corrupted, foreign, reordered, duplicated } = result;
  assertEquals([lost, corrupted, foreign], [0, 0, 0]);
  assertEquals([reordered, duplicated], [0, 0]);
  assertGreater(result.elsewhere, 0);
  assertLess(result.elsewhere, result.received);
  assertEquals(total(result.undelivered), 0);
  assertStringIncludes(stderr, "answers came on another queue");
});

Deno.test("demo --device takes no frames of others for its own", async () => {
  const args = "--device sim:generator --seconds 0.1 --json";
  const { code, stdout, stderr } = await runCli(["demo", ...args.split(" ")]);
  assertEquals(code, 1);
  const result = lastJson<DeviceDemoResult>(stdout);
  assertEquals(result.lost, result.generated);
  assertEquals(total(result.undelivered), result.lost);
  assertEquals(result.foreign, result.received);
  assertEquals(result.corrupted, 0);
  assertStringIncludes(stderr, "all frames that came are from others");
});

for (
  const [args, says] of [
    ["--device sim:loopback --rate 1", "--rate is for the software cards"],
    ["--device sim:loopback --pcap-in F", "--pcap-in is for the software"],
    ["--pcap-in F --rate 10", "--rate does not go with --pcap-in"],
    ["--pcap-in F --size 100", "--size does not go with --pcap-in"],
    ["--pcap-in F --seconds 1", "--seconds does not go with --pcap-in"],
  ]
) {
  Deno.test(`demo ${args} is refused`, async () => {
    const { code, stderr } = await runCli(["demo", ...args.split(" ")]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, says);
  });
}

for (const args of ["--seconds 0.1", "--device sim:loopback --seconds 0.1"]) {
  Deno.test(`demo ${args} --json prints one JSON object, and tables elsewhere`, async () => {
    const given = [...args.split(" "), "--json"];
    const { code, stdout, stderr } = await runCli(["demo", ...given]);
    assertEquals(code, 0, stderr);
    const result: Pick<DemoResult, "generated"> = JSON.parse(stdout);
    assertGreater(result.generated, 0);
    assertStringIncludes(stderr, "delivered");
  });
}

for (const queues of [1, 3, 4]) {
  Deno.test(`demo forwards on ${queues} queues`, async () => {
    const result = await demo(["--queues", `${queues}`, "--seconds", "1"]);
    assertClean(result);
    assertEquals(result.perQueue.length, queues);
    assert(result.perQueue.every(({ sent }) => sent > 0));
  });
}

Deno.test("demo counts what an overloaded card misses", async () => {
  const result = await demo(["--rate", "50000000", "--seconds", "1"]);
  assertClean(result);
  assertGreater(result.missed, 0);
});

Deno.test("demo forwards mixed sizes in small batches with every way of waiting", async () => {
  for (const timeout of ["0", "-1", "-2", "10"]) {
    const result = await demo([
      ...["--seconds", "0.5", "--size", "0", "--batch", "3"],
      `--irq-timeout=${timeout}`,
    ]);
    assertClean(result);
  }
});

Deno.test("demo runs without hugepages and without the C shim", async () => {
  const env = { IXL_HUGEPAGES: "never", IXL_NATIVE: "never" };
  assertClean(await demo(["--seconds", "0.5"], env));
});

Deno.test("demo runs in debug mode", async () => {
  assertClean(await demo(["--seconds", "0.5"], { IXL_DEBUG: "1" }));
});

requires("hugepages")("demo runs on hugepages", async () => {
  assertClean(await demo(["--seconds", "0.5"], { IXL_HUGEPAGES: "require" }));
});

requires("native")("demo runs with the C shim", async () => {
  const shim = new URL("../../native/build/libixl.so", import.meta.url);
  const env = { IXL_NATIVE: shim.pathname };
  assertClean(await demo(["--seconds", "0.5"], env));
});

Deno.test("demo forwards every frame of a capture, payloads identical", async () => {
  const folder = await Deno.makeTempDir();
  const [input, output] = [`${folder}/in.pcap`, `${folder}/out.pcap`];
  Deno.writeFileSync(input, capture(5000));
  const result = await demo(["--pcap-in", input, "--pcap-out", output]);
  assertEquals(result.generated, 5000);
  assertEquals(result.sent, 5000);
  assertEquals(result.missed, 0);
  assertClean(result);
  assertEquals(comparePcaps(input, output), { corrupted: 0, reordered: 0 });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("demo accounts for the frames of a capture that a card does not deliver", async () => {
  const folder = await Deno.makeTempDir();
  const [input, output] = [`${folder}/in.pcap`, `${folder}/out.pcap`];
  const pause = frame(1).subarray(0, 60);
  pause.set([1, 0x80, 0xc2, 0, 0, 1], 0);
  pause.set([0x88, 0x08, 0, 1], 12);
  const unknownControl = pause.slice();
  unknownControl[15] = 9;
  const strange = [
    ...[pause, unknownControl, new Uint8Array(15_900)],
    new Uint8Array(20_000),
  ];
  const frames = Array.from({ length: 9 }, (_, i) => frame(i + 1));
  Deno.writeFileSync(input, captureOf([...strange, ...frames]));
  const args = ["demo", "--pcap-in", input, "--pcap-out", output, "--json"];
  const { code, stdout, stderr } = await runCli(args);
  assertEquals(code, 0, stderr);
  const result: DemoResult = JSON.parse(stdout);
  assertClean(result);
  const { generated, sent, skipped, undelivered } = result;
  assertEquals([generated, sent, skipped], [12, 9, 1]);
  const { control, filtered, tooLong } = undelivered;
  // The card counts control frames of an unknown kind as filtered.
  assertEquals([control, filtered, tooLong], [1, 1, 1]);
  assertMatch(stderr, /not delivered: 3 of 12 frames: 1 too long, 1 kept by/);
  await Deno.remove(folder, { recursive: true });
});

requires("tcpdump")(
  "demo forwards what tcpdump wrote, and tcpdump reads the result",
  async () => {
    const folder = await Deno.makeTempDir();
    const [input, output] = [`${folder}/in.pcap`, `${folder}/out.pcap`];
    const raw = `${folder}/raw.pcap`;
    // tcpdump rewrites our frames: the file that is played is its own.
    Deno.writeFileSync(raw, capture(200));
    assert(run("tcpdump", "-r", raw, "-w", input).success);
    const result = await demo(["--pcap-in", input, "--pcap-out", output]);
    assertEquals(result.sent, 200);
    const before = summary(run("tcpdump", "-nn", "-t", "-r", input).stdout);
    const after = summary(run("tcpdump", "-nn", "-t", "-r", output).stdout);
    assertEquals(after, before);
    await Deno.remove(folder, { recursive: true });
  },
);

requires("tshark")(
  "demo forwards a pcapng capture that tshark wrote",
  async () => {
    const folder = await Deno.makeTempDir();
    const [input, output] = [`${folder}/in.pcapng`, `${folder}/out.pcap`];
    const raw = `${folder}/raw.pcap`;
    Deno.writeFileSync(raw, capture(2000));
    assert(run("tshark", "-r", raw, "-w", input).success);
    assert(isPcapng(Deno.readFileSync(input)));
    const result = await demo(["--pcap-in", input, "--pcap-out", output]);
    assertEquals(result.generated, 2000);
    assertEquals(result.sent, 2000);
    assertClean(result);
    assertEquals(comparePcaps(raw, output), { corrupted: 0, reordered: 0 });
    await Deno.remove(folder, { recursive: true });
  },
);

Deno.test("demo names a capture that does not exist, in one line", async () => {
  const { code, stderr } = await runCli(["demo", "--pcap-in", "/no/such.pcap"]);
  assertEquals(code, 1);
  assertEquals(stderr.trim().split("\n").length, 1);
  assertStringIncludes(stderr, "/no/such.pcap");
});
function run(command: string, ...args: string[]): Deno.CommandOutput {
  return new Deno.Command(command, { args }).outputSync();
}

/**
 * What tcpdump says of each packet, in an order that does not depend on which queue was faster. Ethernet pads short
 * frames to 60 octets, which tcpdump counts in the length of an ARP packet.
 */
function summary(stdout: Uint8Array): string[] {
  const text = new TextDecoder().decode(stdout).trim();
  return text.replaceAll(/^(ARP.*), length \d+$/gm, "$1").split("\n").sort();
}

/** A capture of UDP, TCP, ICMP and ARP frames of many sizes, from 42 bytes to 1514. */
function capture(frames: number): Uint8Array {
  return captureOf(Array.from({ length: frames }, (_, i) => frame(i)));
}

function captureOf(frames: readonly Uint8Array[]): Uint8Array {
  const header = encodePcapHeader();
  const pcap = decodePcapHeader(header);
  const size = frames.reduce((sum, { length }) => sum + 16 + length, 0);
  const bytes = new Uint8Array(header.length + size);
  bytes.set(header);
  let at = header.length;
  for (const [i, data] of frames.entries()) {
    at = encodePcapRecord(pcap, bytes, at, {
      seconds: 1_700_000_000 + i,
      nanoseconds: i * 1000,
      capturedLength: data.length,
    });
    bytes.set(data, at);
    at += data.length;
  }
  return bytes.subarray(0, at);
}

function frame(number: number): Uint8Array {
  const length = number % 7 === 0 ? 42 : 60 + (number * 37) % 1455;
  const bytes = Uint8Array.from({ length }, (_, i) => (number * 31 + i) & 0xff);
  const ip = number % 7 === 0 ? [0x08, 0x06] : [0x08, 0x00];
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ...ip]);
  if (number % 7 === 0) {
    bytes.set([0, 1, 8, 0, 6, 4, 0, 1], 14);
    return bytes;
  }
  const total = length - 14;
  const protocol = [17, 6, 1][number % 3];
  bytes.set([0x45, 0, total >> 8, total & 0xff, 0, 0, 0, 0, 64, protocol], 14);
  bytes.set([10, 0, 0, number % 50, 10, 0, 1, number % 9], 26);
  return bytes;
}
