import { assert, assertEquals, assertThrows } from "@std/assert";
import { Frame } from "../../../../src/sim/frame.ts";
import { compose } from "../../../../src/sim/wires/compose.ts";
import {
  FrameQueue,
  frameQueueBuffer,
} from "../../../../src/sim/wires/frame_queue.ts";
import {
  type GeneratorOptions,
  GeneratorWire,
} from "../../../../src/sim/wires/generator.ts";
import { LoopbackWire } from "../../../../src/sim/wires/loopback.ts";
import { createPair } from "../../../../src/sim/wires/pair.ts";
import { SinkWire } from "../../../../src/sim/wires/sink.ts";
import {
  type Wire,
  WIRE_COUNTER_BYTES,
  WIRE_SLOT,
} from "../../../../src/sim/wires/wire.ts";
import { makeFrame } from "../../../support/intel/sim_rig.ts";

function filled(bytes: Uint8Array): Frame {
  const frame = new Frame();
  frame.set(bytes);
  return frame;
}

function take(wire: Wire, now = 0): Uint8Array | null {
  const frame = new Frame();
  return wire.poll(frame, now) ? frame.bytes() : null;
}

function count(wire: Wire, name: keyof typeof WIRE_SLOT): number {
  return wire.counters[WIRE_SLOT[name]];
}

Deno.test("FrameQueue keeps order and content through every wrap", () => {
  const queue = new FrameQueue(frameQueueBuffer(1));
  const frame = new Frame();
  const waiting: Uint8Array[] = [];
  let state = 1;
  const random = (n: number) =>
    ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8) % n;
  let refused = 0;
  for (let round = 0; round < 20000; round++) {
    if (random(2) === 0) {
      const bytes = makeFrame(60 + random(3000));
      if (queue.push(filled(bytes))) waiting.push(bytes);
      else refused++;
    } else if (queue.pop(frame)) {
      assertEquals(frame.bytes(), waiting.shift());
    } else assertEquals(waiting.length, 0);
    assertEquals(queue.empty, waiting.length === 0);
  }
  assert(refused > 0);
});

Deno.test("createPair() carries frames both ways", () => {
  const [a, b] = createPair();
  assertEquals(take(b), null);
  assertEquals(b.nextPollAt(5), Infinity);
  a.transmit(filled(makeFrame(64)));
  a.transmit(filled(makeFrame(9000)));
  b.transmit(filled(makeFrame(70)));
  assertEquals(b.nextPollAt(5), 5);
  assertEquals(take(b), makeFrame(64));
  assertEquals(take(b), makeFrame(9000));
  assertEquals(take(b), null);
  assertEquals(take(a), makeFrame(70));
});

Deno.test("createPair() counts the frames that find it full", () => {
  const [a, b] = createPair(1);
  const frame = filled(makeFrame(1514));
  for (let i = 0; i < 100; i++) a.transmit(frame);
  const lost = count(a, "overflow");
  assert(lost > 0);
  let came = 0;
  while (take(b) !== null) came++;
  assertEquals(came + lost, 100);
});

Deno.test("LoopbackWire brings back what it is given", () => {
  const wire = new LoopbackWire();
  wire.transmit(filled(makeFrame(77)));
  assertEquals(take(wire), makeFrame(77));
  assertEquals(take(wire), null);
});

