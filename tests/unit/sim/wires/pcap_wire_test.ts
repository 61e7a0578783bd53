import { assert, assertEquals, assertThrows } from "@std/assert";
import { Frame } from "../../../../src/sim/frame.ts";
import { PcapWire } from "../../../../src/sim/wires/pcap.ts";
import { WIRE_SLOT } from "../../../../src/sim/wires/wire.ts";
import { PcapngFile } from "../../../support/frames/pcapng_file.ts";
import { makeFrame } from "../../../support/intel/sim_rig.ts";

interface FileOptions {
  little?: boolean;
  nano?: boolean;
  linkType?: number;
}

/** A capture written by hand: one frame each millisecond. */
function pcapFile(frames: Uint8Array[], options: FileOptions = {}): Uint8Array {
  const { little = true, nano = false, linkType = 1 } = options;
  const size = frames.reduce((sum, f) => sum + 16 + f.length, 24);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const header = [nano ? 0xa1b23c4d : 0xa1b2c3d4, 0, 0, 0, 65535, linkType];
  header.forEach((word, i) => view.setUint32(i * 4, word, little));
  view.setUint16(4, 2, little);
  view.setUint16(6, 4, little);
  let at = 24;
  frames.forEach((frame, i) => {
    const record = [1000, i * (nano ? 1e6 : 1e3), frame.length, frame.length];
    record.forEach((word, k) => view.setUint32(at + k * 4, word, little));
    bytes.set(frame, at + 16);
    at += 16 + frame.length;
  });
  return bytes;
}

function withFile(bytes: Uint8Array, use: (path: string) => void): void {
  const path = Deno.makeTempFileSync({ suffix: ".pcap" });
  try {
    Deno.writeFileSync(path, bytes);
    use(path);
  } finally {
    Deno.removeSync(path);
  }
}

function playAll(wire: PcapWire, now = 0): Uint8Array[] {
  const frame = new Frame();
  const all: Uint8Array[] = [];
  while (wire.poll(frame, now)) all.push(frame.bytes());
  return all;
}

const frames = [60, 61, 1514, 99, 9000].map((size) => makeFrame(size));

for (const little of [true, false]) {
  for (const nano of [true, false]) {
    const name = `${little ? "little" : "big"}-endian, ${nano ? "n" : "µ"}s`;
    Deno.test(`PcapWire plays a file, ${name}`, () => {
      withFile(pcapFile(frames, { little, nano }), (path) => {
        const wire = new PcapWire({ input: path });
        assertEquals(wire.patient, true);
        assertEquals(playAll(wire), frames);
        assertEquals(wire.counters[WIRE_SLOT.finished], 1);
        assertEquals(wire.nextPollAt(0), Infinity);
        wire.close();
      });
    });
    Deno.test(`PcapWire keeps the recorded times, ${name}`, () => {
      withFile(pcapFile(frames, { little, nano }), (path) => {
        const wire = new PcapWire({ input: path, timing: "recorded" });
        assertEquals(playAll(wire, 50).length, 1);
        const next = wire.nextPollAt(50);
        assert(Math.abs(next - 51) < 1e-6, `${next}`);
        assertEquals(playAll(wire, 52.5).length, 2);
        assertEquals(playAll(wire, 60).length, 2);
        wire.close();
      });
    });
  }
}

Deno.test("PcapWire plays files longer than its buffer", () => {
  const many = Array.from({ length: 2000 }, (_, i) => makeFrame(60 + i % 1400));
  withFile(pcapFile(many), (path) => {
    const wire = new PcapWire({ input: path });
    assertEquals(playAll(wire), many);
    wire.close();
  });
});

Deno.test("PcapWire pads short frames and leaves out what is too long", () => {
  const odd = [makeFrame(42), makeFrame(20000), makeFrame(60)];
  withFile(pcapFile(odd), (path) => {
    const wire = new PcapWire({ input: path });
    const played = playAll(wire);
    assertEquals(played.map((f) => f.length), [60, 60]);
    assertEquals(played[0].slice(0, 42), odd[0]);
    assertEquals(wire.counters[WIRE_SLOT.skipped], 1);
    wire.close();
  });
});

