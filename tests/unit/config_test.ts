import { assertEquals, assertThrows } from "@std/assert";
import {
  completeConfig,
  type DeviceOptions,
  isChosen,
} from "../../src/config.ts";
import { ConfigError } from "../../src/errors.ts";
import { parseSimAddress } from "../../src/bus/sim/address.ts";
import { parsePciAddress } from "../../src/pci/address.ts";
import { assertPlatform } from "../../src/platform.ts";
import { IxlError } from "../../src/errors.ts";

const WRONG: readonly [string, DeviceOptions][] = [
  ["queues", { queues: 0 }],
  ["queues", { queues: 1.5 }],
  ["rxDepth", { rxDepth: 63 }],
  ["rxDepth", { rxDepth: 100 }],
  ["txDepth", { txDepth: 8192 }],
  ["poolEntries", { poolEntries: -1 }],
  ["entrySize", { entrySize: 2000 }],
  ["maxFrameSize", { maxFrameSize: 20_000 }],
  ["irqTimeoutMs", { irqTimeoutMs: NaN }],
  ["interruptIntervalUs", { interruptIntervalUs: 10_000 }],
  ["linkTimeoutMs", { linkTimeoutMs: -5 }],
  ["hugepages", { hugepages: "some" as "auto" }],
  ["interrupts", { interrupts: "nmi" as "auto" }],
  ["adaptive", { adaptive: { pollAbove: 10, sleepBelow: 10 } }],
  ["adaptive", { adaptive: { windowMs: 0 } }],
  ["rss", { rss: { key: new Uint8Array(16) } }],
  ["rss", { rss: { table: [0, 0, 0] } }],
  ["rss", { queues: 2, rss: { table: [0, 2] } }],
  ["virtio", { virtio: { with: "packed" as unknown as [] } }],
  ["virtio", { virtio: { without: [1] as unknown as [] } }],
  ["virtio", { virtio: { against: [] } as Record<string, []> }],
  ["virtio", { virtio: { with: ["tso4"], without: ["tso4"] } }],
];

for (const [field, options] of WRONG) {
  const { key, table } = options.rss ?? {};
  const shown = key ? `a key of ${key.length}` : table ?? options;
  Deno.test(`completeConfig() names ${field} in ${JSON.stringify(shown)}`, () => {
    const error = assertThrows(() => completeConfig(options), ConfigError);
    assertEquals(error.field, field);
  });
}

Deno.test("completeConfig() refuses a field that does not exist", () => {
  assertThrows(
    () => completeConfig({ queue: 2 } as DeviceOptions),
    TypeError,
    "queue is no option",
  );
});

Deno.test("completeConfig() keeps what was given and fills in the rest", () => {
  const config = completeConfig({ queues: 4, adaptive: { windowMs: 10 } });
  assertEquals(config.queues, 4);
  assertEquals(config.rxDepth, 512);
  assertEquals(config.adaptive.windowMs, 10);
  assertEquals(config.adaptive.pollAbove, 20_000);
});

Deno.test("isChosen() tells what was given from what is the default", () => {
  const config = completeConfig({ rxDepth: 512 });
  assertEquals(isChosen(config, "rxDepth"), true);
  assertEquals(isChosen(config, "txDepth"), false);
});

Deno.test("parseSimAddress() reads wire, name and options", () => {
  const { wire, model } = parseSimAddress("sim:tap/ixl0?model=x540");
  assertEquals([wire.type, wire.name, model], ["tap", "ixl0", "x540"]);
  assertEquals(parseSimAddress("sim:generator?rate=5").wire.rate, 5);
});

for (
  const address of [
    "sim:",
    "sim:nothing",
    "sim:pair",
    "sim:tap/",
    "sim:generator?rate=fast",
    "sim:generator?size=99999",
    "sim:generator?colour=red",
    "sim:loopback?model=i350",
  ]
) {
  Deno.test(`parseSimAddress() refuses ${address}`, () => {
    assertThrows(() => parseSimAddress(address), IxlError);
  });
}

Deno.test("parsePciAddress() completes the domain", () => {
  assertEquals(parsePciAddress("01:00.0"), "0000:01:00.0");
  assertEquals(parsePciAddress("0000:AB:1f.7"), "0000:ab:1f.7");
  assertEquals(parsePciAddress("0000:ab:2f.7"), undefined);
});

Deno.test("assertPlatform() says where it runs", () => {
  assertPlatform("linux", "x86_64", true);
  assertPlatform("linux", "aarch64", true);
  assertThrows(() => assertPlatform("darwin", "aarch64", true), IxlError);
  assertThrows(() => assertPlatform("linux", "riscv64", true), IxlError);
  assertThrows(() => assertPlatform("linux", "x86_64", false), IxlError);
});
