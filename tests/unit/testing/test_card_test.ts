/** The card for tests of programs, tested. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Batch, run } from "../../../mod.ts";
import { DeviceTimeoutError } from "../../../src/errors.ts";
import { TestCard, TestCardError } from "../../../src/testing/mod.ts";

const frame = (value: number, length = 60) =>
  new Uint8Array(length).fill(value);

Deno.test("TestCard takes frames in and gives out what was sent", async () => {
  await using card = await TestCard.open({ maxFrameSize: 9000 });
  const { rx, tx } = card.device.queue(0);
  const frames = [frame(1), frame(2, 1514), frame(3, 9000)];
  card.inject(...frames);
  const batch = new Batch(8);
  for (let count = 0; count < frames.length;) {
    count += rx.receive(batch);
    tx.send(batch);
  }
  assertEquals(await card.sent(2), frames.slice(0, 2));
  assertEquals(await card.sent(1), frames.slice(2));
});

Deno.test("TestCard serves workers", async () => {
  await using card = await TestCard.open({ queues: 2 });
  const worker = new URL("../../fixtures/forward_worker.ts", import.meta.url);
  await using running = await run(card.device, { worker });
  card.inject(frame(1));
  assertEquals((await card.sent(1)).length, 1);
  await running.stop();
});

Deno.test("TestCard fails for packets that were not freed", async () => {
  const leak = async () => {
    await using card = await TestCard.open();
    card.inject(frame(1), frame(2));
    const batch = new Batch(8);
    for (let count = 0; count < 2;) {
      count += card.device.queue(0).rx.receive(batch);
    }
  };
  const error = await assertRejects(leak, TestCardError);
  assertStringIncludes(error.message, "2 packets of queue 0 were not freed");
});

Deno.test("TestCard says how many frames came in time", async () => {
  await using card = await TestCard.open();
  await assertRejects(
    () => card.sent(1, 50),
    DeviceTimeoutError,
    "frame 1 from the program under test (0 came)",
  );
});
