import { assert, assertEquals, assertThrows } from "@std/assert";
import { DMA_PAGE_SIZE, DmaTable } from "../../../src/sim/dma_table.ts";

const PAGE = 4096;

function find(table: DmaTable, iova: bigint, length: number): number | null {
  const low = Number(iova & 0xffffffffn) | 0;
  const high = Number(iova >> 32n) | 0;
  return table.translate(low, high, length) ? table.offset : null;
}

Deno.test("DmaTable finds bytes of a mapping and nothing around it", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(8 * PAGE);
  table.map(0x1000n, buffer, 2 * PAGE, 2 * PAGE);
  assertEquals(find(table, 0x1000n, 1), 2 * PAGE);
  assertEquals(find(table, 0x1234n, 100), 2 * PAGE + 0x234);
  assertEquals(find(table, 0x1000n, 2 * PAGE), 2 * PAGE);
  assertEquals(find(table, 0x1000n, 2 * PAGE + 1), null);
  assertEquals(find(table, 0xfffn, 2), null);
  assertEquals(find(table, 0x3000n, 1), null);
  assertEquals(find(table, 0x1_0000_1000n, 1), null);
  assert(table.u8.buffer === buffer && table.u32.buffer === buffer);
});

Deno.test("DmaTable uses all bits of a 64-bit address", () => {
  const table = new DmaTable();
  const a = new SharedArrayBuffer(PAGE);
  const b = new SharedArrayBuffer(PAGE);
  table.map(0xffff_f000n, a, 0, PAGE);
  table.map(0x1_0000_0000n, b, 0, PAGE);
  table.map(0xffff_ffff_f000n, a, 0, PAGE);
  assertEquals(find(table, 0xffff_ffffn, 1), PAGE - 1);
  assert(table.u8.buffer === a);
  assertEquals(find(table, 0xffff_ffffn, 2), null, "two buffers");
  assertEquals(find(table, 0x1_0000_0008n, 8), 8);
  assert(table.u8.buffer === b);
  assertEquals(find(table, 0xffff_ffff_f010n, 8), 16);
  assertEquals(find(table, 0xffff_ffff_ffff_f010n, 8), null);
});

Deno.test("DmaTable lets an access cross adjacent pieces of one buffer", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(4 * PAGE);
  table.map(0x3000n, buffer, 2 * PAGE, PAGE);
  table.map(0x1000n, buffer, 0, PAGE);
  assertEquals(find(table, 0x1ff0n, 32), null);
  table.map(0x2000n, buffer, PAGE, PAGE);
  assertEquals(find(table, 0x1ff0n, 32), PAGE - 16);
  assertEquals(find(table, 0x1000n, 3 * PAGE), 0);
});

Deno.test("DmaTable does not join pieces that do not follow each other", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(4 * PAGE);
  table.map(0x1000n, buffer, 0, PAGE);
  table.map(0x2000n, buffer, 2 * PAGE, PAGE);
  assertEquals(find(table, 0x1ff0n, 32), null);
});

Deno.test("DmaTable forgets what is unmapped, in part too", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(4 * PAGE);
  table.map(0x1000n, buffer, 0, 4 * PAGE);
  const before = table.generation;
  assertEquals(find(table, 0x2000n, 8), PAGE);
  table.unmap(0x2000n, PAGE);
  assert(table.generation !== before);
  assertEquals(find(table, 0x2000n, 8), null);
  assertEquals(find(table, 0x1000n, PAGE), 0);
  assertEquals(find(table, 0x3000n, 2 * PAGE), 2 * PAGE);
  table.map(0x2000n, buffer, PAGE, PAGE);
  assertEquals(find(table, 0x1000n, 4 * PAGE), 0);
});

Deno.test("DmaTable refuses what an IOMMU would", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(4 * PAGE);
  table.map(0x2000n, buffer, 0, 2 * PAGE);
  assertThrows(() => table.map(0x800n, buffer, 0, PAGE), RangeError, "whole");
  assertThrows(() => table.map(0x1000n, buffer, 0, 100), RangeError, "whole");
  assertThrows(() => table.map(0x1000n, buffer, 0, 0), RangeError, "whole");
  assertThrows(
    () => table.map(0x1000n, buffer, 2, PAGE),
    RangeError,
    "multiple of 4",
  );
  assertThrows(
    () => table.map(0x8000n, buffer, PAGE, 4 * PAGE),
    RangeError,
    "buffer",
  );
  assertThrows(
    () => table.map(0x1000n, buffer, 0, 2 * PAGE),
    RangeError,
    "mapped already",
  );
  assertThrows(() => table.unmap(0x3000n, 2 * PAGE), RangeError, "only 4096");
  assertEquals(find(table, 0x3000n, 8), PAGE, "nothing was unmapped");
});

