/** Bringing a card up, and giving it back. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { completeConfig } from "../../src/config.ts";
import { ESDP, SWSM } from "../../src/drivers/intel/ixgbe/registers.ts";
import { offsetOf } from "../../src/drivers/intel/register.ts";
import { openDriver } from "../../src/drivers/registry.ts";
import { IxlError } from "../../src/errors.ts";
import { IrqLine } from "../../src/irq/line.ts";
import { DirectBus } from "../support/intel/direct_bus.ts";
import { HandWire } from "../support/intel/sim_rig.ts";
import { until } from "../support/until.ts";
import {
  assertNothingLeft,
  batchOf,
  numberedFrame,
  receiveAll,
  STATION,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";

/** ESDP.SDP3 as an output, high. */
const LASER_OFF = 1 << 11 | 1 << 3;

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

Deno.test("ixgbe lights a laser that the last driver has switched off", async () => {
  const wire = new HandWire();
  const bus = new DirectBus({ wire });
  const esdp = offsetOf(ESDP);
  bus.registers.write32(esdp, bus.registers.read32(esdp) | LASER_OFF);
  const device = await openDriver(bus, completeConfig({ hugepages: "never" }));
  assert(device.link().up);
  await device.close();
  assertNothingLeft(bus);
});

Deno.test("a device that reports an uncorrectable error is closed, and says so", async () => {
  const bus = new DirectBus({ wire: new HandWire() });
  const failure = IrqLine.create();
  Object.assign(bus, { failure });
  const device = await openDriver(bus, completeConfig({ hugepages: "never" }));
  let stopped = 0;
  using _handler = device.onRemoval(() => void stopped++);
  const lines: string[] = [];
  const { error } = console;
  console.error = (line: string) => void lines.push(line);
  failure.raise();
  await until("it is closed", () => device.closed && bus.closed === 1);
  console.error = error;
  assertEquals(stopped, 1);
  assert(
    lines.some((line) => line.includes("uncorrectable error")),
    `${lines}`,
  );
  const { code, message } = assertThrows(() => device.link(), IxlError);
  assertEquals(code, "device-gone");
  assert(message.includes("PCI Express"), message);
  failure.close();
  assertNothingLeft(bus);
});
