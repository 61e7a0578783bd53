/**
 * The lab itself, without any driver of ours: boots, programs, cards, faults.
 */
import { assertEquals } from "@std/assert";
import { guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "lab",
  nics: [
    { model: "e1000" },
    { model: "e1000-82545em" },
    { model: "e1000e" },
    { model: "igb", hotplug: true, capture: true },
  ],
});

scenario("run() returns code and output of a program", async (guest) => {
  const outcome = await guest.run([
    "sh",
    "-c",
    "echo one; echo two >&2; exit 3",
  ]);
  assertEquals(outcome, {
    code: 3,
    signal: null,
    stdout: "one\n",
    stderr: "two\n",
  });
});
