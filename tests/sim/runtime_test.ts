import {
  assert,
  assertEquals,
  assertGreater,
  assertRejects,
} from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import type { DeviceOptions } from "../../src/config.ts";
import { type Device, openDevice, simControls } from "../../src/device.ts";
import { ConfigError, IxlError } from "../../src/errors.ts";
import { Handover } from "../../src/memory/handover.ts";
import { Mempool } from "../../src/memory/mempool.ts";
import { Packet } from "../../src/memory/packet.ts";
import { type Run, run } from "../../src/runtime/run.ts";
import { emptyStats } from "../../src/stats.ts";
import type { Borrow } from "../fixtures/borrow_worker.ts";
import type { ForwardArgs } from "../fixtures/forward_worker.ts";
import { until } from "../support/until.ts";

const WORKER = new URL("../fixtures/forward_worker.ts", import.meta.url);
const LEND = new URL("../fixtures/lend_worker.ts", import.meta.url);
const BORROW = new URL("../fixtures/borrow_worker.ts", import.meta.url);

interface Bench {
  readonly a: Device;
  readonly b: Device;
  readonly running: Run;
}

/** A generator behind A, a forwarder on each queue, a sink behind B; at the end every frame is accounted for. */
async function withForwarder(
  options: {
    readonly source?: string;
    readonly config?: DeviceOptions;
    readonly args?: ForwardArgs;
    readonly cpus?: number[];
  },
  use: (bench: Bench) => Promise<void>,
): Promise<void> {
  const { source = "sim:generator", args = {} } = options;
  const config = { queues: 2, promiscuous: true, ...options.config };
  await using a = await openDevice({ ...config, address: source });
  await using b = await openDevice({ ...config, address: "sim:sink" });
  await using running = await run([a, b], {
    worker: WORKER,
    args,
    ...(options.cpus ? { cpus: options.cpus } : {}),
  });
  await use({ a, b, running });
  simControls(a).wire.pause();
  await running.stop();
  assertEquals(simControls(a).violations(), []);
  assertEquals(simControls(b).violations(), []);
}

/** Waits until every generated frame came out or was counted as missed or dropped. */
async function assertNothingLost({ a, b, running }: Bench): Promise<void> {
  const stats = emptyStats();
  const [from, to] = [simControls(a).wire, simControls(b).wire];
  from.pause();
  await until("all frames are accounted for", () => {
    a.readStats(stats);
    const dropped = running.stats().reduce(
      (sum, { ports: [{ dropped }] }) => sum + dropped,
      0,
    );
    return from.get("generated") ===
      to.get("received") + stats.rxMissed + dropped;
  });
  assertEquals(to.get("corrupted"), 0);
  assertEquals(to.get("reordered"), 0);
  assertEquals(to.get("duplicated"), 0);
}

const received = ({ b }: Bench) => simControls(b).wire.get("received");

async function moreThan(bench: Bench, frames: number): Promise<void> {
  const goal = received(bench) + frames;
  await until(`${frames} more frames`, () => received(bench) > goal);
}

for (const queues of [1, 2, 4]) {
  Deno.test(`run() forwards on ${queues} queues, all of them busy, nothing lost`, async () => {
    await withForwarder({ config: { queues } }, async (bench) => {
      await moreThan(bench, 100_000);
      await assertNothingLost(bench);
      const stats = bench.running.stats();
      assertEquals(stats.length, queues);
      for (const { ports: [rx] } of stats) assertGreater(rx.rxPackets, 1000);
    });
  });
}

Deno.test("run() sleeps at a low rate and polls at a high one", async () => {
  const quiet = "sim:generator?rate=500";
  await withForwarder({ source: quiet }, async (bench) => {
    await until(
      "interrupts wake both queues",
      () => bench.running.stats().every(({ ports: [rx] }) => rx.irqs > 20),
    );
    for (const { ports: [rx] } of bench.running.stats()) {
      assertEquals(rx.polling, 0);
    }
    await assertNothingLost(bench);
  });
  await withForwarder({}, async (bench) => {
    await until(
      "both queues poll",
      () => bench.running.stats().every(({ ports: [rx] }) => rx.polling === 1),
    );
    await assertNothingLost(bench);
    await until(
      "both queues sleep again",
      () => bench.running.stats().every(({ ports: [rx] }) => rx.polling === 0),
    );
    for (const { ports: [rx] } of bench.running.stats()) {
      assertEquals(rx.modeSwitches, 2);
    }
  });
});

for (const irqTimeoutMs of [0, -1, -2, 5]) {
  Deno.test(`run() forwards with irqTimeoutMs ${irqTimeoutMs}`, async () => {
    await withForwarder({ config: { irqTimeoutMs } }, async (bench) => {
      await moreThan(bench, 20_000);
      await assertNothingLost(bench);
    });
  });
}

Deno.test("run() binds workers to cores", async () => {
  await withForwarder({ cpus: [0, 1] }, (bench) => moreThan(bench, 1000));
});

