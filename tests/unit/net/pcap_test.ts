import { assertEquals, assertThrows } from "@std/assert";
import {
  decodePcapHeader,
  decodePcapRecord,
  encodePcapHeader,
  encodePcapRecord,
  ETHER_TYPE,
  IP_PROTOCOL,
  IPV6_FIELD,
  PCAP_RECORD_LENGTH,
  PcapError,
  type PcapHeader,
  pcapRecords,
  pseudoHeaderIpv4,
  pseudoHeaderIpv6,
  writeEthernet,
  writeIpv4,
  writeTransportChecksum,
  writeU16,
  writeUdp,
} from "../../../src/net/mod.ts";
import { fromHex } from "../../support/frames/hex.ts";
import { requires } from "../../support/runner/requirements.ts";

/** The same 4-octet frame, at 1 s and 500 µs, in each of the four forms of file. */
const FORMS: Record<string, { header: Partial<PcapHeader>; file: string }> = {
  "little-endian microseconds": {
    header: { littleEndian: true, nanoseconds: false },
    file: `d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000
      01000000 f4010000 04000000 40000000 cafebabe`,
  },
  "big-endian microseconds": {
    header: { littleEndian: false, nanoseconds: false },
    file: `a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001
      00000001 000001f4 00000004 00000040 cafebabe`,
  },
  "little-endian nanoseconds": {
    header: { littleEndian: true, nanoseconds: true },
    file: `4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000
      01000000 20a10700 04000000 40000000 cafebabe`,
  },
  "big-endian nanoseconds": {
    header: { littleEndian: false, nanoseconds: true },
    file: `a1b23c4d 0002 0004 00000000 00000000 00040000 00000001
      00000001 0007a120 00000004 00000040 cafebabe`,
  },
};

const RECORD = {
  seconds: 1,
  nanoseconds: 500_000,
  capturedLength: 4,
  originalLength: 64,
};

for (const [form, { header, file }] of Object.entries(FORMS)) {
  Deno.test(`pcapRecords() reads ${form}`, () => {
    assertEquals([...pcapRecords(fromHex(file))], [{ ...RECORD, offset: 40 }]);
  });

  Deno.test(`encodePcapHeader() and encodePcapRecord() write ${form}`, () => {
    const expected = fromHex(file);
    const bytes = new Uint8Array(expected.length);
    const start = encodePcapHeader(header);
    bytes.set(start);
    const decoded = decodePcapHeader(start);
    bytes.set(
      fromHex("cafebabe"),
      encodePcapRecord(decoded, bytes, 24, RECORD),
    );
    assertEquals(bytes, expected);
  });
}

const GOOD = fromHex(FORMS["little-endian microseconds"].file);

const FOREIGN: Record<string, [file: string, message: string]> = {
  "an empty file": ["", "the file is empty"],
  "a pcapng file": ["0a0d0d0a 1c000000 4d3c2b1a", "captureRecords() and"],
  "a compressed file": ["1f8b0800 00000000", "this file is compressed"],
  "something else": ["7f454c46 02010100", "begins with 7f 45 4c 46"],
  "three octets": ["d4c3b2", "too short for a capture"],
  "a header cut short": ["d4c3b2a1 0200 0400", "8 of 24 octets"],
  "a version of the future": [
    "d4c3b2a1 0300 0000 00000000 00000000 00000400 01000000",
    "version 3.0",
  ],
};

for (const [what, [file, message]] of Object.entries(FOREIGN)) {
  Deno.test(`decodePcapHeader() names ${what}`, () => {
    assertThrows(() => decodePcapHeader(fromHex(file)), PcapError, message);
  });
}

Deno.test("pcapRecords() reports a file cut short anywhere in a record", () => {
  for (let length = 25; length < GOOD.length; length++) {
    const error = assertThrows(
      () => [...pcapRecords(GOOD.subarray(0, length))],
      PcapError,
      "cut short in the record at octet 24",
    );
    assertEquals(error.offset, 24);
  }
});

Deno.test("decodePcapRecord() asks for more of a record that is not all there", () => {
  const header = decodePcapHeader(GOOD);
  assertEquals(decodePcapRecord(header, GOOD.subarray(0, 30), 24), undefined);
  assertEquals(decodePcapRecord(header, GOOD.subarray(0, 43), 24), undefined);
});

Deno.test("pcapRecords() rejects an impossible frame length", () => {
  const damaged = GOOD.slice();
  damaged.set([0xff, 0xff, 0xff, 0x7f], 32);
  assertThrows(
    () => [...pcapRecords(damaged)],
    PcapError,
    "claims a frame of 2147483647 octets",
  );
});

Deno.test("encodePcapRecord() rejects an array without room", () => {
  const header = decodePcapHeader(GOOD);
  assertThrows(
    () => encodePcapRecord(header, new Uint8Array(15), 0, RECORD),
    RangeError,
  );
});

