/**
 * Cards behind no IOMMU: what is said of them, and VFIO's no-IOMMU mode where it is asked for.
 *
 * The scenarios build on each other: the guest begins with the kernel's own VFIO, which lacks the mode, goes on with a
 * module that has it, and follows what the error messages say.
 */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { LinkState } from "../../mod.ts";
import { Card } from "./console.ts";
import { numbered, numberOf, swapped } from "./frames.ts";
import {
  asUser,
  bindDriver,
  type Guest,
  guestScenarios,
  type Nic,
  NO_IOMMU_MODULE,
  type Program,
  untilDevice,
  USER,
} from "./lab/mod.ts";
import { wakes } from "./receives.ts";
import { IXL, ixl, refused } from "./refusals.ts";

const scenario = guestScenarios({
  name: "no_iommu",
  nics: [
    { model: "igb", hotplug: true },
    { model: "e1000" },
    // With the legacy interface alone, as before version 1.0.
    {
      model: "virtio-net-pci",
      properties: {
        ...{ "disable-legacy": "off", "disable-modern": true },
        ...{ iommu_platform: false, ats: false },
      },
    },
  ],
  iommu: false,
  hugepages: 64,
}, "noIommu");

const BRIDGE = ["deno", "run", "-q", "-P=demo", "examples/bridge.ts"];
const ACCEPTED = "--unsafe-no-iommu";
const UNSAFE = { unsafeNoIommu: true } as const;
const START = { timeoutMs: 90_000 };
const PARAMETER = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
const HUGEPAGES = "/proc/sys/vm/nr_hugepages";

/** Warnings of the library in what a program said. */
const warnings = (stderr: string) =>
  stderr.split("\n").filter((line) => line.startsWith("ixl warn"));

scenario("the errors say what is missing, before VFIO", async (guest) => {
  const { address } = guest.nics[1];
  await guest.loadModule("e1000");
  await bindDriver(guest, address, "e1000");
  const plain = await refused(guest, { args: ["info", address] });
  assertStringIncludes(plain, "intel_iommu=on");
  assertStringIncludes(plain, ACCEPTED);
  const accepted = await refused(guest, { args: ["info", address, ACCEPTED] });
  assertStringIncludes(accepted, "enable_unsafe_noiommu_mode=1");
  assertStringIncludes(accepted, "CONFIG_VFIO_NOIOMMU");
  const bound = await refused(guest, { args: ["bind", address] });
  assertStringIncludes(bound, "intel_iommu=on");
  assertStringIncludes(bound, "enable_unsafe_noiommu_mode=1");
});

scenario("the mode is off until somebody writes Y", async (guest) => {
  const { address } = guest.nics[1];
  await guest.sh(`
    modprobe -r vfio_pci vfio_iommu_type1
    insmod ${NO_IOMMU_MODULE}
    modprobe vfio-pci
  `);
  const off = await refused(guest, { args: ["info", address, ACCEPTED] });
  assertStringIncludes(off, `write Y to ${PARAMETER}`);
  assertStringIncludes(
    await refused(guest, { args: ["bind", address] }),
    "write Y",
  );
  await guest.sh(`echo Y > ${PARAMETER}`);
  const kernel = await refused(guest, { args: ["info", address, ACCEPTED] });
  assertStringIncludes(kernel, `ixl bind ${address}`);
  await ixl(guest, "bind", address);
  assertStringIncludes(
    await refused(guest, { args: ["info", address] }),
    ACCEPTED,
  );
});

scenario("opens it for root alone, and warns once", async (guest) => {
  const { address } = guest.nics[1];
  await bindDriver(guest, address, "vfio-pci");
  const args = ["info", address, ACCEPTED];
  const { code, stderr } = await guest.run([...IXL, ...args]);
  assertEquals(code, 0, stderr);
  assertEquals(warnings(stderr).length, 1, stderr);
  assertStringIncludes(stderr, "any memory");
  await guest.sh(`chown ${USER} /dev/vfio/noiommu-*`);
  const user = await refused(guest, { args, as: asUser });
  assertStringIncludes(user, "CAP_SYS_RAWIO");
  const noAdmin = await refused(guest, {
    args,
    as: (command) => ["setpriv", "--bounding-set=-sys_admin", ...command],
  });
  assertStringIncludes(noAdmin, "CAP_SYS_ADMIN");
});

/** Two cards of which each sends what arrives on the other. */
async function bridged(guest: Guest, a: Nic, b: Nic): Promise<Program> {
  for (const { address } of [a, b]) {
    await bindDriver(guest, address, "vfio-pci");
  }
  const bridge = await guest.spawn(
    [...BRIDGE, a.address, b.address, ACCEPTED],
  );
  await bridge.prints(/bridging/, START);
  return bridge;
}

/** Frames of all sizes go through both ways. */
async function passFrames(a: Nic, b: Nic): Promise<void> {
  for (const [from, to] of [[a, b], [b, a]]) {
    for (let at = 0; at < 128; at += 32) {
      const frames = Array.from(
        { length: 32 },
        (_, i) => numbered(at + i, to.mac, 60 + 7 * (at + i)),
      );
      await from.port.send(...frames);
      assertEquals(await to.port.receiveMany(32), frames);
    }
  }
}