Deno.test("run() refuses a core that is none, and more queues than there are", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  await assertRejects(
    () => run(device, { worker: WORKER, cpus: [-1] }),
    ConfigError,
  );
  await assertRejects(
    () => run(device, { worker: WORKER, queues: 2 }),
    ConfigError,
  );
  const error = await assertRejects(
    () => run(device, { worker: WORKER, cpus: [999] }),
    IxlError,
  );
  assertEquals(error.code, "worker-failed");
});

Deno.test("run() reports a module that cannot be loaded", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  const worker = new URL("../fixtures/no_such_worker.ts", import.meta.url);
  const error = await assertRejects(() => run(device, { worker }), IxlError);
  assertEquals(error.code, "worker-failed");
});

Deno.test("run() reports a worker that throws; the others go on and its packets come back", async () => {
  const args = { throwOn: { queue: 1, after: 1000 } };
  // With a rate: a generator without one waits for the queue that nobody empties.
  const source = "sim:generator?rate=100000";
  await withForwarder({ args, source }, async (bench) => {
    const { running } = bench;
    await until("the worker failed", () => running.failures.length === 1);
    assertEquals(running.failures[0].queue, 1);
    assertEquals(running.failures[0].message, "told to throw");
    assertEquals(running.workers, 1);
    const before = running.stats()[0].ports[0].rxPackets;
    await until(
      "queue 0 goes on",
      () => running.stats()[0].ports[0].rxPackets > before + 10_000,
    );
    const { poolInUse } = running.stats()[1];
    assert(poolInUse <= bench.a.rxQueueDepth, `${poolInUse} packets are out`);
  });
});

Deno.test("Run.restart() puts a new worker on a queue whose worker died", async () => {
  const args = { throwOn: { queue: 1, after: 1000 } };
  await withForwarder({ args }, async ({ running }) => {
    await until("the worker failed", () => running.failures.length === 1);
    await running.restart(1);
    await until("it fails again", () => running.failures.length === 2);
  });
});

Deno.test("Run.move() hands a queue to another worker under traffic, nothing lost", async () => {
  await withForwarder({}, async (bench) => {
    for (let turn = 0; turn < 5; turn++) {
      await moreThan(bench, 5000);
      await bench.running.move(turn % 2);
    }
    await moreThan(bench, 5000);
    await assertNothingLost(bench);
  });
});

Deno.test("Run.move() leaves lent packets to those who have them, and the next worker gets them back", async () => {
  const address = "sim:generator";
  await using device = await openDevice({
    ...{ address, promiscuous: true },
    ...{ rxDepth: 64, txDepth: 64, poolEntries: 320 },
  });
  const pool = Mempool.attach(device.describeQueue(0).pool);
  const road = Handover.create(pool, 128).describe();
  const words = new SharedArrayBuffer(8);
  const [came, end] = [0, 1];
  const counters = new Int32Array(words);
  const borrower = new Worker(BORROW, { type: "module" });
  try {
    const freed = Promise.withResolvers<number>();
    borrower.onmessage = ({ data }) => freed.resolve(data);
    borrower.postMessage({ road, words } satisfies Borrow);
    await using running = await run(device, { worker: LEND, args: road });
    // More than the pool has, so that each worker lives on what comes back.
    for (let turn = 1; turn <= 3; turn++) {
      const goal = counters[came] + 2 * pool.capacity;
      await until("packets come back", () => counters[came] > goal);
      await running.move(0);
    }
    await running.stop();
    assertEquals(running.failures, []);
    Atomics.store(counters, end, 1);
    assertEquals(await freed.promise, counters[came]);
    pool.sync();
    assert(pool.inUse <= device.rxQueueDepth, `${pool.inUse} are out`);
    const free = Array.from({ length: pool.available }, () => pool.allocate());
    assertEquals(new Set(free).size, free.length);
    for (const handle of free) pool.free(handle);
  } finally {
    borrower.terminate();
  }
});

Deno.test("a bridge whose one worker dies keeps the packets of the other one", async () => {
  const options = { promiscuous: true, debug: true };
  const limited = "sim:generator?rate=50000";
  await using a = await openDevice({ ...options, address: limited });
  await using b = await openDevice({ ...options, address: "sim:loopback" });
  await using back = await run([b, a], { worker: WORKER });
  const passed = () => back.stats()[0].ports[0].rxPackets;
  for (let turn = 0; turn < 4; turn++) {
    const after = back.stats()[0].ports[1].rxPackets + 2000;
    const before = passed();
    await using there = await run([a, b], {
      worker: WORKER,
      args: { throwOn: { queue: 0, after } },
    });
    await there.done;
    assertEquals(there.failures.map(({ message }) => message), [
      "told to throw",
    ]);
    assert(passed() > before);
    assertEquals([back.failures, back.workers], [[], 1]);
  }
  await using there = await run([a, b], { worker: WORKER });
  for (const way of [there, back]) {
    await way.move(0);
    assertEquals([there.workers, back.workers], [1, 1]);
    const before = passed();
    await until("packets pass", () => passed() > before + 100);
  }
  await there.stop();
  await back.stop();
  for (const device of [a, b]) {
    const pool = Mempool.attach(device.describeQueue(0).pool);
    pool.sync();
    const free = Array.from({ length: pool.available }, () => pool.allocate());
    assertEquals(new Set(free).size, free.length);
    const out = pool.capacity - free.length;
    assert(out <= device.rxQueueDepth + device.txQueueDepth, `${out} are out`);
    for (const handle of free) pool.free(handle);
    assertEquals(simControls(device).violations(), []);
  }
});

