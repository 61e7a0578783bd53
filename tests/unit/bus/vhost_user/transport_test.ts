import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { parseVhostUserAddress } from "../../../../src/bus/vhost_user/address.ts";
import { Endpoint } from "../../../../src/bus/vhost_user/endpoint.ts";
import { VhostUserNotifier } from "../../../../src/bus/vhost_user/notifier.ts";
import {
  F_PROTOCOL_FEATURES,
  ProtocolFeature,
} from "../../../../src/bus/vhost_user/protocol.ts";
import { VhostUserTransport } from "../../../../src/bus/vhost_user/transport.ts";
import {
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
  NotSupportedError,
} from "../../../../src/errors.ts";
import { EventFd } from "../../../../src/ffi/eventfd.ts";
import { readSmallFile } from "../../../../src/ffi/files.ts";
import { libc } from "../../../../src/ffi/libc.ts";
import { UnixListener } from "../../../../src/ffi/unix_socket.ts";
import { until } from "../../../support/until.ts";
import {
  type Answer,
  type BackendPlan,
  connectBackend,
  F_VERSION_1,
  FakeServer,
  PLAIN,
  reply,
  REQUEST,
} from "../../../support/vhost/backend.ts";
import {
  allocate,
  bringUp,
  type Rig,
  ringsOf,
  state,
  withRig,
  withServer,
  withWorker,
} from "../../../support/vhost/front_end.ts";

const F_PACKED = 1n << 34n;
const { CONFIG, CONFIGURE_MEM_SLOTS, REPLY_ACK, RESET_DEVICE } =
  ProtocolFeature;
/** A backend from before protocol features. */
const OLD: BackendPlan = { ...PLAIN, features: F_VERSION_1, protocol: 0n };
const SLOTS: BackendPlan = {
  ...PLAIN,
  protocol: PLAIN.protocol | CONFIGURE_MEM_SLOTS,
};

/** A plan that answers one request, the first time or each time, in its own way. */
function answering(
  request: string,
  answer: Answer,
  plan: BackendPlan = PLAIN,
): BackendPlan {
  return {
    ...plan,
    answer: (name) => name === request ? answer : { kind: "proper" },
  };
}

// Bringing a backend up.

Deno.test("a backend is brought up in the order of the specification", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    assertEquals(server.last.names, [
      ...["GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES"],
      ...["SET_OWNER", "GET_QUEUE_NUM", "SET_STATUS", "GET_STATUS"],
      ...["SET_FEATURES", "SET_STATUS", "GET_STATUS", "SET_MEM_TABLE"],
      ...["SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR"],
      ...["SET_VRING_CALL", "SET_VRING_ERR"],
      ...["SET_VRING_NUM", "SET_VRING_BASE", "SET_VRING_ADDR"],
      ...["SET_VRING_CALL", "SET_VRING_ERR"],
      ...["SET_VRING_KICK", "SET_VRING_ENABLE"],
      ...["SET_VRING_KICK", "SET_VRING_ENABLE", "SET_STATUS", "GET_STATUS"],
    ]);
    // ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK.
    assertEquals(server.last.status, 15n);
    assertEquals(rig.transport.needsReset, false);
  }));

Deno.test("rings and packets are found by the same addresses", () =>
  withServer([PLAIN], async (rig, server) => {
    rig.memory.u8.set([1, 2, 3], 100);
    await bringUp(rig);
    const rings = ringsOf(rig, 1);
    const { descriptors, device, driver } = rings;
    assertEquals(server.last.last("SET_VRING_ADDR").words, [
      ...[1n, descriptors, device, driver, 0n],
    ]);
    assertEquals([...server.last.read(rig.iova + 100n, 3)], [1, 2, 3]);
    assertEquals(state(server.last, "SET_VRING_NUM"), [1, rings.size]);
    assertEquals(state(server.last, "SET_VRING_BASE"), [1, 0]);
    assertEquals(state(server.last, "SET_VRING_ENABLE"), [1, 1]);
  }));

Deno.test("a packed ring begins with both wrap counters set", () =>
  withServer(
    [{ ...PLAIN, features: PLAIN.features | F_PACKED }],
    async (rig, server) => {
      await bringUp(rig, F_VERSION_1 | F_PACKED);
      assertEquals(state(server.last, "SET_VRING_BASE"), [1, 0x80008000]);
    },
  ));

