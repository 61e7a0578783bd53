import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  CAPTURE_WINDOW,
  captureDecoder,
  captureRecords,
  encodePcapHeader,
  encodePcapRecord,
  PCAP_MAX_SNAP_LENGTH,
  PCAP_RECORD_LENGTH,
  PcapError,
  type PcapHeader,
  type PcapRecord,
} from "../../../src/net/mod.ts";
import { fromHex } from "../../support/frames/hex.ts";
import { PcapngFile } from "../../support/frames/pcapng_file.ts";
import { requires } from "../../support/runner/requirements.ts";

/** A frame of 5 octets of 64, at 1 s and 500 µs, written down by hand. */
const BY_HAND: Record<string, string> = {
  "little-endian": `
    0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffff ffffffff 1c000000
    01000000 14000000 0100 0000 00000400 14000000
    06000000 28000000 00000000 00000000 34440f00 05000000 40000000
             cafebabe 01000000 28000000`,
  "big-endian": `
    0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffff ffffffff 0000001c
    00000001 00000014 0001 0000 00040000 00000014
    00000006 00000028 00000000 00000000 000f4434 00000005 00000040
             cafebabe 01000000 00000028`,
};

for (const [order, file] of Object.entries(BY_HAND)) {
  Deno.test(`captureRecords() reads a pcapng file, ${order}`, () => {
    assertEquals([...captureRecords(fromHex(file))], [{
      seconds: 1,
      nanoseconds: 500_000,
      offset: 76,
      capturedLength: 5,
      originalLength: 64,
    }]);
  });
}

const ALICE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7);
const BOB = Uint8Array.of(8, 9, 10, 11);

function framesOf(file: Uint8Array): Uint8Array[] {
  return [...captureRecords(file)].map(({ offset, capturedLength }) =>
    file.slice(offset, offset + capturedLength)
  );
}

Deno.test("captureRecords() reads classic files too", () => {
  const file = classic([ALICE, BOB], { nanoseconds: true });
  assertEquals(framesOf(file), [ALICE, BOB]);
});

Deno.test("captureRecords() reads every kind of packet block", () => {
  for (const littleEndian of [true, false]) {
    const file = new PcapngFile(littleEndian).interface({ snapLength: 6 })
      .packet(ALICE, { time: 1_000_001n, originalLength: 99 })
      .oldPacket(BOB, { time: 2_000_000n })
      .simplePacket(ALICE.subarray(0, 6), 1000)
      .simplePacket(BOB)
      .bytes();
    assertEquals(framesOf(file), [ALICE, BOB, ALICE.slice(0, 6), BOB]);
    const records = [...captureRecords(file)];
    assertEquals(records.map((r) => r.seconds), [1, 2, NaN, NaN]);
    assertEquals(records.map((r) => r.nanoseconds), [1000, 0, 0, 0]);
    assertEquals(records.map((r) => r.originalLength), [99, 4, 1000, 4]);
  }
});

Deno.test("captureRecords() passes over other blocks, and over options", () => {
  const comment = [1, new TextEncoder().encode("hello")] as const;
  const file = new PcapngFile()
    .block(0x0000000a, Uint8Array.of(1, 2, 3, 4))
    .interface({ options: [comment, [2, BOB]] })
    .block(0x80000001)
    .packet(ALICE, { options: [comment] })
    .block(5, new Uint8Array(300))
    .bytes();
  assertEquals(framesOf(file), [ALICE]);
});

Deno.test("captureRecords() reads sections of different byte orders, each with its own interfaces", () => {
  const first = new PcapngFile(true).interface({ linkType: 113 }).interface()
    .packet(ALICE, { interface: 1 }).bytes();
  const second = new PcapngFile(false).interface()
    .packet(BOB, { interface: 0 }).bytes();
  const both = new Uint8Array([...first, ...second]);
  assertEquals(framesOf(both), [ALICE, BOB]);
  const broken = new PcapngFile().interface().section(2).packet(ALICE).bytes();
  assertThrows(
    () => framesOf(broken),
    PcapError,
    "is a packet of interface 0, but its section describes 0 before it",
  );
});

