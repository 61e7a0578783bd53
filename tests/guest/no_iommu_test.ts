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
import { Card } from "./console.ts";
import { numbered, swapped } from "./frames.ts";
import {
  asUser,
  bindDriver,
  guestScenarios,
  NO_IOMMU_MODULE,
  untilDevice,
  USER,
} from "./lab/mod.ts";
import { IXL, ixl, refused } from "./refusals.ts";

const scenario = guestScenarios({
  name: "no_iommu",
  nics: [{ model: "igb", hotplug: true }, { model: "e1000" }],
  iommu: false,
  hugepages: 64,
}, "noIommu");

const BRIDGE = ["deno", "run", "-q", "-P=demo", "examples/bridge.ts"];
const ACCEPTED = "--unsafe-no-iommu";
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

scenario("passes numbered frames both ways", async (guest) => {
  const [a, b] = guest.nics;
  for (const { address } of [a, b]) {
    await bindDriver(guest, address, "vfio-pci");
  }
  const bridge = await guest.spawn(
    [...BRIDGE, a.address, b.address, ACCEPTED],
  );
  await bridge.prints(/bridging/, START);
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
  await bridge.signal("SIGTERM");
  const { code, stderr } = await bridge.ended();
  assertEquals(code, 0, stderr);
  assertEquals(warnings(stderr).length, 2, stderr);
});

scenario("a pool grows into its neighbours, or says why not", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    unsafeNoIommu: true,
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
    for (const { address } of [a, b]) {
      await bindDriver(guest, address, "vfio-pci");
    }
    const bridge = await guest.spawn(
      [...BRIDGE, a.address, b.address, ACCEPTED],
    );
    await bridge.prints(/bridging/, START);
    const frame = numbered(turn, b.mac);
    await a.port.send(frame);
    assertEquals(await b.port.receive(), frame);
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
