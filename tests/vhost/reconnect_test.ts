/**
 * Either side dies: the backend under load, and we.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLessOrEqual,
} from "@std/assert";
import { openDevice } from "../../src/device.ts";
import { CliProcess } from "../support/cli.ts";
import { requires } from "../support/requirements.ts";
import { Testpmd } from "../support/testpmd.ts";
import { until } from "../support/until.ts";
import {
  assertEchoed,
  EchoRun,
  makeFrame,
  SocketPath,
} from "../support/vhost_rig.ts";

const test = requires("testpmd");

const BACKEND_DEATHS = 5;
const OWN_DEATHS = 20;

for (const client of [false, true]) {
  for (const without of [[], ["packed"]]) {
    const who = client ? "connects to us" : "listens";
    const ring = without.length > 0 ? "split" : "packed";
    test(`virtio: a backend that ${who} is killed and started under load, ${ring} rings`, async () => {
      using socket = new SocketPath(`killed-${client}-${ring}`);
      const start = () => Testpmd.backend({ socket: socket.path, client });
      let backend = client ? undefined : await start();
      const opening = openDevice({
        address: `${socket.address}${client ? "?server" : ""}`,
        virtio: { without },
      });
      backend ??= await start();
      await using device = await opening;
      const { rx } = device.queue(0);
      const books = { sent: 0, returned: 0 };
      {
        await using echo = await EchoRun.start(device, { window: Infinity });
        await echo.moreThan(1000);
        for (let death = 0; death < BACKEND_DEATHS; death++) {
          await backend.kill();
          await until("the link is down", () => !device.link().up);
          backend = await start();
          await until("the link is up", () => device.link().up);
          await echo.moreThan(1000);
        }
        echo.pause();
        await until("every frame is in the ring", () => {
          const [{ ports: [{ txPackets }] }] = echo.running.stats();
          return txPackets === echo.total("generated");
        });
        echo.assertSound();
        await echo.running.stop();
        books.sent = echo.total("generated");
        books.returned = echo.total("received");
      }
      device.resumeQueue(0);
      const { tx } = device.queue(0);
      await until("every packet was sent", () => {
        tx.reclaim();
        return tx.pending === 0;
      });
      const { counters, pool, depth } = rx;
      assertEquals(counters.get("txPackets"), books.sent);
      assertEquals(counters.get("rxPackets"), books.returned);
      assertGreater(counters.get("abandoned"), 0);
      assertLessOrEqual(
        books.returned + counters.get("abandoned"),
        books.sent,
      );
      assertEquals(counters.get("rxErrors"), 0);
      // Nothing is out but what waits in the receive ring.
      assertLessOrEqual(pool.inUse, depth);
      await backend[Symbol.asyncDispose]();
    });
  }
}

test(`virtio: after each of ${OWN_DEATHS} times that we are killed, the next start is clean`, async () => {
  using socket = new SocketPath("own-deaths");
  await using backend = await Testpmd.backend({ socket: socket.path });
  const passed = async () => (await backend.stats()).rxPackets;
  for (let death = 0; death < OWN_DEATHS; death++) {
    const before = await passed();
    await using process = new CliProcess([
      ...["demo", "--device", socket.address, "--seconds", "60"],
    ]);
    const deadline = performance.now() + 20_000;
    while (await passed() < before + 1000) {
      assert(performance.now() < deadline, `no traffic: ${process.stderr}`);
    }
    process.signal("SIGKILL");
    await process.ended();
  }
  await using device = await openDevice({ address: socket.address });
  const frames = Array.from({ length: 100 }, (_, i) => makeFrame(60 + i, i));
  assertEchoed(device.queue(0), frames);
});