Deno.test("captureRecords() reads a view that begins inside its buffer", () => {
  const file = new PcapngFile().interface().packet(ALICE).bytes();
  const shifted = new Uint8Array(file.length + 3);
  shifted.set(file, 3);
  assertEquals(framesOf(shifted.subarray(3)), [ALICE]);
});

const BINARY = 0x80;

/** if_tsresol, ticks, and the time they mean. */
const TIMES: [number, bigint, seconds: number, nanoseconds: number][] = [
  [0, 1_700_000_000n, 1_700_000_000, 0],
  [3, 1_700_000_000_123n, 1_700_000_000, 123_000_000],
  [6, 1_700_000_000_123_456n, 1_700_000_000, 123_456_000],
  [9, 1_700_000_000_999_999_999n, 1_700_000_000, 999_999_999],
  [9, 1_700_000_000_000_000_001n, 1_700_000_000, 1],
  [9, 0xffff_ffff_ffff_ffffn, 18_446_744_073, 709_551_615],
  [12, 1_700_000_000_000_999n, 1700, 0],
  [12, 1_700_123_456_789_999n, 1700, 123_456_789],
  [13, 17_000_000_000_000_000n, 1700, 0],
  [15, 1_700_123_456_789_500_000n, 1700, 123_456_789],
  [127, 0xffff_ffff_ffff_ffffn, 0, 0],
  [BINARY | 0, 5n, 5, 0],
  [BINARY | 10, 1536n, 1, 500_000_000],
  [BINARY | 32, (1_700_000_000n << 32n) | (1n << 31n), 1_700_000_000, 5e8],
  [BINARY | 45, (3n << 45n) | (1n << 43n), 3, 250_000_000],
  [BINARY | 60, (15n << 60n) | (1n << 59n), 15, 500_000_000],
  [BINARY | 127, 0xffff_ffff_ffff_ffffn, 0, 0],
];

for (const [resolution, time, seconds, nanoseconds] of TIMES) {
  const power = `${resolution & BINARY ? 2 : 10}^-${resolution & ~BINARY} s`;
  Deno.test(`captureRecords() reads ${time} times ${power}`, () => {
    for (const littleEndian of [true, false]) {
      const options = [[9, Uint8Array.of(resolution)] as const];
      const file = new PcapngFile(littleEndian).interface({ options })
        .packet(ALICE, { time }).bytes();
      const [record] = captureRecords(file);
      assertEquals(record.seconds, seconds);
      assertEquals(record.nanoseconds, nanoseconds);
    }
  });
}

Deno.test("captureRecords() adds the interface's offset to its times", () => {
  const options = [[14, fromHex("feffffff ffffffff")] as const];
  const file = new PcapngFile().interface({ options })
    .packet(ALICE, { time: 5_000_000n }).bytes();
  assertEquals([...captureRecords(file)][0].seconds, 3);
});

const sound = (): PcapngFile => new PcapngFile().interface();
const huge = 0xfffffffc;

