/** What capture files say besides frames: frame check sequences, foreign formats; and the time that frames get. */

import { assertEquals, assertThrows } from "@std/assert";
import {
  CaptureClock,
  captureRecords,
  decodePcapHeader,
  encodePcapHeader,
  PcapError,
  pcapRecords,
} from "../../../src/net/mod.ts";
import { captureOf } from "../../support/frames/capture_file.ts";

/** 60 octets and a frame check sequence of 4. */
const FRAME = Uint8Array.from({ length: 64 }, (_, i) => i);
const WITHOUT = { capturedLength: 60, originalLength: 60 };

const lengths = (records: Iterable<typeof WITHOUT>) =>
  Array.from(records, ({ capturedLength, originalLength }) => ({
    capturedLength,
    originalLength,
  }));

Deno.test("a classic capture whose header has a length of the FCS loses it", () => {
  const file = captureOf([FRAME]);
  const field = new DataView(file.buffer);
  // Bit 26: it is there; bits 28 to 31: in units of 16 bits.
  field.setUint32(20, (1 | 1 << 26 | 2 << 28) >>> 0, true);
  assertEquals(decodePcapHeader(file).fcsLength, 4);
  assertEquals(lengths(pcapRecords(file)), [WITHOUT]);
  assertEquals(lengths(captureRecords(file)), [WITHOUT]);
  const header = encodePcapHeader({ fcsLength: 4 });
  assertEquals(decodePcapHeader(header).fcsLength, 4);
  // A frame that was cut keeps what there is of it.
  field.setUint32(24 + 8, 62, true);
  const cut = file.subarray(0, file.length - 2);
  assertEquals(lengths(pcapRecords(cut)), [WITHOUT]);
  field.setUint32(24 + 8, 40, true);
  assertEquals(lengths(pcapRecords(file.subarray(0, 24 + 16 + 40))), [
    { capturedLength: 40, originalLength: 60 },
  ]);
  // Without bit 26 the length means nothing.
  field.setUint32(24 + 8, 64, true);
  field.setUint32(20, (1 | 2 << 28) >>> 0, true);
  assertEquals(lengths(pcapRecords(file)), [
    { capturedLength: 64, originalLength: 64 },
  ]);
});

function block(type: number, body: readonly number[]): Uint8Array {
  const padded = [...body, ...Array((4 - body.length % 4) % 4).fill(0)];
  const bytes = new Uint8Array(12 + padded.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  bytes.set(padded, 8);
  view.setUint32(bytes.length - 4, bytes.length, true);
  return bytes;
}

for (const [octets, value] of [[4, 4], [4, 32], [0, 0]]) {
  Deno.test(`a pcapng interface with if_fcslen ${value} loses ${octets} octets`, () => {
    const section = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, ...Array(8).fill(255)];
    const face = [1, 0, 0, 0, 0, 0, 0, 0, 13, 0, 1, 0, value, 0, 0, 0];
    const packet = [
      ...Array(12).fill(0),
      ...[64, 0, 0, 0, 64, 0, 0, 0],
      ...FRAME,
    ];
    const simple = [64, 0, 0, 0, ...FRAME];
    const file = [
      block(0x0a0d0d0a, section),
      block(1, [...face, 0, 0, 0, 0]),
      block(6, packet),
      block(3, simple),
    ];
    const bytes = Uint8Array.from(file.flatMap((part) => [...part]));
    const length = 64 - octets;
    assertEquals(
      lengths(captureRecords(bytes)),
      Array(2).fill({ capturedLength: length, originalLength: length }),
    );
  });
}

for (
  const [name, start] of [
    ['"modified" pcap', [0x34, 0xcd, 0xb2, 0xa1]],
    ['"modified" pcap', [0xa1, 0xb2, 0xcd, 0x34]],
    ["snoop", [..."snoop"].map((letter) => letter.charCodeAt(0))],
    ["compressed", [0x1f, 0x8b, 8, 0]],
    ["compressed", [0x28, 0xb5, 0x2f, 0xfd]],
  ] as const
) {
  Deno.test(`a file that is no pcap is named: ${name} (${start[0]})`, () => {
    const file = new Uint8Array(64);
    file.set(start);
    assertThrows(() => decodePcapHeader(file), PcapError, name);
  });
}

Deno.test("CaptureClock follows the time of day, also when that is set", () => {
  let wall = 1_700_000_000_000;
  let steady = 5000;
  const clock = new CaptureClock(() => Math.floor(wall), () => steady);
  const pass = (milliseconds: number) => {
    wall += milliseconds;
    steady += milliseconds;
  };
  assertEquals(clock.now(), wall);
  pass(0.25);
  assertEquals(clock.now(), 1_700_000_000_000.25);
  wall += 3_600_000;
  assertEquals(clock.now(), Math.floor(wall));
  pass(0.5);
  const later = clock.now();
  assertEquals(Math.abs(later - wall) < 1, true);
  wall -= 7_200_000;
  assertEquals(Math.abs(clock.now() - wall) < 2, true);
});
