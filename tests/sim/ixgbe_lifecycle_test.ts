/** Opening, watching, interrupts, and the end. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import { completeConfig, type DeviceOptions } from "../../src/config.ts";
import type { LinkState } from "../../src/device_api.ts";
import { openDriver } from "../../src/drivers/registry.ts";
import {
  ConfigError,
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
  NotSupportedError,
} from "../../src/errors.ts";
import {
  EEC,
  RDRXCTL,
  RXDCTL,
  SECRXSTAT,
} from "../../src/drivers/intel/ixgbe/registers.ts";
import { IrqLine } from "../../src/irq/line.ts";
import { offsetOf, type Register } from "../../src/drivers/intel/register.ts";
import { DirectBus } from "../support/intel/direct_bus.ts";
import {
  assertNothingLeft,
  batchOf,
  feed,
  numberedFrame,
  receiveAll,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";
import { HandWire } from "../support/intel/sim_rig.ts";
import { until } from "../support/until.ts";

/** The number that the next descriptor will get: the same again when none was left open. */
function nextFd(): number {
  const line = IrqLine.create();
  line.close();
  return line.fd;
}

function open(bus: DirectBus, options: DeviceOptions = {}) {
  return openDriver(bus, completeConfig({ hugepages: "never", ...options }));
}

Deno.test("ixgbe counts frames and bytes without the frame check sequence", async () => {
  await withIxgbe({ queues: 2 }, (rig) => {
    const { device, wire, bus } = rig;
    const frames = [60, 61, 1000, 1514].map((n) => numberedFrame(n, n));
    feed(rig, frames);
    rig.pair.tx.send(batchOf(rig.pair, frames));
    bus.settle();
    const bytes = frames.reduce((sum, { length }) => sum + length, 0);
    const stats = device.readStats();
    assertEquals(stats, {
      rxPackets: 4,
      rxBytes: bytes,
      txPackets: 4,
      txBytes: bytes,
      rxMissed: 0,
      rxErrors: 0,
      rxTooShort: 0,
      rxTooLong: 0,
      rxControl: 0,
      rxFiltered: 0,
    });
    feed(rig, frames);
    assertEquals(device.readStats(stats).rxPackets, 8);
    assertEquals(stats.txPackets, 4);
    feed(rig, frames);
    device.resetStats();
    assertEquals(device.readStats().rxPackets, 0);
    wire.spoilNext = true;
    assertEquals(feed(rig, [frames[0]]), []);
    assertEquals(device.readStats().rxErrors, 1);
  });
});

Deno.test("ixgbe tells of the link going down and up again", async () => {
  await withIxgbe({}, async ({ device, bus }) => {
    const seen: LinkState[] = [];
    const watching = (async () => {
      for await (const state of device.linkChanges()) seen.push(state);
    })();
    bus.card.setLink(false);
    await until("the link is seen down", () => seen.length === 1);
    assertEquals(device.linkSpeed, 0);
    bus.card.setLink(true);
    await until("the link is seen up", () => seen.length === 2);
    assertEquals(seen, [{ up: false, speed: 0 }, { up: true, speed: 10_000 }]);
    assert(bus.fired.includes(1), "the vector after the queues' fired");
    bus.card.setLink(false);
    await assertRejects(() => device.waitForLink(20), DeviceTimeoutError);
    bus.card.setLink(true);
    await device.waitForLink(1000);
    await device.close();
    await watching;
  });
});

Deno.test("ixgbe's queues interrupt once, and again when unmasked", async () => {
  await withIxgbe({ queues: 2, irqTimeoutMs: -1 }, async (rig) => {
    const { device, wire, bus } = rig;
    assertEquals(device.rxIrq(1), device.queue(1).rx.irqFd);
    wire.toCard.push(numberedFrame(1));
    const ofQueues = () => bus.fired.filter((vector) => vector < 2);
    await until("the first interrupt", () => ofQueues().length > 0);
    const first = ofQueues()[0];
    assert(device.checkRxIrq(first));
    assert(!device.checkRxIrq(first));
    wire.toCard.push(numberedFrame(2));
    bus.settle();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(!device.checkRxIrq(first), "masked");
    device.ackRxIrq(first);
    await until("the second interrupt", () => device.checkRxIrq(first));
    assertEquals(receiveAll(rig, device.queue(first)).length, 2);
  });
});

