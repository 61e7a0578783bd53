/**
 * Runs benchmarks by name: `deno task bench [NAME …] [--json] [--update]`.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { UPDATE } from "./support/plot.ts";

/** What it measures, and the file that does, with arguments where one file does several. */
interface Benchmark {
  readonly about: string;
  readonly file: string;
  readonly args?: readonly string[];
  /** What the user may choose: passed on. */
  readonly options?: readonly BenchOption[];
}

/** A choice that the user has in one benchmark. */
interface BenchOption {
  readonly name: string;
  /** What it may be: one of these words, or a whole number within two bounds. */
  readonly values: readonly string[] | readonly [least: number, most: number];
  readonly about: string;
}

const intel = (driver: string): Benchmark => ({
  about: `the ${driver} driver beside a C loop, on rings in memory`,
  file: "beside_c/intel.ts",
  args: [`--driver=${driver}`],
});

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  ixgbe: intel("ixgbe"),
  igb: intel("igb"),
  e1000: intel("e1000"),
  scale: {
    about: "what one more queue brings, on software cards and in memory",
    file: "cards/scale.ts",
  },
  latency: {
    about: "from the device's write to user code, polling and by interrupt",
    file: "cards/latency.ts",
  },
  bringup: {
    about: "open to first packet, start of a worker, memory of a queue",
    file: "cards/bringup.ts",
  },
  ring: {
    about: "nanoseconds a packet in each kind of virtqueue and in ixgbe",
    file: "rings/ring.ts",
  },
  steady: {
    about:
      "garbage collections and bytes allocated in steady forwarding workers",
    file: "cards/steady.ts",
  },
  "steady-rings": {
    about: "the same in each driver, over 100 million packets in memory",
    file: "rings/steady_rings.ts",
  },
  virtio: {
    about: "the virtio driver beside DPDK's, on the same vhost-user backend",
    file: "beside_dpdk/virtio.ts",
    options: [
      {
        name: "layout",
        values: ["split", "packed"],
        about: "only this kind of ring (default: both, one after the other)",
      },
      {
        name: "runs",
        values: [1, 99],
        about: "how often each of both drivers runs (default 7)",
      },
    ],
  },
};

/** Options of all benchmarks, with the names of theirs. */
const OPTIONS = Object.entries(BENCHMARKS).flatMap(([benchmark, { options }]) =>
  (options ?? []).map((option) => ({ benchmark, ...option }))
);

const HELP = `Usage: deno task bench [NAME …] [--json] [--update]

${
  Object.entries(BENCHMARKS).map(([name, { about }]) =>
    `  ${name.padEnd(14)}${about}`
  ).join("\n")
}

Without a name all of them run. Each prints a table, and some draw a picture into bench/out.

  --json                  each prints one JSON object on a line; tables go to standard error
  --update                pictures go to bench/results, which the README shows
${
  OPTIONS.map((option) =>
    `  ${usage(option).padEnd(24)}${option.benchmark}: ${option.about}`
  ).join("\n")
}`;

function usage({ name, values }: BenchOption): string {
  return `--${name} ${isRange(values) ? "N" : values.join("|")}`;
}

/** The arguments make no sense: one line on standard error and exit code 2. */
class UsageError extends Error {}

interface Choice {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly update: boolean;
  /** Options, as they are passed on. */
  readonly options: readonly string[];
}

/** What to run; undefined where help was asked for. */
function choose(args: readonly string[]): Choice | undefined {
  const given = parseArgs(args, {
    boolean: ["json", "update", "help"],
    string: ["_", ...OPTIONS.map(({ name }) => name)],
    unknown: (arg, key) => {
      if (key === undefined) return true;
      throw new UsageError(`there is no option ${arg}: --help lists them`);
    },
  });
  if (given.help) return undefined;
  const words = given._.map(String);
  const unknown = words.find((name) => !Object.hasOwn(BENCHMARKS, name));
  if (unknown !== undefined) {
    const known = Object.keys(BENCHMARKS).join(", ");
    throw new UsageError(`there is no benchmark ${unknown}: use ${known}`);
  }
  const options = OPTIONS.flatMap((option) => {
    const { name, benchmark } = option;
    const value = given[name] as string | undefined;
    if (value === undefined) return [];
    if (words.length !== 1 || words[0] !== benchmark) {
      throw new UsageError(`--${name} is for ${benchmark} alone`);
    }
    assertValue(option, value);
    return [`--${name}=${value}`];
  });
  const names = words.length > 0 ? words : Object.keys(BENCHMARKS);
  return { names, json: given.json, update: given.update, options };
}

function assertValue({ name, values }: BenchOption, value: string): void {
  if (!isRange(values)) {
    if (values.includes(value)) return;
    const known = values.join(", ");
    if (value === "") {
      throw new UsageError(`--${name} needs a value: one of ${known}`);
    }
    throw new UsageError(`--${name} must be one of ${known}, not ${value}`);
  }
  const [least, most] = values;
  const number = /^\d+$/.test(value) ? Number(value) : NaN;
  if (number >= least && number <= most) return;
  throw new UsageError(
    `--${name} must be a whole number from ${least} to ${most}, not ${value}`,
  );
}

function isRange(
  values: BenchOption["values"],
): values is readonly [number, number] {
  return typeof values[0] === "number";
}

async function main(): Promise<number> {
  const choice = choose(Deno.args);
  if (choice === undefined) {
    console.log(HELP);
    return 0;
  }
  const { names, json, update, options } = choice;
  const more = [
    ...options,
    ...(json ? ["--json"] : []),
    ...(update ? [UPDATE] : []),
  ];
  for (const name of names) {
    const code = await runOne(name, more, json);
    if (code !== 0) return code;
  }
  return 0;
}

/** Each in a process of its own, so that none inherits another's heap and compiled code. */
async function runOne(
  name: string,
  more: readonly string[],
  json: boolean,
): Promise<number> {
  const { file, args = [] } = BENCHMARKS[name];
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=bench",
      new URL(file, import.meta.url).pathname,
      ...args,
      ...more,
    ],
    stdout: json ? "piped" : "inherit",
  }).spawn();
  if (json) await sort(child.stdout);
  return (await child.status).code;
}

/** Passes the JSON on to standard output, and what is for the eye to standard error. */
async function sort(output: ReadableStream<Uint8Array>): Promise<void> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("{")) console.log(line);
      else console.error(line);
    }
  }
}

try {
  Deno.exit(await main());
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message}`);
  Deno.exit(2);
}