Deno.test("a backend from before protocol features is spoken to without them", () =>
  withServer([OLD], async (rig, server) => {
    await bringUp(rig);
    assertEquals(rig.transport.virtqueueCount, 2);
    const names = new Set(server.last.names);
    for (const name of ["GET_PROTOCOL_FEATURES", "SET_VRING_ENABLE"]) {
      assert(!names.has(name), name);
    }
    assertEquals(server.last.last("SET_FEATURES").words, [F_VERSION_1]);
    // The last answer tells that all before it was done.
    assertEquals(server.last.names.at(-1), "GET_FEATURES");
  }));

Deno.test("the driver is offered what works without a control queue", () =>
  withServer(
    [{ ...PLAIN, features: 0xffffffff_ffffffffn }],
    async ({ transport }, server) => {
      await transport.reset();
      const { offered } = transport;
      const has = (bit: bigint) => (offered >> bit & 1n) !== 0n;
      for (const bit of [0n, 1n, 11n, 15n, 28n, 29n, 32n, 34n, 35n]) {
        assert(has(bit), `feature ${bit}`);
      }
      // Control queue, configuration, log of pages, addresses that are asked for.
      for (const bit of [3n, 5n, 16n, 17n, 21n, 22n, 26n, 30n, 33n, 60n]) {
        assert(!has(bit), `feature ${bit}`);
      }
      await transport.acceptFeatures(F_VERSION_1);
      // Several queue pairs are a matter of the backend alone: VIRTIO_NET_F_MQ.
      const mq = 1n << 22n;
      assertEquals(server.last.last("SET_FEATURES").words, [
        F_VERSION_1 | F_PROTOCOL_FEATURES | mq,
      ]);
    },
  ));

Deno.test("queue pairs are counted as the messages can number them", () =>
  withServer(
    [{ ...PLAIN, pairs: 1n << 63n }],
    async ({ transport }) => {
      await transport.reset();
      assertEquals(transport.virtqueueCount, 256);
      assertEquals(transport.largestSize(255), 32768);
      assertEquals(transport.largestSize(256), 0);
    },
  ));

Deno.test("configuration is read where the backend can say it", () => {
  const config = new Uint8Array(24);
  config.set([2, 0, 0, 0, 0, 9, 1, 0, 4, 0, 0xdc, 0x05]);
  const plan = {
    ...PLAIN,
    config,
    protocol: PLAIN.protocol | CONFIG,
    features: PLAIN.features | 1n << 5n,
  };
  return withServer([plan], async ({ transport }) => {
    await transport.reset();
    assert(transport.hasConfig);
    assertEquals(transport.offered & 1n << 5n, 1n << 5n);
    assertEquals(transport.readConfig(5, 1), 9);
    assertEquals(transport.readConfig(10, 2), 1500);
    assertEquals(transport.readConfig(0, 4), 2);
  });
});

Deno.test("there is no configuration where the backend cannot say it", () =>
  withServer(
    [{ ...PLAIN, protocol: PLAIN.protocol | CONFIG }],
    async ({ transport }) => {
      await transport.reset();
      assert(!transport.hasConfig);
      assertThrows(() => transport.readConfig(0, 1), NotSupportedError);
    },
  ));

// Interrupts and notifications.

Deno.test("eventfds go both ways, from any isolate", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const { transport, queueLine } = rig;
    const call = server.last.received.find(({ name, words }) =>
      name === "SET_VRING_CALL" && words[0] === 0n
    )!;
    new EventFd(call.fds[0]).signal();
    assert(queueLine.clear());
    // A transmit virtqueue has no interrupt.
    assertEquals(server.last.last("SET_VRING_CALL").words, [1n | 1n << 8n]);
    const kick = new EventFd(server.last.last("SET_VRING_KICK").fds[0]);
    transport.notify(1);
    assert(kick.clear());
    new VhostUserNotifier(transport.describe()).notify(1);
    assert(kick.clear());
    transport.notify(0);
    assert(!kick.clear());
  }));

