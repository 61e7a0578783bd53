/** Captures that cannot be written on. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { PcapWire } from "../../../src/sim/wires/pcap.ts";
import { CaptureOutput, CaptureWriteError } from "../../../src/net/mod.ts";
import { CaptureReader } from "../../../src/net/capture_reader.ts";
import { Frame } from "../../../src/sim/frame.ts";
import { WIRE_SLOT } from "../../../src/sim/wires/wire.ts";
import { makeFrame } from "../../support/intel/sim_rig.ts";

/** A stream in memory that takes at most `step` bytes at once, and `room` in all. */
class SmallDisk {
  bytes = new Uint8Array(0);

  constructor(public room: number, readonly step = Infinity) {}

  writeSync(bytes: Uint8Array): number {
    const count = Math.min(
      bytes.length,
      this.step,
      this.room - this.bytes.length,
    );
    if (count === 0) throw new Error("No space left on device (os error 28)");
    this.bytes = new Uint8Array([...this.bytes, ...bytes.subarray(0, count)]);
    return count;
  }

  truncateSync(length: number): void {
    this.bytes = this.bytes.slice(0, length);
  }
}

const record = (length: number) => new Uint8Array(length).fill(length);

Deno.test("CaptureOutput writes on where a stream takes a part", () => {
  const disk = new SmallDisk(100, 7);
  const output = new CaptureOutput(disk, "file");
  output.append(record(20));
  output.append(record(30));
  assertEquals(disk.bytes, new Uint8Array([...record(20), ...record(30)]));
});

Deno.test("CaptureOutput leaves whole records on a full disk, and names the file and the remedy", () => {
  const disk = new SmallDisk(45, 7);
  const output = new CaptureOutput(disk, "file");
  output.append(record(20));
  const error = assertThrows(
    () => output.append(record(30)),
    CaptureWriteError,
  );
  assertEquals(error.offset, 20);
  assertMatch(
    error.message,
    /^cannot write to file: .*disk is full, make room/,
  );
  assertEquals(disk.bytes, record(20));
  disk.room = 100;
  output.append(record(30));
  assertEquals(disk.bytes, new Uint8Array([...record(20), ...record(30)]));
});

Deno.test("CaptureOutput reports a reader that has gone away", () => {
  const stream = {
    writeSync(): number {
      throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
    },
  };
  const output = new CaptureOutput(stream, "standard output");
  assertThrows(
    () => output.append(record(1)),
    CaptureWriteError,
    "cannot write to standard output: Broken pipe",
  );
});

Deno.test("PcapWire goes on when its disk is full, and says at the end what is missing", () => {
  const path = Deno.makeTempFileSync();
  const opened = Deno.openSync;
  let room = 100_000;
  // A disk of that size: what is beyond it fails as the kernel fails it.
  Deno.openSync = (name, options) => {
    const file = opened(name, options);
    const write = file.writeSync.bind(file);
    file.writeSync = (bytes) => {
      if (bytes.length > room) {
        throw new Error("No space left on device (os error 28)");
      }
      room -= bytes.length;
      return write(bytes);
    };
    return file;
  };
  const said: string[] = [];
  const { error } = console;
  console.error = (...words) => void said.push(words.join(" "));
  try {
    const wire = new PcapWire({ output: path });
    const frame = new Frame();
    const bytes = makeFrame(1000);
    frame.u8.set(bytes);
    frame.length = bytes.length;
    for (let i = 0; i < 50; i++) wire.transmit(frame);
    wire.nextPollAt(1000);
    for (let i = 0; i < 50; i++) wire.transmit(frame);
    wire.nextPollAt(2000);
    for (let i = 0; i < 7; i++) wire.transmit(frame);
    assertEquals(wire.counters[WIRE_SLOT.received], 107);
    const failure = assertThrows(() => wire.close(), CaptureWriteError);
    assertMatch(failure.message, /disk is full.*; 57 frames are not in it$/);
    wire.close();
  } finally {
    Deno.openSync = opened;
    console.error = error;
  }
  assertEquals(said.length, 1);
  assertMatch(said[0], /nothing more is written/);
  const reader = new CaptureReader(path);
  let frames = 0;
  while (reader.next()) frames++;
  reader.close();
  assertEquals(frames, 50);
  Deno.removeSync(path);
});
