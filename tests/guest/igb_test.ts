/**
 * The igb driver on QEMU's 82576 behind VFIO, when workers change and memory is not mapped.
 * See also `endurance_test.ts`.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Card } from "./console.ts";
import { type Flow, numbered, numberOf, swapped, tcpFrame } from "./frames.ts";
import { guestScenarios, type Nic } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "igb",
  nics: [{ model: "igb" }],
  // On a busy host the emulated timer is late, and the kernel would give up.
  kernelArguments: ["no_timer_check"],
});

const POLLING = { irqTimeoutMs: 0 } as const;

/** Frames that the card echoes, in their order; a few at a time, as QEMU's model drops what finds no descriptor. */
async function echoes(
  nic: Nic,
  frames: Uint8Array[],
  atOnce = 128,
): Promise<void> {
  for (let at = 0; at < frames.length; at += atOnce) {
    const some = frames.slice(at, at + atOnce);
    await nic.port.send(...some);
    assertEquals(
      await nic.port.receiveMany(some.length),
      some.map((frame) => swapped(frame)),
    );
  }
}

/** Microsoft, "Verifying the RSS Hash Calculation": TCP over IPv4 and IPv6. */
const VECTORS: readonly (Flow & { hash: number })[] = [
  {
    source: ["66.9.149.187", 2794],
    destination: ["161.142.100.80", 1766],
    hash: 0x51ccc178,
  },
  {
    source: ["199.92.111.2", 14230],
    destination: ["65.69.140.83", 4739],
    hash: 0xc626b0ea,
  },
  {
    source: ["24.19.198.95", 12898],
    destination: ["12.22.207.184", 38024],
    hash: 0x5c2b394a,
  },
  {
    source: ["38.27.205.30", 48228],
    destination: ["209.142.163.6", 2217],
    hash: 0xafc7327f,
  },
  {
    source: ["153.39.163.191", 44251],
    destination: ["202.188.127.2", 1303],
    hash: 0x10e828a2,
  },
  {
    source: ["3ffe:2501:200:1fff::7", 2794],
    destination: ["3ffe:2501:200:3::1", 1766],
    hash: 0x40207d3d,
  },
  {
    source: ["3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251],
    destination: ["fe80::200:f8ff:fe21:67cf", 38024],
    hash: 0x02d1feef,
  },
];

scenario("works on when workers are restarted under load", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, { queues: 2, irqTimeoutMs: 100 });
  await card.ask("startWorkers");
  const flows = VECTORS.map((flow) => tcpFrame(nic.mac, flow));
  let done = false;
  const load = (async () => {
    while (!done) {
      await nic.port.send(...flows);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  for (const queue of [0, 1, 0, 1]) await card.ask("restartWorker", queue);
  done = true;
  await load;
  await card.ask("stopWorkers");
  await card.receive(Infinity, 500);
  nic.port.takeAll();
  await card.ask("startEcho");
  await nic.port.send(numbered(7, nic.mac));
  await nic.port.receive({
    where: (frame) => frame[12] === 0x88 && numberOf(frame) === 7,
  });
  await card.close();
});

scenario("survives a buffer that nobody mapped", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("sendUnmapped");
  await card.call("restartQueue", 0);
  // The model sends zeros for what it could not read.
  nic.port.takeAll();
  await card.ask("startEcho");
  await echoes(nic, [numbered(1, nic.mac)]);
  await card.close();
  const faults = await guest.dmarFaults();
  assert(faults.length > 0);
  for (const fault of faults) {
    assertMatch(fault, /DMA Read.*00:04\.0.*fault addr 0x1[0-9a-f]+ /);
  }
}, { expectFaults: true });