Deno.test("interrupts that are routed while the backend runs reach their new line", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const calls = server.last.names.length;
    const line = EventFd.create();
    rig.transport.route([line.fd]);
    await until("SET_VRING_CALL", () => server.last.names.length > calls);
    new EventFd(server.last.last("SET_VRING_CALL").fds[0]).signal();
    assert(line.clear());
    line.close();
    rig.transport.route([]);
    await until("SET_VRING_CALL", () => server.last.names.length > calls + 1);
    assertEquals(server.last.last("SET_VRING_CALL").words, [1n << 8n]);
  }));

Deno.test("a backend that finds a virtqueue wrong needs a reset, in place", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const { transport, configLine } = rig;
    new EventFd(server.last.last("SET_VRING_ERR").fds[0]).signal();
    await until("the error is seen", () => transport.needsReset);
    assert(configLine.clear());
    await bringUp(rig);
    assert(!transport.needsReset);
    assertEquals(server.backends.length, 1);
  }));

Deno.test("a backend cannot make us wait for an eventfd that it has", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const { fds } = server.last.last("SET_VRING_ERR");
    // F_SETFL without O_NONBLOCK.
    assertEquals(libc().fcntl(fds[0], 4, 0), 0);
    await server.last.close();
    await until("the end is seen", () => rig.transport.needsReset);
    await bringUp(rig);
  }));

// Stopping.

Deno.test("a virtqueue is stopped by asking where it is, and can be set up again", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const { transport } = rig;
    await transport.stop(1);
    assertEquals(server.last.names.slice(-3, -1), [
      "SET_VRING_ENABLE",
      "GET_VRING_BASE",
    ]);
    assertEquals(state(server.last, "SET_VRING_ENABLE"), [1, 0]);
    await transport.stop(1);
    await transport.setUp(1, ringsOf(rig, 1));
    await transport.enable(1);
    assertEquals(state(server.last, "SET_VRING_ENABLE"), [1, 1]);
  }));

Deno.test("the virtqueues that go on are named again when one stops and starts: DPDK forgets them", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const called = () => {
      const { name, words } = server.last.received.at(-1)!;
      return name === "SET_VRING_CALL" ? words : name;
    };
    await rig.transport.stop(1);
    assertEquals(called(), [0n]);
    await rig.transport.setUp(1, ringsOf(rig, 1));
    await rig.transport.enable(1);
    assertEquals(called(), [0n]);
    await rig.transport.stop(0);
    assertEquals(called(), [1n | 1n << 8n]);
    await rig.transport.stop(1);
    assertEquals(called(), "GET_VRING_BASE");
  }));

Deno.test("a backend that stops another virtqueue than asked is not used any more", () => {
  const stopped = reply(
    REQUEST.GET_VRING_BASE,
    new Uint8Array([7, 0, 0, 0, 0, 0, 0, 0]),
  );
  const plan = answering("GET_VRING_BASE", { kind: "bytes", bytes: stopped });
  return withServer([plan], async (rig) => {
    await bringUp(rig);
    await assertRejects(
      () => rig.transport.stop(0),
      DeviceFaultError,
      "stopped virtqueue 7 instead of 0",
    );
    assert(rig.transport.needsReset);
  });
});

Deno.test("a reset stops what runs, and asks a backend to forget that can", () =>
  withServer(
    [{ ...PLAIN, protocol: PLAIN.protocol | RESET_DEVICE }],
    async (rig, server) => {
      await bringUp(rig);
      const before = server.last.names.length;
      await bringUp(rig);
      assertEquals(server.backends.length, 1);
      const names = server.last.names.slice(before);
      assertEquals(names.slice(0, 7), [
        ...["SET_VRING_ENABLE", "GET_VRING_BASE"],
        ...["SET_VRING_ENABLE", "GET_VRING_BASE"],
        ...["RESET_DEVICE", "SET_STATUS", "GET_STATUS"],
      ]);
      // What was agreed on for the connection stays.
      assert(!names.includes("SET_PROTOCOL_FEATURES"));
      assert(!names.includes("SET_OWNER"));
    },
  ));

Deno.test("shutDown() leaves a backend that touches nothing", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    await rig.transport.shutDown();
    assertEquals(server.last.status, 0n);
    const stops = server.last.names.filter((name) => name === "GET_VRING_BASE");
    assertEquals(stops.length, 2);
    await rig.transport.shutDown();
  }));

// Memory.

