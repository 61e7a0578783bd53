/** Bringing a card up, and giving it back. */
import { assert, assertEquals } from "@std/assert";
import { completeConfig } from "../../src/config.ts";
import { SWSM } from "../../src/drivers/ixgbe/registers.ts";
import { offsetOf } from "../../src/drivers/register.ts";
import { openDriver } from "../../src/drivers/registry.ts";
import { DirectBus } from "../support/direct_bus.ts";
import { HandWire } from "../support/sim_rig.ts";
import {
  assertNothingLeft,
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

for (const model of ["82599", "x540"] as const) {
  Deno.test(`ixgbe receives and sends on ${model}`, async () => {
    await withIxgbe({ model }, (rig) => {
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
}

Deno.test("ixgbe brings an X540 up", async () => {
  await withIxgbe({ model: "x540" }, ({ device, bus }) => {
    assertEquals(device.model, "X540");
    assertEquals(device.linkSpeed, 10_000);
    assert(bus.card.linkUp);
  });
});

Deno.test("ixgbe takes over an X540 whose last driver died holding its locks", async () => {
  const wire = new HandWire();
  const bus = new DirectBus({ wire, model: "x540" });
  // Reading it takes it (X540 datasheet, 11.7.4).
  bus.registers.read32(offsetOf(SWSM));
  const device = await openDriver(
    bus,
    completeConfig({ hugepages: "never" }),
  );
  assert(device.link().up);
  await device.close();
  assertNothingLeft(bus);
});
