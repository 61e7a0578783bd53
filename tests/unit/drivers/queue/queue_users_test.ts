/** Queues that two want to use, and pools too small to use them. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import { Mempool } from "../../../../src/memory/mempool.ts";
import { ConfigError, IxlError } from "../../../../src/errors.ts";
import { attachQueue, openDevice } from "../../../../src/device.ts";
import { run } from "../../../../mod.ts";
import {
  numberedFrame,
  receiveAll,
  withIxgbe,
} from "../../../support/intel/ixgbe_rig.ts";
import {
  PLAIN,
  withVirtio as openVirtio,
} from "../../../support/virtio/device_rig.ts";
import { numbered, withVirtio } from "../../../support/virtio/rig.ts";

const FORWARDER = new URL("../../../../examples/forward.ts", import.meta.url);

Deno.test("receiving beside the user of a queue is an error that says so", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  const batch = new Batch(1);
  device.queue(0).rx.receive(batch);
  const { rx } = attachQueue(device.describeQueue(0));
  const error = assertThrows(() => rx.receive(batch), IxlError);
  assertEquals(error.code, "device-busy");
  assertStringIncludes(error.message, "queue 0 already has a worker");
});

Deno.test("run() refuses the same device twice", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  await assertRejects(
    () => run([device, device], { worker: FORWARDER }),
    ConfigError,
    "sim:loopback is there twice",
  );
});

Deno.test("a second run on a device fails, and the first goes on", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  await using first = await run(device, { worker: FORWARDER });
  const second = async () => {
    await using run2 = await run(device, { worker: FORWARDER });
    await run2.done;
  };
  const error = await assertRejects(second);
  assertStringIncludes(`${error}`, "queue 0 already has a worker");
  assertEquals(first.failures, []);
  assertEquals(first.workers, 1);
});

for (
  const [maxFrameSize, entrySize, least] of [
    [1518, 2048, 3],
    [9000, 2048, 11],
    [9000, 1024, 19],
    [15868, 0, 17],
  ]
) {
  const poolOf = (poolEntries: number) => ({
    ...{ poolEntries, entrySize, maxFrameSize, rxDepth: 64, txDepth: 64 },
  });

  Deno.test(`ixgbe receives frames of ${maxFrameSize} bytes in ${least} buffers of ${entrySize || "the default size"}, and opens with no fewer`, async () => {
    const error = await assertRejects(
      () => withIxgbe(poolOf(least - 1), () => {}),
      ConfigError,
    );
    assertEquals(error.field, "poolEntries");
    assertStringIncludes(error.message, `at least ${least} buffers`);
    await withIxgbe(poolOf(least), (rig) => {
      for (let i = 0; i < 5; i++) {
        const frame = numberedFrame(i, maxFrameSize);
        rig.wire.toCard.push(frame);
        assertEquals(receiveAll(rig), [frame]);
      }
    });
  });
}

for (
  const [maxFrameSize, least] of [[1514, 3], [9000, 11]]
) {
  Deno.test(`virtio receives frames of ${maxFrameSize} bytes in ${least} buffers, and opens with no fewer`, async () => {
    const config = { maxFrameSize, rxDepth: 64, txDepth: 64 };
    const open = (poolEntries: number) =>
      openVirtio({ offers: PLAIN }, { ...config, poolEntries }, () => {});
    await assertRejects(
      () => open(least - 1),
      ConfigError,
      `at least ${least} buffers`,
    );
    await open(least);
    const options = { features: PLAIN, entries: least, ...config };
    withVirtio(options, (rig) => {
      const batch = new Batch(1);
      for (let i = 0; i < 5; i++) {
        // What the program gave back goes to the device.
        assertEquals(rig.rx.receive(batch), 0);
        const frame = numbered(i, maxFrameSize);
        assert(rig.deliver(frame));
        assertEquals(rig.rx.receive(batch), 1);
        // The program has one frame while the next one comes.
        const kept = batch.handles[0];
        assert(rig.deliver(frame));
        assertEquals(rig.rx.receive(batch), 1);
        assertEquals(rig.bytesOf(kept), frame);
        Mempool.freeChain(kept);
        batch.free();
      }
    });
  });
}