Deno.test("each change of memory reaches a running backend before it is used", () =>
  withWorker([PLAIN], async (rig, ask) => {
    await bringUp(rig);
    const { domain } = rig;
    const pool = allocate(1, 8);
    const iova = domain.attach(pool);
    pool.u8[4095] = 77;
    const read = await ask({ op: "read", iova: iova + 4095n, length: 1 });
    assertEquals([...read.bytes], [77]);
    pool.commit(3 * 4096);
    domain.grow(pool);
    pool.u8[3 * 4096 - 1] = 78;
    const grown = await ask({
      op: "read",
      iova: iova + BigInt(3 * 4096 - 1),
      length: 1,
    });
    assertEquals([...grown.bytes], [78]);
    // A table holds one region for each memory, however it grew.
    assertEquals(grown.regions, [
      { iova: rig.iova, size: 4096, offset: 0 },
      { iova, size: 3 * 4096, offset: 0 },
    ]);
    // Only what was added at once is taken back at once.
    assertEquals(domain.shrink(pool, 2 * 4096), 3 * 4096);
    assertEquals(pool.decommit(domain.shrink(pool, 100)), 4096);
    const shrunk = await ask({ op: "report" });
    assertEquals(shrunk.regions[1], { iova, size: 4096, offset: 0 });
    domain.detach(pool);
    pool.free();
    assertEquals((await ask({ op: "report" })).regions.length, 1);
  }));

Deno.test("a backend with memory slots is told of single regions", () =>
  withWorker([SLOTS], async (rig, ask) => {
    await bringUp(rig);
    const { domain } = rig;
    const pool = allocate(1, 8);
    const iova = domain.attach(pool);
    pool.commit(3 * 4096);
    domain.grow(pool);
    pool.u8[2 * 4096] = 79;
    const at = iova + BigInt(2 * 4096);
    const read = await ask({ op: "read", iova: at, length: 1 });
    assertEquals([...read.bytes], [79]);
    assertEquals(read.regions.slice(1), [
      { iova, size: 4096, offset: 0 },
      { iova: iova + 4096n, size: 2 * 4096, offset: 4096 },
    ]);
    domain.detach(pool);
    pool.free();
    const { names, regions } = await ask({ op: "report" });
    assertEquals(regions.length, 1);
    assert(!names.includes("SET_MEM_TABLE"));
    const removals = names.filter((name) => name === "REM_MEM_REG");
    assertEquals(removals.length, 2);
  }));

Deno.test("a pool grows and shrinks as often as it likes with a backend of 8 slots", () =>
  withWorker([{ ...SLOTS, slots: 8n }], async (rig, ask) => {
    await bringUp(rig);
    const { domain } = rig;
    const pools = [allocate(1, 64), allocate(1, 64)];
    const iovas = pools.map((pool) => domain.attach(pool));
    const [pool] = pools;
    for (let pages = 2; pages <= 32; pages++) {
      for (const pool of pools) {
        pool.commit(pages * 4096);
        domain.grow(pool);
      }
      pool.u8[(pages - 1) * 4096] = pages;
      const at = iovas[0] + BigInt((pages - 1) * 4096);
      const { bytes, regions } = await ask({ op: "read", iova: at, length: 1 });
      assertEquals([...bytes], [pages]);
      assert(regions.length <= 8, `${regions.length} regions`);
    }
    for (let pages = 31; pages >= 1; pages--) {
      pool.decommit(domain.shrink(pool, pages * 4096));
      const { regions } = await ask({ op: "report" });
      const mine = regions.filter(({ iova }) =>
        iova >= iovas[0] && iova < iovas[0] + BigInt(pool.reserved)
      );
      const bytes = mine.reduce((sum, { size }) => sum + size, 0);
      assertEquals(bytes, pages * 4096);
    }
    assert(!rig.transport.needsReset);
    const { names } = await ask({ op: "report" });
    // What is in use is never taken away, not even for a moment: tables replace it.
    assert(names.includes("SET_MEM_TABLE"));
    for (const pool of pools) {
      domain.detach(pool);
      pool.free();
    }
    assertEquals((await ask({ op: "report" })).regions.length, 1);
  }));

