/**
 * Commands that are refused: one line says why and what to do, and the machine is as it was.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Guest } from "./lab/mod.ts";

/** The command line. */
export const IXL = ["deno", "run", "-q", "-P=demo", "src/cli/main.ts"];

/** Who has which device, who may open what, and which modules are loaded. */
const state = (guest: Guest): Promise<string> =>
  guest.sh(`
    for device in /sys/bus/pci/devices/*; do
      echo "$device $(readlink $device/driver) $(cat $device/driver_override)"
    done
    for file in /dev/vfio/*; do
      [ ! -e "$file" ] || stat -c '%n %a %u' "$file"
    done
    grep ^vfio /proc/modules | cut -d' ' -f1,3 || true
  `);

/** Runs a command that works, and returns what it prints. */
export function ixl(guest: Guest, ...args: string[]): Promise<string> {
  return guest.sh([...IXL, ...args].join(" "));
}

/** What shall fail. */
export interface Refusal {
  /** What is run, after `ixl`. */
  readonly args: readonly string[];
  /** How the exit code tells what kind of mistake it is. */
  readonly code?: number;
  /** Runs it as somebody else. */
  readonly as?: (command: readonly string[]) => string[];
}

/** Runs a command that fails: expects one line, which is returned, and everything to be as before. */
export async function refused(
  guest: Guest,
  { args, code = 1, as = (command) => [...command] }: Refusal,
): Promise<string> {
  const before = await state(guest);
  const outcome = await guest.run(as([...IXL, ...args]));
  assertEquals(outcome.code, code, outcome.stderr);
  const lines = outcome.stderr.trim().split("\n");
  // A card without IOMMU has been warned of before.
  const said = lines.filter((line) => !line.startsWith("ixl warn"));
  assertEquals(said.length, 1, outcome.stderr);
  assertEquals(await state(guest), before);
  return said[0];
}
