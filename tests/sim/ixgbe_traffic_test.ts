/** Moving frames: ring ends, empty pools, changing pools, long frames. */
import { WIRE_SLOT } from "../../src/sim/wires/wire.ts";
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import { HUGEPAGE_2M } from "../../src/dma/memory.ts";
import { Mempool } from "../../src/memory/mempool.ts";
import { IP_PROTOCOL, pseudoHeaderIpv4, writeU16 } from "../../src/net/mod.ts";
import { Packet } from "../../src/memory/packet.ts";
import { ipv4Frame } from "../support/frames/ip_frames.ts";
import {
  batchOf,
  bytesOf,
  feed,
  type IxgbeRig,
  keepAll,
  numberedFrame,
  receiveAll,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";
import { until } from "../support/until.ts";

function numbers(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

Deno.test("ixgbe forwards frames in order over three rounds of both rings", async () => {
  await withIxgbe({ rxDepth: 64, txDepth: 64 }, (rig) => {
    const { wire, bus, pair } = rig;
    const batch = new Batch(24);
    const frames = numbers(0, 200).map((n) => numberedFrame(n, 60 + n % 40));
    for (let at = 0; at < frames.length; at += 20) {
      wire.toCard.push(...frames.slice(at, at + 20));
      bus.settle();
      assertEquals(pair.rx.receive(batch), 20);
      assertEquals(pair.tx.send(batch), 20);
      bus.settle();
    }
    assertEquals(wire.fromCard, frames);
    pair.tx.reclaim();
    assertEquals(pair.tx.pending, 0);
    assertEquals(pair.rx.pool.inUse, 64);
    assertEquals(pair.rx.counters.get("rxPackets"), 200);
    assertEquals(pair.rx.counters.get("txPackets"), 200);
    assertEquals(
      pair.rx.counters.get("rxBytes"),
      pair.rx.counters.get("txBytes"),
    );
  });
});

Deno.test("ixgbe takes as many frames for sending as the ring has room for", async () => {
  await withIxgbe({ txDepth: 64 }, ({ bus, wire, pair }) => {
    const frames = numbers(0, 100).map((n) => numberedFrame(n));
    const batch = batchOf(pair, frames);
    assertEquals(pair.tx.send(batch), 63);
    assertEquals(pair.tx.pending, 63);
    const rest = new Batch(64);
    for (const handle of batch.handles.subarray(63, 100)) rest.push(handle);
    assertEquals(pair.tx.send(rest), 0);
    bus.settle();
    assertEquals(pair.tx.send(rest), 37);
    bus.settle();
    assertEquals(wire.fromCard, frames);
  });
});

Deno.test("ixgbe reclaims long batches in blocks, before the last is sent", async () => {
  await withIxgbe({ txDepth: 512 }, ({ bus, pair }) => {
    const frames = numbers(0, 100).map((n) => numberedFrame(n));
    pair.tx.send(batchOf(pair, frames));
    bus.step(40);
    assertEquals(pair.tx.reclaim(), 32);
    bus.settle();
    assertEquals(pair.tx.reclaim(), 68);
  });
});

Deno.test("ixgbe completes checksums that packets ask for, and drops those to be cut", async () => {
  await withIxgbe({}, ({ bus, wire, pair }) => {
    const right = ipv4Frame({ protocol: "tcp" });
    const asking = right.slice();
    const pseudo = pseudoHeaderIpv4(asking, 14, IP_PROTOCOL.tcp, 36);
    writeU16(asking, 34 + 16, pseudo);
    const frames = [numberedFrame(1), asking, asking, numberedFrame(2), asking];
    const batch = batchOf(pair, frames);
    const packet = new Packet();
    packet.at(batch.handles[1]).requestChecksum(34, 16);
    packet.at(batch.handles[2]).requestChecksum(34, 16);
    packet.requestSegmentation(8);
    assertEquals(pair.tx.send(batch), 5);
    bus.settle();
    // The last one did not ask.
    const sent = [numberedFrame(1), right, numberedFrame(2), asking];
    assertEquals(wire.fromCard, sent);
    assertEquals(pair.rx.counters.get("txErrors"), 1);
    assertEquals(pair.rx.counters.get("txPackets"), 4);
  });
});

Deno.test("ixgbe pads tiny packets and gives up impossible ones", async () => {
  await withIxgbe({}, ({ bus, wire, pair }) => {
    const empty = new Uint8Array(0);
    const batch = batchOf(pair, [new Uint8Array(14).fill(7), empty]);
    assertEquals(pair.tx.send(batch), 2);
    bus.settle();
    const expected = new Uint8Array(60);
    expected.fill(7, 0, 14);
    assertEquals(wire.fromCard, [expected]);
    assertEquals(pair.tx.counters.get("txErrors"), 1);
    pair.tx.reclaim();
    assertEquals(pair.rx.pool.inUse, 512);
  });
});

Deno.test("ixgbe survives an empty pool, and goes on when packets come back", async () => {
  await withIxgbe({ rxDepth: 64, poolEntries: 80 }, (rig) => {
    const { wire, pair } = rig;
    const frames = numbers(0, 300).map((n) => numberedFrame(n));
    const kept: number[] = [];
    for (let at = 0; at < 100; at += 10) {
      wire.toCard.push(...frames.slice(at, at + 10));
      kept.push(...keepAll(rig));
    }
    // 16 replacements, then the ring runs dry but for the one descriptor that the card is never given.
    assertEquals(kept.length, 79);
    assertEquals(pair.rx.pool.available, 0);
    assertEquals(pair.rx.counters.get("rxNoBuffer"), 63);
    assert(pair.rx.pool.exhausted > 0);
    assertEquals(rig.device.readStats().rxMissed, 21);

    for (const handle of kept) Mempool.freeChain(handle);
    pair.rx.receive(new Batch(1));
    assertEquals(feed(rig, frames), frames);
    assertEquals(pair.rx.pool.inUse, 64);
  });
});

Deno.test("ixgbe goes on one packet at a time when only one comes back", async () => {
  await withIxgbe({ rxDepth: 64, poolEntries: 64 }, (rig) => {
    const { wire, pair, bus } = rig;
    wire.toCard.push(...numbers(0, 63).map((n) => numberedFrame(n)));
    const kept = keepAll(rig);
    assertEquals(kept.length, 63);
    const batch = new Batch(4);
    for (const [n, handle] of kept.entries()) {
      pair.rx.pool.free(handle);
      assertEquals(pair.rx.receive(batch), 0);
      const frame = numberedFrame(1000 + n);
      wire.toCard.push(frame);
      bus.settle();
      assertEquals(pair.rx.receive(batch), 1);
      assertEquals(bytesOf(batch.handles[0]), frame);
      kept.push(batch.handles[0]);
      if (n > 200) break;
    }
  });
});

Deno.test("ixgbe extends and shrinks a pool under traffic and returns its memory", async () => {
  const options = { rxDepth: 64, poolEntries: 128, poolMaxEntries: 8192 };
  await withIxgbe(options, async (rig) => {
    const { device, pair, bus } = rig;
    const { pool } = pair.rx;
    let sent = 0;
    const pass = (count: number) => {
      const frames = numbers(sent, count).map((n) => numberedFrame(n));
      assertEquals(feed(rig, frames), frames);
      sent += count;
    };
    pass(50);
    await device.extendRxMempool(0, 4000);
    assertEquals(pool.capacity, 4128);
    // Memory is mapped, and so returned, in pieces of 2 MiB.
    assert(pool.committedBytes >= 4128 * 2048);
    pass(300);
    // Some of the entries that will go are in use meanwhile.
    const held = numbers(0, 2000).map(() => pool.allocate());
    await device.shrinkRxMempool(0, 4000);
    assertEquals(pool.capacity, 128);
    pass(100);
    assert(pool.committedBytes > 2 * HUGEPAGE_2M);
    for (const handle of held) pool.free(handle);
    pass(100);
    await until("memory returns", () => pool.committedBytes <= HUGEPAGE_2M);
    assert(bus.world.mapped <= 2 * HUGEPAGE_2M);
    assertEquals(pool.inUse, 64);
    pass(100);
  });
});

for (const entrySize of [1024, 2048, 4096]) {
  Deno.test(`ixgbe receives and sends chains of ${entrySize}-byte buffers`, async () => {
    const options = { entrySize, maxFrameSize: 9000, rxDepth: 64, txDepth: 64 };
    await withIxgbe(options, (rig) => {
      const { wire, bus, pair } = rig;
      const lengths = [
        ...[60, entrySize - 1, entrySize, entrySize + 1],
        ...[2 * entrySize - 1, 2 * entrySize, 2 * entrySize + 1, 9000, 61],
      ];
      const frames = lengths.map((length, n) => numberedFrame(n, length));
      for (let round = 0; round < 8; round++) {
        wire.toCard.push(...frames);
        forward(rig, new Batch(round % 2 === 0 ? 32 : 1));
      }
      const expected = numbers(0, 8).flatMap(() => frames);
      assertEquals(wire.fromCard.length, expected.length);
      assertEquals(wire.fromCard, expected);
      assertEquals(pair.rx.counters.get("rxPackets"), expected.length);
      const bytes = 8 * lengths.reduce((sum, length) => sum + length);
      assertEquals(pair.rx.counters.get("rxBytes"), bytes);
      assertEquals(pair.rx.counters.get("txBytes"), bytes);
      bus.settle();
      pair.tx.reclaim();
      assertEquals(pair.rx.pool.inUse, 64);
    });
  });
}

/** Sends everything back that comes. */
function forward(rig: IxgbeRig, batch: Batch): void {
  for (;;) {
    rig.bus.settle();
    const count = rig.pair.rx.receive(batch);
    if (count === 0) return;
    assertEquals(rig.pair.tx.send(batch), count);
  }
}

Deno.test("ixgbe receives and sends the longest frame of the chip", async () => {
  await withIxgbe({ maxFrameSize: 15868 }, (rig) => {
    const frame = numberedFrame(1, 15868);
    rig.wire.toCard.push(frame);
    assertEquals(receiveAll(rig), [frame]);
    rig.wire.toCard.push(frame);
    forward(rig, new Batch(8));
    assertEquals(rig.wire.fromCard, [frame]);
  });
});

Deno.test("ixgbe keeps the parts of a frame whose end has not arrived", async () => {
  await withIxgbe({ maxFrameSize: 9000, rxDepth: 64 }, (rig) => {
    const { pair, wire, bus } = rig;
    const long = numberedFrame(99, 9000);
    wire.toCard.push(long);
    bus.settle();
    // As if the card had not yet written the end of the frame back.
    const { rings, control } = rig.device.describeQueue(0);
    const ring = new Uint32Array(rings.buffer, rings.rxOffset, 64 * 4);
    const end = ring.slice(4 * 4, 5 * 4);
    ring[4 * 4 + 2] = 0;
    const batch = new Batch(8);
    assertEquals(pair.rx.receive(batch), 0);
    assertEquals(new Int32Array(control)[4], 4);
    ring.set(end, 4 * 4);
    assertEquals(pair.rx.receive(batch), 1);
    assertEquals(bytesOf(batch.handles[0]), long);
    batch.free();
  });
});

Deno.test("ixgbe sends a packet of segments from two pools", async () => {
  await withIxgbe({}, ({ bus, wire, pair, device }) => {
    const other = Mempool.create({
      entries: 8,
      debug: true,
      memory: { backing: "plain" },
    }, bus.dma);
    const head = new Packet().at(pair.rx.pool.allocate());
    const tail = new Packet().at(other.allocate());
    const frame = numberedFrame(3, 100);
    head.write(frame.subarray(0, 40));
    tail.write(frame.subarray(40));
    head.nextSegment = tail.handle;
    const batch = new Batch(1);
    batch.push(head.handle);
    assertEquals(pair.tx.send(batch), 1);
    bus.settle();
    assertEquals(wire.fromCard, [frame]);
    assertEquals(pair.tx.reclaim(), 2);
    assertEquals(other.inUse, 0);
    other.destroy();
    assertEquals(device.closed, false);
  });
});

Deno.test("ixgbe starts a queue afresh with all its packets", async () => {
  await withIxgbe({ rxDepth: 64, queues: 2 }, async (rig) => {
    const { device, wire, pair } = rig;
    wire.toCard.push(...numbers(0, 40).map((n) => numberedFrame(n)));
    assert(keepAll(rig).length > 0);
    device.stopQueue(0);
    assertEquals(pair.rx.receive(new Batch(4)), 0);
    await device.restartQueue(0);
    assertEquals(pair.rx.pool.inUse, 64);
    const frames = numbers(0, 200).map((n) => numberedFrame(n));
    assertEquals(feed(rig, frames), frames);
  });
});

Deno.test("ixgbe goes on after a stop where it left off", async () => {
  await withIxgbe({}, (rig) => {
    const frames = numbers(0, 10).map((n) => numberedFrame(n));
    rig.wire.toCard.push(...frames);
    rig.bus.settle();
    rig.device.stopQueue(0);
    assert(rig.pair.rx.stopped);
    assertEquals(rig.pair.rx.receive(new Batch(4)), 0);
    rig.device.resumeQueue(0);
    assertEquals(receiveAll(rig), frames);
  });
});

for (const promiscuous of [false, true]) {
  Deno.test(`ixgbe counts every frame that came, ${promiscuous ? "promiscuous" : "with its filters"}`, async () => {
    const options = { promiscuous, rxDepth: 64, maxFrameSize: 1514 };
    await withIxgbe(options, (rig) => {
      const pause = numberedFrame(1, 60, "01:80:c2:00:00:01");
      pause.set([0x88, 0x08, 0, 1, 0, 0], 12);
      const spoilt = (length: number) => {
        rig.wire.spoilNext = true;
        feed(rig, [numberedFrame(0, length)]);
      };
      for (const length of [59, 60, 1600]) spoilt(length);
      const received = feed(rig, [
        ...[59, 60, 1514, 1600, 9000].map((size) => numberedFrame(0, size)),
        ...[pause, numberedFrame(0, 60, "02:00:00:00:00:77")],
        numberedFrame(0, 60, "01:00:5e:00:00:01"),
      ]);
      // More than the ring holds, while nobody receives.
      const flood = 100;
      for (let i = 0; i < flood; i++) rig.wire.toCard.push(numberedFrame(i));
      rig.bus.settle();
      const { rxPackets, rxMissed, rxErrors, ...rest } = rig.device.readStats();
      const { rxTooShort, rxTooLong, rxControl, rxFiltered } = rest;
      assertEquals(rxErrors, 6);
      assertEquals([rxTooShort, rxTooLong, rxControl], [2, 3, 1]);
      assertEquals(
        [received.length, rxFiltered],
        promiscuous ? [4, 0] : [2, 2],
      );
      assertEquals(rxPackets + rxMissed, received.length + flood);
      const came = 3 + 8 + flood;
      assertEquals(
        rxPackets + rxMissed + rxErrors + rxControl + rxFiltered,
        came,
      );
      // The card's own books agree.
      const of = (name: keyof typeof WIRE_SLOT) =>
        rig.wire.counters[WIRE_SLOT[name]];
      assertEquals([of("tooShort"), of("tooLong"), of("damaged")], [2, 3, 1]);
      assertEquals([of("control"), of("filtered")], [rxControl, rxFiltered]);
      assertEquals([of("delivered"), of("missed")], [rxPackets, rxMissed]);
      receiveAll(rig);
    });
  });
}
