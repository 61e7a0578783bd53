/**
 * The served card through the eyes of a raw client: version, regions, interrupts, memory, reset.
 */
import { assert, assertEquals } from "@std/assert";
import { DmaMemory } from "../../../src/dma/memory.ts";
import { closeFd, cString, libc } from "../../../src/ffi/libc.ts";
import { EventFd, PollSet } from "../../../src/ffi/eventfd.ts";
import { MemFd } from "../../../src/ffi/mapping.ts";
import type { Requirement } from "../../support/runner/requirements.ts";
import {
  type ServedCard,
  SharedServer,
} from "../../support/vfio_user/served_card.ts";
import {
  bytesOf,
  COMMAND,
  IRQ,
  joined,
  VfioUserClient,
} from "../../support/vfio_user/client.ts";

const EINVAL = 22;
const EEXIST = 17;
const EPERM = 1;
const ENOTSUP = 95;
const E2BIG = 7;

const BAR0 = 0;
const BAR4 = 4;
const CONFIG = 7;
const INTX = 0;
const MSI = 1;
const MSIX = 2;

const PCI_COMMAND = 0x04;
const STATUS = 0x00008;
const STATUS_LINK_UP = 1 << 7;
const ESDP = 0x00020;
const LINK_CHANGE = 1 << 20;
/** Software-definable pin 3 is an output, and low. */
const LASER_ON = 1 << 11;
const EICR = 0x00800;
const EICS = 0x00808;
const EIMS = 0x00880;
const EICS_EX = 0x00a90;
const EIMS_EX = 0x00aa0;
const IVAR0 = 0x00900;
const TDBAL = 0x06000;
const TDLEN = 0x06008;
const TDH = 0x06010;
const TDT = 0x06018;
const TXDCTL = 0x06028;
const QUEUE_ENABLE = 1 << 25;
const DMATXCTL = 0x04a80;
/** Command of a legacy descriptor: end of packet, checksum, report. */
const TX_EOP_IFCS_RS = 0x0b << 24;
const PAGE = 4096;
const GPIE = 0x00898;
const GPIE_MSIX = 0x10;
const IVAR_VALID = 0x80;
const LONG_MS = 10_000;

const MEBIBYTE = 1 << 20;

const server = new SharedServer();

/** A test with a client that has agreed on the version. The clients of all tests come in turn to one card. */
function test(
  name: string,
  run: (client: VfioUserClient, card: ServedCard) => void | Promise<void>,
  ...needs: Requirement[]
): void {
  server.test(`vfio-user: ${name}`, async (card) => {
    using client = new VfioUserClient(card.path);
    await run(client, card);
  }, ...needs);
}

/** Waits until an eventfd was signalled, and takes that. */
function signalled(event: EventFd): void {
  assert(new PollSet([event.fd]).wait(LONG_MS) > 0, "no interrupt");
  event.clear();
}

/** What has been signalled is there when the server has answered something later. */
function silent(client: VfioUserClient, event: EventFd): void {
  client.read32(BAR0, STATUS);
  client.read32(BAR0, STATUS);
  assert(!event.clear(), "an interrupt that should not be");
}

/** An ordinary file, open for reading and writing. */
function openFile(path: string): number {
  const O_RDWR = 2;
  return libc().open(cString(path), O_RDWR, 0);
}

/** Eventfds that a test may send, and closes. */
function withEvents(count: number, use: (events: EventFd[]) => void): void {
  const events = Array.from({ length: count }, () => EventFd.create());
  try {
    use(events);
  } finally {
    for (const event of events) event.close();
  }
}

/** Turns memory decoding and bus mastering on. */
function enable(client: VfioUserClient): void {
  client.write(CONFIG, PCI_COMMAND, bytesOf(["u16", 6]));
}

server.test("vfio-user: the version and the limits are agreed on", (card) => {
  using client = new VfioUserClient(card.path, { negotiate: false });
  assertEquals(client.negotiate({ migration: { pgsize: 4096 } }), {
    major: 0,
    minor: 0,
    capabilities: {
      max_msg_fds: 16,
      max_data_xfer_size: 65536,
      max_dma_maps: 65535,
      pgsizes: 4096,
    },
  });
});