const WRONG: Record<string, [file: Uint8Array, message: string, at: number]> = {
  "a section without a byte order": [
    fromHex("0a0d0d0a 1c000000 4d3c2b1b 0100 0000" + "00".repeat(12)),
    "without a byte order",
    0,
  ],
  "a version of the future": [
    new PcapngFile().section(3).bytes(),
    "unknown version 1.3 of the format: 1.0 is expected",
    28,
  ],
  "a block shorter than a block": [
    new PcapngFile().block(77, [], { length: 8 }).bytes(),
    "claims to be 8 octets long",
    28,
  ],
  "a length that is no multiple of 4": [
    new PcapngFile().block(77, [1, 2]).bytes(),
    "claims to be 14 octets long",
    28,
  ],
  "a section header too short for one": [
    fromHex("0a0d0d0a 18000000 4d3c2b1a 0100 0000" + "00".repeat(8)),
    "claims to be 24 octets long: a multiple of 4 that is at least 28",
    0,
  ],
  "an interface too short for one": [
    new PcapngFile().block(1).bytes(),
    "at least 20",
    28,
  ],
  "a packet too short for one": [
    sound().block(6, new Uint8Array(16)).bytes(),
    "at least 32",
    48,
  ],
  "a simple packet too short for one": [
    sound().block(3).bytes(),
    "at least 16",
    48,
  ],
  "lengths that differ": [
    sound().block(77, BOB, { trailer: 20 }).bytes(),
    "is 16 octets long, and 20 at its end",
    48,
  ],
  "a block that goes beyond the end of the file": [
    sound().block(77, BOB, { length: huge }).bytes(),
    "cut short in the block at octet 48: 16 octets are left of it",
    48,
  ],
  "an unknown interface": [
    sound().packet(ALICE, { interface: 1 }).bytes(),
    "is a packet of interface 1, but its section describes 1 before it",
    48,
  ],
  "a simple packet without an interface": [
    new PcapngFile().simplePacket(ALICE).bytes(),
    "is a packet of interface 0",
    28,
  ],
  "a packet that is no Ethernet frame": [
    new PcapngFile().interface({ linkType: 113 }).packet(ALICE).bytes(),
    "link type is 113, not Ethernet (1)",
    48,
  ],
  "a frame longer than its block": [
    sound().block(6, fromHex("00".repeat(12) + "05000000 05000000 cafebabe"))
      .bytes(),
    "claims a frame of 5 octets, with room for 4",
    48,
  ],
  "a simple frame longer than its block": [
    sound().simplePacket(BOB, 5).bytes(),
    "claims a frame of 5 octets, with room for 4",
    48,
  ],
  "a frame longer than any": [
    sound().packet(new Uint8Array(PCAP_MAX_SNAP_LENGTH + 1)).bytes(),
    `claims a frame of ${PCAP_MAX_SNAP_LENGTH + 1} octets`,
    48,
  ],
  "an option beyond its block": [
    new PcapngFile().block(1, fromHex("01000000 00000000 02000500 cafebabe"))
      .bytes(),
    "option 2 at octet 44 claims 5 octets, beyond the end of its block",
    44,
  ],
  "a resolution of two octets": [
    new PcapngFile().interface({ options: [[9, Uint8Array.of(6, 6)]] }).bytes(),
    "option 9 at octet 44 claims 2 octets, not 1",
    44,
  ],
  "an offset of four octets": [
    new PcapngFile().interface({ options: [[14, BOB]] }).bytes(),
    "option 14 at octet 44 claims 4 octets, not 8",
    44,
  ],
  "an endless interface": [
    new PcapngFile().block(1, BOB, { length: huge }).bytes(),
    `describes an interface in ${huge} octets`,
    28,
  ],
};

for (const [what, [file, message, offset]] of Object.entries(WRONG)) {
  Deno.test(`captureRecords() reports ${what}`, () => {
    const error = assertThrows(() => framesOf(file), PcapError, message);
    assertEquals(error.offset, offset);
  });
}

Deno.test("captureRecords() reports too many interfaces", () => {
  const [section, one] = [new PcapngFile().bytes(), sound().bytes().slice(28)];
  const file = new Uint8Array(section.length + one.length * 65537);
  file.set(section);
  for (let i = 0; i < 65537; i++) file.set(one, 28 + i * one.length);
  assertThrows(() => framesOf(file), PcapError, "is interface 65537");
});

Deno.test("captureRecords() reports other link types of classic files", () => {
  const file = encodePcapHeader({ linkType: 113 });
  assertThrows(() => framesOf(file), PcapError, "link type is 113");
});

Deno.test("captureRecords() reports a file cut short anywhere but between blocks", () => {
  const file = everything(true);
  const whole = [...captureRecords(file)];
  let sound = 0;
  for (let length = 0; length < file.length; length++) {
    try {
      const some = [...captureRecords(file.subarray(0, length))];
      assertEquals(some, whole.slice(0, some.length));
      sound++;
    } catch (error) {
      assert(error instanceof PcapError, `${error}`);
    }
  }
  // The ten blocks of the file, less the last.
  assertEquals(sound, 9);
});

