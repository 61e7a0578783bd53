/** The virtio device over a backend that comes and goes. What passes through it, DPDK judges. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { parseVhostUserAddress } from "../../../../src/bus/vhost_user/address.ts";
import { VhostUserDomain } from "../../../../src/bus/vhost_user/domain.ts";
import {
  assertTrusted,
  Endpoint,
} from "../../../../src/bus/vhost_user/endpoint.ts";
import { ProtocolFeature } from "../../../../src/bus/vhost_user/protocol.ts";
import { VhostUserTransport } from "../../../../src/bus/vhost_user/transport.ts";
import type { DeviceConfig } from "../../../../src/config.ts";
import type { DmaMemory } from "../../../../src/dma/memory.ts";
import {
  type Device,
  type LinkState,
  openDevice,
} from "../../../../src/device.ts";
import {
  ConfigError,
  IxlError,
  NotSupportedError,
} from "../../../../src/errors.ts";
import { libc } from "../../../../src/ffi/libc.ts";
import { connectUnix, UnixListener } from "../../../../src/ffi/unix_socket.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import { until } from "../../../support/until.ts";
import {
  type Answer,
  type BackendPlan,
  FakeServer,
  PLAIN,
} from "../../../support/vhost/backend.ts";

const F_MAC = 1n << 5n;
const F_MERGEABLE = 1n << 15n;
/** DEVICE_NEEDS_RESET (2.1). */
const NEEDS_RESET = 64n;
const MERGEABLE: BackendPlan = {
  ...PLAIN,
  features: PLAIN.features | F_MERGEABLE,
};

