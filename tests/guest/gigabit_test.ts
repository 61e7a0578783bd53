/**
 * The e1000 and igb drivers on QEMU's models of gigabit cards behind VFIO, watched from the other end of their cables.
 * Every card goes through the same scenarios, as far as its chip can.
 */
import { forwards, interruptScenarios } from "./gigabit/chips.ts";
import { filterScenarios } from "./gigabit/filters.ts";
import { frameScenarios } from "./gigabit/frames.ts";
import { MODELS } from "./gigabit/models.ts";
import type { OnCard } from "./gigabit/rig.ts";
import { spreadingScenarios } from "./gigabit/spreading.ts";
import { waitingScenarios } from "./gigabit/waiting.ts";
import { guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "gigabit",
  nics: MODELS.map(({ nic }) => ({ model: nic })),
  hugepages: 128,
});

for (const [index, model] of MODELS.entries()) {
  const on: OnCard = (what, test) =>
    scenario(`${model.name} ${what}`, (guest, context) =>
      test({
        guest,
        nic: guest.nics[index],
        model,
        step: async (name, check) => {
          if (await context.step(name, check)) return;
          throw new Error(`${name}: failed`);
        },
      }));
  frameScenarios(on);
  waitingScenarios(on);
  filterScenarios(on);
  spreadingScenarios(on, model);
  interruptScenarios(on, model);
}

scenario("forwards between chips as an ordinary user", async (guest) => {
  const [pci, pciX, express, queues] = guest.nics;
  await forwards(guest, pci, queues);
  await forwards(guest, express, pciX);
});
