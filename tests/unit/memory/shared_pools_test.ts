/** Packets that are received by one device and sent by another, whatever the two are. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import { completeConfig, type DeviceOptions } from "../../../src/config.ts";
import {
  type Device,
  openDevice,
  type QueuePair,
} from "../../../src/device.ts";
import type { TxQueue } from "../../../src/device_api.ts";
import { AddressSpace } from "../../../src/dma/address_space.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import { DmaMemory } from "../../../src/dma/memory.ts";
import { openDriver } from "../../../src/drivers/registry.ts";
import { IxlError } from "../../../src/errors.ts";
import {
  INDEX_MASK,
  Mempool,
  type MempoolDescription,
  type PoolUser,
} from "../../../src/memory/mempool.ts";
import { Packet } from "../../../src/memory/packet.ts";
import { QueueContext } from "../../../src/runtime/queue_context.ts";
import type { Order, Report } from "../../fixtures/vhost_backend_worker.ts";
import type { PoolOrder } from "../../fixtures/pool_owner_worker.ts";
import { DirectBus } from "../../support/intel/direct_bus.ts";
import {
  assertNothingLeft,
  bytesOf,
  numberedFrame,
} from "../../support/intel/ixgbe_rig.ts";
import { withoutLeaks } from "../../support/host/leaks.ts";
import { HandWire } from "../../support/intel/sim_rig.ts";
import { until } from "../../support/until.ts";
import { FakeServer, PLAIN } from "../../support/vhost/backend.ts";

/** A worker that does what it is told, one order after the other. */
class Thread implements Disposable {
  readonly #worker: Worker;

  constructor(module: string) {
    const url = new URL(`../../fixtures/${module}`, import.meta.url);
    this.#worker = new Worker(url, { type: "module" });
  }