/** Opens a device on backends that serve one connection each, the last plan all further ones. */
function withDevice(
  plans: readonly BackendPlan[],
  use: (device: Device, server: FakeServer) => Promise<void>,
  { options = "mac=02:00:00:00:00:07", ...config }: {
    readonly options?: string;
    readonly hugepages?: DeviceConfig["hugepages"];
    readonly rxDepth?: number;
  } = {},
): Promise<void> {
  return withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/socket`;
    const server = new FakeServer(path, plans);
    try {
      await using device = await openDevice({
        address: `vhost-user:${path}?${options}`,
        hugepages: "never",
        ...config,
      });
      await use(device, server);
    } finally {
      await server.close();
      Deno.removeSync(folder);
    }
  });
}

/** What is written to standard error meanwhile, line by line. */
function listen(): Disposable & { readonly lines: string[] } {
  const lines: string[] = [];
  const original = console.error;
  console.error = (line: string) => void lines.push(line);
  return {
    lines,
    [Symbol.dispose]: () => void (console.error = original),
  };
}

Deno.test("a vhost-user device has the address and the features that it is given", () =>
  withDevice([MERGEABLE], (device, server) => {
    assertEquals(device.macAddress, "02:00:00:00:00:07");
    assertEquals(device.driver, "virtio");
    assertEquals(device.link().up, true);
    assertEquals(device.features.maxQueues, 4);
    assert(device.features.virtio?.includes("mergeable"));
    assertEquals(server.last.status, 15n);
    return Promise.resolve();
  }));

Deno.test("the link of a vhost-user device follows its backend", () =>
  withDevice([PLAIN], async (device, server) => {
    using _ = listen();
    const seen: LinkState[] = [];
    const watching = (async () => {
      for await (const state of device.linkChanges()) seen.push(state);
    })();
    for (let round = 1; round <= 2; round++) {
      await server.last.close();
      await until("the link is down", () => seen.at(-1)?.up === false);
      assertEquals(device.linkSpeed, 0);
      await until("the link is up", () => seen.at(-1)?.up === true);
      assertEquals(server.backends.length, 1 + round);
      assertEquals(server.last.status, 15n);
    }
    assertEquals(seen.map(({ up }) => up), [false, true, false, true]);
    await device.close();
    await watching;
  }));

Deno.test("a backend that says that it needs a reset gets one", () =>
  withDevice([PLAIN], async (device, server) => {
    using said = listen();
    const { last } = server;
    const resets = () =>
      last.received.filter(({ name, words }) =>
        name === "SET_STATUS" && words[0] === 0n
      ).length;
    const before = resets();
    last.status |= NEEDS_RESET;
    await until("a reset", () => resets() > before);
    await until("the link is up", () => device.link().up);
    assertEquals(last.status, 15n);
    assertEquals(server.backends.length, 1);
    assertStringIncludes(said.lines[0], "says that it needs a reset");
  }));

Deno.test("a backend that needs a reset from the start gets one at once", async () => {
  let first = true;
  const answer = (name: string, nth: number): Answer => {
    // After ACKNOWLEDGE and FEATURES_OK comes DRIVER_OK.
    if (name !== "GET_STATUS" || nth !== 2 || !first) return { kind: "proper" };
    first = false;
    return { kind: "word", word: 15n | NEEDS_RESET };
  };
  using said = listen();
  // It is open when the link is up.
  await withDevice([{ ...PLAIN, answer }], async (device, server) => {
    await until(
      "the message",
      () => said.lines.some((line) => line.includes("is back")),
    );
    assertEquals(device.link().up, true);
    assertEquals(server.backends.length, 1);
    assertEquals(server.last.status, 15n);
  });
});

Deno.test("a backend that offers too little leaves the link down, which is said once", () =>
  withDevice([MERGEABLE, PLAIN, MERGEABLE], async (device, server) => {
    using errors = listen();
    const complaints = () =>
      errors.lines.filter((line) => line.includes("without mergeable"));
    await server.last.close();
    await until("the complaint", () => complaints().length > 0);
    const asked = () =>
      server.last.names.filter((name) => name === "GET_FEATURES").length;
    const before = asked();
    await until("another attempt", () => asked() > before + 1);
    assertEquals(complaints().length, 1);
    assertEquals(device.link().up, false);
    assertEquals(server.backends.length, 2);
    // One that offers enough is welcome.
    await server.last.close();
    await until("the link is up", () => device.link().up);
    assertEquals(server.backends.length, 3);
  }));

Deno.test("a vhost-user device closes while its backend is away", () =>
  withDevice([PLAIN], async (device, server) => {
    using _ = listen();
    await server.close();
    await until("the link is down", () => !device.link().up);
    await device.close();
    assert(device.closed);
  }));

Deno.test("a device says whom it waits for, and opens when the backend comes", () =>
  withoutLeaks(async () => {
    using said = listen();
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/socket`;
    const opening = openDevice({
      address: `vhost-user:${path}`,
      hugepages: "never",
    });
    await until("the message", () => said.lines.length > 0);
    assertStringIncludes(said.lines[0], "waits for a backend");
    assertStringIncludes(said.lines[0], `listens at ${path}`);
    const server = new FakeServer(path, [PLAIN]);
    const device = await opening;
    assertEquals(said.lines.length, 1);
    await device.close();
    await server.close();
    Deno.removeSync(folder);
  }));

Deno.test("a device without a backend is not opened, and leaves nothing behind", () =>
  withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    for (const options of ["timeout=100", "server&timeout=100"]) {
      const address = `vhost-user:${folder}/socket?${options}`;
      const error = await assertRejects(
        () => openDevice({ address }),
        IxlError,
      );
      assertEquals(error.code, "device-not-found");
      assertStringIncludes(error.message, "start a backend that");
    }
    Deno.removeSync(folder);
  }));

/** FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE. */
const PUNCH_HOLE = 3;

Deno.test("on ordinary pages a hole that the backend makes reads as zeros and does no harm", () =>
  withDevice([PLAIN], async (device, server) => {
    const { pool } = device.queue(0).rx;
    const { rings } = device.describeQueue(0);
    const handle = pool.allocate();
    pool.u8.fill(77, pool.offset(handle), pool.offset(handle) + 100);
    const { regions } = server.last;
    for (const { fd, offset, size } of regions) {
      const at = BigInt(offset);
      assertEquals(libc().fallocate(fd, PUNCH_HOLE, at, BigInt(size)), 0);
    }
    const ring = new Uint8Array(rings.buffer, rings.rxOffset, 4096);
    for (const bytes of [ring, pool.u8]) {
      assert(bytes.every((byte) => byte === 0));
    }
    // The memory can still be written, by both.
    pool.u8[pool.offset(handle)] = 78;
    const at = pool.description.iova +
      BigInt(pool.offset(handle));
    assertEquals([...server.last.read(at, 1)], [78]);
    pool.free(handle);
    device.takeBackQueue(0);
    await device.close();
  }, { options: "memory=pages", hugepages: "auto" }));