scenario("passes numbered frames both ways", async (guest) => {
  const [a, , b] = guest.nics;
  const bridge = await bridged(guest, a, b);
  await passFrames(a, b);
  await bridge.signal("SIGTERM");
  const { code, stderr } = await bridge.ended();
  assertEquals(code, 0, stderr);
  assertEquals(warnings(stderr).length, 2, stderr);
});

/** Frames of all sizes that the card sends back, their addresses swapped. */
async function echoes(card: Card, nic: Nic): Promise<void> {
  const FIRST = 1000;
  await card.ask("startEcho");
  for (let at = 0; at < 128; at += 32) {
    const frames = Array.from(
      { length: 32 },
      (_, i) => numbered(FIRST + at + i, nic.mac, 60 + 11 * (at + i)),
    );
    await nic.port.send(...frames);
    // What the cable still held of a program that was killed comes first.
    const back = await nic.port.receiveMany(32, {
      where: (frame) => numberOf(frame) >= FIRST,
    });
    assertEquals(back, frames.map((frame) => swapped(frame)));
  }
  await card.ask("stopEcho");
}

/** The cable is pulled out and put in again, and each time an interrupt tells of it. */
async function followsLink(card: Card, nic: Nic): Promise<void> {
  await card.ask("watchLink");
  for (const [number, up] of [[1, false], [2, true]] as const) {
    await nic.setLink(up);
    const change = await card.ask<LinkState>("linkChange", number);
    assertEquals(change.up, up);
  }
}

scenario("drives virtio devices from before version 1.0", async (guest) => {
  const nic = guest.nics[2];
  const killed = await Card.open(guest, nic, { ...UNSAFE, irqTimeoutMs: 10 });
  await killed.ask("startEcho");
  const frames = Array.from({ length: 300 }, (_, i) => numbered(i, nic.mac));
  await nic.port.send(...frames);
  await nic.port.receiveMany(10);
  // In mid-traffic: whoever opens it next starts clean.
  await killed.program.kill();
  const card = await Card.open(guest, nic, { ...UNSAFE, irqTimeoutMs: 10 });
  const { features, macAddress } = card.report;
  assertEquals(macAddress, nic.mac);
  for (const name of ["any-layout", "mergeable", "event-index", "indirect"]) {
    assert(features.virtio!.includes(name), name);
  }
  assert(!features.virtio!.includes("version-1"));
  await echoes(card, nic);
  await followsLink(card, nic);
  await echoes(card, nic);
  await card.call("setPromiscuous", true);
  const [{ promiscuous }] = await guest.qmp.execute("query-rx-filter", {
    name: nic.id,
  }) as { promiscuous: boolean }[];
  assert(promiscuous);
  // It sleeps until it is woken.
  await card.reopen({ ...UNSAFE, irqTimeoutMs: -2 });
  await wakes(card, 100, () => nic.port.send(numbered(1, nic.mac)));
  // A header of 10 bytes, and a line that all causes share.
  await card.reopen({
    ...{ ...UNSAFE, irqTimeoutMs: 10, interrupts: "intx" },
    virtio: { without: ["mergeable", "event-index"] },
  });
  await echoes(card, nic);
  await followsLink(card, nic);
  await card.call("restartQueue", 0);
  await echoes(card, nic);
  await card.close();
});

scenario("a pool grows into its neighbours, or says why not", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    ...UNSAFE,
    irqTimeoutMs: 0,
    poolEntries: 2048,
    poolMaxEntries: 16384,
  });
  const free = async () =>
    Number(
      await guest.sh("awk '/HugePages_Free/ { print $2 }' /proc/meminfo"),
    );
  await card.ask("startEcho");
  const before = await free();
  await card.call("extendRxMempool", 0, 6144);
  const grown = await free();
  assert(grown < before, `${before} to ${grown} free hugepages`);
  const frames = Array.from({ length: 64 }, (_, i) => numbered(i, nic.mac));
  const back = frames.map((frame) => swapped(frame));
  await nic.port.send(...frames);
  assertEquals(await nic.port.receiveMany(64), back);
  await guest.sh(`echo 0 > ${HUGEPAGES}`);
  const error = await assertRejects(() =>
    card.call("extendRxMempool", 0, 4096)
  );
  assertStringIncludes((error as Error).message, "right behind it");
  await nic.port.send(...frames);
  assertEquals(await nic.port.receiveMany(64), back);
  await guest.sh(`echo 64 > ${HUGEPAGES}`);
  await card.call("shrinkRxMempool", 0, 6144);
  await card.close();
  assertEquals(await free(), 64);
});

scenario("a removed card ends the program, and works again", async (guest) => {
  const [a, b] = guest.nics;
  for (const turn of [1, 2]) {
    const bridge = await bridged(guest, a, b);
    await passFrames(a, b);
    await a.unplug();
    const { code, stderr } = await bridge.ended();
    assertEquals(code, 1, `turn ${turn}: ${stderr}`);
    assertStringIncludes(stderr, `${a.address} was removed`);
    await untilDevice(guest, a.address, "absent");
    await a.plug();
    await untilDevice(guest, a.address, "present");
  }
});

scenario("without hugepages it says how to get them", async (guest) => {
  const [, { address }] = guest.nics;
  await bindDriver(guest, address, "vfio-pci");
  const args = ["info", address, ACCEPTED];
  await guest.sh(`echo 0 > ${HUGEPAGES}`);
  assertStringIncludes(await refused(guest, { args }), "hugepages=256");
  await guest.sh(`echo 64 > ${HUGEPAGES}`);
  await ixl(guest, ...args);
});