Deno.test("ixgbe wakes a sleeping receive", async () => {
  const options = { irqTimeoutMs: 2000 };
  await withIxgbe(options, async ({ wire, pair }) => {
    const frames = [1, 2, 3].map((n) => numberedFrame(n));
    const packets = pair.rx[Symbol.asyncIterator]();
    // It has looked at the empty ring and sleeps when this returns.
    let next = packets.next();
    wire.toCard.push(...frames);
    let received = 0;
    while (received < 3) {
      received += (await next).value.free();
      if (received < 3) next = packets.next();
    }
    assertEquals(received, 3);
    assertEquals(pair.rx.counters.get("irqs") > 0, true);
  });
});

Deno.test("ixgbe's receive ends after its timeout", async () => {
  await withIxgbe({ irqTimeoutMs: 30 }, ({ pair }) => {
    const start = performance.now();
    assertEquals(pair.rx.receive(new Batch(4)), 0);
    assert(performance.now() - start >= 29);
  });
});

Deno.test("ixgbe closes under traffic, twice, and leaves nothing", async () => {
  const before = nextFd();
  const wire = new HandWire();
  const bus = new DirectBus({ wire });
  const device = await open(bus, { queues: 4 });
  for (let n = 0; n < 50; n++) wire.toCard.push(numberedFrame(n));
  const pair = device.queue(0);
  pair.tx.send(batchOf(pair, [numberedFrame(1)]));
  const [first, second] = [device.close(), device.close()];
  assert(device.closed);
  await Promise.all([first, second]);
  assertNothingLeft(bus);
  assertEquals(wire.fromCard.length, 1, "what was handed over was sent");
  assertEquals(nextFd(), before);
  const error = await assertRejects(
    () => device.extendRxMempool(0, 1),
    IxlError,
  );
  assertEquals(error.code, "device-gone");
});

const BROKEN: [string, Register, string][] = [
  ["the EEPROM is never read", EEC, "EEC.AUTO_RD"],
  ["the DMA units never start", RDRXCTL, "RDRXCTL.DMAIDONE"],
  ["a queue never starts", RXDCTL, "RXDCTL[0].ENABLE"],
  ["the security block never stops", SECRXSTAT, "SECRXSTAT.SECRX_RDY"],
];

for (const [what, register, named] of BROKEN) {
  Deno.test(`ixgbe gives everything back when ${what}`, async () => {
    const before = nextFd();
    const bus = new DirectBus({ wire: new HandWire() });
    bus.broken.set(offsetOf(register), 0);
    const error = await assertRejects(() => open(bus), DeviceTimeoutError);
    assert(error.message.includes(named), error.message);
    assertEquals(bus.world.mapped, 0);
    assert(!bus.busMaster);
    assertEquals(bus.closed, 1);
    assertEquals(nextFd(), before);
  });
}

Deno.test("ixgbe gives everything back when the link does not come up", async () => {
  const bus = new DirectBus({ wire: new HandWire() });
  bus.card.setLink(false);
  await assertRejects(
    () => open(bus, { linkTimeoutMs: 50 }),
    DeviceTimeoutError,
  );
  assertNothingLeft(bus);
});

Deno.test("ixgbe opens without a link when told not to wait", async () => {
  const bus = new DirectBus({ wire: new HandWire() });
  bus.card.setLink(false);
  const device = await open(bus, { linkTimeoutMs: 0 });
  assertEquals(device.link(), { up: false, speed: 0 });
  await device.close();
  assertNothingLeft(bus);
});

Deno.test("ixgbe refuses a card with a damaged EEPROM", async () => {
  const bus = new DirectBus({ wire: new HandWire() });
  const EERD_DONE_WITH_ONES = 0xffff0002;
  bus.broken.set(0x10014, EERD_DONE_WITH_ONES);
  await assertRejects(() => open(bus), DeviceFaultError);
  assertEquals(bus.world.mapped, 0);
});

const WRONG: [keyof DeviceOptions, DeviceOptions][] = [
  ["queues", { queues: 17 }],
  ["maxFrameSize", { maxFrameSize: 15869 }],
  ["entrySize", { entrySize: 512 }],
  ["interruptIntervalUs", { interruptIntervalUs: 2000 }],
];

for (const [field, options] of WRONG) {
  Deno.test(`ixgbe refuses a ${field} beyond the chip`, async () => {
    const bus = new DirectBus({ wire: new HandWire() });
    const error = await assertRejects(() => open(bus, options), ConfigError);
    assertEquals(error.field, field);
    assertNothingLeft(bus);
  });
}

Deno.test("openDriver() refuses a card that no driver knows, and gives it back", async () => {
  const bus = new DirectBus({ wire: new HandWire() });
  Object.assign(bus.ids, { device: 0x1234 });
  await assertRejects(() => open(bus), NotSupportedError);
  assertEquals(bus.closed, 1);
});
