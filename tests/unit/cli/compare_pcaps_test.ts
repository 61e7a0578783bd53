/** What went into a forwarder beside what came out. */

import { assertEquals } from "@std/assert";
import { comparePcaps } from "../../../src/cli/compare_pcaps.ts";
import { swapMacs } from "../../../src/net/mod.ts";
import { captureOf } from "../../support/frames/capture_file.ts";

const NOTHING = { corrupted: 0, reordered: 0 };

/** Writes two captures, the second with its addresses swapped, and compares them. */
function compare(
  given: readonly Uint8Array[],
  back: readonly Uint8Array[],
  window?: number,
): { corrupted: number; reordered: number } {
  const folder = Deno.makeTempDirSync();
  const [a, b] = [`${folder}/in.pcap`, `${folder}/out.pcap`];
  Deno.writeFileSync(a, captureOf(given));
  Deno.writeFileSync(
    b,
    captureOf(back.map((frame) => {
      const copy = frame.slice();
      swapMacs(copy, 0);
      return copy;
    })),
  );
  try {
    return comparePcaps(a, b, window);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

interface Packet {
  /** IPv4's identification, as it counts up in real traffic. */
  readonly id?: number;
  readonly port?: number;
  readonly tags?: number;
  readonly version?: 4 | 6;
  /** IPv6 extension headers before UDP. */
  readonly extensions?: number;
  readonly host?: number;
}

/** A UDP packet. */
function packet(packet: Packet): Uint8Array {
  const { id = 0, port = 1, tags = 0, version = 4 } = packet;
  const { extensions = 0, host = 1 } = packet;
  const bytes = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
  for (let i = 0; i < tags; i++) bytes.push(0x81, 0, 0, i + 1);
  if (version === 4) {
    bytes.push(8, 0, 0x45, 0, 0, 60, id >> 8, id & 255, 0, 0, 64, 17);
    // The header's checksum depends on the identification.
    bytes.push(255 - (id >> 8), 255 - (id & 255));
    bytes.push(10, 0, 0, host, 10, 0, 0, 2);
  } else {
    bytes.push(0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, extensions > 0 ? 0 : 17, 64);
    bytes.push(...Array(15).fill(0xfe), host, ...Array(16).fill(0xfd));
    for (let i = extensions; i > 0; i--) {
      bytes.push(i > 1 ? 60 : 17, 0, id >> 8, id & 255, 0, 0, 0, 0);
    }
  }
  bytes.push(port >> 8, port & 255, 0, 53, 0, 30, 0, 0, id >> 8, id & 255);
  while (bytes.length < 60) bytes.push(0);
  return Uint8Array.from(bytes);
}

const KINDS: Readonly<Record<string, Packet>> = {
  "IPv4": {},
  "IPv4 behind a tag": { tags: 1 },
  "IPv4 behind two tags": { tags: 2 },
  "IPv6": { version: 6 },
  "IPv6 with extension headers": { version: 6, extensions: 2 },
};

for (const [kind, fields] of Object.entries(KINDS)) {
  Deno.test(`a flow that came out backwards is reordered: ${kind}`, () => {
    const flow = Array.from(
      { length: 10 },
      (_, id) => packet({ ...fields, id }),
    );
    assertEquals(compare(flow, flow), NOTHING);
    assertEquals(compare(flow, flow.toReversed()).reordered, 9);
  });

  Deno.test(`other flows may pass each other: ${kind}`, () => {
    const frames = Array.from(
      { length: 10 },
      (_, id) => packet({ ...fields, id, port: 100 + id }),
    );
    assertEquals(compare(frames, frames.toReversed()), NOTHING);
    const hosts = Array.from(
      { length: 10 },
      (_, id) => packet({ ...fields, id, host: id }),
    );
    assertEquals(compare(hosts, hosts.toReversed()), NOTHING);
  });
}

Deno.test("each wrong byte is found, wherever it is", () => {
  const frames = Array.from({ length: 60 }, (_, id) => packet({ id }));
  const spoilt = frames.map((frame, i) => {
    const copy = frame.slice();
    copy[i] ^= 1;
    return copy;
  });
  assertEquals(compare(frames, spoilt).corrupted, 60);
});

Deno.test("short frames come out padded, equal ones in any number", () => {
  const short = packet({ id: 1 }).subarray(0, 42);
  const padded = new Uint8Array(60);
  padded.set(short);
  assertEquals(compare([short, short], [padded, padded]), NOTHING);
  assertEquals(compare([short, short], [padded, padded, padded]), {
    corrupted: 1,
    reordered: 0,
  });
});

Deno.test("the memory is bounded: lost frames are given up, and those after them are found", () => {
  const frames = Array.from({ length: 5000 }, (_, id) => packet({ id }));
  const window = 64;
  // Every third is lost, which are more than are kept.
  const back = frames.filter((_, i) => i % 3 !== 0);
  assertEquals(compare(frames, back, window), NOTHING);
  // A gap that is shorter than what is looked ahead.
  const gap = [...frames.slice(0, 1000), ...frames.slice(1030)];
  assertEquals(compare(frames, gap, window), NOTHING);
  // A frame that nobody sent does not make those after it wrong.
  const foreign = frames.with(2000, packet({ id: 1, port: 9999 }));
  assertEquals(compare(frames, foreign, window), {
    corrupted: 1,
    reordered: 0,
  });
});
