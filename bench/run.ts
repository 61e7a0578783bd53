/**
 * Runs benchmarks by name: `deno task bench [NAME …] [--json]`.
 *
 * @module
 */
import { parseArgs } from "@std/cli";

const BENCHMARKS: Readonly<Record<string, string>> = {
  ring: "nanoseconds a packet in the ixgbe driver, on rings in memory",
  steady:
    "garbage collections and bytes allocated in steady forwarding workers",
  virtio: "the virtio driver beside DPDK's, on the same vhost-user backend",
};

const HELP = `Usage: deno task bench [NAME …] [--json]

${
  Object.entries(BENCHMARKS).map(([name, text]) => `  ${name}  ${text}`).join(
    "\n",
  )
}

Without a name all of them run. Each prints a table; with --json its last line is one JSON object.`;

async function main(): Promise<number> {
  const given = parseArgs(Deno.args, { boolean: ["json", "help"] });
  if (given.help) {
    console.log(HELP);
    return 0;
  }
  const names = given._.length > 0
    ? given._.map(String)
    : Object.keys(BENCHMARKS);
  const unknown = names.find((name) => !(name in BENCHMARKS));
  if (unknown !== undefined) {
    console.error(
      `there is no benchmark ${unknown}: use ${
        Object.keys(BENCHMARKS).join(", ")
      }`,
    );
    return 2;
  }
  for (const name of names) {
    const code = await runOne(name, given.json);
    if (code !== 0) return code;
  }
  return 0;
}

/** Each in a process of its own, so that none inherits another's heap and compiled code. */
async function runOne(name: string, json: boolean): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      new URL(`./${name}.ts`, import.meta.url).pathname,
      ...(json ? ["--json"] : []),
    ],
  }).spawn();
  return (await child.status).code;
}

Deno.exit(await main());