test("it is a PCI device with registers, MSI-X and configuration space", (client) => {
  const info = client.do({
    command: COMMAND.deviceInfo,
    data: bytesOf(["u32", 16], ["u32", 0], ["u32", 0], ["u32", 0]),
  });
  const words = [0, 4, 8, 12].map((at) => info.getUint32(at, true));
  assertEquals(words, [16, 3, 9, 5], "reset and PCI; regions; interrupts");
  const sizes = Array.from({ length: 9 }, (_, index) => {
    const reply = client.do({
      command: COMMAND.regionInfo,
      data: bytesOf(
        ...[["u32", 32], ["u32", 0], ["u32", index], ["u32", 0]] as const,
        ...[["u64", 0], ["u64", 0]] as const,
      ),
    });
    assertEquals([reply.getUint32(0, true), reply.getUint32(8, true)], [
      32,
      index,
    ]);
    const size = Number(reply.getBigUint64(16, true));
    assertEquals(reply.getUint32(4, true), size === 0 ? 0 : 3, "read, write");
    return size;
  });
  assertEquals(sizes, [0x20000, 0, 0, 0, 0x4000, 0, 0, 0x1000, 0]);
});

test("it has one line, one message, 64 vectors", (client) => {
  const kinds = Array.from({ length: 5 }, (_, index) => {
    const reply = client.do({
      command: COMMAND.irqInfo,
      data: bytesOf(["u32", 16], ["u32", 0], ["u32", index], ["u32", 0]),
    });
    return [reply.getUint32(4, true), reply.getUint32(12, true)];
  });
  assertEquals(kinds, [[7, 1], [3, 1], [3, 64], [0, 0], [0, 0]]);
});

test("region accesses by message alone: no descriptors for them", (client) => {
  const reply = client.do({
    command: COMMAND.regionIoFds,
    data: bytesOf(["u32", 16], ["u32", 0], ["u32", BAR0], ["u32", 0]),
  });
  assertEquals([reply.byteLength, reply.getUint32(12, true)], [16, 0]);
});

test("configuration space reads in any width, and BARs can be sized", (client) => {
  assertEquals(client.read32(CONFIG, 0), 0x10fb8086);
  assertEquals(client.read(CONFIG, 2, 2).getUint16(0, true), 0x10fb);
  assertEquals(client.read(CONFIG, 0x0b, 1).getUint8(0), 2);
  const header = client.read(CONFIG, 0, 256);
  assertEquals(header.getUint32(0, true), 0x10fb8086);
  const whole = client.read(CONFIG, 1, 3);
  assertEquals([0, 1, 2].map((at) => whole.getUint8(at)), [0x80, 0xfb, 0x10]);
  client.write32(CONFIG, 0x10, 0xffffffff);
  assertEquals(client.read32(CONFIG, 0x10), 0xfffe0004);
});

test("registers answer when memory decoding is on", (client) => {
  assertEquals(client.read32(BAR0, STATUS), 0xffffffff, "as after power-on");
  enable(client);
  assertEquals(client.read32(BAR0, STATUS) & 0x80000, 0x80000, "GIO enabled");
  client.write32(BAR0, EIMS, 0x5);
  assertEquals(client.read32(BAR0, EIMS), 0x5);
});

test("writes without a reply arrive in order", (client) => {
  enable(client);
  for (let i = 0; i < 500; i++) client.post32(BAR0, 0x0e000, i);
  assertEquals(client.read32(BAR0, 0x0e000), 499);
});

test("several writes in one message", (client) => {
  enable(client);
  const write = (offset: number, value: bigint, count: number) =>
    bytesOf(
      ...[["u64", offset], ["u32", BAR0], ["u32", count]] as const,
      ["u64", value],
    );
  const reply = client.do({
    command: COMMAND.writeMulti,
    data: joined(
      bytesOf(["u64", 2]),
      write(0x0e000, 0x11n, 4),
      write(0x0e000, 0x2200000033n, 8),
    ),
  });
  assertEquals(reply.getBigUint64(0, true), 2n);
  const [rah, ral] = [
    client.read32(BAR0, 0x0e004),
    client.read32(BAR0, 0x0e000),
  ];
  assertEquals([ral, rah], [0x33, 0x22]);
});

test("the MSI-X table keeps what is written; pending bits are read-only", (client) => {
  assertEquals(client.read32(BAR4, 12), 1, "masked");
  client.write(
    BAR4,
    16,
    bytesOf(["u64", 0xfee01000], ["u32", 0x41], ["u32", 0]),
  );
  const entry = client.read(BAR4, 16, 16);
  assertEquals(
    [0, 4, 8, 12].map((at) => entry.getUint32(at, true)),
    [0xfee01000, 0, 0x41, 0],
  );
  client.write32(BAR4, 0x2000, 0xffffffff);
  assertEquals(client.read32(BAR4, 0x2000), 0);
});

