/**
 * The e1000 and igb drivers on QEMU's models of gigabit cards behind VFIO, watched from the other end of their cables.
 * Every card goes through the same scenarios, as far as its chip can.
 */
import { bridgesToBackend, bridgesToSoftwareCard } from "./bridged.ts";
import { forwards } from "./intel/chips.ts";
import { QEMU_MODELS } from "./intel/models.ts";
import { cardScenarios, onCard } from "./intel/scenarios.ts";
import { guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "gigabit",
  nics: QEMU_MODELS.map(({ nic }) => ({ model: nic })),
  hugepages: 128,
});

for (const [index, model] of QEMU_MODELS.entries()) {
  cardScenarios(onCard(scenario, model, index), model);
}

scenario("forwards between chips as an ordinary user", async (guest) => {
  const [pci, pciX, express, queues] = guest.nics;
  await forwards(guest, pci, queues);
  await forwards(guest, express, pciX);
});

scenario("bridges a card and a vhost-user backend", async (guest) => {
  const nic = guest.nics[3];
  await bridgesToBackend(guest, nic, { pages: "huge", copied: "none" });
}, { needs: ["testpmd"] });

// On ordinary pages the cards of QEMU read only packets that lie in one page.
scenario(
  "bridges a card and a software card, whose packets are copied",
  async (guest) => {
    const nic = guest.nics[2];
    await bridgesToSoftwareCard(guest, nic, {
      ...{ pages: "ordinary", copied: "one way" },
    });
  },
);