Deno.test("memory=pages contradicts a wish for hugepages", async () => {
  const error = await assertRejects(
    () =>
      withDevice([PLAIN], () => Promise.resolve(), {
        ...{ options: "memory=pages", hugepages: "require" },
      }),
    ConfigError,
  );
  assertStringIncludes(error.message, "contradicts memory=pages");
});

Deno.test("with memory=pages a backend gets no memory on hugepages", () => {
  const domain = new VhostUserDomain(true);
  for (const backing of ["hugepages", "hugepages-1g"]) {
    const memory = { ...{ backing, fd: 3, reserved: 1, committed: 1 } };
    const error = assertThrows(
      () => domain.attach(memory as unknown as DmaMemory),
      IxlError,
    );
    assertStringIncludes(error.message, "ordinary pages only");
  }
});

Deno.test("an address that the user chose stands before the backend's", async () => {
  const config = new Uint8Array(24);
  config.set([2, 0, 0, 0, 0, 0x99]);
  const plan: BackendPlan = {
    ...PLAIN,
    features: PLAIN.features | F_MAC,
    protocol: PLAIN.protocol | ProtocolFeature.CONFIG,
    config,
  };
  await withDevice([plan], (device) => {
    assertEquals(device.macAddress, "02:00:00:00:00:07");
    return Promise.resolve();
  });
  await withDevice([plan], (device) => {
    assertEquals(device.macAddress, "02:00:00:00:00:99");
    return Promise.resolve();
  }, { options: "timeout=5000" });
});

Deno.test("a backend that refuses the length of a ring is named with the option", async () => {
  const answer = (name: string): Answer =>
    name === "SET_VRING_NUM" ? { kind: "word", word: 1n } : { kind: "proper" };
  const error = await assertRejects(
    () => withDevice([{ ...PLAIN, answer }], () => Promise.resolve()),
    ConfigError,
  );
  assertEquals(error.field, "rxDepth");
  assertStringIncludes(error.message, "refuses a ring of 512 descriptors");
  assertStringIncludes(error.message, "such as 256");
  const shortest = { rxDepth: 64 };
  await assertRejects(
    () => withDevice([{ ...PLAIN, answer }], () => Promise.resolve(), shortest),
    NotSupportedError,
    "refuses a ring of 64 descriptors, and shorter ones are too short",
  );
});

Deno.test("a reply may take as long as the backend is waited for", () => {
  const waits = ["timeout=100", "timeout=7000"].map((options) => {
    const spec = parseVhostUserAddress(`vhost-user:/nowhere?${options}`);
    const domain = new VhostUserDomain();
    return new VhostUserTransport(spec, new Endpoint(spec), domain)
      .replyTimeoutMs;
  });
  assertEquals(waits, [5000, 7000]);
});

Deno.test("a backend of another user is refused where any user can put one", () => {
  const shared = "/tmp/ixl-socket";
  const own = Deno.makeTempDirSync();
  const error = assertThrows(() => assertTrusted(shared, 4711, 1000), IxlError);
  assertEquals(error.code, "permission");
  assertStringIncludes(error.message, "user 4711");
  assertStringIncludes(error.message, "$XDG_RUNTIME_DIR");
  for (const user of [0, 1000]) assertTrusted(shared, user, 1000);
  assertTrusted(`${own}/socket`, 4711, 1000);
  Deno.removeSync(own);
});

Deno.test("the kernel says whose the other end is", () => {
  const folder = Deno.makeTempDirSync();
  const listener = UnixListener.listen(`${folder}/socket`);
  const near = connectUnix(`${folder}/socket`)!;
  const far = listener.accept()!;
  assertEquals([near.peerUser, far.peerUser], [Deno.uid(), Deno.uid()]);
  for (const end of [near, far, listener]) end.close();
  Deno.removeSync(folder);
});