Deno.test("decodePcapHeader() reads a view that begins inside its buffer", () => {
  const shifted = new Uint8Array(GOOD.length + 3);
  shifted.set(GOOD, 3);
  assertEquals([...pcapRecords(shifted.subarray(3))].length, 1);
});

const DATA = new TextEncoder().encode("odd data!");
const ALICE = fromHex("02000000000a");
const BOB = fromHex("02000000000b");

function udpOverIpv4(): Uint8Array {
  const length = 8 + DATA.length;
  const frame = new Uint8Array(14 + 20 + length);
  writeEthernet(frame, 0, BOB, ALICE, ETHER_TYPE.ipv4);
  const udp = writeIpv4(frame, 14, {
    source: 0xc0000201,
    destination: 0xc0000202,
    protocol: IP_PROTOCOL.udp,
    payloadLength: length,
  });
  frame.set(DATA, writeUdp(frame, udp, 1234, 9, DATA.length));
  const pseudo = pseudoHeaderIpv4(frame, 14, IP_PROTOCOL.udp, length);
  writeTransportChecksum(pseudo, frame, udp, length, IP_PROTOCOL.udp);
  return frame;
}

function tcpOverIpv6(): Uint8Array {
  const length = 20 + DATA.length;
  const frame = new Uint8Array(14 + 40 + length);
  writeEthernet(frame, 0, BOB, ALICE, ETHER_TYPE.ipv6);
  frame[14] = 0x60;
  writeU16(frame, 14 + IPV6_FIELD.payloadLength, length);
  frame[14 + IPV6_FIELD.nextHeader] = IP_PROTOCOL.tcp;
  frame.set(fromHex("20010db8 00000000 00000000 00000001"), 14 + 8);
  frame.set(fromHex("20010db8 00000000 00000000 00000002"), 14 + 24);
  frame.set(fromHex("04d2 0009 00000001 00000000 5002 ffff 0000 0000"), 54);
  frame.set(DATA, 74);
  const pseudo = pseudoHeaderIpv6(frame, 14, IP_PROTOCOL.tcp, length);
  writeTransportChecksum(pseudo, frame, 54, length, IP_PROTOCOL.tcp);
  return frame;
}

async function withCapture(
  frames: Uint8Array[],
  body: (path: string) => Promise<void>,
): Promise<void> {
  const header = encodePcapHeader();
  const format = decodePcapHeader(header);
  const path = await Deno.makeTempFile({ suffix: ".pcap" });
  try {
    await Deno.writeFile(path, header);
    for (const frame of frames) {
      const record = new Uint8Array(PCAP_RECORD_LENGTH + frame.length);
      const capturedLength = frame.length;
      const at = { seconds: 1700000000, nanoseconds: 123456000 };
      const start = encodePcapRecord(format, record, 0, {
        ...at,
        capturedLength,
      });
      record.set(frame, start);
      await Deno.writeFile(path, record, { append: true });
    }
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

const testWithTshark = requires("tshark");

testWithTshark(
  "tshark reads our file and finds the checksums right",
  () =>
    withCapture([udpOverIpv4(), tcpOverIpv6()], async (path) => {
      const options = [
        "ip.check_checksum",
        "udp.check_checksum",
        "tcp.check_checksum",
      ]
        .flatMap((name) => ["-o", `${name}:TRUE`]);
      const fields = [
        "frame.time_epoch",
        "ip.checksum.status",
        "udp.checksum.status",
        "tcp.checksum.status",
      ].flatMap((name) => ["-e", name]);
      const text = await output(
        "tshark",
        ...["-n", "-r", path, ...options, "-T", "fields", "-E", "separator=;"],
        ...fields,
      );
      // Status 1 is "good".
      const [udp, tcp] = text.split("\n").map((line) => line.split(";"));
      assertEquals(udp.slice(1), ["1", "1", ""]);
      assertEquals(tcp.slice(1), ["", "", "1"]);
      assertEquals(Number(udp[0]), 1700000000.123456);
    }),
);

const testWithTcpdump = requires("tcpdump");

testWithTcpdump(
  "pcapRecords() reads what tcpdump wrote",
  () =>
    withCapture([udpOverIpv4(), tcpOverIpv6()], async (path) => {
      const copy = await Deno.makeTempFile({ suffix: ".pcap" });
      try {
        await output("tcpdump", "-n", "-r", path, "-w", copy, "tcp");
        const bytes = await Deno.readFile(copy);
        const [record, ...rest] = [...pcapRecords(bytes)];
        const end = record.offset + record.capturedLength;
        assertEquals(bytes.slice(record.offset, end), tcpOverIpv6());
        assertEquals(record.nanoseconds, 123456000);
        assertEquals(rest, []);
      } finally {
        await Deno.remove(copy);
      }
    }),
);
