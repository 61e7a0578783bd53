/**
 * What is said when VFIO cannot have a card, and that nothing has changed then. See also `bind_test.ts` and
 * `no_iommu_test.ts`.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  asUser,
  bindDriver,
  bindForUser,
  guestScenarios,
  iommuGroup,
} from "./lab/mod.ts";
import { IXL, ixl, refused } from "./refusals.ts";

const scenario = guestScenarios({
  name: "vfio_errors",
  nics: [
    { model: "igb" },
    { model: "e1000", bridged: true },
    { model: "e1000", bridged: true },
  ],
});

scenario("VFIO's modules are not loaded", async (guest) => {
  const [{ address }] = guest.nics;
  await guest.loadModule("igb");
  await bindDriver(guest, address, "igb");
  await guest.sh("modprobe -r vfio_pci vfio_iommu_type1; [ ! -e /dev/vfio ]");
  const before = await ixl(guest, "list");
  const bind = await refused(guest, { args: ["bind", address] });
  assertStringIncludes(bind, "modprobe vfio-pci");
  const info = await refused(guest, { args: ["info", address] });
  assertStringIncludes(info, `${address} is with igb`);
  assertEquals(await ixl(guest, "list"), before);
  await guest.loadModule("vfio-pci");
});

scenario("the container's file or its IOMMU is missing", async (guest) => {
  const [{ address }] = guest.nics;
  await bindDriver(guest, address, "vfio-pci");
  const info = { args: ["info", address] };
  await guest.sh("modprobe vfio_iommu_type1; modprobe -r vfio_iommu_type1");
  assertStringIncludes(
    await refused(guest, info),
    "modprobe vfio_iommu_type1",
  );
  await guest.sh("modprobe vfio_iommu_type1; mv /dev/vfio/vfio /dev/vfio/away");
  assertStringIncludes(await refused(guest, info), "modprobe vfio-pci");
  await guest.sh("mv /dev/vfio/away /dev/vfio/vfio");
  await ixl(guest, ...info.args);
});

scenario("another device of its IOMMU group is in use", async (guest) => {
  const [, a, b] = guest.nics;
  await guest.sh("modprobe e1000");
  for (const { address } of [a, b]) await bindDriver(guest, address, "e1000");
  assertEquals(
    await iommuGroup(guest, a.address),
    await iommuGroup(guest, b.address),
  );
  const before = await ixl(guest, "list");
  await ixl(guest, "bind", a.address);
  const why = await refused(guest, { args: ["info", a.address] });
  assertStringIncludes(why, `shared with ${b.address} (e1000), which`);
  assertStringIncludes(why, "ixl bind");
  await ixl(guest, "bind", b.address);
  await ixl(guest, "info", a.address);
  for (const { address } of [a, b]) {
    await ixl(guest, "unbind", address);
  }
  assertEquals(await ixl(guest, "list"), before);
});

scenario("too little lockable memory, and then enough", async (guest) => {
  const [{ address }] = guest.nics;
  await bindForUser(guest, address);
  const args = ["info", address];
  const why = await refused(guest, {
    args,
    as: (command) => asUser(command, { memlockBytes: 1 << 20 }),
  });
  assertStringIncludes(why, "ulimit -l");
  assertEquals((await guest.run(asUser([...IXL, ...args]))).code, 0);
});

scenario("a card behind an IOMMU is not opened without it", async (guest) => {
  const [{ address }] = guest.nics;
  await bindDriver(guest, address, "vfio-pci");
  const why = await refused(guest, {
    args: ["info", address, "--unsafe-no-iommu"],
    code: 2,
  });
  assertStringIncludes(why, "leave the option out");
});
