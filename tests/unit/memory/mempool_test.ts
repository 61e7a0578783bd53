import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { ConfigError, PoolError } from "../../../src/errors.ts";
import { Handover } from "../../../src/memory/handover.ts";
import { HEADROOM, INDEX_MASK, Mempool } from "../../../src/memory/mempool.ts";
import { Packet } from "../../../src/memory/packet.ts";

const PLAIN = { backing: "plain" } as const;

function withPool(
  options: { entries: number; maxEntries?: number; debug?: boolean },
  use: (pool: Mempool) => void,
): void {
  const pool = Mempool.create({ debug: false, memory: PLAIN, ...options });
  try {
    use(pool);
  } finally {
    pool.destroy();
  }
}

function takeAll(pool: Mempool): number[] {
  const handles: number[] = [];
  for (let h = pool.allocate(); h !== 0; h = pool.allocate()) handles.push(h);
  return handles;
}

Deno.test("Mempool hands out every entry once, then 0, and counts that", () => {
  withPool({ entries: 100 }, (pool) => {
    const handles = takeAll(pool);
    assertEquals(new Set(handles).size, 100);
    assertEquals(pool.exhausted, 1);
    assertEquals(pool.inUse, 100);
    for (const handle of handles) pool.free(handle);
    assertEquals(pool.inUse, 0);
    assertEquals(takeAll(pool).length, 100);
  });
});

Deno.test("Mempool entries do not overlap and lie within the pool", () => {
  withPool({ entries: 33 }, (pool) => {
    const offsets = takeAll(pool).map((h) => pool.offset(h)).sort((a, b) =>
      a - b
    );
    for (let i = 1; i < offsets.length; i++) {
      assert(offsets[i] - offsets[i - 1] >= pool.entrySize);
    }
    assert(offsets[32] + pool.entrySize <= pool.u8.length);
  });
});

Deno.test("Mempool hands out the most recently freed entry first", () => {
  withPool({ entries: 8 }, (pool) => {
    const [a, b] = [pool.allocate(), pool.allocate()];
    pool.free(a);
    pool.free(b);
    assertEquals(pool.allocate(), b);
  });
});

Deno.test("Mempool.extend() adds entries while others are out", () => {
  withPool({ entries: 4, maxEntries: 10 }, (pool) => {
    const before = takeAll(pool);
    pool.extend(6);
    const after = takeAll(pool);
    assertEquals(after.length, 6);
    assertEquals(new Set([...before, ...after]).size, 10);
    assertThrows(() => pool.extend(1), ConfigError, "maxEntries");
  });
});

Deno.test("Mempool.shrink() retires entries that are out when they come home", () => {
  withPool({ entries: 10 }, (pool) => {
    const handles = takeAll(pool);
    pool.shrink(4);
    assertEquals(pool.capacity, 6);
    for (const handle of handles) pool.free(handle);
    const left = takeAll(pool);
    assertEquals(left.length, 6);
    assert(left.every((h) => (h & INDEX_MASK) < 6));
  });
});

Deno.test("Mempool extends again over entries that are still out", () => {
  withPool({ entries: 10 }, (pool) => {
    const handles = takeAll(pool);
    pool.shrink(5);
    pool.free(handles.find((h) => (h & INDEX_MASK) === 9)!);
    pool.extend(5);
    const again = takeAll(pool);
    assertEquals(again.map((h) => h & INDEX_MASK), [9]);
    for (const h of handles) if ((h & INDEX_MASK) !== 9) pool.free(h);
    for (const h of again) pool.free(h);
    assertEquals(new Set(takeAll(pool)).size, 10);
  });
});

Deno.test("Mempool.shrink() returns memory once nothing on it is in use", () => {
  withPool({ entries: 100 }, (pool) => {
    const before = pool.committedBytes;
    const handles = takeAll(pool);
    pool.shrink(90);
    assertEquals(pool.committedBytes, before);
    const last = handles.find((h) => (h & INDEX_MASK) === 99)!;
    for (const h of handles) if (h !== last) pool.free(h);
    assertEquals(pool.committedBytes, before);
    pool.free(last);
    const PAGE = 4096;
    const pages = Math.ceil(10 * pool.stride / PAGE);
    assertEquals(pool.committedBytes, pages * PAGE);
    pool.extend(90);
    assertEquals(pool.committedBytes, before);
    assertEquals(takeAll(pool).length, 100);
  });
});

Deno.test("Mempool.reclaimAll() takes every entry back", () => {
  withPool({ entries: 16 }, (pool) => {
    takeAll(pool);
    pool.reclaimAll();
    assertEquals(pool.inUse, 0);
    assertEquals(new Set(takeAll(pool)).size, 16);
  });
});

Deno.test("Mempool.create() names the wrong size", () => {
  for (
    const options of [
      { entries: 0 },
      { entries: 1.5 },
      { entries: 8, maxEntries: 4 },
      { entries: 8, entrySize: 100 },
      { entries: 8, entrySize: 32768 },
      { entries: 2 ** 21 },
    ]
  ) {
    assertThrows(
      () => Mempool.create({ memory: PLAIN, ...options }),
      ConfigError,
    );
  }
});

Deno.test("Mempool of entry size 0 fits a full Ethernet frame", () => {
  withPool({ entries: 1 }, (pool) => assert(pool.entrySize >= 1518));
});

