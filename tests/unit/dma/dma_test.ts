import { assert, assertEquals, assertThrows } from "@std/assert";
import type { DmaMemory as Memory } from "../../../src/dma/memory.ts";
import { DmaMemory, HUGEPAGE_2M } from "../../../src/dma/memory.ts";
import { IovaAllocator } from "../../../src/dma/iova.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { ConfigError, IxlError, SystemError } from "../../../src/errors.ts";
import { memoryPolicy, onNumaNode } from "../../../src/ffi/cpu.ts";
import { readSmallFile } from "../../../src/ffi/files.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { MemFd } from "../../../src/ffi/mapping.ts";
import { requires } from "../../support/runner/requirements.ts";

function freeHugepages(): number {
  return Number(
    readSmallFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"),
  );
}

function fillAndCheck(memory: Memory): void {
  const { committed, u8 } = memory;
  for (let at = 0; at < committed; at += 1021) u8[at] = at & 0xff;
  for (let at = 0; at < committed; at += 1021) assertEquals(u8[at], at & 0xff);
}

for (const backing of ["plain", "memfd"] as const) {
  Deno.test(`DmaMemory on ${backing} grows and shrinks in place`, () => {
    const memory = DmaMemory.allocate({
      bytes: 10_000,
      reserve: 100_000,
      backing,
    });
    assertEquals(memory.committed, 12_288);
    assertEquals(memory.address % 4096n, 0n);
    fillAndCheck(memory);
    memory.commit(100_000);
    fillAndCheck(memory);
    assertEquals(memory.u8[1021], 1021 & 0xff);
    memory.decommit(4096);
    assertEquals(memory.committed, 4096);
    assertEquals(memory.u8[1021], 1021 & 0xff);
    assertEquals(memory.u8[8192], 0);
    memory.free();
  });
}

requires("hugepages")(
  "DmaMemory on hugepages takes them and gives them back",
  () => {
    const before = freeHugepages();
    const memory = DmaMemory.allocate({
      bytes: 1,
      reserve: 3 * HUGEPAGE_2M,
      backing: "hugepages",
    });
    assertEquals(freeHugepages(), before - 1);
    assertEquals(memory.address % BigInt(HUGEPAGE_2M), 0n);
    memory.commit(2 * HUGEPAGE_2M);
    fillAndCheck(memory);
    assertEquals(freeHugepages(), before - 2);
    memory.decommit(1);
    assertEquals(freeHugepages(), before - 1);
    memory.free();
    assertEquals(freeHugepages(), before);
  },
);

Deno.test("DmaMemory says what to do when there are not enough hugepages, and nothing is harmed", () => {
  const gigabytes = 1 << 30;
  const error = assertThrows(
    () => DmaMemory.allocate({ bytes: gigabytes, backing: "hugepages" }),
    IxlError,
  );
  assertEquals(error.code, "no-hugepages");
  assert(error.message.includes("nr_hugepages"), error.message);
});

Deno.test("DmaMemory falls back to plain memory by itself", () => {
  const memory = DmaMemory.allocate({ bytes: 1 << 30 });
  assertEquals(memory.backing, "plain");
  memory.u8[5] = 5;
  memory.free();
});

Deno.test("DmaMemory.free() works once", () => {
  const memory = DmaMemory.allocate({ bytes: 1, backing: "plain" });
  memory.free();
  assertThrows(() => memory.free(), IxlError, "already freed");
});

Deno.test("DmaMemory is seen by every isolate that gets its buffer", async () => {
  const memory = DmaMemory.allocate({ bytes: 4096, backing: "memfd" });
  const source = "self.onmessage = ({data: [b, o]}) => {" +
    "new Uint8Array(b, o)[7] = 42; self.postMessage(0); }";
  const worker = new Worker(
    `data:application/javascript,${encodeURIComponent(source)}`,
    { type: "module" },
  );
  const done = new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage([memory.buffer, memory.byteOffset]);
  await done;
  worker.terminate();
  assertEquals(memory.u8[7], 42);
  memory.free();
});

Deno.test("DmaMemory.allocate() refuses a size of nothing", () => {
  assertThrows(() => DmaMemory.allocate({ bytes: 0 }), ConfigError);
});