Deno.test("PcapWire writes what another plays", () => {
  withFile(new Uint8Array(0), (path) => {
    const writer = new PcapWire({ output: path });
    const frame = new Frame();
    const many = Array.from({ length: 500 }, (_, i) => makeFrame(60 + i * 3));
    for (const bytes of many) {
      frame.set(bytes);
      writer.transmit(frame);
    }
    writer.close();
    const reader = new PcapWire({ input: path });
    assertEquals(playAll(reader), many);
    reader.close();
  });
});

/** The same as a pcapng file: one frame each millisecond. */
function pcapngFile(frames: Uint8Array[], little = true): PcapngFile {
  const file = new PcapngFile(little).interface();
  frames.forEach((frame, i) => {
    file.packet(frame, { time: 1_000_000_000n + BigInt(i) * 1000n });
  });
  return file;
}

for (const little of [true, false]) {
  const name = `pcapng, ${little ? "little" : "big"}-endian`;
  Deno.test(`PcapWire plays a file, ${name}`, () => {
    withFile(pcapngFile(frames, little).bytes(), (path) => {
      const wire = new PcapWire({ input: path });
      assertEquals(playAll(wire), frames);
      assertEquals(wire.counters[WIRE_SLOT.finished], 1);
      wire.close();
    });
  });
  Deno.test(`PcapWire keeps the recorded times, ${name}`, () => {
    withFile(pcapngFile(frames, little).bytes(), (path) => {
      const wire = new PcapWire({ input: path, timing: "recorded" });
      assertEquals(playAll(wire, 50).length, 1);
      const next = wire.nextPollAt(50);
      assert(Math.abs(next - 51) < 1e-6, `${next}`);
      assertEquals(playAll(wire, 52.5).length, 2);
      assertEquals(playAll(wire, 60).length, 2);
      wire.close();
    });
  });
}

Deno.test("PcapWire plays a pcapng file with blocks longer than its buffer", () => {
  const many = Array.from({ length: 400 }, (_, i) => makeFrame(60 + i * 3));
  const file = pcapngFile(many).block(4, new Uint8Array(1 << 20));
  file.packet(frames[0]).block(0x80000001).packet(frames[1]);
  withFile(file.bytes(), (path) => {
    const wire = new PcapWire({ input: path });
    assertEquals(playAll(wire), [...many, frames[0], frames[1]]);
    wire.close();
  });
});

Deno.test("PcapWire gives a frame without a time with the one before it", () => {
  const file = new PcapngFile().interface().simplePacket(frames[0])
    .packet(frames[1], { time: 9_000_000_000n }).simplePacket(frames[2])
    .packet(frames[3], { time: 9_000_002_000n });
  withFile(file.bytes(), (path) => {
    const wire = new PcapWire({ input: path, timing: "recorded" });
    assertEquals(playAll(wire, 50), frames.slice(0, 3));
    assertEquals(playAll(wire, 52.5), [frames[3]]);
    wire.close();
  });
});

Deno.test("PcapWire says what is wrong with a pcapng file", () => {
  const file = pcapngFile(frames).bytes();
  const usb = new PcapngFile().interface({ linkType: 220 }).packet(frames[0]);
  const wrong: [Uint8Array, string][] = [
    [file.slice(0, 20), "the file is cut short in the block at octet 0"],
    [file.slice(0, file.length - 1), "cut short"],
    [usb.bytes(), "link type is 220"],
  ];
  for (const [bytes, message] of wrong) {
    withFile(bytes, (path) => {
      const make = () => new PcapWire({ input: path });
      const error = assertThrows(make, Error, message);
      assert(error.message.startsWith(`${path}: `), error.message);
    });
  }
});

Deno.test("PcapWire says what is wrong with a file", () => {
  const file = pcapFile(frames);
  const wrong: [Uint8Array, string][] = [
    [new Uint8Array(0), "pcap"],
    [new Uint8Array(100), "pcap"],
    [file.slice(0, 20), "pcap"],
    [file.slice(0, file.length - 1), "cut short"],
    [file.slice(0, 24 + 10), "cut short"],
    [pcapFile(frames, { linkType: 113 }), "link type is 113"],
  ];
  for (const [bytes, message] of wrong) {
    withFile(bytes, (path) => {
      assertThrows(() => new PcapWire({ input: path }), Error, message);
    });
  }
  assertThrows(
    () => new PcapWire({ input: "/nonexistent.pcap" }),
    Deno.errors.NotFound,
  );
});