test("INTx interrupts once, and again when unmasked while the line is held", (client) => {
  withEvents(1, ([event]) => {
    enable(client);
    const fds = [event.fd];
    assertEquals(
      client.setIrqs(IRQ.eventfd | IRQ.trigger, INTX, 0, 1, { fds }),
      undefined,
    );
    client.write32(BAR0, EIMS, 1);
    client.write32(BAR0, EICS, 1);
    signalled(event);
    client.write32(BAR0, EICS, 1);
    silent(client, event);
    const unmask = () => client.setIrqs(IRQ.none | IRQ.unmask, INTX, 0, 1);
    assertEquals(unmask(), undefined);
    signalled(event);
    // The link has come up meanwhile, which is a cause that is masked.
    assertEquals(client.read32(BAR0, EICR) & ~LINK_CHANGE, 1);
    assertEquals(unmask(), undefined);
    silent(client, event);
    client.write32(BAR0, EICS, 1);
    signalled(event);
  });
});

test("MSI takes all causes", (client) => {
  withEvents(2, ([intx, msi]) => {
    enable(client);
    const set = (index: number, event: EventFd) =>
      client.setIrqs(IRQ.eventfd | IRQ.trigger, index, 0, 1, {
        fds: [event.fd],
      });
    assertEquals([set(INTX, intx), set(MSI, msi)], [undefined, undefined]);
    client.write32(BAR0, EIMS, 3);
    client.write32(BAR0, EICS, 2);
    signalled(msi);
    assert(!intx.clear(), "one kind at a time");
  });
});

test("each MSI-X vector has its eventfd, sent in as many messages as the client likes", (client) => {
  withEvents(20, (events) => {
    enable(client);
    for (const start of [0, 10]) {
      const fds = events.slice(start, start + 10).map(({ fd }) => fd);
      assertEquals(
        client.setIrqs(IRQ.eventfd | IRQ.trigger, MSIX, start, 10, { fds }),
        undefined,
      );
    }
    client.write32(BAR0, GPIE, GPIE_MSIX);
    client.write32(BAR0, IVAR0, IVAR_VALID | 7);
    client.write32(BAR0, EIMS_EX, 1 << 7);
    client.write32(BAR0, EICS_EX, 1 << 7);
    signalled(events[7]);
    assert(!events.some((event) => event.clear()), "only that one");
  });
});

test("a masked vector is pending, and interrupts when it is unmasked", (client) => {
  withEvents(4, (events) => {
    enable(client);
    const fds = events.map(({ fd }) => fd);
    client.setIrqs(IRQ.eventfd | IRQ.trigger, MSIX, 0, 4, { fds });
    assertEquals(client.setIrqs(IRQ.none | IRQ.mask, MSIX, 3, 1), undefined);
    const bools = [0, 0, 0, 1];
    client.setIrqs(IRQ.bool | IRQ.trigger, MSIX, 0, 4, { bools });
    silent(client, events[3]);
    assertEquals(client.read32(BAR4, 0x2000), 1 << 3);
    assertEquals(client.setIrqs(IRQ.none | IRQ.unmask, MSIX, 0, 4), undefined);
    signalled(events[3]);
    assertEquals(client.read32(BAR4, 0x2000), 0);
  });
});

test("a client may trigger interrupts itself, and take its eventfds back", (client) => {
  withEvents(2, (events) => {
    const fds = events.map(({ fd }) => fd);
    client.setIrqs(IRQ.eventfd | IRQ.trigger, MSIX, 0, 2, { fds });
    client.setIrqs(IRQ.none | IRQ.trigger, MSIX, 0, 2);
    events.forEach(signalled);
    client.setIrqs(IRQ.eventfd | IRQ.trigger, MSIX, 1, 1);
    client.setIrqs(IRQ.none | IRQ.trigger, MSIX, 0, 2);
    signalled(events[0]);
    silent(client, events[1]);
    client.setIrqs(IRQ.none | IRQ.trigger, MSIX, 0, 0);
    client.setIrqs(IRQ.none | IRQ.trigger, MSIX, 0, 2);
    silent(client, events[0]);
  });
});

