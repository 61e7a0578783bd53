/** Eventfds that another process may have too. */

import { assertEquals } from "@std/assert";
import { EventFd } from "../../../src/ffi/eventfd.ts";
import { libc } from "../../../src/ffi/libc.ts";

const F_SETFL = 4;
const RESCUE_MS = 3000;

Deno.test("an eventfd counts until it is cleared", () => {
  const event = EventFd.create();
  assertEquals(event.clear(), false);
  event.signal();
  event.signal();
  assertEquals([event.clear(), event.clear()], [true, false]);
  event.close();
});

Deno.test("clearing an eventfd does not wait, even where somebody has made it blocking", async () => {
  const event = EventFd.create();
  assertEquals(libc().fcntl(event.fd, F_SETFL, 0), 0);
  const url = new URL("../../fixtures/raise_worker.ts", import.meta.url);
  const rescuer = new Worker(url, { type: "module" });
  const { promise, resolve } = Promise.withResolvers<void>();
  rescuer.onmessage = () => resolve();
  rescuer.postMessage({ fd: event.fd, afterMs: RESCUE_MS });
  await promise;
  // One that waits is raised by the other thread, and finds something.
  assertEquals(event.clear(), false);
  event.signal();
  assertEquals([event.clear(), event.clear()], [true, false]);
  rescuer.terminate();
  event.close();
});