Deno.test("DmaTable agrees with a plain page table over random use", () => {
  const table = new DmaTable();
  const buffers = [0, 1, 2].map(() => new SharedArrayBuffer(64 * PAGE));
  const pages = new Map<number, [SharedArrayBuffer, number]>();
  let state = 7;
  const random = (n: number) =>
    ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8) % n;
  for (let round = 0; round < 3000; round++) {
    const page = random(600);
    const count = 1 + random(4);
    const buffer = buffers[random(3)];
    const from = random(60);
    const range = Array.from({ length: count }, (_, i) => page + i);
    const iova = BigInt(page) << 12n;
    if (range.every((p) => !pages.has(p))) {
      table.map(iova, buffer, from * PAGE, count * PAGE);
      range.forEach((p, i) => pages.set(p, [buffer, from + i]));
    } else if (range.every((p) => pages.has(p))) {
      table.unmap(iova, count * PAGE);
      range.forEach((p) => pages.delete(p));
    }
    const at = random(600);
    const found = find(table, (BigInt(at) << 12n) + 40n, 16);
    const entry = pages.get(at);
    assertEquals(found, entry === undefined ? null : entry[1] * PAGE + 40);
    if (entry !== undefined) assert(table.u8.buffer === entry[0]);
  }
});

Deno.test("DmaTable follows buffers over the borders of its cache", () => {
  const table = new DmaTable();
  const granule = 1 << 21;
  const buffer = new SharedArrayBuffer(3 * granule);
  const base = 0x2_0000_0000n + BigInt(granule) - 0x1000n;
  table.map(base, buffer, PAGE, 2 * granule);
  for (let round = 0; round < 2; round++) {
    assertEquals(find(table, base + 0x0ff0n, 32), PAGE + 0x0ff0);
    assertEquals(find(table, base + 0x0f00n, 32), PAGE + 0x0f00);
    assertEquals(find(table, base + 0x1000n, 32), PAGE + 0x1000);
    const last = base + BigInt(2 * granule) - 8n;
    assertEquals(find(table, last, 8), PAGE + 2 * granule - 8);
    assertEquals(find(table, last, 9), null);
    const alias = base + (64n << 21n);
    assertEquals(find(table, alias, 8), null);
  }
});

Deno.test("DmaTable says what the card may only read", () => {
  const table = new DmaTable();
  const buffer = new SharedArrayBuffer(4 * DMA_PAGE_SIZE);
  table.map(0x1000n, buffer, 0, DMA_PAGE_SIZE);
  table.map(0x2000n, buffer, DMA_PAGE_SIZE, DMA_PAGE_SIZE, { writable: false });
  assert(table.translate(0x1ff0, 0, 16) && table.writable);
  assert(table.translate(0x2000, 0, 16) && !table.writable);
  assert(table.translate(0x1ff0, 0, 16) && table.writable, "from the cache");
  assert(!table.translate(0x1ff0, 0, 32), "the two are no one mapping");
});

Deno.test("DmaTable asks whoever has remote memory at each access", () => {
  const table = new DmaTable();
  const asked: [address: number, offset: number, length: number][] = [];
  let there = true;
  const remote = {
    reach: (
      address: number,
      u8: Uint8Array,
      offset: number,
      length: number,
    ) => {
      asked.push([address, offset, length]);
      u8[offset] = asked.length;
      return there;
    },
  };
  const buffer = new SharedArrayBuffer(DMA_PAGE_SIZE);
  table.map(0x1000n, buffer, 0, DMA_PAGE_SIZE, { remote });
  assert(table.translate(0x1010, 0, 8));
  assertEquals(table.u8[table.offset], 1);
  assert(table.translate(0x1010, 0, 8));
  assertEquals(table.u8[table.offset], 2);
  there = false;
  assert(!table.translate(0x1ff8, 0, 8));
  assertEquals(asked, [[0x1010, 0x10, 8], [0x1010, 0x10, 8], [
    0x1ff8,
    0xff8,
    8,
  ]]);
});