Deno.test("memory that is freed while a backend learns of it does no harm", () =>
  withServer([SLOTS], async (rig, server) => {
    const { domain, transport } = rig;
    await transport.reset();
    await transport.acceptFeatures(F_VERSION_1);
    const pools = [allocate(1), allocate(1)];
    for (const pool of pools) domain.attach(pool);
    const fileOf = (fd: number) =>
      /^ino:.*$/m.exec(readSmallFile(`/proc/self/fdinfo/${fd}`) ?? "")![0];
    const files = [rig.memory, ...pools].map(({ fd }) => fileOf(fd!));
    const joining = transport.setUp(0, ringsOf(rig, 0));
    for (const pool of pools) {
      domain.detach(pool);
      pool.free();
    }
    await joining;
    const { regions } = server.last;
    assertEquals(
      regions.map((region) => region.iova),
      [rig.iova],
    );
    const told = server.last.received.filter(({ name }) =>
      name === "ADD_MEM_REG"
    );
    assertEquals(told.map(({ fds }) => fileOf(fds[0])), files);
  }));

Deno.test("memory changes reach a backend without acknowledgements too", () =>
  withWorker(
    [{ ...PLAIN, protocol: PLAIN.protocol & ~REPLY_ACK }],
    async (rig, ask) => {
      await bringUp(rig);
      const pool = allocate(1);
      const iova = rig.domain.attach(pool);
      pool.u8[0] = 80;
      const read = await ask({ op: "read", iova, length: 1 });
      assertEquals([...read.bytes], [80]);
      rig.domain.detach(pool);
      pool.free();
    },
  ));

Deno.test("memory that does not fit the backend is refused, and the rest goes on", () =>
  withWorker([PLAIN], async (rig, ask) => {
    await bringUp(rig);
    const pools = Array.from({ length: 7 }, () => allocate(1));
    pools.forEach((pool) => rig.domain.attach(pool));
    const ninth = allocate(1);
    const error = assertThrows(() => rig.domain.attach(ninth), IxlError);
    assertEquals(error.code, "not-supported");
    assertStringIncludes(error.message, "takes 8 regions of memory");
    assertStringIncludes(error.message, "open fewer queues or devices");
    ninth.free();
    assertEquals((await ask({ op: "report" })).regions.length, 8);
    assert(!rig.transport.needsReset);
    for (const pool of pools) {
      rig.domain.detach(pool);
      pool.free();
    }
    assertEquals((await ask({ op: "report" })).regions.length, 1);
  }));

Deno.test("more memory than a backend takes is found out before it is used", () =>
  withServer([{ ...SLOTS, slots: 1n }], async (rig) => {
    const pool = allocate(1);
    rig.domain.attach(pool);
    const error = await assertRejects(() => bringUp(rig), IxlError);
    assertStringIncludes(error.message, "takes 1 regions of memory");
    rig.domain.detach(pool);
    pool.free();
    await bringUp(rig);
  }));

Deno.test("memory that becomes too much while a backend learns of it is found out, too", () =>
  withServer([{ ...SLOTS, slots: 2n }, SLOTS], async (rig, server) => {
    const { domain, transport } = rig;
    await transport.reset();
    await transport.acceptFeatures(F_VERSION_1);
    const joining = transport.setUp(0, ringsOf(rig, 0));
    const pools = [allocate(1), allocate(1)];
    for (const pool of pools) domain.attach(pool);
    const error = await assertRejects(() => joining, IxlError);
    assertStringIncludes(error.message, "takes 2 regions of memory");
    assert(server.last.regions.length <= 2);
    await transport.shutDown();
    for (const pool of pools) {
      domain.detach(pool);
      pool.free();
    }
  }));

Deno.test("memory without a file is refused", () =>
  withRig(({ domain }) => {
    const wrong = { fd: undefined, reserved: 4096, committed: 4096 };
    assertThrows(
      () => domain.attach(wrong as unknown as Rig["memory"]),
      IxlError,
      "memory that has a file",
    );
    return Promise.resolve();
  }));

Deno.test("a backend cannot cut memory off under us", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    assert(libc().ftruncate(server.last.regions[0].fd, 0n) < 0);
    rig.memory.u8[4095] = 1;
    assertEquals(rig.memory.u8[4095], 1);
  }));

Deno.test("addresses are never those of memory that was there before", () =>
  withRig(({ domain }) => {
    const seen = new Set<bigint>();
    for (let i = 0; i < 10; i++) {
      const memory = allocate(1);
      seen.add(domain.attach(memory));
      domain.detach(memory);
      memory.free();
    }
    assertEquals(seen.size, 10);
    return Promise.resolve();
  }));

