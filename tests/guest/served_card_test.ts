/**
 * The software card, served over vfio-user, under the kernel's own ixgbe driver.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { arpReply, arpRequest, isArp } from "./lab_frames.ts";
import { type Guest, guestScenarios, type Nic } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "served-card",
  nics: [{ model: "82599" }, { model: "x540" }],
}, "newerQemu");

const DEVICE_IDS: Readonly<Record<string, string>> = {
  "82599": "0x10fb",
  x540: "0x1528",
};
/** Seconds that the kernel's driver may take to see the link. */
const LINK_SECONDS = 20;
/** The first reset of an X540 comes before the driver knows its PHY, whose semaphore it does not take then. */
const KNOWN = /CTRL\.RST without the PHY semaphore/;
/** What the driver must not say of the card. */
const COMPLAINT = /ixgbe.*(fail|hang|reset|error|warn|unsupported|timed out)/i;

const folder = ({ address }: Nic) => `/sys/bus/pci/devices/${address}`;

/** Waits until an interface has its link, or has lost it. */
async function untilCarrier(
  guest: Guest,
  name: string,
  up: boolean,
): Promise<void> {
  await guest.sh(`
    for second in $(seq ${LINK_SECONDS}); do
      [ "$(cat /sys/class/net/${name}/carrier)" = ${Number(up)} ] && exit
      sleep 1
    done
    echo "the link of ${name} is not ${up}" >&2
    exit 1
  `);
}

/** The kernel's name of a card's interface, up and with its link. */
async function interfaceOf(guest: Guest, nic: Nic): Promise<string> {
  const name = (await guest.sh(`ls ${folder(nic)}/net`)).trim();
  await guest.sh(`ip link set ${name} up`);
  await untilCarrier(guest, name, true);
  return name;
}

scenario("is a PCI card to the guest", async (guest) => {
  for (const nic of guest.nics) {
    const attributes = await guest.sh(
      `cd ${folder(nic)}; cat vendor device class revision`,
    );
    assertEquals(attributes.split("\n").slice(0, 4), [
      "0x8086",
      DEVICE_IDS[nic.model],
      "0x020000",
      "0x01",
    ]);
    const resources = await guest.sh(`cat ${folder(nic)}/resource`);
    const sizes = resources.trim().split("\n").slice(0, 6).map((line) => {
      const [start, end] = line.split(" ").map(BigInt);
      return start === 0n ? 0 : Number(end - start) + 1;
    });
    assertEquals(sizes, [0x20000, 0, 0, 0, 0x4000, 0], "BAR 0 and BAR 4");
  }
});

scenario(
  "is taken by the kernel's ixgbe driver, which sees 10 Gbit/s",
  async (guest) => {
    await guest.loadModule("ixgbe");
    for (const nic of guest.nics) {
      const name = await interfaceOf(guest, nic);
      const read = async (file: string) =>
        (await guest.sh(`cat /sys/class/net/${name}/${file}`)).trim();
      assertEquals(await read("address"), nic.mac);
      assertEquals(await read("speed"), "10000");
      assertEquals(await read("duplex"), "full");
    }
    const messages = await guest.dmesg();
    assertMatch(messages, /ixgbe .*: Intel\(R\) 10 Gigabit Network Connection/);
    const complaints = messages.split("\n").filter((line) =>
      COMPLAINT.test(line)
    );
    assertEquals(complaints, []);
  },
);

scenario("loses and finds its link with the cable", async (guest) => {
  await guest.loadModule("ixgbe");
  for (const nic of guest.nics) {
    const name = await interfaceOf(guest, nic);
    for (const up of [false, true]) {
      await nic.setLink(up);
      await untilCarrier(guest, name, up);
    }
  }
});

scenario("carries the kernel's answers", async (guest) => {
  await guest.loadModule("ixgbe");
  for (const [index, nic] of guest.nics.entries()) {
    const [guestIp, outsideIp] = [`10.77.${index}.2`, `10.77.${index}.1`];
    const name = await interfaceOf(guest, nic);
    await guest.sh(`ip addr add ${guestIp}/24 dev ${name}`);
    for (let round = 0; round < 50; round++) {
      await nic.port.send(arpRequest(outsideIp, guestIp));
      const answer = await nic.port.receive({
        where: (frame) => isArp(frame, "reply"),
      });
      const expected = arpReply(nic.mac, guestIp, outsideIp);
      assertEquals(answer.subarray(0, expected.length), expected);
    }
  }
});

scenario("has seen nothing that the datasheet forbids", (guest) => {
  for (const { output } of guest.servedCards) {
    const [, ...lines] = output.trim().split("\n");
    const expected = [
      "ixl sim serve: client 1 has come",
      "ixl sim serve: the cable is out",
      "ixl sim serve: the cable is in",
    ];
    assertEquals(lines.filter((line) => !KNOWN.test(line)), expected);
  }
});
