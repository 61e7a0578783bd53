/** The words that reach an 8254x or an 82574, and what is made of those that come back. */
import { assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../../src/memory/batch.ts";
import { completeConfig } from "../../../../../src/config.ts";
import { interval } from "../../../../../src/drivers/intel/e1000/interrupts.ts";
import { rxBufferBytes } from "../../../../../src/drivers/intel/e1000/rx_unit.ts";
import * as registers from "../../../../../src/drivers/intel/e1000/registers.ts";
import {
  E1000RxQueue,
  E1000TxQueue,
} from "../../../../../src/drivers/intel/e1000/queues.ts";
import * as common from "../../../../../src/drivers/intel/gigabit/registers.ts";
import { QueueControl } from "../../../../../src/drivers/queue/control_block.ts";
import {
  insert,
  offsetOf,
  type Register,
} from "../../../../../src/drivers/intel/register.ts";
import { ConfigError, NotSupportedError } from "../../../../../src/errors.ts";
import { reachable } from "../../../../support/reachable.ts";
import { IrqLine } from "../../../../../src/irq/line.ts";
import { INDEX_MASK, Mempool } from "../../../../../src/memory/mempool.ts";
import { PacketFlag } from "../../../../../src/memory/packet.ts";
import { QueueCounters } from "../../../../../src/stats.ts";

const DEPTH = 64;
/** 317453 section 3.3.3.1: IFCS, EOP and RS of the command byte. */
const IFCS = 0x02000000;
const EOP = 0x01000000;
const RS = 0x08000000;
/** 317453 section 13.4: where ICR, ICS and IMS are. */
const [ICR, ICS, IMS] = [0xc0, 0xc8, 0xd0];
const RXT0 = 0x80;
const LSC = 0x04;

interface Rings {
  pool: Mempool;
  rx: E1000RxQueue;
  tx: E1000TxQueue;
  rxRing: Uint32Array;
  txRing: Uint32Array;
  /** Registers written, and INTx let through as a write to "unmask". */
  writes: [number | "unmask", number][];
  /** What reading a register gives; reading ICR clears it. */
  values: Map<number, number>;
  link: IrqLine;
}

interface Kind {
  model: string;
  index?: number;
  shared?: boolean;
  vlanStrip?: boolean;
  irqTimeoutMs?: number;
}

/** Rings without a card behind them. */
function withRings(kind: Kind, test: (rings: Rings) => void): void {
  const { model, index = 0, shared = false, vlanStrip = false } = kind;
  const { irqTimeoutMs = -1 } = kind;
  const pool = Mempool.create({ entries: 512, memory: { backing: "plain" } });
  const buffer = new SharedArrayBuffer(2 * DEPTH * 16);
  const lines = [IrqLine.create(), IrqLine.create(), IrqLine.create()];
  const writes: Rings["writes"] = [];
  const values = new Map<number, number>();
  const queue = {
    driver: "e1000",
    model,
    index,
    rings: { buffer, rxOffset: 0, txOffset: DEPTH * 16 },
    pool: pool.description,
    reachable: reachable(pool),
    counters: QueueCounters.allocate(),
    control: QueueControl.allocate(DEPTH, DEPTH),
    irqFd: lines[0].fd,
    wakeFd: lines[1].fd,
    ...(shared ? { linkFd: lines[2].fd } : {}),
    config: completeConfig({
      rxDepth: DEPTH,
      txDepth: DEPTH,
      irqTimeoutMs,
      maxFrameSize: 4096,
      vlanStrip,
    }),
  };
  const bus = {
    read32(offset: number): number {
      const value = values.get(offset) ?? 0;
      if (offset === ICR) values.delete(ICR);
      return value;
    },
    write32: (offset: number, value: number) =>
      void writes.push([offset, value]),
    unmaskInterrupt: () => void writes.push(["unmask", 0]),
  };
  try {
    test({
      pool,
      rx: new E1000RxQueue(queue, bus, bus.unmaskInterrupt),
      tx: new E1000TxQueue(queue, bus),
      rxRing: new Uint32Array(buffer, 0, DEPTH * 4),
      txRing: new Uint32Array(buffer, DEPTH * 16),
      writes,
      values,
      link: lines[2],
    });
  } finally {
    for (const line of lines) line.close();
    pool.destroy();
  }
}

/** The flags of one received frame. */
function flagsOf(kind: Kind, words: [number, number, number, number]): number {
  let flags = 0;
  withRings(kind, ({ rx, rxRing, pool }) => {
    rx.resetRing();
    rxRing.set(words);
    const batch = new Batch(4);
    assertEquals(rx.receive(batch), 1);
    flags = pool.flags[batch.handles[0] & INDEX_MASK];
  });
  return flags;
}

Deno.test("e1000 legacy receive: length, status and tag where 317453 section 3.2.3 has them", () => {
  withRings({ model: "82540EM", vlanStrip: true }, (rings) => {
    const { rx, rxRing, pool, writes } = rings;
    assertEquals(rx.resetRing(), DEPTH - 1);
    assertEquals([...rxRing.subarray(4, 8)], [
      ...[pool.iovaLow + pool.stride, pool.iovaHigh, 0, 0],
    ]);
    // 100 bytes with a checksum of the packet; DD, EOP, VP; tag 0xA123.
    rxRing[2] = 0xbeef0064;
    rxRing[3] = 0xa123000b;
    const batch = new Batch(4);
    assertEquals(rx.receive(batch), 1);
    const index = batch.handles[0] & INDEX_MASK;
    assertEquals(pool.lengths[index], 100);
    assertEquals(pool.flags[index], PacketFlag.VlanStripped);
    assertEquals(pool.vlanTags[index], 0xa123);
    assertEquals([...rxRing.subarray(2, 4)], [0, 0], "written anew");
    assertEquals(writes, [[0x2818, 0]], "RDT, once");
  });
});

Deno.test("e1000 legacy receive: checksum verdicts, none with IXSM", () => {
  const legacy = (status: number) =>
    flagsOf({ model: "82545EM" }, [0x80000600, 1, 60, status]);
  const { IpChecksumGood, IpChecksumBad, L4ChecksumGood, L4ChecksumBad } =
    PacketFlag;
  // Status: DD, EOP, TCPCS 0x20, IPCS 0x40, IXSM 0x04; errors: TCPE 0x2000, IPE 0x4000.
  assertEquals(legacy(0x0063), IpChecksumGood | L4ChecksumGood);
  assertEquals(legacy(0x2063), IpChecksumGood | L4ChecksumBad);
  assertEquals(legacy(0x4063), IpChecksumBad | L4ChecksumGood);
  assertEquals(legacy(0x0067), 0);
  assertEquals(legacy(0x0003), 0);
});

Deno.test("e1000 legacy receive: a damaged frame is dropped and counted", () => {
  withRings({ model: "82540EM" }, ({ rx, rxRing }) => {
    rx.resetRing();
    rxRing.set([0, 0, 60, 0x8003]);
    rxRing.set([0, 0, 61, 0x0003], 4);
    const batch = new Batch(4);
    assertEquals(rx.receive(batch), 1);
    assertEquals(rx.pool.lengths[batch.handles[0] & INDEX_MASK], 61);
    assertEquals(rx.counters.get("rxErrors"), 1);
  });
});

Deno.test("e1000 legacy receive: a frame in three buffers is one chain", () => {
  withRings({ model: "82540EM" }, ({ rx, rxRing, pool }) => {
    rx.resetRing();
    rxRing.set([0, 0, 2048, 0x01]);
    rxRing.set([0, 0, 2048, 0x01], 4);
    const batch = new Batch(4);
    assertEquals(rx.receive(batch), 0);
    rxRing.set([0, 0, 4, 0x03], 8);
    assertEquals(rx.receive(batch), 1);
    const lengths = [];
    for (let at = batch.handles[0]; at !== 0;) {
      lengths.push(pool.lengths[at & INDEX_MASK]);
      at = pool.nextSegments[at & INDEX_MASK];
    }
    assertEquals(lengths, [2048, 2048, 4]);
  });
});

Deno.test("e1000 extended receive: hash, verdicts and queue 1's tail", () => {
  const kind = { model: "82574L", index: 1 };
  withRings(kind, ({ rx, rxRing, pool, writes }) => {
    rx.resetRing();
    // Hash of TCP over IPv4, on queue 1; DD, EOP, TCPCS, IPCS.
    rxRing.set([0x101, 0xdeadbeef, 0x63, 60]);
    const batch = new Batch(4);
    assertEquals(rx.receive(batch), 1);
    const index = batch.handles[0] & INDEX_MASK;
    assertEquals(pool.rssHashes[index], 0xdeadbeef);
    const { RssHash, IpChecksumGood, L4ChecksumGood } = PacketFlag;
    assertEquals(pool.flags[index], RssHash | IpChecksumGood | L4ChecksumGood);
    assertEquals(writes, [[0x2918, 0]]);
  });
  const { IpChecksumBad, L4ChecksumBad } = PacketFlag;
  assertEquals(
    flagsOf(kind, [0, 0, 0x60000063, 60]),
    IpChecksumBad | L4ChecksumBad,
    "TCPE and IPE are bits 29 and 30",
  );
});

for (const model of ["82540EM", "82574L"]) {
  Deno.test(`e1000 transmit on the ${model}: legacy descriptors, the last one reports`, () => {
    withRings({ model }, ({ pool, tx, txRing, writes }) => {
      tx.resetRing();
      const batch = new Batch(3);
      for (const length of [60, 1514, 2048]) {
        const handle = pool.allocate();
        pool.lengths[handle & INDEX_MASK] = length;
        batch.push(handle);
      }
      const [a, b, c] = [...batch.handles].map((handle) =>
        pool.iovaLow + (handle & INDEX_MASK) * pool.stride
      );
      assertEquals(tx.send(batch), 3);
      assertEquals([...txRing.subarray(0, 12)], [
        ...[a, pool.iovaHigh, IFCS | EOP | 60, 0],
        ...[b, pool.iovaHigh, IFCS | EOP | 1514, 0],
        ...[c, pool.iovaHigh, IFCS | EOP | RS | 2048, 0],
      ]);
      assertEquals(writes, [[0x3818, 3]], "TDT, once");
      txRing[11] |= 1;
      assertEquals(tx.reclaim(), 3);
    });
  });
}

Deno.test("e1000 transmit: the end of a chain is in its last descriptor alone", () => {
  withRings({ model: "82540EM" }, ({ pool, tx, txRing }) => {
    tx.resetRing();
    const [head, tail] = [pool.allocate(), pool.allocate()];
    pool.lengths[head & INDEX_MASK] = 2048;
    pool.lengths[tail & INDEX_MASK] = 100;
    pool.nextSegments[head & INDEX_MASK] = tail;
    const batch = new Batch(1);
    batch.push(head);
    assertEquals(tx.send(batch), 1);
    assertEquals([txRing[2], txRing[3], txRing[6], txRing[7]], [
      ...[IFCS | 2048, 0, IFCS | EOP | RS | 100, 0],
    ]);
  });
});

Deno.test("e1000 with a vector for each queue unmasks its cause alone", () => {
  withRings({ model: "82574L", index: 1 }, ({ rx, writes }) => {
    rx.resetRing();
    rx.ackIrq();
    assertEquals(writes, [[IMS, 1 << 21]]);
  });
});

Deno.test("e1000 with a shared vector clears the causes before it unmasks", () => {
  withRings({ model: "82540EM", shared: true }, (rings) => {
    const { rx, writes, values, link } = rings;
    rx.resetRing();
    values.set(ICR, RXT0);
    rx.ackIrq();
    assertEquals(values.has(ICR), false, "read");
    assertEquals(writes, [[IMS, RXT0 | LSC], ["unmask", 0]]);
    assertEquals(link.clear(), false);
  });
});

Deno.test("e1000 with a shared vector passes news of the link on", () => {
  withRings({ model: "82540EM", shared: true }, ({ rx, values, link }) => {
    rx.resetRing();
    values.set(ICR, LSC);
    rx.ackIrq();
    assertEquals(link.clear(), true);
  });
});

Deno.test("e1000 with a shared vector loses no frame whose cause it took along", () => {
  withRings({ model: "82540EM", shared: true }, (rings) => {
    const { rx, rxRing, writes, values } = rings;
    rx.resetRing();
    rxRing.set([0, 0, 60, 0x03]);
    values.set(ICR, RXT0);
    rx.ackIrq();
    assertEquals(writes, [[IMS, RXT0 | LSC], [ICS, RXT0], ["unmask", 0]]);
  });
});

Deno.test("e1000 that polls leaves a shared vector to the link", () => {
  const kind = { model: "82540EM", shared: true, irqTimeoutMs: 0 };
  withRings(kind, ({ rx, writes, values }) => {
    rx.resetRing();
    values.set(ICR, RXT0);
    rx.ackIrq();
    assertEquals(writes, []);
    assertEquals(values.has(ICR), true);
  });
});

Deno.test("e1000 knows only its chips", () => {
  assertThrows(
    () => withRings({ model: "82541" }, () => {}),
    NotSupportedError,
  );
});

Deno.test("the e1000 is never told of more buffer than there is", () => {
  assertEquals(
    [256, 511, 1024, 2047, 2048, 4000, 4096, 16384].map(rxBufferBytes),
    [256, 256, 1024, 1024, 2048, 2048, 4096, 16384],
  );
});

Deno.test("an e1000 interrupt interval is rounded up to units of 256 ns", () => {
  assertEquals([0, 1, 10].map(interval), [0, 4, 40]);
  assertThrows(() => interval(16777), ConfigError);
});

Deno.test("e1000 registers of the second queue lie 256 bytes further", () => {
  const { RDT, TDT, RDLEN, EITR, RETA, RSSRK } = registers;
  assertEquals([RDT, TDT, RDLEN].map((entry) => offsetOf(entry, 1)), [
    ...[0x2918, 0x3918, 0x2908],
  ]);
  assertEquals(offsetOf(EITR, 4), 0xf8);
  assertEquals([offsetOf(RETA, 31), offsetOf(RSSRK, 9)], [0x5c7c, 0x5ca4]);
  assertThrows(() => offsetOf(RDT, 2), RangeError);
});

Deno.test("IVAR has a nibble for each cause", () => {
  const { bits } = registers.IVAR;
  const word = insert(bits.RXQ0, 0) | bits.RXQ0_VALID | insert(bits.RXQ1, 1) |
    bits.RXQ1_VALID | insert(bits.OTHER, 2) | bits.OTHER_VALID;
  assertEquals(word, 0xa0098);
});

Deno.test("no two registers of the e1000 and the common table share a place", () => {
  const seen = new Map<number, string>();
  const all = [...Object.values(registers), ...Object.values(common)];
  for (const entry of all as unknown[]) {
    if (!isRegister(entry)) continue;
    for (let i = 0; i < entry.count; i++) {
      const offset = offsetOf(entry, i);
      assertEquals(seen.get(offset), undefined, `${entry.name}[${i}]`);
      seen.set(offset, entry.name);
    }
  }
});

function isRegister(value: unknown): value is Register {
  return typeof value === "object" && value !== null && "offset" in value;
}
