/**
 * The software card, served over vfio-user, under the kernel's own ixgbe driver.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { repetitions } from "../support/runner/repeat.ts";
import { type Guest, guestScenarios, type Nic } from "./lab/mod.ts";
import {
  countsFrames,
  dumpsRegisters,
  identifiesItself,
  passesSelfTest,
  unexplained,
} from "./served/ethtool.ts";
import { filtersVlans, isPromiscuousWhenAsked } from "./served/filters.ts";
import { complaints, Interface, remarks } from "./served/interface.ts";
import { outlastsReloads, outlastsToggles } from "./served/patience.ts";
import { QUEUES, spreadsAsTold } from "./served/spreading.ts";

const scenario = guestScenarios({
  name: "served-card",
  nics: [{ model: "82599" }, { model: "x540" }],
  cpus: QUEUES,
  // The driver has a few lines to say each time, and what it complains of must not get lost.
  kernelArguments: ["log_buf_len=1M"],
}, ...["newerQemu", "ethtool"] as const);

const DEVICE_IDS: Readonly<Record<string, string>> = {
  "82599": "0x10fb",
  x540: "0x1528",
};
const RELOADS = repetitions("reloads", { gate: 2, soak: 20 });
/** The X540's PHY makes it slower. */
const TOGGLES: Readonly<Record<string, number>> = {
  "82599": repetitions("reloads", { gate: 3, soak: 100 }),
  x540: repetitions("reloads", { gate: 2, soak: 5 }),
};

const folder = ({ address }: Nic) => `/sys/bus/pci/devices/${address}`;

/** Does the same with each card's interface. */
async function withEach(
  guest: Guest,
  action: (it: Interface) => Promise<void>,
): Promise<void> {
  for (const nic of guest.nics) await action(await Interface.up(guest, nic));
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
    await withEach(guest, async (it) => {
      assertEquals(await it.read("address"), it.nic.mac);
      assertEquals(await it.read("speed"), "10000");
      assertEquals(await it.read("duplex"), "full");
    });
    const messages = await guest.dmesg();
    assertMatch(messages, /ixgbe .*: Intel\(R\) 10 Gigabit Network Connection/);
  },
);

scenario("loses and finds its link with the cable", async (guest) => {
  await withEach(guest, async (it) => {
    for (const up of [false, true]) {
      await it.nic.setLink(up);
      await it.untilLink(up);
    }
  });
});

scenario("carries the kernel's answers", async (guest) => {
  await withEach(guest, (it) => it.answers(50));
});

scenario("tells ethtool what it is and has counted", async (guest) => {
  await withEach(guest, async (it) => {
    await identifiesItself(it);
    await countsFrames(it);
  });
});

scenario("filters VLANs, and is promiscuous when asked", async (guest) => {
  await withEach(guest, async (it) => {
    await filtersVlans(it);
    await isPromiscuousWhenAsked(it);
  });
});

scenario("spreads flows over its queues as ethtool says", async (guest) => {
  await withEach(guest, spreadsAsTold);
});

scenario("goes down and up, over and over", async (guest) => {
  await withEach(
    guest,
    (it) => outlastsToggles(it, TOGGLES[it.nic.model]),
  );
});

scenario(
  `has its driver unloaded and loaded ${RELOADS} times`,
  async (guest) => {
    await outlastsReloads(guest, RELOADS);
  },
);

scenario("has seen nothing that the datasheet forbids", async (guest) => {
  for (const { output } of guest.servedCards) {
    assertEquals(remarks(output), []);
  }
  assertEquals(await complaints(guest), []);
});

/** No server has said more than what is known of the driver's self-tests and dumps. */
function saysNothingElse({ servedCards }: Guest): void {
  for (const { output } of servedCards) {
    assertEquals(unexplained(remarks(output)), []);
  }
}

// After that: these do what the datasheet forbids.
scenario("passes the driver's self-tests", async (guest) => {
  await withEach(guest, async (it) => {
    await passesSelfTest(it, "online");
    await passesSelfTest(it, "offline");
    await it.answers(5);
  });
  saysNothingElse(guest);
  assertEquals(await complaints(guest), []);
});

// Last: a server says a hundred things of a client and no more, and a dump is the most of it.
scenario("shows its registers", async (guest) => {
  await withEach(guest, async (it) => {
    await dumpsRegisters(it);
    await it.answers(5);
  });
  saysNothingElse(guest);
});