Deno.test("a backend that hangs does not keep memory from being freed", () =>
  withWorker([PLAIN], async (rig, ask) => {
    const pool = allocate(1);
    rig.domain.attach(pool);
    await bringUp(rig);
    await ask({ op: "hang" });
    rig.domain.detach(pool);
    pool.free();
    assert(rig.transport.needsReset);
  }, { replyTimeoutMs: 1500 }));

Deno.test("two backends reach the same memory at the same addresses", () =>
  withServer([PLAIN], async (rig, server) => {
    const path = `${rig.path}2`;
    const spec = parseVhostUserAddress(`vhost-user:${path}`);
    const other = new FakeServer(path, [PLAIN]);
    const { domain } = rig;
    const transport = new VhostUserTransport(spec, new Endpoint(spec), domain);
    const pool = allocate(1);
    const iova = domain.attach(pool);
    await bringUp(rig);
    await bringUp({ ...rig, transport });
    pool.u8[10] = 42;
    for (const { last } of [server, other]) {
      assertEquals([...last.read(iova + 10n, 1)], [42]);
    }
    await transport.close();
    await other.close();
    await rig.transport.shutDown();
    domain.detach(pool);
    pool.free();
  }));

// What goes wrong on the way up.

for (
  const request of [
    ...["GET_FEATURES", "GET_PROTOCOL_FEATURES", "SET_OWNER", "GET_QUEUE_NUM"],
    ...["SET_STATUS", "GET_STATUS", "SET_FEATURES", "SET_MEM_TABLE"],
    ...["SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_KICK"],
  ]
) {
  Deno.test(`a backend that dies at ${request} is replaced by the next`, () =>
    withServer(
      [answering(request, { kind: "close" }), PLAIN],
      async (rig, server) => {
        const error = await assertRejects(() => bringUp(rig), IxlError);
        assertEquals(error.code, "device-gone");
        await bringUp(rig);
        assertEquals(server.backends.length, 2);
        assert(!rig.transport.needsReset);
      },
    ));
}

for (const request of ["GET_FEATURES", "SET_OWNER", "SET_VRING_ADDR"]) {
  Deno.test(`a backend that never answers ${request} is given up`, () =>
    withServer(
      [answering(request, { kind: "silence" })],
      async (rig) => {
        await assertRejects(() => bringUp(rig), DeviceTimeoutError);
        assert(rig.transport.needsReset);
      },
      { replyTimeoutMs: 200 },
    ));
}

Deno.test("a refusal of the features is said as such", () =>
  withServer(
    [answering("SET_FEATURES", { kind: "word", word: 1n })],
    async ({ transport }) => {
      await transport.reset();
      await assertRejects(
        () => transport.acceptFeatures(F_VERSION_1),
        NotSupportedError,
        "does not take features",
      );
    },
  ));

Deno.test("features that the status does not confirm are not in use", () =>
  withServer(
    [answering("GET_STATUS", { kind: "word", word: 3n })],
    async ({ transport }) => {
      await transport.reset();
      await assertRejects(
        () => transport.acceptFeatures(F_VERSION_1),
        NotSupportedError,
      );
    },
  ));

Deno.test("features that are not offered are not asked for", () =>
  withServer([PLAIN], async ({ transport }, server) => {
    await transport.reset();
    await assertRejects(
      () => transport.acceptFeatures(F_VERSION_1 | 1n),
      NotSupportedError,
      "does not offer features 0x1",
    );
    assert(!server.last.names.includes("SET_FEATURES"));
  }));

for (
  const [what, plan, complaint] of [
    ["queues", { ...PLAIN, pairs: 0n }, "has no queues"],
    ["room for memory", { ...SLOTS, slots: 0n }, "has no room for memory"],
  ] as const
) {
  Deno.test(`a backend without ${what} is of no use`, () =>
    withServer([plan], async ({ transport }) => {
      await assertRejects(
        () => transport.reset(),
        DeviceFaultError,
        complaint,
      );
    }));
}

