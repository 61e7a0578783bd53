/**
 * What each card model of QEMU's must stand for long, all of them at the same time in one guest.
 */
import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import { Card } from "./console.ts";
import { enduranceScenarios } from "./intel/endurance.ts";
import { QEMU_MODELS } from "./intel/models.ts";
import { type Hands, replace } from "./intel/removal.ts";
import { polling, untilEchoed, withEach } from "./intel/traffic.ts";
import { type Guest, guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "endurance",
  nics: [
    ...QEMU_MODELS.map(({ nic }) => ({ model: nic, capture: true })),
    // Apart, as each reset of these is one of the slot, and takes a second.
    ...QEMU_MODELS.map(({ nic }) => ({ model: nic, hotplug: true })),
  ],
  hugepages: 0,
});

const FAULT_TIMEOUT_MS = 30_000;

/** The cards that stay where they are. */
const fixed = ({ nics }: Guest) => nics.slice(0, QEMU_MODELS.length);
/** The cards that can be taken out. */
const removable = ({ nics }: Guest) => nics.slice(QEMU_MODELS.length);

const HANDS: Hands = {
  remove: (_guest, nic) => nic.unplug(),
  restore: (_guest, nic) => nic.plug(),
};

enduranceScenarios(scenario, fixed);

scenario("the IOMMU catches a buffer that nobody mapped", async (guest) => {
  const nics = fixed(guest);
  const cards = await Card.openAll(guest, nics, polling);
  for (const [index, card] of cards.entries()) {
    const nic = nics[index];
    for (const fault of await unmappedFaults(guest, card)) {
      assertStringIncludes(fault, `[${nic.address.slice("0000:".length)}]`);
      assertMatch(fault, /DMA Read .* fault addr 0xc0[0-9a-f]{6} /);
    }
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
  }
  await cards[0].close();
}, { expectFaults: true });

/**
 * Has a card read what nobody mapped for it, and returns what the IOMMU says of that. The kernel tells of three faults
 * in five seconds, and keeps more to itself.
 */
async function unmappedFaults(guest: Guest, card: Card): Promise<string[]> {
  const end = performance.now() + FAULT_TIMEOUT_MS;
  for (;;) {
    await card.ask("sendUnmapped");
    await card.call("restartQueue", 0);
    const faults = await guest.dmarFaults();
    if (faults.length > 0) return faults;
    assert(performance.now() < end, `${card.report.model}: no fault`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

scenario("cards removed under load work when they are back", async (guest) => {
  const [a, b, c, d] = removable(guest);
  const replaced = (from: typeof a, to: typeof a) =>
    replace(guest, from, to, HANDS);
  await Promise.all([replaced(a, b), replaced(c, d)]);
  await Promise.all([replaced(b, a), replaced(d, c)]);
  await withEach(guest, removable(guest), polling, async ({ nic, card }) => {
    await card.ask("startEcho");
    await untilEchoed(nic, 1);
  });
});
