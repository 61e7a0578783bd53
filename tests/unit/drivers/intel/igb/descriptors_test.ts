/** The words that reach an 82576 or I350, and what is read out of theirs. */
import { assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../../src/memory/batch.ts";
import { completeConfig } from "../../../../../src/config.ts";
import {
  CHIP_82576,
  CHIP_I350,
  MAX_FRAME_SIZE,
} from "../../../../../src/drivers/intel/igb/chip.ts";
import {
  interval,
  rxEntry,
} from "../../../../../src/drivers/intel/igb/interrupts.ts";
import * as own from "../../../../../src/drivers/intel/igb/registers.ts";
import {
  IgbRxQueue,
  IgbTxQueue,
} from "../../../../../src/drivers/intel/igb/queues.ts";
import * as shared from "../../../../../src/drivers/intel/gigabit/registers.ts";
import { QueueControl } from "../../../../../src/drivers/queue/control_block.ts";
import {
  offsetOf,
  type Register,
} from "../../../../../src/drivers/intel/register.ts";
import { ConfigError } from "../../../../../src/errors.ts";
import { reachable } from "../../../../support/reachable.ts";
import { IrqLine } from "../../../../../src/irq/line.ts";
import { INDEX_MASK, Mempool } from "../../../../../src/memory/mempool.ts";
import { PacketFlag } from "../../../../../src/memory/packet.ts";
import { QueueCounters } from "../../../../../src/stats.ts";

const DEPTH = 64;
const QUEUE = 3;
/** 82576 datasheet 7.2.2.3: DTYP 0011b, DCMD.DEXT, DCMD.IFCS, and then EOP and RS. */
const DATA = 0x22300000;
const EOP = 0x01000000;
const RS = 0x08000000;

interface Rings {
  readonly pool: Mempool;
  readonly rx: IgbRxQueue;
  readonly tx: IgbTxQueue;
  readonly rxRing: Uint32Array;
  readonly txRing: Uint32Array;
  readonly writes: [number, number][];
}

/** Rings without a card behind them. */
function withRings(test: (rings: Rings) => void): void {
  const pool = Mempool.create({ entries: 512, memory: { backing: "plain" } });
  const buffer = new SharedArrayBuffer(2 * DEPTH * 16);
  const lines = [IrqLine.create(), IrqLine.create()];
  const writes: [number, number][] = [];
  const queue = {
    driver: "igb",
    model: "82576",
    index: QUEUE,
    rings: { buffer, rxOffset: 0, txOffset: DEPTH * 16 },
    pool: pool.description,
    reachable: reachable(pool),
    counters: QueueCounters.allocate(),
    control: QueueControl.allocate(DEPTH, DEPTH),
    irqFd: lines[0].fd,
    wakeFd: lines[1].fd,
    config: completeConfig({
      rxDepth: DEPTH,
      txDepth: DEPTH,
      maxFrameSize: 9000,
      vlanStrip: true,
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
      rx: new IgbRxQueue(queue, bar),
      tx: new IgbTxQueue(queue, bar),
      rxRing: new Uint32Array(buffer, 0, DEPTH * 4),
      txRing: new Uint32Array(buffer, DEPTH * 16),
      writes,
    });
  } finally {
    for (const line of lines) line.close();
    pool.destroy();
  }
}

/** Receives one frame whose descriptor says this; returns its index in the pool. */
function receive(
  { rx, rxRing }: Rings,
  words: [info: number, hash: number, status: number, size: number],
): number {
  rx.resetRing();
  rxRing.set(words);
  const batch = new Batch(1);
  assertEquals(rx.receive(batch), 1);
  return batch.handles[0] & INDEX_MASK;
}

Deno.test("igb: tails and the unmasking register are the queue's own", () => {
  withRings(({ pool, rx, tx, rxRing, writes }) => {
    rx.resetRing();
    tx.resetRing();
    rxRing.set([0, 0, 3, 60]);
    rx.receive(new Batch(1));
    const batch = new Batch(1);
    const handle = pool.allocate();
    pool.lengths[handle & INDEX_MASK] = 60;
    batch.push(handle);
    tx.send(batch);
    rx.ackIrq();
    assertEquals(writes, [[0xc0d8, 0], [0xe0d8, 1], [0x1524, 1 << QUEUE]]);
  });
});

Deno.test("igb: a frame of the largest size is a chain with its length in each part", () => {
  withRings(({ pool, tx, txRing }) => {
    tx.resetRing();
    const sizes = [2048, 2048, 2048, 2048, MAX_FRAME_SIZE - 4 * 2048];
    const handles = sizes.map((size) => {
      const handle = pool.allocate();
      pool.lengths[handle & INDEX_MASK] = size;
      return handle;
    });
    const chain = () => {
      for (let i = 1; i < handles.length; i++) {
        pool.nextSegments[handles[i - 1] & INDEX_MASK] = handles[i];
      }
    };
    chain();
    const batch = new Batch(1);
    batch.push(handles[0]);
    assertEquals(tx.send(batch), 1);
    const words = sizes.map((size, i) => {
      const last = i === sizes.length - 1 ? EOP | RS : 0;
      return [DATA | last | size, MAX_FRAME_SIZE << 14 >>> 0];
    });
    assertEquals(
      sizes.map((_, i) => [...txRing.subarray(4 * i + 2, 4 * i + 4)]),
      words,
    );
    chain();
    pool.lengths[handles[4] & INDEX_MASK]++;
    tx.resetRing();
    assertEquals(tx.send(batch), 1);
    assertEquals(tx.counters.get("txErrors"), 1, "one byte more than that");
  });
});

Deno.test("igb: checksum verdicts by bits 29 and 30, one below the 82599's", () => {
  const { IpChecksumGood, IpChecksumBad, L4ChecksumGood, L4ChecksumBad } =
    PacketFlag;
  const [DONE, L4CS, IPCS] = [3, 1 << 5, 1 << 6];
  const [L4E, IPE] = [1 << 29, 1 << 30];
  const [TCP, UDP, SCTP] = [1 << 8, 1 << 9, 1 << 10];
  const cases: [type: number, status: number, flags: number][] = [
    [TCP, DONE, 0],
    [TCP, DONE | IPCS, IpChecksumGood],
    [TCP, DONE | IPCS | L4CS, IpChecksumGood | L4ChecksumGood],
    [TCP, DONE | IPCS | L4CS | IPE, IpChecksumBad | L4ChecksumGood],
    [TCP, DONE | IPCS | L4CS | L4E, IpChecksumGood | L4ChecksumBad],
    [UDP, DONE | IPCS | L4CS | L4E, IpChecksumGood | L4ChecksumBad],
    [SCTP, DONE | IPCS | L4CS | L4E, IpChecksumGood],
    [SCTP, DONE | IPCS | L4CS, IpChecksumGood | L4ChecksumGood],
  ];
  for (const [type, status, flags] of cases) {
    withRings((rings) => {
      const index = receive(rings, [type, 0, status, 60]);
      assertEquals(rings.pool.flags[index], flags);
    });
  }
});

Deno.test("igb: hash and tag are where the descriptor has them", () => {
  withRings((rings) => {
    const { pool } = rings;
    const index = receive(rings, [0x21, 0xdeadbeef, 0x0b, 0x0123_003c]);
    assertEquals(pool.lengths[index], 60);
    assertEquals(pool.rssHashes[index], 0xdeadbeef);
    assertEquals(pool.vlanTags[index], 0x0123);
    assertEquals(
      pool.flags[index],
      PacketFlag.RssHash | PacketFlag.VlanStripped,
    );
  });
});

Deno.test("igb: a damaged frame, bit 31, is freed and counted", () => {
  withRings(({ rx, rxRing }) => {
    rx.resetRing();
    rxRing.set([0, 0, 0x8000_0003, 60]);
    rxRing.set([0, 0, 3, 61], 4);
    const batch = new Batch(8);
    assertEquals(rx.receive(batch), 1);
    assertEquals(rx.pool.lengths[batch.handles[0] & INDEX_MASK], 61);
    assertEquals(rx.counters.get("rxErrors"), 1);
  });
});

Deno.test("igb: the entries of IVAR differ between the chips", () => {
  const entries = (model: typeof CHIP_82576) =>
    [0, 1, 7, 8, 15].map((queue) => {
      const { index, shift } = rxEntry(model, queue);
      return [index, shift];
    });
  assertEquals(entries(CHIP_82576), [
    ...[[0, 0], [1, 0], [7, 0], [0, 16], [7, 16]],
  ]);
  assertEquals(entries(CHIP_I350), [
    ...[[0, 0], [0, 16], [3, 16], [4, 0], [7, 16]],
  ]);
});

Deno.test("igb: an interrupt interval is in microseconds from bit 2", () => {
  assertEquals([0, 1, 10, 8191].map(interval), [0, 4, 40, 0x7ffc]);
  assertThrows(() => interval(8192), ConfigError);
});

Deno.test("igb: indexed registers lie where the datasheet has them", () => {
  assertEquals([0, 15].map((i) => offsetOf(own.RXDCTL, i)), [0xc028, 0xc3e8]);
  assertEquals([0, 15].map((i) => offsetOf(own.TDT, i)), [0xe018, 0xe3d8]);
  assertEquals([0, 24].map((i) => offsetOf(own.EITR, i)), [0x1680, 0x16e0]);
  assertEquals([0, 15, 16, 31].map((i) => offsetOf(shared.RAL, i)), [
    ...[0x5400, 0x5478, 0x54e0, 0x5558],
  ]);
});

Deno.test("igb: no two registers of the tables share a place, STATUS apart", () => {
  const seen = new Map<number, string>();
  const entries = [...Object.values(shared), ...Object.values(own)];
  for (const entry of entries as (Register | number)[]) {
    if (typeof entry !== "object" || entry === own.RESET_STATUS) continue;
    for (let i = 0; i < entry.count; i++) {
      const offset = offsetOf(entry, i);
      assertEquals(seen.get(offset), undefined, `${entry.name}[${i}]`);
      seen.set(offset, entry.name);
    }
  }
});
