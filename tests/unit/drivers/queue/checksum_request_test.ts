/** Packets that ask for checksums: what is asked, and what the driver does where a card does not. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  completeChecksum,
  isSound,
} from "../../../../src/drivers/queue/packet_chain.ts";
import { PoolError } from "../../../../src/errors.ts";
import { type Handle, Mempool } from "../../../../src/memory/mempool.ts";
import { pseudoHeaderIpv4, writeU16 } from "../../../../src/net/mod.ts";
import { Packet } from "../../../../src/memory/packet.ts";
import { ipv4Frame } from "../../../support/frames/ip_frames.ts";

const L4 = 34;
const IP = 14;
/** Where TCP and UDP keep their checksums (RFC 9293 3.1, RFC 768). */
const PLACES = { tcp: 16, udp: 6 } as const;
/** Bytes of header and payload in the frames of ipv4Frame(). */
const LENGTHS = { tcp: 36, udp: 24 } as const;

function withPool(test: (pool: Mempool) => void): void {
  const pool = Mempool.create({ entries: 16, memory: { backing: "plain" } });
  try {
    test(pool);
    assertEquals(pool.inUse, 0);
  } finally {
    pool.destroy();
  }
}

/** A packet of `bytes` in segments of these lengths, the last one for the rest. */
function inSegments(
  pool: Mempool,
  bytes: Uint8Array,
  lengths: readonly number[],
): Handle {
  const packet = new Packet();
  let head = 0;
  let last = 0;
  let from = 0;
  for (const length of [...lengths, bytes.length]) {
    const part = bytes.subarray(from, from + length);
    const handle = pool.allocate();
    packet.at(handle).write(part);
    if (last !== 0) pool.nextSegments[pool.index(last)] = handle;
    head ||= handle;
    last = handle;
    from += part.length;
  }
  return head;
}

for (const protocol of ["tcp", "udp"] as const) {
  for (const lengths of [[], [58], [57], [55, 1, 2]]) {
    const shape = lengths.length === 0 ? "one segment" : `${lengths}, rest`;
    Deno.test(`completeChecksum() completes ${protocol} in ${shape}`, () => {
      withPool((pool) => {
        const right = ipv4Frame({ protocol });
        const frame = right.slice();
        const place = L4 + PLACES[protocol];
        const number = protocol === "tcp" ? 6 : 17;
        const pseudo = pseudoHeaderIpv4(frame, IP, number, LENGTHS[protocol]);
        writeU16(frame, place, pseudo);
        const head = inSegments(pool, frame, lengths);
        const packet = new Packet().at(head);
        packet.requestChecksum(L4, PLACES[protocol]);
        const request = pool.offloads[pool.index(head)];
        assert(isSound(head, request) && packet.requestsChecksum);
        completeChecksum(head, request);
        assertEquals(
          [...packet.u8.subarray(packet.offset + L4, packet.offset + 54)],
          [...right.subarray(L4, 54)],
        );
        packet.free();
      });
    });
  }
}

Deno.test("completeChecksum() stores a UDP checksum of 0 as 0xffff", () => {
  withPool((pool) => {
    const frame = new Uint8Array(60);
    // All that counts is this word, whose complement is 0.
    writeU16(frame, L4 + PLACES.udp, 0xffff);
    const packet = new Packet().at(pool.allocate());
    packet.write(frame);
    packet.requestChecksum(L4, PLACES.udp);
    completeChecksum(packet.handle, pool.offloads[pool.index(packet.handle)]);
    assertEquals([...packet.bytes().subarray(40, 42)], [0xff, 0xff]);
    packet.free();
  });
});

Deno.test("isSound() refuses a checksum beyond the first segment", () => {
  withPool((pool) => {
    const packet = new Packet().at(pool.allocate());
    packet.length = 60;
    packet.requestChecksum(L4, 24);
    const request = pool.offloads[pool.index(packet.handle)];
    assert(isSound(packet.handle, request));
    packet.length = 59;
    assert(!isSound(packet.handle, request));
    packet.free();
  });
});

Deno.test("requestChecksum() and requestSegmentation() refuse what cannot be", () => {
  withPool((pool) => {
    const packet = new Packet().at(pool.allocate());
    packet.length = 60;
    assertThrows(() => packet.requestSegmentation(100), PoolError);
    for (
      const [start, offset] of [[0, 6], [34, -1], [34, 25], [34.5, 6], [60, 0]]
    ) {
      assertThrows(() => packet.requestChecksum(start, offset), RangeError);
    }
    packet.requestChecksum(34, 16);
    for (const size of [0, -1, 65536, NaN]) {
      assertThrows(() => packet.requestSegmentation(size), RangeError);
    }
    packet.requestSegmentation(1000);
    const index = pool.index(packet.handle);
    assertEquals(pool.offloads[index], 16 << 16 | 34);
    assertEquals(pool.segmentSizes[index], 1000);
    packet.requestChecksum(34, 6);
    assertEquals(pool.segmentSizes[index], 0);
    packet.free();
  });
});
