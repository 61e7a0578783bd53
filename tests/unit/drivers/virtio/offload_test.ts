/** Checksums and segmentation, asked for and reported in the header before a packet (5.1.6). */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { INDEX_MASK } from "../../../../src/memory/mempool.ts";
import { PacketFlag } from "../../../../src/memory/packet.ts";
import {
  type HeaderFields,
  type SentPacket,
  type VirtioRig,
  withVirtio,
} from "../../../support/virtio/rig.ts";

const ETHERNET = 14;
const IPV4 = 20;
const IPV6 = 40;
const TCP = 20;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;

/** A frame of TCP over IPv4 or IPv6, with VLAN tags, of some payload: no field is right that nobody reads. */
function tcpFrame(type: 0x0800 | 0x86dd, tags: number, payload: number) {
  const start = ETHERNET + 4 * tags + (type === 0x0800 ? IPV4 : IPV6);
  const frame = new Uint8Array(start + TCP + payload);
  frame.fill(2, 0, 12);
  const view = new DataView(frame.buffer);
  for (let tag = 0; tag < tags; tag++) {
    view.setUint16(12 + 4 * tag, tag + 1 === tags ? 0x8100 : 0x88a8);
  }
  view.setUint16(12 + 4 * tags, type);
  for (let i = start; i < frame.length; i++) frame[i] = i * 31;
  view.setUint8(start + 12, 5 << 4);
  return { frame, start };
}

/** The checksum as RFC 1071 section 4.1 has it, bit by bit another way than the library's. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  bytes.forEach((byte, i) => sum += i % 2 === 0 ? byte * 256 : byte);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

function request(
  rig: VirtioRig,
  handle: number,
  start: number,
  offset: number,
  segment = 0,
): number {
  const index = handle & INDEX_MASK;
  rig.pool.offloads[index] = start | (offset << 16);
  rig.pool.segmentSizes[index] = segment;
  return handle;
}

function send(rig: VirtioRig, handle: number): SentPacket | undefined {
  assertEquals(rig.tx.send(rig.batchOf([handle])), 1);
  return rig.collect();
}

function headerOf({ header }: SentPacket): HeaderFields & { length: number } {
  return {
    flags: header.getUint8(0),
    gsoType: header.getUint8(1),
    length: header.getUint16(2, true),
    gsoSize: header.getUint16(4, true),
    csumStart: header.getUint16(6, true),
    csumOffset: header.getUint16(8, true),
  };
}

function test(
  name: string,
  features: readonly VirtioFeatureName[],
  body: (rig: VirtioRig) => void,
): void {
  for (const ring of ["split", "packed", "legacy"] as const) {
    // Its feature bits end with 31.
    if (ring === "legacy" && features.includes("hash-report")) continue;
    const all = [...ring === "packed" ? [ring] : [], ...features];
    Deno.test(`${name} (${[ring, ...features].join(", ")})`, () => {
      // The driver goes other ways where it need not catch misuse.
      for (const debug of [true, false]) {
        const legacy = ring === "legacy";
        withVirtio({ features: all, legacy, maxFrameSize: 3000, debug }, body);
      }
    });
  }
}

test(
  "a checksum is left to the device where it takes that",
  ["checksum"],
  (rig) => {
    const { frame, start } = tcpFrame(0x0800, 0, 100);
    const sent = send(
      rig,
      request(rig, rig.packet(frame), start, TCP_CHECKSUM),
    )!;
    assertEquals(sent.bytes, frame);
    assertEquals(headerOf(sent), {
      flags: NEEDS_CSUM,
      gsoType: 0,
      length: 0,
      gsoSize: 0,
      csumStart: start,
      csumOffset: TCP_CHECKSUM,
    });
  },
);

test("an entry forgets what its last packet asked for", ["checksum"], (rig) => {
  const { frame, start } = tcpFrame(0x0800, 0, 100);
  for (let round = 0; round < 200; round++) {
    const handle = rig.packet(frame);
    const asks = round % 3 === 0;
    if (asks) request(rig, handle, start, TCP_CHECKSUM);
    const sent = send(rig, handle)!;
    assertEquals(headerOf(sent).flags, asks ? NEEDS_CSUM : 0);
    rig.txDevice.give(sent.buffer, 0);
  }
});

test(
  "a checksum is completed by the driver where the device does not",
  [],
  (rig) => {
    for (const payload of [0, 1, 2, 99, 1000]) {
      const { frame, start } = tcpFrame(0x86dd, 1, payload);
      const sent = send(
        rig,
        request(rig, rig.packet(frame), start, TCP_CHECKSUM),
      )!;
      const expected = checksum(frame.subarray(start));
      const place = start + TCP_CHECKSUM;
      new DataView(frame.buffer).setUint16(place, expected);
      assertEquals(sent.bytes, frame);
      assertEquals(headerOf(sent).flags, 0);
    }
  },
);

test("a checksum over a chain of odd parts is completed too", [], (rig) => {
  const { frame, start } = tcpFrame(0x0800, 0, 300);
  const cuts = [0, 61, 62, 100, 201, frame.length];
  const parts = cuts.slice(1).map((end, i) => frame.subarray(cuts[i], end));
  const sent = send(rig, request(rig, rig.chain(parts), start, TCP_CHECKSUM))!;
  const expected = checksum(frame.subarray(start));
  new DataView(frame.buffer).setUint16(start + TCP_CHECKSUM, expected);
  assertEquals(sent.bytes, frame);
});

test("a UDP checksum of 0 is written as its other zero", [], (rig) => {
  const frame = new Uint8Array(60).fill(0xff);
  const sent = send(rig, request(rig, rig.packet(frame), 34, UDP_CHECKSUM))!;
  assertEquals([...sent.bytes.subarray(40, 42)], [0xff, 0xff]);
});

test(
  "a packet is left to the device to cut",
  ["checksum", "tso4", "tso6"],
  (rig) => {
    for (const type of [0x0800, 0x86dd] as const) {
      for (const tags of [0, 1, 2]) {
        const { frame, start } = tcpFrame(type, tags, 5000);
        const parts = [0, 2000, 4000].map((at) =>
          frame.subarray(at, at + 2000)
        );
        const handle = rig.chain(parts);
        const sent = send(
          rig,
          request(rig, handle, start, TCP_CHECKSUM, 1000),
        )!;
        assertEquals(sent.bytes, frame);
        assertEquals(headerOf(sent), {
          flags: NEEDS_CSUM,
          gsoType: type === 0x0800 ? GSO_TCPV4 : GSO_TCPV6,
          length: start + TCP,
          gsoSize: 1000,
          csumStart: start,
          csumOffset: TCP_CHECKSUM,
        });
        rig.txDevice.give(sent.buffer, 0);
      }
    }
  },
);

test("a packet that nobody cuts is dropped", ["checksum", "tso6"], (rig) => {
  const { frame, start } = tcpFrame(0x0800, 0, 1000);
  const handle = rig.packet(frame);
  assertEquals(
    send(rig, request(rig, handle, start, TCP_CHECKSUM, 500)),
    undefined,
  );
  assertEquals(rig.tx.counters.get("txErrors"), 1);
  assertEquals(rig.pool.inUse, 64);
});

test("a request beyond the packet is dropped", ["checksum"], (rig) => {
  for (const [start, offset] of [[58, 2], [60, 0], [0xffff, 0], [20, 0x7fff]]) {
    const handle = rig.packet(new Uint8Array(60));
    assertEquals(send(rig, request(rig, handle, start, offset)), undefined);
  }
  assertEquals(rig.tx.counters.get("txErrors"), 4);
});

/** What the driver says of such a device is expected. */
function silence(): Disposable {
  const { error } = console;
  console.error = () => {};
  return { [Symbol.dispose]: () => void (console.error = error) };
}

