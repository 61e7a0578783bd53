/** The words that reach an 82599: an emulated card forgives what silicon does not. */
import { assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../../src/memory/batch.ts";
import { completeConfig } from "../../../../../src/config.ts";
import { rxBufferKiB } from "../../../../../src/drivers/intel/ring/rx_queue.ts";
import { interval } from "../../../../../src/drivers/intel/ixgbe/interrupts.ts";
import * as registers from "../../../../../src/drivers/intel/ixgbe/registers.ts";
import {
  IxgbeRxQueue,
  IxgbeTxQueue,
} from "../../../../../src/drivers/intel/ixgbe/queues.ts";
import { QueueControl } from "../../../../../src/drivers/queue/control_block.ts";
import {
  extract,
  field,
  insert,
  offsetOf,
  type Register,
} from "../../../../../src/drivers/intel/register.ts";
import { ConfigError } from "../../../../../src/errors.ts";
import { reachable } from "../../../../support/reachable.ts";
import { IrqLine } from "../../../../../src/irq/line.ts";
import { INDEX_MASK, Mempool } from "../../../../../src/memory/mempool.ts";
import { QueueCounters } from "../../../../../src/stats.ts";

const RX_DEPTH = 64;
const TX_DEPTH = 128;
/** 82599 datasheet 7.2.3.2.4: DTYP 0011b, DCMD.DEXT, DCMD.IFCS, and then EOP and RS. */
const DATA = 0x22300000;
const EOP = 0x01000000;
const RS = 0x08000000;

/** Rings without a card behind them. */
function withRings(
  test: (rings: {
    pool: Mempool;
    rx: IxgbeRxQueue;
    tx: IxgbeTxQueue;
    rxRing: Uint32Array;
    txRing: Uint32Array;
    writes: [number, number][];
  }) => void,
): void {
  const pool = Mempool.create({ entries: 512, memory: { backing: "plain" } });
  const buffer = new SharedArrayBuffer((RX_DEPTH + TX_DEPTH) * 16);
  const lines = [IrqLine.create(), IrqLine.create()];
  const writes: [number, number][] = [];
  const queue = {
    driver: "ixgbe",
    model: "82599",
    index: 3,
    rings: { buffer, rxOffset: 0, txOffset: RX_DEPTH * 16 },
    pool: pool.description,
    reachable: reachable(pool),
    counters: QueueCounters.allocate(),
    control: QueueControl.allocate(RX_DEPTH, TX_DEPTH),
    irqFd: lines[0].fd,
    wakeFd: lines[1].fd,
    config: completeConfig({
      rxDepth: RX_DEPTH,
      txDepth: TX_DEPTH,
      irqTimeoutMs: 0,
    }),
  };
  const bar = {
    read32: () => 0,
    write32: (offset: number, value: number) =>
      void writes.push([offset, value]),
  };
  try {
    test({
      pool,
      rx: new IxgbeRxQueue(queue, bar),
      tx: new IxgbeTxQueue(queue, bar),
      rxRing: new Uint32Array(buffer, 0, RX_DEPTH * 4),
      txRing: new Uint32Array(buffer, RX_DEPTH * 16),
      writes,
    });
  } finally {
    for (const line of lines) line.close();
    pool.destroy();
  }
}

function packets(pool: Mempool, lengths: number[]): Batch {
  const batch = new Batch(lengths.length);
  for (const length of lengths) {
    const handle = pool.allocate();
    pool.lengths[handle & INDEX_MASK] = length;
    batch.push(handle);
  }
  return batch;
}

Deno.test("a receive descriptor is the buffer's address and three zero words", () => {
  withRings(({ pool, rx, rxRing }) => {
    assertEquals(rx.resetRing(), RX_DEPTH - 1);
    for (let i = 0; i < RX_DEPTH; i++) {
      const low = pool.iovaLow + i * pool.stride;
      assertEquals([...rxRing.subarray(4 * i, 4 * i + 4)], [
        ...[low, pool.iovaHigh, 0, 0],
      ]);
    }
  });
});

Deno.test("a received descriptor is written anew, and the tail stands on the last one", () => {
  withRings(({ rx, rxRing, writes }) => {
    rx.resetRing();
    for (let i = 0; i < 3; i++) {
      rxRing.set([0x21, 0xdeadbeef, 0x63, 60], 4 * i);
    }
    const batch = new Batch(8);
    assertEquals(rx.receive(batch), 3);
    for (let i = 0; i < 3; i++) {
      assertEquals([...rxRing.subarray(4 * i + 2, 4 * i + 4)], [0, 0]);
    }
    assertEquals(writes, [[0x10d8, 2]], "RDT of queue 3, once");
    assertEquals(rx.pool.rssHashes[batch.handles[0] & INDEX_MASK], 0xdeadbeef);
  });
});

Deno.test("a packet is one data descriptor, the last of a batch reports", () => {
  withRings(({ pool, tx, txRing, writes }) => {
    tx.resetRing();
    const batch = packets(pool, [60, 1514]);
    assertEquals(tx.send(batch), 2);
    const low = batch.handles.map((handle) =>
      pool.iovaLow + (handle & INDEX_MASK) * pool.stride
    );
    assertEquals([...txRing.subarray(0, 8)], [
      ...[low[0], pool.iovaHigh, DATA | EOP | 60, 60 << 14],
      ...[low[1], pool.iovaHigh, DATA | EOP | RS | 1514, 1514 << 14],
    ]);
    assertEquals(writes, [[0x60d8, 2]], "TDT of queue 3, once");
  });
});

Deno.test("a chain is one descriptor each, the total in all, the end on the last", () => {
  withRings(({ pool, tx, txRing }) => {
    tx.resetRing();
    const parts = packets(pool, [2048, 2048, 100]);
    for (let i = 0; i < 2; i++) {
      pool.nextSegments[parts.handles[i] & INDEX_MASK] = parts.handles[i + 1];
    }
    parts.length = 1;
    assertEquals(tx.send(parts), 1);
    const total = 4196 << 14;
    const words = [0, 1, 2].map((
      i,
    ) => [...txRing.subarray(4 * i + 2, 4 * i + 4)]);
    assertEquals(words, [
      [DATA | 2048, total],
      [DATA | 2048, total],
      [DATA | EOP | RS | 100, total],
    ]);
  });
});

Deno.test("every 32nd descriptor of a long batch reports, and the last", () => {
  withRings(({ pool, tx, txRing }) => {
    tx.resetRing();
    tx.send(packets(pool, Array(70).fill(64)));
    const reporting = Array.from({ length: 70 }, (_, i) => i)
      .filter((i) => (txRing[4 * i + 2] & RS) !== 0);
    assertEquals(reporting, [31, 63, 69]);
    assertEquals(tx.reclaim(), 0);
    txRing[4 * 63 + 3] |= 1;
    assertEquals(tx.reclaim(), 0, "in order only");
    txRing[4 * 31 + 3] |= 1;
    assertEquals(tx.reclaim(), 64);
    assertEquals(tx.pending, 6);
  });
});

Deno.test("a packet with too many parts is given up, not sent", () => {
  withRings(({ pool, tx, writes }) => {
    tx.resetRing();
    const parts = packets(pool, Array(41).fill(64));
    for (let i = 0; i < 40; i++) {
      pool.nextSegments[parts.handles[i] & INDEX_MASK] = parts.handles[i + 1];
    }
    parts.length = 1;
    const before = pool.available;
    assertEquals(tx.send(parts), 1);
    assertEquals(pool.available, before + 41);
    assertEquals(tx.counters.get("txErrors"), 1);
    assertEquals(writes, []);
  });
});

Deno.test("the card is never told of more buffer than there is", () => {
  assertEquals([1024, 1984, 2048, 2112, 16384].map(rxBufferKiB), [
    ...[1, 1, 2, 2, 16],
  ]);
});

Deno.test("an interrupt interval is rounded up to units of 2.048 µs from bit 3", () => {
  assertEquals([0, 1, 10, 1046].map(interval), [0, 8, 5 << 3, 511 << 3]);
  assertThrows(() => interval(1047), ConfigError);
});

Deno.test("fields are put in and taken out where the datasheet has them", () => {
  assertEquals(field(31, 16), 0xffff0000);
  assertEquals(field(31, 0), 0xffffffff);
  assertEquals(insert(field(19, 10), 512), 0x80000);
  assertEquals(extract(field(29, 28), 0x70000000), 3);
  assertThrows(() => insert(field(4, 0), 32), RangeError);
});

Deno.test("indexed registers lie where the datasheet has them", () => {
  const { RXDCTL, EITR, RDT } = registers;
  assertEquals([0, 63, 64, 127].map((i) => offsetOf(RXDCTL, i)), [
    ...[0x1028, 0x1fe8, 0xd028, 0xdfe8],
  ]);
  assertEquals([0, 23, 24].map((i) => offsetOf(EITR, i)), [
    ...[0x820, 0x87c, 0x12300],
  ]);
  assertThrows(() => offsetOf(RDT, 128), RangeError);
});

Deno.test("no two registers of the table share a place", () => {
  const seen = new Map<number, string>();
  for (const entry of Object.values(registers) as (Register | number)[]) {
    if (typeof entry !== "object" || !("offset" in entry)) continue;
    for (let i = 0; i < entry.count; i++) {
      const offset = offsetOf(entry, i);
      assertEquals(seen.get(offset), undefined, `${entry.name}[${i}]`);
      seen.set(offset, entry.name);
    }
  }
});
