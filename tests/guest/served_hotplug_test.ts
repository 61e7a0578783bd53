/**
 * A served card that is taken out of a guest and put in again: its server has one client after the other.
 *
 * Without MSI-X: QEMU 11.1.3 itself aborts when such a card with MSI-X goes (memory_region_del_subregion).
 */
import { assertEquals } from "@std/assert";
import { guestScenarios, untilDevice } from "./lab/mod.ts";

const ROUNDS = 2;
const LINK_SECONDS = 30;

const scenario = guestScenarios({
  name: "served-hotplug",
  nics: [{ model: "82599", hotplug: true, interrupts: "msi" }],
}, "newerQemu");

scenario("goes and comes back under the kernel's driver", async (guest) => {
  const [nic] = guest.nics;
  const [server] = guest.servedCards;
  const untilLink = () =>
    guest.sh(`
      cd /sys/bus/pci/devices/${nic.address}
      for second in $(seq ${LINK_SECONDS}); do
        for name in $(ls net 2> /dev/null); do
          ip link set $name up
          [ "$(cat net/$name/carrier)" = 1 ] && exit
        done
        sleep 1
      done
      echo "no link" >&2
      exit 1
    `);
  await guest.loadModule("ixgbe");
  await untilLink();
  const expected = ["ixl sim serve: client 1 has come"];
  for (let round = 1; round <= ROUNDS; round++) {
    await nic.unplug();
    await untilDevice(guest, nic.address, "absent");
    await nic.plug();
    await untilDevice(guest, nic.address, "present");
    await untilLink();
    expected.push(
      `ixl sim serve: client ${round} has gone`,
      `ixl sim serve: client ${round + 1} has come`,
    );
  }
  assertEquals(server.output.trim().split("\n").slice(1), expected);
});