Deno.test("IovaAllocator aligns, reuses and merges", () => {
  const iovas = new IovaAllocator([{ start: 0x1000n, end: 0x10000n }]);
  const a = iovas.allocate(0x1000, 0x1000);
  const b = iovas.allocate(0x2000, 0x4000);
  assertEquals([a, b], [0x1000n, 0x4000n]);
  assertEquals(iovas.allocate(0x2000, 0x1000), 0x2000n);
  iovas.free(0x2000n);
  iovas.free(a);
  iovas.free(b);
  assertEquals(iovas.allocate(0xf000, 0x1000), 0x1000n);
});

Deno.test("IovaAllocator keeps out of what is not allowed", () => {
  const iovas = new IovaAllocator([
    { start: 0x9000n, end: 0xa000n },
    { start: 0x1000n, end: 0x3000n },
  ]);
  assertEquals(iovas.allocate(0x2000, 0x1000), 0x1000n);
  assertEquals(iovas.allocate(0x1000, 0x1000), 0x9000n);
  const error = assertThrows(() => iovas.allocate(1, 1), IxlError);
  assertEquals(error.code, "out-of-iova");
});

Deno.test("IovaAllocator refuses to free what it did not give", () => {
  const iovas = new IovaAllocator([{ start: 0n, end: 0x1000n }]);
  assertThrows(() => iovas.free(0n), IxlError, "not allocated");
});

Deno.test("MappedDomain maps what is committed, and unmaps all of it", () => {
  const mapped = new Map<bigint, number>();
  const domain = new MappedDomain({
    map: (_memory, _offset, length, iova) => mapped.set(iova, length),
    unmap: (iova, length) => {
      for (const [start] of mapped) {
        if (start >= iova && start < iova + BigInt(length)) {
          mapped.delete(start);
        }
      }
    },
  });
  const memory = DmaMemory.allocate({
    bytes: HUGEPAGE_2M,
    reserve: 3 * HUGEPAGE_2M,
    backing: "plain",
  });
  const iova = domain.attach(memory);
  const second = iova + BigInt(HUGEPAGE_2M);
  memory.commit(HUGEPAGE_2M + 4096);
  domain.grow(memory);
  memory.commit(HUGEPAGE_2M + 8192);
  domain.grow(memory);
  assertEquals([...mapped], [
    [iova, HUGEPAGE_2M],
    [second, 4096],
    [second + 4096n, 4096],
  ]);
  // An IOMMU does not unmap a part of what was mapped in one piece.
  const kept = [4096, 4095, 1].map((bytes) =>
    domain.shrink(memory, HUGEPAGE_2M + bytes)
  );
  assertEquals(kept, Array(3).fill(HUGEPAGE_2M + 4096));
  assertEquals(domain.shrink(memory, HUGEPAGE_2M), HUGEPAGE_2M);
  assertEquals([...mapped], [[iova, HUGEPAGE_2M]]);
  domain.detach(memory);
  assertEquals(mapped.size, 0);
  memory.free();
});

Deno.test("MemFd.allocate() tells a lack of hugepages from other failures", () => {
  const file = new MemFd("ixl-test", HUGEPAGE_2M);
  file.close();
  const error = assertThrows(() => file.allocate(0, HUGEPAGE_2M), SystemError);
  assertEquals(error.call, "fallocate");
});

Deno.test("memory on a node leaves the policy that numactl has set", () => {
  const before = memoryPolicy();
  if (before === undefined) return;
  const MPOL_INTERLEAVE = 3;
  const nodes = before.nodes.slice();
  nodes[0] = 1n;
  const SYS_SET_MEMPOLICY = Deno.build.arch === "aarch64" ? 237n : 238n;
  const set = (mode: number, mask: BigUint64Array<ArrayBuffer>) =>
    libc().syscall3(SYS_SET_MEMPOLICY, BigInt(mode), mask, 1024n);
  assertEquals(set(MPOL_INTERLEAVE, nodes), 0n);
  const inside = onNumaNode(0, () => memoryPolicy()!.mode);
  assertEquals(inside, 1);
  assertEquals(memoryPolicy(), { mode: MPOL_INTERLEAVE, nodes });
  set(before.mode, before.nodes);
});
