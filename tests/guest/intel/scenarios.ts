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

/** Registers them for each model, of which the guest has one card each, in this order. */
export function cardScenarios(
  scenario: RegisterScenario,
  models: readonly Model[],
): void {
  for (const [index, model] of models.entries()) {
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
}
