/**
 * The ixgbe driver on the software 82599 and X540, which processes of their own serve to the guest, behind VFIO and the
 * guest's IOMMU: the scenarios of the gigabit cards.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Card } from "./console.ts";
import { forwards } from "./intel/chips.ts";
import { enduranceScenarios } from "./intel/endurance.ts";
import { frameScenarios } from "./intel/frames.ts";
import { SERVED_MODELS } from "./intel/models.ts";
import { type Hands, replace } from "./intel/removal.ts";
import { cardScenarios, onCard } from "./intel/scenarios.ts";
import { polling, untilEchoed, withEach } from "./intel/traffic.ts";
import { guestScenarios } from "./lab/mod.ts";
import type { PoolReport } from "./programs/card_console.ts";

const scenario = guestScenarios({
  name: "served-vfio",
  nics: SERVED_MODELS.map(({ nic }) => ({ model: nic, capture: true })),
  hugepages: 128,
}, "newerQemu");

const [FIBRE, COPPER] = SERVED_MODELS;
/** Packets by which a pool grows. */
const MORE = 256;
/** Memory of the guest by its real address, at which a card has none: it is given the lowest ones. */
const GUEST_MEMORY = 0x3000_0000;

/** What each card was made to do wrong. */
const provoked: RegExp[][] = SERVED_MODELS.map(() => []);

cardScenarios(onCard(scenario, FIBRE, 0), FIBRE);
// What differs: its reset, its PHY, its semaphores.
frameScenarios(onCard(scenario, COPPER, 1));

scenario("forwards between chips as an ordinary user", async (guest) => {
  const [fibre, copper] = guest.nics;
  await forwards(guest, fibre, copper);
});

enduranceScenarios(scenario, ({ nics }) => nics.slice(0, 1));

// Whoever serves a card has what the guest's IOMMU shows to the card, and says what else the card is to touch.
scenario("the IOMMU holds for a card in another process", async (guest) => {
  for (const [index, nic] of guest.nics.entries()) {
    const server = guest.servedCards[index];
    const card = await Card.open(guest, nic, polling());
    const pool = () => card.ask<PoolReport>("pool", 0);
    const cannotRead = async (iova: number) => {
      provoked[index].push(faultAt(iova));
      await card.ask("sendFrom", iova);
      await server.prints(faultAt(iova));
      await card.call("restartQueue", 0);
    };
    await cannotRead(GUEST_MEMORY);
    const before = await pool();
    await card.call("extendRxMempool", 0, MORE);
    const added = before.iova + (before.capacity + MORE / 2) * before.stride;
    await card.ask("sendFrom", added);
    assertEquals(await nic.port.receive(), new Uint8Array(60));
    await card.reopen(polling());
    // Its pool has another address now.
    const { iova, ...after } = await pool();
    assertEquals({ ...after, iova: before.iova }, before);
    assert(iova + after.capacity * after.stride <= added || iova > added);
    await cannotRead(added);
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
    assertEquals(nic.port.takeAll(), [], "what it could not read");
    await card.close();
  }
});

const faultAt = (iova: number) =>
  new RegExp(`dma-fault: .*IOVA 0x${iova.toString(16).padStart(16, "0")},`);

/** By the guest's kernel: QEMU 11.1.3 itself aborts when such a card with MSI-X is unplugged. */
const HANDS: Hands = {
  remove: async (guest, { address }) => {
    await guest.sh(`echo 1 > /sys/bus/pci/devices/${address}/remove`);
  },
  restore: async (guest) => {
    await guest.sh("echo 1 > /sys/bus/pci/rescan");
  },
};

scenario("cards removed under load work when they are back", async (guest) => {
  const [fibre, copper] = guest.nics;
  await replace(guest, fibre, copper, HANDS);
  await replace(guest, copper, fibre, HANDS);
  await withEach(guest, guest.nics, polling, async ({ nic, card }) => {
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
  });
});

scenario("nothing else has happened that the datasheet forbids", (guest) => {
  for (const [index, { output }] of guest.servedCards.entries()) {
    const [, come, ...faults] = output.trim().split("\n")
      .filter((line) => !line.includes("the cable is"));
    assertEquals(come, "ixl sim serve: client 1 has come");
    assertEquals(faults.length, provoked[index].length, faults.join("\n"));
    for (const [i, fault] of faults.entries()) {
      assertMatch(fault, provoked[index][i]);
    }
  }
});
