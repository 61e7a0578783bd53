/**
 * Tests that share a guest: it boots with the first and ends with the last.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  type Requirement,
  requires,
} from "../../support/runner/requirements.ts";
import { noteRerun } from "../../support/runner/reruns.ts";
import { Guest } from "./guest.ts";
import type { MachineDescription } from "./machine.ts";

/** What a scenario does differently. */
export interface ScenarioOptions {
  /** It makes the IOMMU complain, and looks at that itself. */
  readonly expectFaults?: boolean;
  /** What it needs on the host besides what all scenarios of the guest need. */
  readonly needs?: readonly Requirement[];
}

/** A scenario: what the guest runs, what the outside sends and expects. */
export type Scenario = (
  guest: Guest,
  context: Deno.TestContext,
) => void | Promise<void>;

/** Registers a scenario. */
export type RegisterScenario = (
  name: string,
  scenario: Scenario,
  options?: ScenarioOptions,
) => void;

/**
 * QEMU's own end, seen with 10.0: its processors in software race with a change of its memory map, such as a device
 * whose BARs are turned on. No guest can cause it on purpose, nor prevent it.
 */
const QEMU_RACE = /iotlb_to_section: Assertion/;

class SharedGuest {
  #guest: Guest | undefined;
  readonly #machine: MachineDescription;

  constructor(machine: MachineDescription) {
    this.#machine = machine;
  }

  /** The guest of the scenario before, if it has survived that. */
  async get(): Promise<Guest> {
    if (this.#guest?.isAlive === false) await this.close();
    return this.#guest ??= await Guest.boot(this.#machine);
  }

  async close(): Promise<void> {
    await this.#guest?.close();
    this.#guest = undefined;
  }
}

/**
 * Makes a function like `Deno.test` for scenarios in one guest.
 *
 * After each scenario its programs are killed, frames that nobody received are
 * dropped, and there must be no DMAR fault in the guest's log. A guest that has
 * died is replaced for the next scenario; where QEMU's own race has ended it,
 * for this one, once. Without a prepared lab the scenarios are reported as
 * skipped, and fail on CI.
 *
 * @param machine The guest.
 * @param needs What the scenarios need on the host besides the lab.
 */
export function guestScenarios(
  machine: MachineDescription,
  ...needs: Requirement[]
): RegisterScenario {
  const shared = new SharedGuest(machine);
  Deno.test.afterAll(() => shared.close());
  return (name, scenario, { expectFaults = false, needs: more = [] } = {}) => {
    const register = requires("lab", ...needs, ...more);
    const test = `${machine.name}: ${name}`;
    const runOnce = async (context: Deno.TestContext) => {
      const guest = await shared.get();
      try {
        await scenario(guest, context);
      } finally {
        await tidyUp(guest);
      }
      if (expectFaults || !guest.isAlive) return;
      assertEquals(await guest.dmarFaults(), [], "faults of the IOMMU");
    };
    const run = async (context: Deno.TestContext) => {
      try {
        await runOnce(context);
      } catch (error) {
        if (!QEMU_RACE.test(String(error))) throw error;
        noteRerun({ name: test, why: "QEMU's own assertion iotlb_to_section" });
        await runOnce(context);
      }
    };
    // The guest's connections outlive the test that boots it.
    const options = { sanitizeOps: false, sanitizeResources: false };
    register(test, run, options);
  };
}

async function tidyUp(guest: Guest): Promise<void> {
  if (!guest.isAlive) return;
  await guest.killPrograms();
  guest.dropFrames();
}