function onesSum(bytes: Iterable<number>): number {
  let sum = 0;
  let high = true;
  for (const byte of bytes) {
    sum += high ? byte << 8 : byte;
    high = !high;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

const shapes: GeneratorOptions[] = [
  { size: 60 },
  { size: 61 },
  { size: 62 },
  { size: 63 },
  { size: 64 },
  { size: 1514 },
  { size: 9001 },
  { size: 15868, flows: 3 },
  { size: "imix", flows: 1000, seed: 99 },
];

for (const shape of shapes) {
  const name = JSON.stringify(shape);
  Deno.test(`GeneratorWire makes valid UDP that the sink accepts: ${name}`, () => {
    const source = new GeneratorWire({ ...shape, count: 300 });
    const sink = new SinkWire(shape);
    for (let bytes = take(source); bytes !== null; bytes = take(source)) {
      const length = (bytes[16] << 8) | bytes[17];
      const udp = bytes.slice(34);
      assertEquals(length, bytes.length - 14);
      assertEquals((udp[4] << 8) | udp[5], udp.length);
      assertEquals(onesSum(bytes.slice(14, 34)), 0xffff);
      const pseudo = [0, 17, udp[4], udp[5], ...bytes.slice(26, 34)];
      assertEquals(onesSum([...pseudo, ...udp]), 0xffff);
      sink.transmit(filled(bytes));
    }
    assertEquals(count(source, "finished"), 1);
    assertEquals(count(source, "generated"), 300);
    assertEquals(count(sink, "received"), 300);
    for (const bad of ["corrupted", "foreign", "missing"] as const) {
      assertEquals(count(sink, bad), 0, bad);
    }
    assertEquals(
      count(source, "generatedBytes"),
      count(sink, "receivedBytes"),
    );
  });
}

Deno.test("GeneratorWire gives each flow its own addresses and ports", () => {
  const source = new GeneratorWire({ flows: 200 });
  const tuples = new Set<string>();
  for (let i = 0; i < 200; i++) tuples.add(take(source)!.slice(26, 38).join());
  assertEquals(tuples.size, 200);
});

Deno.test("GeneratorWire keeps its rate", () => {
  const source = new GeneratorWire({ rate: 1000 });
  let frames = 0;
  for (let now = 100; now < 1100; now += 0.25) {
    while (take(source, now) !== null) frames++;
  }
  assert(Math.abs(frames - 1000) <= 1, `${frames}`);
  const next = source.nextPollAt(1100);
  assert(next > 1099 && next <= 1101, `${next}`);
});

Deno.test("GeneratorWire gives up what nobody polled for, and says so", () => {
  const source = new GeneratorWire({ rate: 10000 });
  while (take(source, 0) !== null);
  let frames = 0;
  while (take(source, 10000) !== null) frames++;
  assert(frames <= 501, `${frames}`);
  assert(count(source, "late") > 99000);
});

Deno.test("GeneratorWire stops and starts by the word in its counters", () => {
  const counters = new SharedArrayBuffer(WIRE_COUNTER_BYTES);
  const source = new GeneratorWire({ counters });
  const remote = new Float64Array(counters);
  assert(take(source) !== null);
  remote[WIRE_SLOT.stop] = 1;
  assertEquals(take(source), null);
  assertEquals(source.nextPollAt(3), Infinity);
  remote[WIRE_SLOT.stop] = 0;
  assert(take(source) !== null);
  assertEquals(remote[WIRE_SLOT.generated], 2);
});

Deno.test("GeneratorWire and SinkWire check their options", () => {
  assertThrows(() => new GeneratorWire({ size: 59 }), RangeError, "size");
  assertThrows(() => new GeneratorWire({ flows: 0 }), RangeError, "flows");
  assertThrows(() => new GeneratorWire({ rate: -1 }), RangeError, "rate");
  assertThrows(() => new SinkWire({ size: 20000 }), RangeError, "size");
});

/** Frames 0 to 9 of the one flow. */
function tenFrames(size: number | "imix" = 200): Uint8Array[] {
  const source = new GeneratorWire({ flows: 1, size, count: 10 });
  return Array.from({ length: 10 }, () => take(source)!);
}

function sinkOf(frames: Uint8Array[], size: number | "imix" = 200): SinkWire {
  const sink = new SinkWire({ flows: 1, size });
  for (const frame of frames) sink.transmit(filled(frame));
  return sink;
}

Deno.test("SinkWire finds a frame that is missing", () => {
  const frames = tenFrames();
  frames.splice(4, 2);
  const sink = sinkOf(frames);
  assertEquals(count(sink, "missing"), 2);
  assertEquals(count(sink, "reordered"), 0);
});

Deno.test("SinkWire finds frames in the wrong order", () => {
  const frames = tenFrames();
  frames.splice(7, 0, ...frames.splice(2, 1));
  const sink = sinkOf(frames);
  assertEquals(count(sink, "reordered"), 1);
  assertEquals(count(sink, "missing"), 0, "the gap was filled");
  assertEquals(count(sink, "duplicated"), 0);
});

Deno.test("SinkWire finds a duplicate, at once and later", () => {
  const frames = tenFrames();
  const sink = sinkOf([...frames, frames[9], frames[3]]);
  assertEquals(count(sink, "duplicated"), 2);
  assertEquals(count(sink, "reordered"), 0);
});

Deno.test("SinkWire finds any changed bit and any swapped word", () => {
  const clean = tenFrames(103)[5];
  let found = 0;
  for (let bit = 0; bit < clean.length * 8; bit++) {
    const frame = clean.slice();
    frame[bit >> 3] ^= 1 << (bit & 7);
    const sink = sinkOf([frame], 103);
    found += count(sink, "corrupted") + count(sink, "foreign");
  }
  assertEquals(found, clean.length * 8);
  const swapped = clean.slice();
  swapped.set(clean.slice(60, 64), 68);
  swapped.set(clean.slice(68, 72), 60);
  assertEquals(count(sinkOf([swapped], 103), "corrupted"), 1);
});

Deno.test("SinkWire accepts swapped MAC addresses and nothing between", () => {
  const swap = (frame: Uint8Array) =>
    Uint8Array.from([
      ...frame.slice(6, 12),
      ...frame.slice(0, 6),
      ...frame.slice(12),
    ]);
  const sink = sinkOf(tenFrames().map(swap));
  assertEquals(count(sink, "received"), 10);
  assertEquals(count(sink, "corrupted"), 0);
  const half = swap(tenFrames()[0]);
  half.set(tenFrames()[0].slice(0, 6), 0);
  assertEquals(count(sinkOf([half]), "corrupted"), 1);
});

Deno.test("SinkWire tells foreign frames from its own", () => {
  const sink = sinkOf([makeFrame(200), tenFrames(201)[0]]);
  assertEquals(count(sink, "foreign"), 2);
  assertEquals(count(sink, "corrupted"), 0);
});

Deno.test("compose() gives from one wire and takes to another", () => {
  const source = new GeneratorWire({ flows: 1, count: 2, patient: true });
  const sink = new SinkWire({ flows: 1 });
  const wire = compose({ source, sink });
  assertEquals(wire.patient, true);
  wire.transmit(filled(take(wire)!));
  assertEquals(count(sink, "received"), 1);
  assertEquals(count(sink, "corrupted"), 0);
  wire.close();
  assertEquals(wire.nextPollAt(0), Infinity);
});

Deno.test("SinkWire takes frames of another seed for foreign, of every flow and size", () => {
  for (const size of [60, 64, "imix"] as const) {
    for (const [seed, other] of [[1, 2], [1000, 1001], [0, 7]]) {
      const traffic = { flows: 256, size };
      const source = new GeneratorWire({ ...traffic, seed });
      const sink = new SinkWire({ ...traffic, seed: other });
      const frame = new Frame();
      for (let i = 0; i < 4 * 256; i++) {
        source.poll(frame, 0);
        assert(!sink.takes(frame));
        sink.transmit(frame);
      }
      assertEquals(count(sink, "foreign"), 4 * 256, `${size}, ${seed}`);
    }
  }
});