Deno.test("Run.done does not resolve while the only worker is replaced", async () => {
  await withForwarder({ config: { queues: 1 } }, async (bench) => {
    let done = false;
    void bench.running.done.then(() => done = true);
    await bench.running.move(0);
    await bench.running.restart(0);
    await moreThan(bench, 1000);
    assertEquals(done, false);
    await bench.running.stop();
    await until("it has ended", () => done);
  });
});

Deno.test("Run.stop() under load is acknowledged by every worker", async () => {
  await withForwarder({ config: { queues: 4 } }, async (bench) => {
    await moreThan(bench, 1000);
    await bench.running.stop();
    assertEquals(bench.running.workers, 0);
    await bench.running.done;
  });
});

Deno.test("Device.extendRxMempool() and shrinkRxMempool() work under traffic", async () => {
  await withForwarder({}, async (bench) => {
    const { a, running } = bench;
    const before = running.stats()[0].poolCapacity;
    for (let turn = 0; turn < 5; turn++) {
      await a.extendRxMempool(0, 1000);
      assertEquals(running.stats()[0].poolCapacity, before + 1000);
      await moreThan(bench, 2000);
      await a.shrinkRxMempool(0, 1000);
      assertEquals(running.stats()[0].poolCapacity, before);
      await moreThan(bench, 2000);
    }
    await assertNothingLost(bench);
  });
});

Deno.test("Device.extendRxMempool() reaches a worker that sleeps", async () => {
  const config = { irqTimeoutMs: -2 };
  const source = "sim:generator?rate=1";
  await withForwarder({ config, source }, async ({ a, running }) => {
    const before = running.stats()[1].poolCapacity;
    await a.extendRxMempool(1, 8);
    assertEquals(running.stats()[1].poolCapacity, before + 8);
  });
});

Deno.test("Mempool.extend() works in a worker", async () => {
  const config = { poolEntries: 2000 };
  await withForwarder(
    { config, args: { extend: 500 } },
    async ({ running }) => {
      await until(
        "the pools grew",
        () =>
          running.stats().every(({ poolCapacity }) => poolCapacity === 2500),
      );
      assertEquals(running.failures, []);
    },
  );
});

Deno.test("for await (batch of rx) receives without a worker", async () => {
  await using device = await openDevice({
    address: "sim:generator?count=500&rate=5000",
    promiscuous: true,
  });
  const { rx } = device.queue(0);
  let count = 0;
  for await (const batch of rx) {
    count += batch.free();
    if (count === 500) break;
  }
  assertEquals(count, 500);
  assert(rx.pool.inUse <= rx.depth);
  assertEquals(simControls(device).violations(), []);
});

Deno.test("a queue's interrupt moves to the isolate that rebinds it, under traffic", async () => {
  await withForwarder(
    { source: "sim:generator?rate=2000", config: { queues: 1 } },
    async (bench) => {
      await moreThan(bench, 100);
      // This isolate takes the queue over from the worker, which then ends by itself.
      bench.a.rebindRxIrq(0);
      await until("the worker ended", () => bench.running.workers === 0);
      const { rx } = bench.a.queue(0);
      const batch = new Batch(32);
      const irqs = rx.counters.get("irqs");
      let count = 0;
      while (count < 200) {
        rx.receive(batch);
        count += batch.free();
      }
      assertGreater(rx.counters.get("irqs"), irqs);
    },
  );
});

Deno.test("checkRxIrq() and ackRxIrq() let the caller wait by itself", async () => {
  await using device = await openDevice({
    address: "sim:loopback",
    irqTimeoutMs: -1,
    promiscuous: true,
  });
  const { rx, tx } = device.queue(0);
  const batch = new Batch(1);
  for (let turn = 0; turn < 3; turn++) {
    device.checkRxIrq(0);
    device.ackRxIrq(0);
    batch.push(new Packet().at(rx.pool.allocate()).handle);
    new Packet().at(batch.handles[0]).write(new Uint8Array(64).fill(0xff));
    assertEquals(tx.send(batch), 1);
    await until("the interrupt fires", () => device.checkRxIrq(0));
    assertEquals(rx.receive(batch), 1);
    batch.free();
  }
});

Deno.test("closing gives back every descriptor", async () => {
  const count = () => {
    const { stdout } = new Deno.Command("sh", {
      args: ["-c", `ls /proc/${Deno.pid}/fd | wc -l`],
    }).outputSync();
    return Number(new TextDecoder().decode(stdout));
  };
  // The first run loads what stays: libraries, the module cache.
  await withForwarder({}, (bench) => moreThan(bench, 100));
  const before = count();
  for (let turn = 0; turn < 3; turn++) {
    await withForwarder({}, (bench) => moreThan(bench, 100));
  }
  await until("descriptors are closed", () => count() <= before);
});