/** A file with a block of each kind. */
function everything(littleEndian: boolean): Uint8Array<ArrayBuffer> {
  return new PcapngFile(littleEndian)
    .interface({ snapLength: 64, options: [[9, Uint8Array.of(9)], [2, BOB]] })
    .packet(ALICE, { time: 1_700_000_000_000_000_001n, options: [[1, BOB]] })
    .simplePacket(BOB)
    .block(4, new Uint8Array(40))
    .interface({ options: [[9, Uint8Array.of(BINARY | 20)]] })
    .oldPacket(BOB, { interface: 1, time: 3n << 20n })
    .section()
    .interface()
    .packet(BOB)
    .bytes();
}

function classic(
  frames: Uint8Array[],
  form: Partial<PcapHeader> = {},
): Uint8Array<ArrayBuffer> {
  const header = { littleEndian: true, nanoseconds: false, ...form };
  const start = encodePcapHeader(header);
  const total = frames.reduce((sum, { length }) => sum + 16 + length, 24);
  const bytes = new Uint8Array(total);
  bytes.set(start);
  let at = start.length;
  frames.forEach((frame, i) => {
    const capturedLength = frame.length;
    const time = { seconds: 1_700_000_000 + i, nanoseconds: 123_456_000 };
    encodePcapRecord(header, bytes, at, { ...time, capturedLength });
    bytes.set(frame, at + PCAP_RECORD_LENGTH);
    at += PCAP_RECORD_LENGTH + frame.length;
  });
  return bytes;
}

/** The same numbers for the same seed, everywhere. */
function randomFrom(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Where records and the error, if any, are in a file. */
interface Found {
  records: PcapRecord[];
  error: string;
}

function found(decode: (records: PcapRecord[]) => void): Found {
  const records: PcapRecord[] = [];
  try {
    decode(records);
    return { records, error: "" };
  } catch (error) {
    assert(error instanceof PcapError, `${error}`);
    return { records, error: `${error.offset}: ${error.message}` };
  }
}

/** Reads a file through a window into which it comes in pieces. */
function inPieces(
  file: Uint8Array,
  piece: () => number,
  records: PcapRecord[],
): void {
  const decoder = captureDecoder(file.subarray(0, 24));
  const window = new Uint8Array(CAPTURE_WINDOW);
  const view = new DataView(window.buffer);
  let [done, read, from, to] = [0, 0, 0, 0];
  for (;;) {
    const length = decoder.decode(view, from, to);
    assert(length > 0 && length <= CAPTURE_WINDOW);
    if (length <= to - from) {
      from += length;
      done += length;
      if (!decoder.found) continue;
      const offset = decoder.record.offset + done - from;
      records.push({ ...decoder.record, offset });
      continue;
    }
    if (read === file.length) break;
    window.copyWithin(0, from, to);
    [from, to] = [0, to - from];
    const more = file.subarray(read, read + Math.max(1, piece()));
    window.set(more, to);
    to += more.length;
    read += more.length;
  }
  decoder.end(to - from);
}

const CURIOUS = [0, 1, 2, 3, 4, 6, 8, 12, 28, 32, 0x7fffffff, 0xfffffffc];

function damage(file: Uint8Array, random: (n: number) => number): Uint8Array {
  const bytes = file.slice();
  const view = new DataView(bytes.buffer);
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(bytes.length - 4);
    if (random(2) === 0) bytes[at] = random(256);
    else {
      const value = CURIOUS[random(CURIOUS.length)];
      view.setUint32(at & ~3, value, random(2) === 0);
    }
  }
  return random(4) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
}

const VICTIMS: Record<string, Uint8Array> = {
  "a little-endian pcapng file": everything(true),
  "a big-endian pcapng file": everything(false),
  "a classic file": classic([ALICE, BOB, ALICE]),
};

