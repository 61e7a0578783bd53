/**
 * Memory for cards behind no IOMMU: pages that are neighbours, picked from what a fake kernel hands out.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { whyNotVfio } from "../../../../src/bus/vfio/device.ts";
import { completeConfig, type DeviceOptions } from "../../../../src/config.ts";
import {
  ContiguousPages,
  type PageFile,
} from "../../../../src/dma/contiguous.ts";
import { DmaMemory } from "../../../../src/dma/memory.ts";
import { PhysicalDomain } from "../../../../src/dma/physical_domain.ts";
import { ConfigError, IxlError } from "../../../../src/errors.ts";
import type { PciFunction } from "../../../../src/pci/sysfs.ts";

const PAGE = 2 << 20;
const GIB = 1 << 30;

/** RAM of which some pages are free: handed out in the order of the list, the last that came back first. */
class FakeKernel {
  constructor(readonly free: number[]) {}

  file(): PageFile {
    const taken = new Map<number, number>();
    return {
      allocate: (offset, length) => {
        assertEquals([length, offset % PAGE], [PAGE, 0]);
        assert(!taken.has(offset), `${offset} is allocated already`);
        const page = this.free.shift();
        if (page === undefined) throw new IxlError("no-hugepages", "none left");
        taken.set(offset, page);
      },
      release: (offset) => {
        const page = taken.get(offset);
        assert(page !== undefined, `${offset} was not allocated`);
        taken.delete(offset);
        this.free.unshift(page);
      },
      physicalAddress: (offset) => BigInt(taken.get(offset)!) * BigInt(PAGE),
    };
  }
}

/** Numbers of the pages. */
function pagesOf(pages: readonly { address: bigint }[]): number[] {
  return pages.map(({ address }) => Number(address / BigInt(PAGE)));
}

const sorted = (pages: number[]) => pages.toSorted((a, b) => a - b);

Deno.test("ContiguousPages finds neighbours, whatever the order", () => {
  const kernel = new FakeKernel([9, 4, 31, 6, 12, 5, 30, 7]);
  const pages = new ContiguousPages(kernel.file(), PAGE, 4);
  assertEquals(pagesOf(pages.growTo(4)), [4, 5, 6, 7]);
  assertEquals(pages.address, BigInt(4 * PAGE));
  assertEquals(sorted(kernel.free), [9, 12, 30, 31], "all others came back");
  pages.shrinkTo(0);
  assertEquals(kernel.free.length, 8);
  assertEquals(pages.address, undefined);
});

Deno.test("ContiguousPages begins where there is room to grow", () => {
  const kernel = new FakeKernel([1, 2, 10, 11, 12, 13, 20, 21]);
  const pages = new ContiguousPages(kernel.file(), PAGE, 4);
  assertEquals(pagesOf(pages.growTo(2)), [10, 11]);
  assertEquals(pagesOf(pages.growTo(3)), [12]);
  pages.shrinkTo(2);
  assertEquals(pagesOf(pages.growTo(4)), [12, 13]);
  pages.shrinkTo(0);
});

Deno.test("ContiguousPages begins anywhere when nowhere is room", () => {
  const kernel = new FakeKernel([1, 5, 6, 9]);
  const pages = new ContiguousPages(kernel.file(), PAGE, 8);
  assertEquals(pagesOf(pages.growTo(2)), [5, 6]);
  pages.shrinkTo(0);
});

Deno.test("ContiguousPages keep out of each other's room, if they can", () => {
  const kernel = new FakeKernel(Array.from({ length: 10 }, (_, i) => i));
  const [a, b, c] = [4, 4, 4].map((wanted) =>
    new ContiguousPages(kernel.file(), PAGE, wanted)
  );
  assertEquals(pagesOf(a.growTo(1)), [0]);
  assertEquals(pagesOf(b.growTo(1)), [4]);
  assertEquals(pagesOf(a.growTo(4)), [1, 2, 3]);
  // Only 8 and 9 are nobody's, which is too few for a third one to grow, but enough to begin.
  assertEquals(pagesOf(c.growTo(2)), [8, 9]);
  for (const pages of [a, b, c]) pages.shrinkTo(0);
});