/** Receives one frame with a header; 0 when it was thrown away. */
function receive(rig: VirtioRig, frame: Uint8Array, header: HeaderFields) {
  assert(rig.deliver(frame, header));
  const batch = new Batch(2);
  rig.rx.receive(batch);
  return batch.length === 0 ? 0 : batch.handles[0];
}

test("an incomplete checksum is passed on as it came", [
  "guest-checksum",
  "checksum",
], (rig) => {
  const { frame, start } = tcpFrame(0x0800, 0, 100);
  const header = {
    flags: NEEDS_CSUM,
    csumStart: start,
    csumOffset: TCP_CHECKSUM,
  };
  const handle = receive(rig, frame, header);
  const index = handle & INDEX_MASK;
  assertEquals(rig.pool.offloads[index], start | (TCP_CHECKSUM << 16));
  assertEquals(rig.pool.segmentSizes[index], 0);
  assertEquals(rig.pool.flags[index], 0);
  const sent = send(rig, handle)!;
  assertEquals(sent.bytes, frame);
  assertEquals(headerOf(sent), {
    ...header,
    gsoType: 0,
    length: 0,
    gsoSize: 0,
  });
});

test("an incomplete checksum leaves complete", ["guest-checksum"], (rig) => {
  const { frame, start } = tcpFrame(0x0800, 0, 100);
  const handle = receive(rig, frame, {
    flags: NEEDS_CSUM,
    csumStart: start,
    csumOffset: TCP_CHECKSUM,
  });
  const expected = checksum(frame.subarray(start));
  new DataView(frame.buffer).setUint16(start + TCP_CHECKSUM, expected);
  assertEquals(send(rig, handle)?.bytes, frame);
});

