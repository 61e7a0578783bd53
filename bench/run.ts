/**
 * Runs benchmarks by name: `deno task bench [NAME …] [--json]`.
 *
 * @module
 */
import { parseArgs } from "@std/cli";

/** What it measures, and the file that does, with arguments where one file does several. */
interface Benchmark {
  readonly about: string;
  readonly file: string;
  readonly args?: readonly string[];
}

const intel = (driver: string): Benchmark => ({
  about: `the ${driver} driver beside a C loop, on rings in memory`,
  file: "intel.ts",
  args: [`--driver=${driver}`],
});

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  ixgbe: intel("ixgbe"),
  igb: intel("igb"),
  e1000: intel("e1000"),
  scale: {
    about: "what one more queue brings, on software cards and in memory",
    file: "scale.ts",
  },
  latency: {
    about: "from the device's write to user code, polling and by interrupt",
    file: "latency.ts",
  },
  bringup: {
    about: "open to first packet, start of a worker, memory of a queue",
    file: "bringup.ts",
  },
  ring: {
    about: "nanoseconds a packet in each kind of virtqueue and in ixgbe",
    file: "ring.ts",
  },
  steady: {
    about:
      "garbage collections and bytes allocated in steady forwarding workers",
    file: "steady.ts",
  },
  "steady-rings": {
    about: "the same in each driver, over 100 million packets in memory",
    file: "steady_rings.ts",
  },
  virtio: {
    about: "the virtio driver beside DPDK's, on the same vhost-user backend",
    file: "virtio.ts",
  },
};

const HELP = `Usage: deno task bench [NAME …] [--json]

${
  Object.entries(BENCHMARKS).map(([name, { about }]) =>
    `  ${name.padEnd(14)}${about}`
  ).join("\n")
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
  const { file, args = [] } = BENCHMARKS[name];
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      new URL(file, import.meta.url).pathname,
      ...args,
      ...(json ? ["--json"] : []),
    ],
  }).spawn();
  return (await child.status).code;
}

Deno.exit(await main());