for (const [what, victim] of Object.entries(VICTIMS)) {
  Deno.test(`captureRecords() survives damage to ${what}, and finds the same in pieces`, () => {
    const random = randomFrom(victim.length);
    let errors = 0;
    for (let round = 0; round < 20_000; round++) {
      const file = damage(victim, random);
      const whole = found((records) => {
        for (const record of captureRecords(file)) {
          assert(record.offset + record.capturedLength <= file.length);
          records.push(record);
          assert(records.length <= file.length);
        }
      });
      if (whole.error) errors++;
      if (round % 20 > 0) continue;
      const pieces = found((r) => inPieces(file, () => random(40), r));
      assertEquals(pieces, whole);
    }
    assert(errors > 1000, `${errors}`);
  });
}

async function tshark(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("tshark", { args })
    .output();
  assert(success, new TextDecoder().decode(stderr));
}

function withFolder(body: (folder: string) => Promise<void>) {
  return async () => {
    const folder = await Deno.makeTempDir();
    try {
      await body(folder);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
}

const testWithTshark = requires("tshark");
const FRAMES = Array.from(
  { length: 50 },
  (_, i) => Uint8Array.from({ length: 60 + i * 29 }, (_, k) => (i + k) & 0xff),
);

/** Frames and times, wherever they are in the file. */
function contents(file: Uint8Array): unknown[] {
  return [...captureRecords(file)].map(({ offset, ...record }) => ({
    ...record,
    frame: file.slice(offset, offset + record.capturedLength),
  }));
}

for (const nanoseconds of [false, true]) {
  const unit = nanoseconds ? "nanoseconds" : "microseconds";
  testWithTshark(
    `captureRecords() reads the pcapng and the pcap that tshark wrote, ${unit}`,
    withFolder(async (folder) => {
      const written = classic(FRAMES, { nanoseconds });
      const [from, ng, old] = ["in.pcap", "out.pcapng", "out.pcap"]
        .map((name) => `${folder}/${name}`);
      await Deno.writeFile(from, written);
      await tshark("-r", from, "-w", ng);
      const format = nanoseconds ? "nsecpcap" : "pcap";
      await tshark("-r", ng, "-F", format, "-w", old);
      const file = await Deno.readFile(ng);
      assertEquals(file.slice(0, 4), fromHex("0a0d0d0a"));
      assertEquals(contents(file), contents(written));
      assertEquals(contents(await Deno.readFile(old)), contents(written));
    }),
  );
}

testWithTshark(
  "tshark and captureRecords() read the same from every kind of block",
  withFolder(async (folder) => {
    const path = `${folder}/in.pcapng`;
    for (const littleEndian of [true, false]) {
      const options = [[9, Uint8Array.of(BINARY | 20)] as const];
      const file = new PcapngFile(littleEndian).interface({ options })
        .packet(FRAMES[0], { time: (3n << 20n) | (1n << 19n) })
        .oldPacket(FRAMES[1], { time: 4n << 20n })
        .block(0x80000001, FRAMES[0])
        .section()
        .interface({
          options: [[9, Uint8Array.of(9)], [14, offset(littleEndian, 7)]],
        })
        .packet(FRAMES[2], { time: 1_700_000_000_000_000_001n })
        .bytes();
      await Deno.writeFile(path, file);
      const args = ["-r", path, "-T", "fields", "-e", "frame.time_epoch"];
      const { stdout } = await new Deno.Command("tshark", {
        args: [...args, "-e", "frame.cap_len"],
      }).output();
      const ours = [...captureRecords(file)].map((r) =>
        `${r.seconds}.${String(r.nanoseconds).padStart(9, "0")}\t` +
        r.capturedLength
      );
      const theirs = new TextDecoder().decode(stdout).trim().split("\n");
      assertEquals(ours, theirs);
    }
  }),
);

function offset(littleEndian: boolean, seconds: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(seconds), littleEndian);
  return bytes;
}
