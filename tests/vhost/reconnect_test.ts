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
import { WIRE_SLOT } from "../../src/sim/wires/wire.ts";
import { CliProcess } from "../support/host/cli.ts";
import { repetitions } from "../support/runner/repeat.ts";
import { requires } from "../support/runner/requirements.ts";
import { Testpmd } from "../support/vhost/testpmd.ts";
import { until } from "../support/until.ts";
import {
  assertEchoed,
  EchoRun,
  makeFrame,
  SocketPath,
} from "../support/vhost/rig.ts";

const test = requires("testpmd");

const BACKEND_DEATHS = repetitions("kills", { gate: 2, soak: 5 });
const OWN_DEATHS = repetitions("kills", { gate: 2, soak: 20 });

for (const client of [false, true]) {
  for (const without of [[], ["packed"]]) {
    const who = client ? "connects to us" : "listens";
    const ring = without.length > 0 ? "split" : "packed";
    const queues = client ? 2 : 1;
    test(`virtio: a backend that ${who} is killed and started under load, ${ring} rings, ${queues} queues`, async () => {
      using socket = new SocketPath(`killed-${client}-${ring}`);
      const start = () =>
        Testpmd.backend({ socket: socket.path, client, queues });
      let backend = client ? undefined : await start();
      const opening = openDevice({
        address: `${socket.address}${client ? "?server" : ""}`,
        queues,
        virtio: { without },
      });
      backend ??= await start();
      await using device = await opening;
      const books: { sent: number; returned: number }[] = [];
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
        await until(
          "every frame is in a ring",
          () =>
            echo.running.stats().every(({ ports: [{ txPackets }] }, queue) =>
              txPackets === echo.wires[queue][WIRE_SLOT.generated]
            ),
        );
        await echo.running.stop();
        echo.assertSound();
        for (const wire of echo.wires) {
          const sent = wire[WIRE_SLOT.generated];
          books.push({ sent, returned: wire[WIRE_SLOT.received] });
        }
      }
      for (const [queue, { sent, returned }] of books.entries()) {
        device.resumeQueue(queue);
        const { rx, tx } = device.queue(queue);
        await until("every packet was sent", () => {
          tx.reclaim();
          return tx.pending === 0;
        });
        const { txPackets, rxPackets, rxErrors, abandoned } = rx.counters
          .snapshot();
        assertEquals([txPackets, rxPackets, rxErrors], [sent, returned, 0]);
        // The rest was with the backends, or dropped by them.
        assertGreater(abandoned, 0);
        assertLessOrEqual(returned + abandoned, sent);
        // Nothing is out but what waits in the receive ring.
        assertLessOrEqual(rx.pool.inUse, rx.depth);
      }
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