  tell<Answer>(order: unknown): Promise<Answer> {
    const answer = Promise.withResolvers<Answer>();
    this.#worker.onmessage = ({ data }) => answer.resolve(data);
    this.#worker.postMessage(order);
    return answer.promise;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** A worker with pools. */
class PoolOwner extends Thread {
  constructor() {
    super("pool_owner_worker.ts");
  }

  ask<Answer>(order: PoolOrder): Promise<Answer> {
    return this.tell(order);
  }
}

/** A vhost-user backend in a worker: the driver waits for its answers. */
class BackendThread extends Thread {
  constructor() {
    super("vhost_backend_worker.ts");
  }

  ask(order: Order): Promise<Report> {
    return this.tell(order);
  }
}

const PLAIN_PAGES = { backing: "plain" } as const;
const MIB = 2 ** 20;

/** A software card in a world of its own, and both ends of its cable. */
interface Card {
  readonly device: Device;
  readonly bus: DirectBus;
  readonly wire: HandWire;
  readonly pair: QueuePair;
}

async function openCard(
  options: DeviceOptions = {},
  change: Partial<DmaDomain> = {},
): Promise<Card> {
  const wire = new HandWire();
  const bus = new DirectBus({ wire });
  Object.assign(bus.dma, change);
  const device = await openDriver(
    bus,
    completeConfig({
      ...{ irqTimeoutMs: 0, hugepages: "never", debug: true },
      ...options,
    }),
  );
  return { device, bus, wire, pair: device.queue(0) };
}

/** Two cards that have no memory in common. Closes both, in this order or the other. */
async function withCards(
  use: (a: Card, b: Card) => void | Promise<void>,
  { options = {}, change = {}, closeFirst = "b" }: {
    readonly options?: DeviceOptions;
    readonly change?: Partial<DmaDomain>;
    readonly closeFirst?: "a" | "b";
  } = {},
): Promise<void> {
  await withoutLeaks(async () => {
    const a = await openCard(options);
    const b = await openCard(options, change);
    try {
      await use(a, b);
    } finally {
      const [first, second] = closeFirst === "a" ? [a, b] : [b, a];
      await first.device.close();
      await second.device.close();
    }
    for (const { bus } of [a, b]) assertNothingLeft(bus);
  });
}

/** What the card receives from these frames, in one batch. */
function receive({ wire, bus, pair }: Card, frames: Uint8Array[]): Batch {
  wire.toCard.push(...frames);
  bus.settle();
  const batch = new Batch(64);
  assertEquals(pair.rx.receive(batch), frames.length);
  return batch;
}

/** The device as pools know it. */
const asUser = (device: Device) => device as Device & PoolUser;

/** Does it without warnings on the console. */
async function withoutWarnings(action: () => Promise<void>): Promise<void> {
  const { error } = console;
  console.error = () => {};
  try {
    await action();
  } finally {
    console.error = error;
  }
}

const reach = (to: Card, from: Card) =>
  to.device.attachMempool(from.pair.rx.pool);

const errorOf = (send: () => unknown) => assertThrows(send, IxlError);

Deno.test("send() refuses packets of a pool that the device cannot reach", () =>
  withCards((a, b) => {
    const batch = receive(a, [numberedFrame(1), numberedFrame(2)]);
    const error = errorOf(() => b.pair.tx.send(batch));
    assertEquals(error.code, "pool-unreachable");
    assert(error.message.includes("attachMempool"));
    assert(!b.pair.tx.reaches(a.pair.rx.pool));
    assertEquals(b.pair.tx.pending, 0);
    // Nothing was taken: the caller still has them.
    assertEquals(batch.free(), 2);
  }));

Deno.test("send() stops before such a packet, and before one that has such a segment", () =>
  withCards((a, b) => {
    const foreign = receive(a, [numberedFrame(1)]).handles[0];
    const packet = new Packet();
    const { pool } = b.pair.rx;
    const chain = pool.allocate();
    packet.at(chain).write(numberedFrame(2));
    packet.nextSegment = foreign;
    for (const unsendable of [foreign, chain]) {
      const batch = new Batch(2);
      packet.at(pool.allocate()).write(numberedFrame(3));
      batch.push(packet.handle);
      batch.push(unsendable);
      assertEquals(b.pair.tx.send(batch), 1);
      batch.removeFirst(1);
      assertEquals(
        errorOf(() => b.pair.tx.send(batch)).code,
        "pool-unreachable",
      );
    }
    b.bus.settle();
    assertEquals(b.wire.fromCard.map(({ length }) => length), [60, 60]);
    Mempool.freeChain(chain);
  }));

Deno.test("a device that was given the pool sends its packets from where they are", () =>
  withCards((a, b) => {
    const sizes = [60, 61, 512, 1514];
    const frames = sizes.map((size, i) => numberedFrame(i, size));
    reach(b, a);
    reach(b, a);
    const batch = receive(a, frames);
    assertEquals(b.pair.tx.send(batch), frames.length);
    b.bus.settle();
    assertEquals(b.wire.fromCard, frames);
    b.pair.tx.reclaim();
    assertEquals(a.pair.rx.pool.inUse, a.pair.rx.depth);
  }));

Deno.test("a packet in several buffers crosses too", () =>
  withCards((a, b) => {
    const frame = numberedFrame(7, 9000);
    reach(b, a);
    const batch = receive(a, [frame]);
    assertEquals(b.pair.tx.send(batch), 1);
    b.bus.settle();
    assertEquals(b.wire.fromCard, [frame]);
  }, { options: { maxFrameSize: 9014 } }));

Deno.test("a pool that grows and shrinks does so for each device that reaches it", () =>
  withCards(async (a, b) => {
    const { pool } = a.pair.rx;
    const before = b.bus.world.mapped;
    reach(b, a);
    const shared = b.bus.world.mapped - before;
    await a.device.extendRxMempool(0, 2000);
    assert(b.bus.world.mapped - before > shared);
    const handles = Array.from({ length: 2500 }, () => pool.allocate());
    const last = handles.at(-1)!;
    new Packet().at(last).write(numberedFrame(1));
    const batch = new Batch(1);
    batch.push(last);
    assertEquals(b.pair.tx.send(batch), 1);
    b.bus.settle();
    assertEquals(b.wire.fromCard, [numberedFrame(1)]);
    for (const handle of handles.slice(0, -1)) pool.free(handle);
    b.pair.tx.reclaim();
    await a.device.shrinkRxMempool(0, 2000);
    await until(
      "the memory is given back",
      () => b.bus.world.mapped - before <= shared,
    );
  }));

for (const closeFirst of ["a", "b"] as const) {
  Deno.test(`device ${closeFirst} closes first, with packets of A in the ring of B`, () =>
    withCards((a, b) => {
      reach(b, a);
      const batch = receive(a, [numberedFrame(1), numberedFrame(2)]);
      assertEquals(b.pair.tx.send(batch), 2);
    }, { closeFirst }));
}

Deno.test("a device that cannot send the packets of one that closes is stopped", () =>
  withCards(async (a, b) => {
    reach(b, a);
    const batch = receive(a, [numberedFrame(1)]);
    // A card that hears nothing of its tail register sends nothing.
    b.bus.deaf.add(0x6018);
    assertEquals(b.pair.tx.send(batch), 1);
    const errors: string[] = [];
    const original = console.error;
    console.error = (line: string) => void errors.push(line);
    try {
      await a.device.close();
    } finally {
      console.error = original;
    }
    assert(
      errors.some((line) => line.includes("queue 0 is stopped")),
      `${errors}`,
    );
    assert(b.pair.rx.stopped);
  }));

Deno.test("both devices close at once", () =>
  withoutLeaks(async () => {
    const [a, b] = [await openCard(), await openCard()];
    reach(b, a);
    reach(a, b);
    b.pair.tx.send(receive(a, [numberedFrame(1)]));
    a.pair.tx.send(receive(b, [numberedFrame(2)]));
    await Promise.all([a.device.close(), b.device.close()]);
    for (const { bus } of [a, b]) assertNothingLeft(bus);
  }));

Deno.test("a device that is slow to stop holds up only those whose packets it has", () =>
  withoutLeaks(async () => {
    const [a, b, slow] = [await openCard(), await openCard(), await openCard()];
    reach(slow, b);
    slow.pair.tx.send(receive(b, [numberedFrame(1)]));
    const goesOn = Promise.withResolvers<void>();
    const { device } = slow;
    const stopDma = Reflect.get(device, "stopDma") as () => Promise<void>;
    Object.assign(device, {
      stopDma: async () => {
        await goesOn.promise;
        await stopDma.call(device);
      },
    });
    const closed: string[] = [];
    const all = [
      slow.device.close().then(() => closed.push("slow")),
      b.device.close().then(() => closed.push("b")),
    ];
    await a.device.close();
    assertEquals(closed, []);
    goesOn.resolve();
    await Promise.all(all);
    assertEquals(closed.length, 2);
    for (const { bus } of [a, b, slow]) assertNothingLeft(bus);
  }));

Deno.test("sendAll() copies what the device cannot reach", () =>
  withCards((a, b) => {
    const error = errorOf(() => reach(b, a));
    assertEquals(error.code, "pool-unreachable");
    assert(error.message.includes("across pages"), error.message);
    const copies = b.device.createMempool(64);
    const queue = new QueueContext(0, [a.pair, b.pair], undefined, [
      undefined,
      copies,
    ]);
    const frames = [60, 1514, 9000].map((size, i) => numberedFrame(i, size));
    const batch = receive(a, frames);
    assertEquals(queue.sendAll(b.pair.tx, batch), frames.length);
    b.bus.settle();
    assertEquals(b.wire.fromCard, frames);
    assertEquals(b.pair.tx.counters.get("copied"), frames.length);
    // The originals went home at once.
    assertEquals(a.pair.rx.pool.inUse, a.pair.rx.depth);
    // What comes from the device itself is not copied.
    const own = receive(b, [numberedFrame(9)]);
    assertEquals(queue.sendAll(b.pair.tx, own), 1);
    assertEquals(b.pair.tx.counters.get("copied"), frames.length);
  }, { change: { pagewise: true }, options: { maxFrameSize: 9014 } }));

Deno.test("a copy has the flags and the requests of its packet", () =>
  withCards((a, b) => {
    const { pool } = a.pair.rx;
    const handle = pool.allocate();
    const packet = new Packet().at(handle);
    packet.write(numberedFrame(1));
    packet.requestChecksum(34, 16);
    pool.flags[handle & INDEX_MASK] = 2;
    pool.vlanTags[handle & INDEX_MASK] = 77;
    const batch = new Batch(1);
    batch.push(handle);
    const sent: number[] = [];
    const tx = Object.create(b.pair.tx, {
      reaches: { value: (p: Mempool) => p === b.pair.rx.pool },
      counters: { value: b.pair.tx.counters },
      send: {
        value: (batch: Batch) => {
          sent.push(...batch.handles.subarray(0, batch.length));
          return batch.length;
        },
      },
    }) as TxQueue;
    const ports = [a.pair, { rx: b.pair.rx, tx }];
    const copies = b.device.createMempool(2);
    new QueueContext(0, ports, undefined, [undefined, copies])
      .sendAll(tx, batch);
    const copy = sent[0] & INDEX_MASK;
    const { offloads, flags, vlanTags } = copies;
    assertEquals(bytesOf(sent[0]), numberedFrame(1));
    assertEquals([offloads[copy], flags[copy], vlanTags[copy]], [
      (16 << 16) | 34,
      2,
      77,
    ]);
    Mempool.freeChain(sent[0]);
  }, { change: { pagewise: true } }));

Deno.test("a device that shares an IOMMU with the one that closes gives its packets back too", () =>
  withCards(async (a, b) => {
    reach(b, a);
    // As in one container: the pool is there without having been attached by the device itself.
    a.pair.rx.pool.attachTo(b.bus.dma, NO_DEVICE);
    a.pair.rx.pool.detachFrom(b.bus.dma, asUser(b.device));
    const batch = receive(a, [numberedFrame(1)]);
    b.bus.deaf.add(0x6018);
    assertEquals(b.pair.tx.send(batch), 1);
    await withoutWarnings(() => a.device.close());
    assert(b.pair.rx.stopped);
    // The packet is gone, with its pool: the queue works again without it.
    b.bus.deaf.clear();
    await b.device.restartQueue(0);
    assertEquals(b.pair.tx.pending, 0);
    const own = receive(b, [numberedFrame(3)]);
    assertEquals(b.pair.tx.send(own), 1);
    b.bus.settle();
    assertEquals(b.wire.fromCard, [numberedFrame(3)]);
  }));

Deno.test("send() refuses packets of a pool that the device has lost since", () =>
  withCards((a, b) => {
    reach(b, a);
    assertEquals(b.pair.tx.send(receive(a, [numberedFrame(1)])), 1);
    b.bus.settle();
    b.pair.tx.reclaim();
    a.pair.rx.pool.detachFrom(b.bus.dma, asUser(b.device));
    const batch = receive(a, [numberedFrame(2)]);
    assertEquals(
      errorOf(() => b.pair.tx.send(batch)).code,
      "pool-unreachable",
    );
    assertEquals(batch.free(), 1);
  }, { options: { debug: false } }));

Deno.test("a queue that starts afresh leaves its packets in the ring of another device", () =>
  withCards(async (a, b) => {
    reach(b, a);
    const { pool } = a.pair.rx;
    b.bus.deaf.add(0x6018);
    assertEquals(b.pair.tx.send(receive(a, [numberedFrame(1)])), 1);
    await a.device.restartQueue(0);
    const { depth } = a.pair.rx;
    assertEquals(pool.inUse, depth + 1);
    await b.device.restartQueue(0);
    pool.sync();
    assertEquals(pool.inUse, depth);
    const all = Array.from({ length: pool.available }, () => pool.allocate());
    assertEquals(new Set(all).size, all.length);
    for (const handle of all) pool.free(handle);
  }));

/** A domain that maps at most so many bytes. */
class SmallDomain extends MappedDomain {
  mapped = 0;

  constructor(most: number) {
    super({
      map: (_memory, _offset, length) => {
        if (this.mapped + length > most) throw new Error("no room");
        this.mapped += length;
      },
      unmap: (_iova, length) => void (this.mapped -= length),
    });
  }
}

const NO_DEVICE = {
  packetsInRings: () => [],
  takeHome: () => {},
  giveBack: () => Promise.resolve(),
};

Deno.test("a pool that cannot grow for one of its devices is as it was, for all of them", () => {
  const [large, small] = [new SmallDomain(64 * MIB), new SmallDomain(MIB)];
  const pool = Mempool.create(
    { entries: 256, maxEntries: 4096, memory: PLAIN_PAGES },
    large,
  );
  pool.attachTo(small, NO_DEVICE);
  const before = [pool.committedBytes, large.mapped, small.mapped];
  assertThrows(() => pool.extend(3000), Error, "no room");
  assertEquals([pool.committedBytes, large.mapped, small.mapped], before);
  assertEquals(pool.target, 256);
  // What there is room for can still be had.
  pool.extend(100);
  assertEquals(pool.capacity, 356);
  assertEquals(large.mapped, small.mapped);
  pool.destroy();
  assertEquals([large.mapped, small.mapped], [0, 0]);
});

Deno.test("a pool without a device gives its address back, attached or not", () => {
  const domain = new SmallDomain(MIB);
  const pool = Mempool.create({ entries: 8, memory: PLAIN_PAGES });
  const taken: unknown[] = [];
  const { shared } = AddressSpace;
  const original = shared.giveBack;
  shared.giveBack = (memory) => {
    taken.push(memory);
    original.call(shared, memory);
  };
  try {
    pool.attachTo(domain, NO_DEVICE);
    pool.destroy();
  } finally {
    shared.giveBack = original;
  }
  // Once for the domain, and once for the pool.
  assertEquals(taken.length, 2);
});

Deno.test("a pool is freed although a domain fails to unmap it", () => {
  const failing = new MappedDomain({
    map: () => {},
    unmap: () => {
      throw new Error("it is gone");
    },
  });
  const sound = new SmallDomain(MIB);
  const pool = Mempool.create({ entries: 8, memory: PLAIN_PAGES }, failing);
  pool.attachTo(sound, NO_DEVICE);
  assertThrows(() => pool.destroy(), Error, "it is gone");
  assertEquals([sound.mapped, pool.committedBytes], [0, 0]);
  assert(!sound.pools.has(pool.id));
});

Deno.test("a pool with the number and the address of an earlier one is another pool", () => {
  const first = Mempool.create({ entries: 8, memory: PLAIN_PAGES });
  const known = Mempool.attach(first.description);
  assert(known === first);
  // Another isolate has made it after the first was destroyed.
  const later = Mempool.attach({
    ...first.description,
    control: new SharedArrayBuffer(first.description.control.byteLength),
  });
  assert(later !== first);
  first.destroy();
});

Deno.test("two backends see no memory of each other", () =>
  withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    const paths = [`${folder}/a`, `${folder}/b`];
    const servers = paths.map((path) => new FakeServer(path, [PLAIN]));
    const devices: Device[] = [];
    for (const path of paths) {
      devices.push(
        await openDevice({ address: `vhost-user:${path}`, hugepages: "never" }),
      );
    }
    const [first, second] = servers.map(({ last }) =>
      last.regions.map(({ iova }) => iova)
    );
    assert(first.length > 0);
    assertEquals(first.filter((iova) => second.includes(iova)), []);
    for (const device of devices) await device.close();
    for (const server of servers) await server.close();
    Deno.removeSync(folder);
  }));

