/**
 * What the examples share and what says nothing about network cards: checking arguments, and when to end.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { IxlError, stopOnSignals } from "../mod.ts";

/** The options of an example by name: a number with its default and its limits, or what reads a text that must be given. */
export type Options = Record<
  string,
  | readonly [value: number, least: number, most: number]
  | ((text: string) => unknown)
>;

/** What was given: the words in order, and the value of each option. */
export type Given<O extends Options> =
  & { words: string[]; json: boolean; card: CardOptions }
  & {
    [K in keyof O]: O[K] extends (text: string) => infer T ? T : number;
  };

/** What every example passes on to `openDevice()`. */
export interface CardOptions {
  readonly unsafeNoIommu: boolean;
  readonly virtio: { readonly with: readonly string[] };
}

/** The options of {@linkcode CardOptions}, for the help of every example. */
const EVERY_HELP =
  `--unsafe-no-iommu opens cards behind no IOMMU, which can then overwrite any memory.
--virtio-with NAME,… asks virtio devices for more features: guest-checksum, guest-tso4, …`;

/** Reads the arguments: as many words as are named, these options, `--json`, and those of every card. Undefined once it printed the help. */
export function parse<O extends Options>(
  args: readonly string[],
  help: string,
  names: readonly string[],
  options: O,
): Given<O> | undefined {
  const given = parseArgs(args, {
    boolean: ["help", "json", "unsafe-no-iommu"],
    string: ["_", "virtio-with", ...Object.keys(options)],
    alias: { help: "h" },
    unknown: (arg, option) => option === undefined || fail(unknown(arg)),
  });
  if (given.help) return console.log(`${help}\n\n${EVERY_HELP}`), undefined;
  const words = given._.map(String);
  if (words.length < names.length) fail(`${names[words.length]} is missing`);
  if (words.length > names.length) {
    fail(`"${words[names.length]}" is one argument too many`);
  }
  const values = Object.entries(options).map(([name, option]) => [
    name,
    valueOf(`--${name}`, given[name] as string | undefined, option),
  ]);
  const { json, "unsafe-no-iommu": unsafeNoIommu } = given;
  const features = given["virtio-with"] as string | undefined;
  const card = { unsafeNoIommu, virtio: { with: features?.split(",") ?? [] } };
  return { words, json, card, ...Object.fromEntries(values) };
}

function unknown(arg: string): string {
  return /^-\d/.test(arg)
    ? `${arg} is no option: write a negative value with an equals sign, --option=${arg}`
    : `there is no option ${arg}`;
}

function valueOf(name: string, text: string | undefined, option: Options[""]) {
  if (typeof option === "function") return textValue(name, text, option);
  const [value, least, most] = option;
  if (text === undefined) return value;
  const number = text === "" ? NaN : Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) {
    return number;
  }
  const limits = most === Infinity
    ? `${least} or more`
    : `from ${least} to ${most}`;
  const given = text === "" ? "empty" : text;
  return fail(`${name} must be a whole number ${limits}, not ${given}`);
}

function textValue(
  name: string,
  text: string | undefined,
  read: (text: string) => unknown,
): unknown {
  if (text === undefined) fail(`${name} is missing`);
  try {
    return read(text);
  } catch (error) {
    fail(`${name}: ${(error as Error).message}`);
  }
}

function fail(what: string): never {
  throw new UsageError(`${what}; see --help`);
}

/** The arguments make no sense: the program ends with exit code 2. */
class UsageError extends IxlError {
  constructor(message: string) {
    super("bad-config", message);
  }
}

/** Calls `stop` once: after so many seconds (0 for never), or on a signal. Dispose of it at the end. */
export function stopAfter(seconds: number, stop: () => unknown): Disposable {
  const timer = seconds > 0 ? setTimeout(stop, seconds * 1000) : undefined;
  const signals = stopOnSignals(stop);
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      signals[Symbol.dispose]();
    },
  };
}
