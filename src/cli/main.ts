/**
 * The command line: `ixl COMMAND …`.
 *
 * @module
 */
import denoJson from "../../deno.json" with { type: "json" };
import { assertSettings } from "../environment.ts";
import {
  type Command,
  definitionList,
  exitCode,
  UsageError,
} from "./command.ts";

/** A command that is loaded when it is called. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Pick<Command, "main">>;
}

const ENTRIES: readonly Entry[] = [
  {
    name: "list",
    summary: "Lists the network cards, and the forms of other addresses",
    load: async () => (await import("./list.ts")).listCommand,
  },
  {
    name: "info",
    summary: "Opens a card and says what it is and can do",
    load: async () => (await import("./info.ts")).infoCommand,
  },
  {
    name: "stats",
    summary: "Receives on a card, drops everything, and shows its counters",
    load: async () => (await import("./stats.ts")).statsCommand,
  },
  {
    name: "bind",
    summary: "Takes a card from its kernel driver, for use from here",
    load: async () => (await import("./bind.ts")).bindCommand,
  },
  {
    name: "unbind",
    summary: "Gives a card back to its kernel driver",
    load: async () => (await import("./bind.ts")).unbindCommand,
  },
  {
    name: "sim",
    summary: "sim serve: a software card for any virtual machine (vfio-user)",
    load: async () => (await import("./sim.ts")).simCommand,
  },
  {
    name: "demo",
    summary: "Forwards between two software cards and checks every frame",
    load: async () => (await import("./demo.ts")).demoCommand,
  },
  {
    name: "forward",
    summary: "Example: forwards from one card to another",
    load: () => import("../../examples/forward.ts"),
  },
  {
    name: "bridge",
    summary: "Example: a cable between two cards, both ways",
    load: () => import("../../examples/bridge.ts"),
  },
  {
    name: "generate",
    summary: "Example: sends made-up packets",
    load: () => import("../../examples/generate.ts"),
  },
  {
    name: "capture",
    summary: "Example: writes what a card receives to a pcap",
    load: () => import("../../examples/capture.ts"),
  },
  {
    name: "responder",
    summary: "Example: answers ARP and ping",
    load: () => import("../../examples/responder.ts"),
  },
];

const HELP = `Usage: ixl COMMAND [arguments]

User-space network card drivers in TypeScript.

${
  definitionList([
    ...ENTRIES.map(({ name, summary }): [string, string] => [name, summary]),
    ["help [COMMAND]", "Prints this, or what a command can do"],
    ["--version", "Prints the version"],
  ])
}

ixl list shows the addresses that a command takes. IXL_LOG=debug says step by step what is done.`;

/**
 * Runs the command line and returns its exit code: 0, 1 when something failed, 2 for bad arguments.
 *
 * @example
 * ```ts
 * import { main } from "@ixl/deno/cli";
 *
 * console.log(await main(["--version"])); // 0
 * ```
 */
export function main(args: readonly string[]): Promise<number> {
  return exitCode(() => dispatch(args));
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = "help", ...rest] = args;
  switch (first) {
    case "help":
    case "--help":
    case "-h":
      return await help(rest);
    case "--version":
      console.log(`ixl ${denoJson.version} (Deno ${Deno.version.deno})`);
      return 0;
    default:
      assertSettings();
      return await (await find(first).load()).main(rest);
  }
}

async function help([name, ...more]: readonly string[]): Promise<number> {
  if (more.length > 0) throw new UsageError("help takes one command");
  if (name !== undefined) return await (await find(name).load()).main(["-h"]);
  console.log(HELP);
  return 0;
}

function find(name: string): Entry {
  const entry = ENTRIES.find((entry) => entry.name === name);
  if (entry !== undefined) return entry;
  const names = ENTRIES.map(({ name }) => name).join(", ");
  throw new UsageError(`there is no command ${name}: use ${names} or help`);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
