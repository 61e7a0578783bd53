/**
 * The software card, served over vfio-user, under the kernel's own ixgbe driver.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "served-card",
  nics: [{ model: "82599" }],
}, "newerQemu");

scenario("is a PCI card to the guest", async (guest) => {
  const [{ address }] = guest.nics;
  const attributes = await guest.sh(
    `cd /sys/bus/pci/devices/${address}; cat vendor device class revision`,
  );
  assertEquals(attributes.split("\n").slice(0, 4), [
    "0x8086",
    "0x10fb",
    "0x020000",
    "0x01",
  ]);
  const resources = await guest.sh(
    `cat /sys/bus/pci/devices/${address}/resource`,
  );
  const sizes = resources.trim().split("\n").slice(0, 6).map((line) => {
    const [start, end] = line.split(" ").map(BigInt);
    return start === 0n ? 0 : Number(end - start) + 1;
  });
  assertEquals(sizes, [0x20000, 0, 0, 0, 0x4000, 0], "BAR 0 and BAR 4");
});

scenario("is taken by the kernel's ixgbe driver", async (guest) => {
  const [{ address, mac }] = guest.nics;
  await guest.loadModule("ixgbe");
  assertEquals(
    await guest.sh(`cat /sys/bus/pci/devices/${address}/net/*/address`),
    `${mac}\n`,
  );
  assertMatch(await guest.dmesg(), /Intel\(R\) 10 Gigabit Network Connection/);
});