test("what is no interrupt is refused", (client) => {
  const trigger = IRQ.none | IRQ.trigger;
  assertEquals(client.setIrqs(trigger, 3, 0, 1), EINVAL, "no such kind");
  assertEquals(client.setIrqs(trigger, 9, 0, 1), EINVAL);
  assertEquals(client.setIrqs(trigger, MSIX, 60, 5), EINVAL, "64 vectors");
  assertEquals(client.setIrqs(trigger, MSIX, 0xffffffff, 2), EINVAL);
  assertEquals(client.setIrqs(IRQ.none, MSIX, 0, 1), EINVAL, "no action");
  assertEquals(client.setIrqs(trigger | IRQ.mask, MSIX, 0, 1), EINVAL, "two");
  assertEquals(
    client.setIrqs(trigger | IRQ.bool, MSIX, 0, 1, { bools: [1] }),
    EINVAL,
  );
  assertEquals(client.setIrqs(trigger | 0x40, MSIX, 0, 1), EINVAL);
  withEvents(1, ([{ fd }]) => {
    assertEquals(
      client.setIrqs(IRQ.eventfd | IRQ.mask, MSIX, 0, 1, { fds: [fd] }),
      ENOTSUP,
    );
  });
});

test("accesses outside a region are refused", (client) => {
  const read = (region: number, offset: number | bigint, count: number) =>
    client.ask({
      command: COMMAND.regionRead,
      data: bytesOf(["u64", offset], ["u32", region], ["u32", count]),
    }).error;
  assertEquals(read(BAR0, 0x20000, 1), EINVAL);
  assertEquals(read(BAR0, 0x1fffd, 4), EINVAL);
  assertEquals(read(BAR0, (1n << 64n) - 1n, 4), EINVAL);
  assertEquals(read(1, 0, 4), EINVAL);
  assertEquals(read(99, 0, 4), EINVAL);
  assertEquals(read(BAR0, 0, 65537), E2BIG);
  assertEquals(read(BAR0, 0, 0), undefined, "nothing is within all regions");
});

test("commands that are not here are refused", (client) => {
  for (const command of [0, 14, 16, 17, 18, 999, 65535, COMMAND.dmaRead]) {
    assertEquals(client.ask({ command }).error, ENOTSUP, `${command}`);
  }
});

test("DEVICE_RESET is power-on", (client) => {
  enable(client);
  client.write32(BAR0, EIMS, 1);
  client.write32(BAR4, 12, 0);
  assertEquals(client.do({ command: COMMAND.reset }).byteLength, 0);
  assertEquals(client.read(CONFIG, PCI_COMMAND, 2).getUint16(0, true), 0);
  assertEquals(client.read32(BAR4, 12), 1);
  enable(client);
  assertEquals(client.read32(BAR0, EIMS), 0);
});

test("the cable can be pulled and plugged in", (client, card) => {
  enable(client);
  client.write32(BAR0, ESDP, LASER_ON);
  const linkUp = () => (client.read32(BAR0, STATUS) & STATUS_LINK_UP) !== 0;
  for (const plugged of [true, false, true]) {
    card.setCable(plugged);
    const deadline = performance.now() + LONG_MS;
    while (linkUp() !== plugged) assert(performance.now() < deadline);
  }
});

test("memory comes and goes, and is not mapped twice", (client) => {
  const memory = new MemFd("ixl-test", 0);
  memory.allocate(0, 4 * MEBIBYTE);
  try {
    const { fd } = memory;
    const map = (address: number | bigint, size: number | bigint, offset = 0) =>
      client.map({ address, size, offset }, [fd]);
    assertEquals(map(MEBIBYTE, MEBIBYTE), undefined);
    assertEquals(map(MEBIBYTE, MEBIBYTE), EEXIST, "again");
    assertEquals(map(MEBIBYTE + 4096, 4096), EEXIST, "within");
    assertEquals(map(0, 4 * MEBIBYTE), EEXIST, "around");
    assertEquals(map(2 * MEBIBYTE, MEBIBYTE, 0), undefined, "the same bytes");
    assertEquals(map(0, 4096, 4 * MEBIBYTE), EINVAL, "beyond the file");
    assertEquals(map(0, 0), EINVAL, "nothing");
    assertEquals(map(0, 4095), EINVAL, "no page");
    assertEquals(map(100, 4096), EINVAL);
    assertEquals(map(0, 4096, 100), EINVAL);
    assertEquals(map(0xffff_ffff_ffff_f000n, 4096), EINVAL, "address");
    assertEquals(map(1n << 40n, (1n << 64n) - 4096n), EINVAL, "length");
    const odd = { address: 0, size: 4096 };
    assertEquals(client.map({ ...odd, flags: 4 }, [fd]), EINVAL);
    assertEquals(client.map({ ...odd, flags: 0 }, [fd]), EINVAL);
    assertEquals(client.map({ ...odd, argsz: 31 }, [fd]), EINVAL);
    assertEquals(client.unmap(MEBIBYTE, 4096), EINVAL, "a part");
    assertEquals(client.unmap(MEBIBYTE, MEBIBYTE), undefined);
    assertEquals(map(MEBIBYTE, MEBIBYTE), undefined, "once more");
    assertEquals(client.unmap(0, 16 * MEBIBYTE), undefined, "all within");
    assertEquals(map(MEBIBYTE, MEBIBYTE), undefined);
    assertEquals(client.unmap(0, 0, 2), undefined, "all");
    assertEquals(client.unmap(0, MEBIBYTE, 1), ENOTSUP, "dirty pages");
    assertEquals(map(MEBIBYTE, MEBIBYTE), undefined);
  } finally {
    memory.close();
  }
});

