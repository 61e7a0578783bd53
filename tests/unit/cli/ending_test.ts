/** Small promises about how things end and fail. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Batch,
  DeviceTimeoutError,
  IxlError,
  openDevice,
  run,
} from "../../../mod.ts";
import { exitCode } from "../../../src/cli/command.ts";

Deno.test("a full batch refuses another packet", () => {
  const batch = new Batch(1);
  batch.push(7);
  assertThrows(() => batch.push(8), RangeError, "full with 1 packets");
  assertEquals(batch.length, 1);
});

Deno.test("a queue with a worker refuses a second run", async () => {
  await using device = await openDevice({ address: "sim:loopback" });
  const worker = new URL(
    "data:text/javascript,export default async (q) => { while (!q.stopped) await new Promise((r) => setTimeout(r, 1)); }",
  );
  const first = await run(device, { worker });
  await assertRejects(
    () => run(device, { worker }),
    IxlError,
    "queue 0 already has a worker",
  );
  assertEquals(first.workers, 1);
  await first.stop();
});

Deno.test("a timeout gives the advice of its caller", () => {
  const { message } = new DeviceTimeoutError("the link", 5, "plug it in");
  assertEquals(message, "the link did not happen within 5 ms: plug it in");
});

Deno.test("the first of several failures is shown, in one line", async () => {
  const lines: unknown[] = [];
  const { error } = console;
  console.error = (line) => lines.push(line);
  try {
    const first = new IxlError("system", "the disk is full");
    const thrown = new SuppressedError(new Error("later"), first);
    assertEquals(await exitCode(() => Promise.reject(thrown)), 1);
  } finally {
    console.error = error;
  }
  assertEquals(lines, ["ixl: the disk is full"]);
});

Deno.test("totalStats() counts since the opening, readStats() since its last call", async () => {
  await using device = await openDevice({
    address: "sim:generator?rate=100000",
  });
  const read = device.readStats();
  while (read.rxPackets < 10) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    device.readStats(read);
  }
  const total = device.totalStats();
  assert(total.rxPackets >= read.rxPackets);
  const next = device.readStats();
  assert(read.rxPackets + next.rxPackets >= total.rxPackets);
});

for (const how of ["close()", "Deno.exit()"]) {
  Deno.test(`a worker that ends by ${how} without a word has failed, and its queue works again`, async () => {
    await using device = await openDevice({ address: "sim:loopback" });
    const worker = new URL(
      `data:text/javascript,export default async (q) => { if (!q.args.good) { ${how}; await new Promise(() => {}); } while (!q.stopped) await new Promise((r) => setTimeout(r, 1)); }`,
    );
    const args = { good: false };
    await using running = await run(device, { worker, args });
    await running.done;
    assertEquals(running.failures.length, 1);
    assert(running.failures[0].message.includes("ended before its function"));
    args.good = true;
    await running.restart(0);
    assertEquals(running.workers, 1);
    await running.stop();
    assertEquals(running.failures.length, 1);
  });
}
