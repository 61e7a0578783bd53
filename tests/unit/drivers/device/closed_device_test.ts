/** Devices that are closed, and those who use them all the same. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import { completeConfig } from "../../../../src/config.ts";
import {
  attachQueue,
  type Device,
  openDevice,
} from "../../../../src/device.ts";
import { attachPair, openDriver } from "../../../../src/drivers/registry.ts";
import { IxlError } from "../../../../src/errors.ts";
import { isEventFd } from "../../../../src/ffi/peer_eventfd.ts";
import { DirectBus } from "../../../support/intel/direct_bus.ts";
import {
  GigabitBus,
  type GigabitBusOptions,
} from "../../../support/intel/gigabit_bus.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import { HandWire } from "../../../support/intel/sim_rig.ts";
import { FakeServer, PLAIN } from "../../../support/vhost/backend.ts";
import { configOf, CONTROLLED } from "../../../support/virtio/device_rig.ts";
import { FakeVirtioBus } from "../../../support/virtio/transport.ts";

/** What a program may call when the device is closed already. */
const CALLS: Readonly<Record<string, (device: Device) => unknown>> = {
  "link()": (device) => device.link(),
  linkSpeed: (device) => device.linkSpeed,
  "linkChanges()": (device) => device.linkChanges(),
  "queue()": (device) => device.queue(0),
  "describeQueue()": (device) => device.describeQueue(0),
  "setMacAddress()": (device) => device.setMacAddress("02:00:00:00:00:01"),
  "addMacFilter()": (device) => device.addMacFilter("02:00:00:00:00:01"),
  "removeMacFilter()": (device) => device.removeMacFilter("02:00:00:00:00:01"),
  "addVlanFilter()": (device) => device.addVlanFilter(1),
  "removeVlanFilter()": (device) => device.removeVlanFilter(1),
  "setPromiscuous()": (device) => device.setPromiscuous(true),
  "setAllMulticast()": (device) => device.setAllMulticast(true),
  "setRssKey()": (device) => device.setRssKey(new Uint8Array(40)),
  "setRssTable()": (device) => device.setRssTable([0]),
  "rxIrq()": (device) => device.rxIrq(0),
  "checkRxIrq()": (device) => device.checkRxIrq(0),
  "ackRxIrq()": (device) => device.ackRxIrq(0),
  "rebindRxIrq()": (device) => device.rebindRxIrq(0),
  "stopQueue()": (device) => device.stopQueue(0),
  "resumeQueue()": (device) => device.resumeQueue(0),
};

const POLLING = { hugepages: "never", irqTimeoutMs: 0 } as const;

const EERD = 0x14;
/** Says that a word of the EEPROM was read, and that it is 2. */
const EEPROM_WORD = 2 << 16 | 1 << 4;

function openGigabit(options: GigabitBusOptions): Promise<Device> {
  const bus = new GigabitBus(options);
  const { read32, write32 } = bus.registers;
  bus.registers = {
    write32,
    read32: (offset) => offset === EERD ? EEPROM_WORD : read32(offset),
  };
  const config = completeConfig({ ...POLLING, linkTimeoutMs: 0 });
  return openDriver(bus, config);
}

/** A device of each driver, and whether its card is asked anything once it is closed. */
const OPENERS: Readonly<Record<string, () => Promise<Device>>> = {
  "sim:loopback": () => openDevice({ address: "sim:loopback", ...POLLING }),
  ixgbe: () =>
    openDriver(
      new DirectBus({ wire: new HandWire() }),
      completeConfig(POLLING),
    ),
  igb: () => openGigabit({ device: 0x10c9 }),
  e1000: () => openGigabit({ device: 0x100e, kind: "intx", vectors: 1 }),
  virtio: () =>
    openDriver(new FakeVirtioBus({ offers: CONTROLLED }), configOf({})),
};

for (const [name, open] of Object.entries(OPENERS)) {
  Deno.test(`${name}: a closed device says so at once`, async () => {
    const device = await open();
    const { rx, tx } = device.queue(0);
    const batch = new Batch(1);
    batch.push(rx.pool.allocate());
    await device.close();
    for (const [call, run] of Object.entries(CALLS)) {
      const error = assertThrows(() => run(device), IxlError);
      assertEquals(error.code, "device-gone", call);
      assertEquals(error.message, `${device.address} is closed`, call);
    }
    for (const use of [() => tx.send(batch), () => rx.receive(batch)]) {
      const error = assertThrows(use, IxlError, "is closed");
      assertEquals(error.code, "device-gone");
    }
    // What was counted is still known.
    assertEquals(device.readStats().rxPackets, 0);
    assertEquals(device.totalStats().rxPackets, 0);
  });
}

Deno.test("the numbers of a closed device's eventfds name no other files while a worker may use them", async () => {
  const folder = Deno.makeTempDirSync();
  const server = new FakeServer(`${folder}/socket`, [PLAIN]);
  const device = await openDevice({
    address: `vhost-user:${folder}/socket`,
    ...POLLING,
  });
  const description = device.describeQueue(0);
  assert(description.bus.kind === "vhost-user");
  const worker = attachQueue(description);
  const batch = new Batch(1);
  batch.push(worker.rx.pool.allocate());
  await device.close();
  const fds = [
    ...description.bus.kickFds,
    description.irqFd,
    description.wakeFd,
  ].filter((fd) => fd >= 0);
  for (const fd of fds) assert(isEventFd(fd), `${fd}`);
  using file = Deno.openSync(`${folder}/file`, { create: true, write: true });
  const { code } = assertThrows(() => worker.tx.send(batch), IxlError);
  assertEquals(code, "device-gone");
  worker.rx.checkIrq();
  worker.rx.ackIrq();
  assertEquals(file.statSync().size, 0);
  await server.close();
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("a queue that was taken back leaves nothing open", () =>
  withoutLeaks(async () => {
    const bus = new DirectBus({ wire: new HandWire() });
    const device = await openDriver(bus, completeConfig(POLLING));
    attachPair(device.describeQueue(0), bus as never);
    device.takeBackQueue(0);
    await device.close();
  }));
