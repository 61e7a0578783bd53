/**
 * The scenarios of a card on its own.
 *
 * @module
 */
import type { RegisterScenario } from "../lab/mod.ts";
import { interruptScenarios } from "./chips.ts";
import { filterScenarios } from "./filters.ts";
import { frameScenarios } from "./frames.ts";
import type { Model } from "./models.ts";
import type { OnCard } from "./rig.ts";
import { spreadingScenarios } from "./spreading.ts";
import { waitingScenarios } from "./waiting.ts";

/** Makes the function that registers scenarios for a model, which is card `index` of the guest. */
export function onCard(
  scenario: RegisterScenario,
  model: Model,
  index: number,
): OnCard {
  return (what, test) =>
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
}

/** Registers all of them. */
export function cardScenarios(on: OnCard, model: Model): void {
  frameScenarios(on);
  waitingScenarios(on);
  filterScenarios(on);
  spreadingScenarios(on, model);
  interruptScenarios(on, model);
}
