/** Bringing a card up, and giving it back. */
import { assert, assertEquals } from "@std/assert";
import {
  batchOf,
  numberedFrame,
  receiveAll,
  STATION,
  withIxgbe,
} from "../support/ixgbe_rig.ts";

Deno.test("ixgbe brings a card up in the datasheet's order", async () => {
  await withIxgbe({}, ({ device, bus }) => {
    assertEquals(device.driver, "ixgbe");
    assertEquals(device.model, "82599");
    assertEquals(device.macAddress, STATION);
    assertEquals(device.linkSpeed, 10_000);
    assertEquals(bus.card.violations, []);
  });
});

Deno.test("ixgbe receives and sends", async () => {
  await withIxgbe({}, (rig) => {
    const frames = [1, 2, 3].map((n) => numberedFrame(n, 60 + n));
    rig.wire.toCard.push(...frames);
    assertEquals(receiveAll(rig), frames);
    const batch = batchOf(rig.pair, frames);
    assertEquals(rig.pair.tx.send(batch), 3);
    rig.bus.settle();
    assertEquals(rig.wire.fromCard, frames);
    assertEquals(rig.pair.tx.reclaim(), 3);
    assertEquals(rig.pair.rx.pool.inUse, 512);
  });
});

Deno.test("ixgbe brings an X540 up", async () => {
  await withIxgbe({ model: "x540" }, ({ device, bus }) => {
    assertEquals(device.model, "X540");
    assertEquals(device.linkSpeed, 10_000);
    assert(bus.card.linkUp);
  });
});
