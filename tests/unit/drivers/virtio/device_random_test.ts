/**
 * Virtio devices that say anything of themselves and answer commands with anything: each is opened and used, or refused
 * with an error of this library, and everything is given back. A case is its number: `cases(from, to)` plays it again.
 */
import { assert, assertEquals } from "@std/assert";
import type { DeviceOptions } from "../../../../src/config.ts";
import type { Device } from "../../../../src/device_api.ts";
import { openDriver } from "../../../../src/drivers/registry.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { VIRTIO_FEATURE_NAMES } from "../../../../src/drivers/virtio/features.ts";
import { IxlError } from "../../../../src/errors.ts";
import { repetitions, seedsAfter } from "../../../support/runner/repeat.ts";
import {
  assertClean,
  configOf,
  roundTrip,
} from "../../../support/virtio/device_rig.ts";
import { randomFrom } from "../../../support/virtio/rig.ts";
import {
  type Answer,
  type FakeOptions,
  type FakeVirtio,
  FakeVirtioBus,
} from "../../../support/virtio/transport.ts";

const CASES_PER_STEP = repetitions("hostile", { gate: 500, soak: 2500 });
const CASES = 4 * CASES_PER_STEP;
const BEFORE = seedsAfter("hostile");

type Random = (below: number) => number;

/** What came of a case. */
interface Tally {
  opened: number;
  refused: number;
  failed: number;
}

function offers(random: Random): VirtioFeatureName[] {
  const share = 1 + random(8);
  return VIRTIO_FEATURE_NAMES.filter(() => random(8) < share);
}

function optionsOf(random: Random): FakeOptions {
  return {
    offers: offers(random),
    pairs: 1 + random(4),
    size: random(8) === 0 ? random(70) : 64 << random(4),
    hasConfig: true,
  };
}

function configFrom(random: Random): DeviceOptions {
  const some = offers(random).slice(0, random(4));
  return {
    queues: random(3) === 0 ? 1 + random(4) : 1,
    rxDepth: 64,
    ...(random(2) === 0 ? { txDepth: 64 } : {}),
    poolEntries: 256,
    promiscuous: random(2) === 0,
    linkTimeoutMs: 0,
    virtio: random(2) === 0 ? { with: some } : { without: some },
  };
}

/** Sensible, spoilt in one place, or all at random. */
function spoil(virtio: FakeVirtio, random: Random): void {
  const { config } = virtio;
  const how = random(3);
  const bytes = how === 0 ? 0 : how === 1 ? 1 : config.byteLength;
  for (let i = 0; i < bytes; i++) {
    config.setUint8(random(config.byteLength), random(256));
  }
  if (random(10) === 0) virtio.virtqueueCount = random(20);
  if (random(10) === 0) virtio.onRead = () => void virtio.configGeneration++;
  virtio.onRead = random(4) > 0 ? virtio.onRead : () => {
    if (random(3) === 0) virtio.configGeneration = random(1000);
  };
}

function answerWith(
  virtio: FakeVirtio,
  random: Random,
): (command: unknown) => Answer {
  const honest = random(3) > 0;
  return () => {
    if (honest || random(6) > 0) return {};
    return [
      { ack: random(256) },
      { ack: undefined },
      { written: random(0x10000) },
      { id: random(0x10000) },
      // In a packed ring, the answers after it would be elsewhere, and waited for.
      { times: virtio.acceptedNames.includes("packed") ? 1 : 2 + random(3) },
    ][random(5)];
  };
}

/** One call at random of what a program may do with a device. */
function use(device: Device, random: Random): void {
  const octet = random(256).toString(16).padStart(2, "0");
  const mac = `02:00:00:00:00:${octet}`;
  const calls = [
    () => device.setPromiscuous(random(2) === 0),
    () => device.setAllMulticast(random(2) === 0),
    () => device.setMacAddress(mac),
    () => device.addMacFilter(mac),
    () => device.removeMacFilter(mac),
    () => device.addVlanFilter(random(4200)),
    () => device.removeVlanFilter(random(4200)),
    () => device.setRssKey(new Uint8Array(random(8) === 0 ? 39 : 40)),
    () => device.setRssTable([random(device.rxQueueCount + 1)]),
    () => device.link(),
    () => device.readStats(),
  ];
  calls[random(calls.length)]();
}

function expected(error: unknown, number: number): IxlError {
  if (error instanceof IxlError) return error;
  throw new Error(`case ${number}`, { cause: error });
}

async function play(number: number, tally: Tally): Promise<void> {
  const random = randomFrom(number);
  const bus = new FakeVirtioBus(optionsOf(random));
  const { virtio } = bus;
  spoil(virtio, random);
  virtio.answer = answerWith(virtio, random);
  let device: Device;
  try {
    device = await openDriver(bus, configOf(configFrom(random)));
  } catch (error) {
    expected(error, number);
    tally.refused++;
    assertClean(bus);
    return;
  }
  tally.opened++;
  try {
    assert(device.rxQueueCount <= device.features.maxQueues);
    for (let i = random(20); i > 0; i--) {
      try {
        use(device, random);
      } catch (error) {
        expected(error, number);
        tally.failed++;
      }
    }
    for (let queue = 0; queue < device.rxQueueCount; queue++) {
      const values = [number & 255, queue];
      assertEquals(roundTrip({ device, bus, virtio }, queue, values), values);
    }
  } catch (error) {
    throw new Error(`case ${number}`, { cause: error });
  } finally {
    await device.close();
  }
  assertClean(bus);
}

/** Plays the cases of these numbers. */
async function cases(from: number, to: number): Promise<Tally> {
  const tally: Tally = { opened: 0, refused: 0, failed: 0 };
  for (let number = from; number < to; number++) await play(number, tally);
  return tally;
}

Deno.test(`${CASES} virtio devices that say and answer anything`, async (t) => {
  for (let done = 0; done < CASES; done += CASES_PER_STEP) {
    const from = BEFORE + done;
    await t.step(`from case ${from} on`, async () => {
      const { opened, refused, failed } = await cases(
        from,
        from + CASES_PER_STEP,
      );
      // Each kind of end is there, or nothing was tested.
      assert(Math.min(opened, refused, failed) > CASES_PER_STEP / 10);
    });
  }
});