for (const size of [100, 2500]) {
  test(
    `a checksum that is left open without agreement is completed, ${size} bytes`,
    ["mergeable"],
    (rig) => {
      using _ = silence();
      for (const type of [0, GSO_TCPV4]) {
        const { frame, start } = tcpFrame(0x0800, 0, size);
        const handle = receive(rig, frame, {
          flags: NEEDS_CSUM,
          gsoType: type,
          gsoSize: type && 500,
          csumStart: start,
          csumOffset: TCP_CHECKSUM,
        });
        const expected = checksum(frame.subarray(start));
        new DataView(frame.buffer).setUint16(start + TCP_CHECKSUM, expected);
        assertEquals(rig.bytesOf(handle), frame);
        const index = handle & INDEX_MASK;
        const { offloads, segmentSizes } = rig.pool;
        assertEquals([offloads[index], segmentSizes[index]], [0, 0]);
        rig.pool.free(handle);
      }
    },
  );
}

test(
  "segmentation that was not agreed on is left out",
  ["guest-checksum"],
  (rig) => {
    const { frame, start } = tcpFrame(0x0800, 0, 1000);
    const handle = receive(rig, frame, {
      flags: NEEDS_CSUM,
      gsoType: GSO_TCPV4,
      gsoSize: 500,
      csumStart: start,
      csumOffset: TCP_CHECKSUM,
    });
    const index = handle & INDEX_MASK;
    assertEquals(rig.pool.segmentSizes[index], 0);
    assertEquals(rig.pool.offloads[index], start | (TCP_CHECKSUM << 16));
  },
);

test(
  "a packet of many segments goes through",
  ["guest-checksum", "guest-tso4", "mergeable", "checksum", "tso4"],
  (rig) => {
    const { frame, start } = tcpFrame(0x0800, 0, 60_000);
    const header = {
      flags: NEEDS_CSUM,
      gsoType: GSO_TCPV4,
      gsoSize: 1448,
      csumStart: start,
      csumOffset: TCP_CHECKSUM,
    };
    const handle = receive(rig, frame, header);
    assertEquals(rig.bytesOf(handle), frame);
    assertEquals(rig.pool.segmentSizes[handle & INDEX_MASK], 1448);
    const sent = send(rig, handle)!;
    assertEquals(sent.bytes, frame);
    assertEquals(headerOf(sent), { ...header, length: start + TCP });
  },
);

test(
  "a checked checksum is told, where that was agreed on",
  ["guest-checksum"],
  (rig) => {
    const frame = new Uint8Array(60);
    const good = receive(rig, frame, { flags: DATA_VALID });
    assertEquals(rig.pool.flags[good & INDEX_MASK], PacketFlag.L4ChecksumGood);
    const unknown = receive(rig, frame, {});
    assertEquals(rig.pool.flags[unknown & INDEX_MASK], 0);
  },
);

test(
  "a checked checksum is not believed where nothing was agreed on",
  [],
  (rig) => {
    const handle = receive(rig, new Uint8Array(60), { flags: DATA_VALID });
    assertEquals(rig.pool.flags[handle & INDEX_MASK], 0);
  },
);

test("headers that make no sense cost their frame, not the queue", [
  "guest-checksum",
], (rig) => {
  const senseless: HeaderFields[] = [
    { flags: NEEDS_CSUM, csumStart: 0, csumOffset: 0 },
    { flags: NEEDS_CSUM, csumStart: 59, csumOffset: 0 },
    { flags: NEEDS_CSUM, csumStart: 0xffff, csumOffset: 0xffff },
    { flags: NEEDS_CSUM, csumStart: 20, csumOffset: 0x8000 },
    { gsoType: GSO_TCPV4, gsoSize: 0 },
    { gsoType: 2, gsoSize: 100 },
    { gsoType: 0x7f, gsoSize: 100 },
  ];
  for (const header of senseless) {
    assertEquals(receive(rig, new Uint8Array(60), header), 0);
  }
  assertEquals(rig.rx.counters.get("rxErrors"), senseless.length);
  assert(receive(rig, new Uint8Array(60), { flags: 4 }) > 0, "unknown flags");
});

test("a reported hash is the packet's", ["hash-report"], (rig) => {
  const frame = new Uint8Array(60);
  const hashed = receive(rig, frame, { hash: 0xfeed_beef, hashType: 2 });
  assertEquals(rig.pool.flags[hashed & INDEX_MASK], PacketFlag.RssHash);
  assertEquals(rig.pool.rssHashes[hashed & INDEX_MASK], 0xfeed_beef);
  const plain = receive(rig, frame, { hash: 1, hashType: 0 });
  assertEquals(rig.pool.flags[plain & INDEX_MASK], 0);
  assertEquals(send(rig, hashed)?.bytes, frame);
});

test("the first of a frame's buffers has its hash", [
  "hash-report",
  "mergeable",
], (rig) => {
  const frame = new Uint8Array(2900).fill(7);
  const handle = receive(rig, frame, { hash: 42, hashType: 1 });
  assertEquals(rig.bytesOf(handle), frame);
  assertEquals(rig.pool.flags[handle & INDEX_MASK], PacketFlag.RssHash);
  assertEquals(rig.pool.rssHashes[handle & INDEX_MASK], 42);
});