test("a ring in pages that lie anywhere is one ring for the card", (client) => {
  const memory = DmaMemory.allocate({
    bytes: 3 * PAGE,
    backing: "memfd",
    label: "ixl-test",
  });
  try {
    const [ring, frame] = [0x10_0000, 0x20_0000];
    const pages = [2, 1];
    const fds = [memory.fd!];
    pages.forEach((page, i) => {
      const address = ring + i * PAGE;
      const region = { address, size: PAGE, offset: page * PAGE };
      assertEquals(client.map(region, fds), undefined);
    });
    const data = { address: frame, size: PAGE, offset: 0, flags: 1 };
    assertEquals(client.map(data, fds), undefined, "to be read only");
    const view = new DataView(memory.buffer, memory.byteOffset, 3 * PAGE);
    const descriptor = (i: number) =>
      pages[Math.floor(i / 256)] * PAGE + (i % 256) * 16;
    const count = 300;
    for (let i = 0; i < count; i++) {
      view.setBigUint64(descriptor(i), BigInt(frame), true);
      view.setUint32(descriptor(i) + 8, 60 | TX_EOP_IFCS_RS, true);
    }
    enable(client);
    client.write32(BAR0, ESDP, LASER_ON);
    while ((client.read32(BAR0, STATUS) & STATUS_LINK_UP) === 0);
    client.write32(BAR0, TDBAL, ring);
    client.write32(BAR0, TDLEN, 2 * PAGE);
    client.write32(BAR0, DMATXCTL, 1);
    client.write32(BAR0, TXDCTL, QUEUE_ENABLE);
    while ((client.read32(BAR0, TXDCTL) & QUEUE_ENABLE) === 0);
    client.write32(BAR0, TDT, count);
    const deadline = performance.now() + LONG_MS;
    while (client.read32(BAR0, TDH) !== count) {
      assert(performance.now() < deadline, "not all are sent");
    }
    for (let i = 0; i < count; i++) {
      assertEquals(view.getUint8(descriptor(i) + 12) & 1, 1, `${i} is done`);
    }
  } finally {
    memory.free();
  }
});

test(
  "memory that its owner could cut short is refused",
  async (client, card) => {
    const path = Deno.makeTempFileSync();
    Deno.truncateSync(path, MEBIBYTE);
    const file = openFile(path);
    try {
      assertEquals(client.map({ address: 0, size: 4096 }, [file]), EPERM);
      await card.says(/DMA_MAP refused: .*cut short/);
    } finally {
      closeFd(file);
      Deno.removeSync(path);
    }
  },
);

test("memory with large pages is refused", async (client, card) => {
  const memory = new MemFd("ixl-test", 2 * MEBIBYTE);
  try {
    memory.allocate(0, 2 * MEBIBYTE);
    assertEquals(client.map({ address: 0, size: 4096 }, [memory.fd]), EINVAL);
    await card.says(/pages of 2097152 bytes/);
  } finally {
    memory.close();
  }
}, "hugepages");

test("thousands of regions are quick, as an IOMMU in the client makes them", (client) => {
  const memory = new MemFd("ixl-test", 0);
  memory.allocate(0, MEBIBYTE);
  try {
    const { fd } = memory;
    const address = (i: number) => 0x1_0000_0000 + 2 * 4096 * i;
    for (let i = 0; i < 4000; i++) {
      const offset = 4096 * (i % 256);
      assertEquals(
        client.map({ address: address(i), size: 4096, offset }, [fd]),
        undefined,
      );
    }
    for (let i = 0; i < 4000; i += 2) {
      assertEquals(client.unmap(address(i), 4096), undefined);
    }
  } finally {
    memory.close();
  }
});