Deno.test("a vhost-user backend reads the packets of a software card where they are", async () => {
  using backend = new BackendThread();
  await backend.ask({ op: "report" });
  await withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/socket`;
    await backend.ask({ op: "listen", path, plans: [PLAIN] });
    const card = await openCard();
    const device = await openDevice({
      address: `vhost-user:${path}`,
      hugepages: "never",
      irqTimeoutMs: 0,
    });
    const { tx } = device.queue(0);
    const frame = numberedFrame(5, 300);
    const batch = receive(card, [frame]);
    assertEquals(errorOf(() => tx.send(batch)).code, "pool-unreachable");
    const regions = async () =>
      (await backend.ask({ op: "report" })).regions.length;
    const before = await regions();
    // A device that closes takes its pool away from the backend.
    const idle = await openCard();
    device.attachMempool(idle.pair.rx.pool);
    assertEquals(await regions(), before + 1);
    await idle.device.close();
    assertEquals(await regions(), before);
    device.attachMempool(card.pair.rx.pool);
    assertEquals(await regions(), before + 1);
    assertEquals(tx.send(batch), 1);
    const { rings: { buffer, txOffset } } = device.describeQueue(0);
    const [low, high, length] = new Uint32Array(buffer, txOffset, 4);
    const iova = BigInt(low) + (BigInt(high) << 32n);
    const seen = await backend.ask({ op: "read", iova, length });
    assertEquals(seen.bytes.subarray(length - frame.length), frame);
    // The backend keeps the packet, until its queue is stopped because the card closes.
    const { error } = console;
    console.error = () => {};
    await card.device.close();
    console.error = error;
    assert(device.queue(0).rx.stopped);
    device.takeBackQueue(0);
    await device.close();
    await backend.ask({ op: "close" });
    Deno.removeSync(folder);
  });
});

Deno.test("a memory has one address for all devices, out of the way of interrupts", () => {
  const space = new AddressSpace();
  const memory = { reserved: 3 * MIB };
  const iova = space.take(memory);
  assertEquals(space.take(memory), iova);
  assertEquals(iova % BigInt(4 * MIB), 0n);
  space.giveBack(memory);
  const other = { reserved: 3 * MIB };
  assert(space.take(other) !== iova, "the first is still in use");
  space.giveBack(memory);
  assertThrows(() => space.giveBack(memory), IxlError, "has no address");
  // It is not given out again while there are others.
  for (let i = 0; i < 100; i++) assert(space.take({ reserved: MIB }) !== iova);
  for (let i = 0; i < 3; i++) {
    const start = space.take({ reserved: 1024 * MIB });
    const end = start + BigInt(1024 * MIB);
    assert(end <= 0xfee00000n || start >= 0xfef00000n);
  }
});

Deno.test("a memory of more than 4 GiB gets no address", () => {
  const space = new AddressSpace();
  const error = errorOf(() => space.take({ reserved: 4097 * MIB }));
  assertEquals(error.code, "out-of-iova");
  assert(error.message.includes("4 GiB"));
  const iova = space.take({ reserved: 4096 * MIB });
  assertEquals(iova % (1n << 32n), 0n);
});

Deno.test("addresses lie where all open devices can use them, as long as there is room", () => {
  const space = new AddressSpace();
  const low = [{ start: 1n << 24n, end: 1n << 26n }];
  const limit = space.limit(low);
  const first = space.take({ reserved: 32 * MIB });
  assertEquals(first, 1n << 25n);
  const beyond = space.take({ reserved: 32 * MIB });
  assert(beyond >= 1n << 26n);
  const memory = { reserved: 8 * MIB };
  limit.ranges = [{ start: 1n << 30n, end: 1n << 31n }];
  assert(space.take(memory) >= 1n << 30n);
  const error = errorOf(() => space.take(memory, low));
  assertEquals(error.code, "out-of-iova");
  limit[Symbol.dispose]();
});

Deno.test("pools have numbers that are unique among all workers", async () => {
  using workers = new DisposableStack();
  const mine = [1, 2, 3].map(() =>
    Mempool.create({ entries: 4, memory: PLAIN_PAGES })
  );
  const theirs: MempoolDescription[] = [];
  const owners = [1, 2].map(() => workers.use(new PoolOwner()));
  for (const worker of owners) {
    theirs.push(...await worker.ask<typeof theirs>({ op: "create", pools: 3 }));
  }
  const ids = [...mine.map(({ id }) => id), ...theirs.map(({ id }) => id)];
  assertEquals(new Set(ids).size, 9);
  for (const description of theirs) {
    const pool = Mempool.attach(description);
    assertEquals([pool.id, pool.available], [description.id, 4]);
    pool.destroy();
  }
  for (const pool of mine) pool.destroy();
  for (const worker of owners) await worker.ask({ op: "destroy" });
});

Deno.test("a number that another pool has now means that pool", () => {
  const pool = Mempool.create({ entries: 4, memory: PLAIN_PAGES });
  const other = { ...pool.description, address: pool.description.address + 1n };
  const attached = Mempool.attach(other);
  assert(attached !== pool);
  assert(Mempool.attach(other) === attached);
  assert(Mempool.attach(pool.description) !== attached);
  pool.destroy();
});

Deno.test("lent packets come home to whoever owns the pool by then", async () => {
  const pool = Mempool.create({ entries: 8, memory: PLAIN_PAGES });
  const handles = Array.from({ length: 6 }, () => pool.allocate());
  {
    using guest = new PoolOwner();
    const order = { op: "free", pool: pool.lend(), handles } as const;
    assertEquals(await guest.ask(order), true);
  }
  using owner = new PoolOwner();
  const order = { op: "own", pool: pool.description } as const;
  assertEquals(await owner.ask(order), 8);
  pool.destroy();
});

Deno.test("a packet that a guest frees twice is found out", async () => {
  const pool = Mempool.create({ entries: 8, memory: PLAIN_PAGES });
  const [a, b] = [pool.allocate(), pool.allocate()];
  using guest = new PoolOwner();
  const handles = [a, b, a];
  await guest.ask({ op: "free", pool: pool.lend(), handles });
  assertThrows(() => pool.sync(), IxlError, "freed twice");
  pool.destroy();
});

Deno.test("reclaimAll() leaves lent packets to those who have them", () => {
  const pool = Mempool.create({ entries: 8, memory: PLAIN_PAGES });
  const [inRing, lent] = [pool.allocate(), pool.allocate()];
  pool.lend();
  pool.reclaimAll([inRing, 0]);
  assertEquals(pool.available, 7);
  const all = Array.from({ length: 7 }, () => pool.allocate());
  assert(!all.includes(lent));
  Mempool.returnHome(lent);
  pool.sync();
  assertEquals(pool.available, 1);
  pool.destroy();
});

Deno.test("a pool that is extended while its memory is released gets it back", () => {
  const pool = Mempool.create({
    entries: 64,
    maxEntries: 128,
    memory: PLAIN_PAGES,
  });
  const { header } = pool;
  const worker = Mempool.attach(
    { ...pool.description, address: pool.description.address + 1n },
    (other, entries) => {
      // In another isolate, the release falls between the look at what is mapped and the new target.
      if (Atomics.load(other.header, 5) >= entries) pool.releaseMemory();
      else pool.growMemory(entries);
    },
  );
  pool.shrink(32);
  pool.growMemory(64);
  assertEquals(Atomics.load(header, 5), 64);
  worker.resize(64);
  assertEquals(Atomics.load(header, 5), 64);
  assertEquals(worker.target, 64);
  Mempool.attach(pool.description);
  pool.destroy();
});

Deno.test("memory without a file stays possible where the kernel allows none", () => {
  const memory = DmaMemory.allocate({
    bytes: 4096,
    backing: "plain",
    fileBacked: "if-possible",
  });
  assertEquals(memory.backing, "memfd");
  assert(memory.fd !== undefined);
  memory.free();
});