Deno.test("ContiguousPages begins in another's room before it fails", () => {
  const kernel = new FakeKernel([0, 1, 2, 3, 9]);
  const a = new ContiguousPages(kernel.file(), PAGE, 4);
  const b = new ContiguousPages(kernel.file(), PAGE, 2);
  a.growTo(1);
  assertEquals(pagesOf(b.growTo(2)), [1, 2]);
  const error = assertThrows(() => a.growTo(2), IxlError, "right behind it");
  assertEquals(error.code, "no-hugepages");
  assertEquals(sorted(kernel.free), [3, 9]);
  for (const pages of [a, b]) pages.shrinkTo(0);
});

Deno.test("ContiguousPages never crosses a multiple of 4 GiB", () => {
  const border = 4 * GIB / PAGE;
  const kernel = new FakeKernel([border - 1, border, border + 1]);
  const pages = new ContiguousPages(kernel.file(), PAGE, 2);
  assertEquals(pagesOf(pages.growTo(2)), [border, border + 1]);
  pages.shrinkTo(0);
  const below = new FakeKernel([border - 1]);
  const last = new ContiguousPages(below.file(), PAGE, 2);
  last.growTo(1);
  below.free.push(border);
  assertThrows(() => last.growTo(2), IxlError, "right behind it");
  last.shrinkTo(0);
});

Deno.test("ContiguousPages says what to do when RAM is in pieces", () => {
  const kernel = new FakeKernel([1, 3, 5, 7]);
  const pages = new ContiguousPages(kernel.file(), PAGE, 2);
  const error = assertThrows(() => pages.growTo(2), IxlError, "at boot");
  assertEquals(error.code, "no-hugepages");
  assertEquals(sorted(kernel.free), [1, 3, 5, 7], "nothing is kept");
});

Deno.test("ContiguousPages gives all back when addresses are not told", () => {
  const kernel = new FakeKernel([1, 2, 3]);
  const file = kernel.file();
  const pages = new ContiguousPages(
    {
      allocate: file.allocate,
      release: file.release,
      physicalAddress: () => {
        throw new IxlError("permission", "not for you");
      },
    },
    PAGE,
    2,
  );
  assertThrows(() => pages.growTo(2), IxlError, "not for you");
  assertEquals(sorted(kernel.free), [1, 2, 3]);
});

Deno.test("PhysicalDomain takes contiguous memory alone", () => {
  const domain = new PhysicalDomain();
  assertEquals(domain.attach({ physicalAddress: 0x40000000n }), 0x40000000n);
  assertThrows(
    () => domain.attach({ physicalAddress: undefined }),
    IxlError,
    "contiguous",
  );
});

Deno.test("contiguous memory is never plain", () => {
  const error = assertThrows(
    () => DmaMemory.allocate({ bytes: 1, contiguous: true, backing: "plain" }),
    ConfigError,
  );
  assertEquals(error.field, "hugepages");
});

Deno.test("unsafeNoIommu is off unless it is true", () => {
  assertEquals(completeConfig().unsafeNoIommu, false);
  const options = { unsafeNoIommu: 1 } as unknown as DeviceOptions;
  const error = assertThrows(() => completeConfig(options), ConfigError);
  assertEquals(error.field, "unsafeNoIommu");
});

const CARD: PciFunction = {
  address: "0000:01:00.0",
  ids: {
    vendor: 0x8086,
    device: 0x10c9,
    revision: 1,
    subsystemVendor: 0,
    subsystemDevice: 0,
  },
  driver: "vfio-pci",
  numaNode: -1,
  interfaces: [],
  link: undefined,
  iommuGroup: "7",
  noIommu: false,
};

Deno.test("a card behind an IOMMU refuses to do without", () => {
  assertEquals(whyNotVfio(CARD), undefined);
  const reason = whyNotVfio(CARD, true);
  assert(reason instanceof ConfigError);
  assertEquals(reason.field, "unsafeNoIommu");
});

Deno.test("a card behind no IOMMU opens only where that is accepted", () => {
  const card = { ...CARD, noIommu: true };
  assertEquals(whyNotVfio(card, true), undefined);
  for (const iommuGroup of ["7", undefined]) {
    const reason = whyNotVfio({ ...card, iommuGroup });
    assertEquals(reason?.code, "not-supported");
    assert(reason?.message.includes("unsafeNoIommu: true"));
  }
});