Deno.test("Mempool.of() refuses a handle of no pool", () => {
  assertThrows(() => Mempool.of(0x3ff00000), PoolError, "no pool");
});

Deno.test("Mempool in debug mode catches a double free", () => {
  withPool({ entries: 4, debug: true }, (pool) => {
    const handle = pool.allocate();
    pool.free(handle);
    assertThrows(() => pool.free(handle), PoolError, "was freed twice");
  });
});

Deno.test("Mempool in debug mode catches use after free", () => {
  withPool({ entries: 4, debug: true }, (pool) => {
    const packet = new Packet().at(pool.allocate());
    const { handle } = packet;
    packet.free();
    assertThrows(() => packet.at(handle), PoolError, "after it was freed");
  });
});

Deno.test("Mempool in debug mode catches a handle of another pool", () => {
  withPool({ entries: 4, debug: true }, (pool) => {
    withPool({ entries: 4, debug: true }, (other) => {
      const handle = other.allocate();
      assertThrows(() => pool.free(handle), PoolError, "another pool");
      other.free(handle);
    });
  });
});

Deno.test("Mempool in debug mode catches a write past the entry", () => {
  withPool({ entries: 4, debug: true }, (pool) => {
    const handle = pool.allocate();
    pool.u8[pool.offset(handle) + pool.entrySize] = 1;
    const error = assertThrows(() => pool.free(handle), PoolError);
    assertStringIncludes(error.message, "past the 2048 bytes");
  });
});

Deno.test("Mempool without debug mode does not touch freed bytes", () => {
  withPool({ entries: 4 }, (pool) => {
    const handle = pool.allocate();
    const at = pool.offset(handle);
    pool.u8[at] = 7;
    pool.free(handle);
    assertEquals(pool.u8[at], 7);
  });
});

Deno.test("Packet refuses a length beyond its entry", () => {
  withPool({ entries: 1 }, (pool) => {
    const packet = new Packet().at(pool.allocate());
    assertThrows(() => packet.length = 2049, RangeError);
  });
});

Deno.test("Packet.totalLength adds up the segments, and free() frees them all", () => {
  withPool({ entries: 3 }, (pool) => {
    const [a, b, c] = takeAll(pool);
    const packet = new Packet();
    packet.at(c).length = 30;
    packet.at(b).length = 20;
    packet.nextSegment = c;
    packet.at(a).length = 10;
    packet.nextSegment = b;
    assertEquals(packet.totalLength, 60);
    packet.free();
    assertEquals(pool.available, 3);
  });
});

Deno.test("Batch.free() frees what was not sent", () => {
  withPool({ entries: 4 }, (pool) => {
    const batch = new Batch(4);
    for (let i = 0; i < 4; i++) batch.push(pool.allocate());
    assertEquals(batch.free(1), 3);
    assertEquals(batch.length, 1);
    assertEquals(pool.available, 3);
  });
});

Deno.test("Handover carries packets to another worker and freed ones home", async () => {
  const pool = Mempool.create({ entries: 64, memory: PLAIN, debug: true });
  const road = Handover.create(pool, 16);
  const worker = new Worker(
    new URL("../../fixtures/handover_worker.ts", import.meta.url),
    { type: "module" },
  );
  try {
    worker.postMessage(road.describe());
    const sums = Promise.withResolvers<number>();
    worker.onmessage = ({ data }) => sums.resolve(data);
    const batch = new Batch(8);
    const packet = new Packet();
    let expected = 0;
    for (let sent = 0; sent < 5000;) {
      if (batch.length === 0) {
        pool.sync();
        while (batch.length < 8 && sent + batch.length < 5000) {
          const handle = pool.allocate();
          if (handle === 0) break;
          const value = (sent + batch.length) & 0xff;
          packet.at(handle).write(new Uint8Array([value]));
          expected += value;
          batch.push(handle);
        }
      }
      const passed = road.send(batch);
      sent += passed;
      batch.handles.copyWithin(0, passed, batch.length);
      batch.length -= passed;
      if (passed === 0) await new Promise((r) => setTimeout(r, 0));
    }
    assertEquals(await sums.promise, expected);
    pool.sync();
    assertEquals(pool.inUse, 0);
  } finally {
    worker.terminate();
    pool.destroy();
  }
});

Deno.test("Mempool of small pages behind an IOMMU has no entry that crosses a page", () => {
  const PAGE = 4096;
  const domain = new MappedDomain({
    pagewise: true,
    map: () => {},
    unmap: () => {},
  });
  for (const entrySize of [256, 1024, 2048, 3968]) {
    for (const debug of [false, true]) {
      const pool = Mempool.create(
        { entries: 20, maxEntries: 40, entrySize, debug, memory: PLAIN },
        domain,
      );
      pool.extend(20);
      const firstBytes = takeAll(pool).map((handle) =>
        pool.iovaLow + pool.offset(handle)
      );
      assertEquals(firstBytes.length, 40);
      for (const first of firstBytes) {
        assertEquals(
          Math.floor((first - HEADROOM) / PAGE),
          Math.floor((first + entrySize - 1) / PAGE),
        );
      }
      assertEquals(
        pool.committedBytes,
        Math.ceil(40 * pool.stride / PAGE) * PAGE,
      );
      pool.destroy();
    }
  }
});