Deno.test("a refusal of memory is said as such", () =>
  withServer(
    [answering("SET_MEM_TABLE", { kind: "word", word: 1n }), PLAIN],
    async (rig) => {
      await assertRejects(
        () => bringUp(rig),
        DeviceFaultError,
        "refused SET_MEM_TABLE",
      );
      assert(rig.transport.needsReset);
      await bringUp(rig);
    },
  ));

Deno.test("waiting for a backend has an end, with advice", () =>
  withRig(async ({ transport, path }) => {
    const error = await assertRejects(() => transport.reset(), IxlError);
    assertEquals(error.code, "device-not-found");
    assertStringIncludes(error.message, `a backend that listens at ${path}`);
  }, { options: "timeout=150" }));

Deno.test("waiting for a backend ends when the device is closed", () =>
  withRig(async ({ transport }) => {
    const waiting = transport.reset();
    const closed = transport.close();
    await assertRejects(() => waiting, IxlError, "is closed");
    await closed;
    await assertRejects(() => transport.reset(), IxlError, "is closed");
  }));

Deno.test("a conversation ends when the device is closed", () =>
  withServer(
    [answering("GET_STATUS", { kind: "silence" })],
    async ({ transport }, server) => {
      const waiting = transport.reset();
      await until("GET_STATUS", () =>
        server.backends[0]?.names.includes("GET_STATUS") ?? false);
      const closed = transport.close();
      await assertRejects(
        () =>
          waiting,
        IxlError,
        "is closed",
      );
      await closed;
    },
  ));

// Backends that go, and come back.

Deno.test("the end of a backend is noticed, told, and not waited for", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const { transport, configLine } = rig;
    assert(!configLine.clear());
    await server.last.close();
    await until("the end is seen", () => transport.needsReset);
    await until("the end is told", () => configLine.clear());
    await transport.stop(0);
    await transport.shutDown();
    await assertRejects(() => transport.setUp(0, ringsOf(rig, 0)), IxlError);
    // Whoever still holds a queue may notify nobody.
    transport.notify(1);
  }));

Deno.test("the next backend learns all again, by the same eventfds", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    const notifier = new VhostUserNotifier(rig.transport.describe());
    const generation = rig.transport.configGeneration;
    await server.last.close();
    await until("the end is seen", () => rig.transport.needsReset);
    await bringUp(rig);
    assert(!rig.transport.needsReset);
    assert(rig.transport.configGeneration !== generation);
    assertEquals(server.backends.length, 2);
    const kick = new EventFd(server.last.last("SET_VRING_KICK").fds[0]);
    kick.clear();
    notifier.notify(1);
    assert(kick.clear());
    assertEquals(server.last.regions.length, 1);
  }));

Deno.test("memory may change while there is no backend", () =>
  withServer([PLAIN], async (rig, server) => {
    await bringUp(rig);
    await server.last.close();
    const pool = allocate(2);
    const iova = rig.domain.attach(pool);
    await bringUp(rig);
    pool.u8[5000] = 5;
    assertEquals([...server.last.read(iova + 5000n, 1)], [5]);
    await rig.transport.shutDown();
    rig.domain.detach(pool);
    pool.free();
  }));

Deno.test("backends that connect to us come and go", () =>
  withRig(async (rig) => {
    const { transport, path } = rig;
    for (let round = 0; round < 3; round++) {
      const up = bringUp(rig);
      const backend = await connectBackend(path, PLAIN);
      await up;
      assert(!transport.needsReset);
      await backend.close();
      await until("the end is seen", () => transport.needsReset);
    }
  }, { options: "server&timeout=5000" }));

Deno.test("a second backend at our socket waits for its turn", () =>
  withRig(async (rig) => {
    const up = bringUp(rig);
    const first = await connectBackend(rig.path, PLAIN);
    await up;
    const second = await connectBackend(rig.path, PLAIN);
    await rig.transport.stop(0);
    assertEquals(second.names, []);
    await first.close();
    await until("the end is seen", () => rig.transport.needsReset);
    await bringUp(rig);
    assertEquals(second.status, 15n);
    await second.close();
  }, { options: "server&timeout=5000" }));

Deno.test("our socket is removed with the device, and a stale one replaced", () =>
  withRig(async ({ transport, path }) => {
    assert(Deno.lstatSync(path).isSocket);
    await transport.close();
    assertThrows(() => Deno.lstatSync(path), Deno.errors.NotFound);
    UnixListener.listen(path).close();
  }, { options: "server" }));
