/**
 * Commands, described as data: one parser, one form of help, one way to fail.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { exitCode as programExitCode } from "../../examples/_ending.ts";
import { IxlError } from "../errors.ts";
import { debugLogging } from "../log.ts";

/** The arguments make no sense: one line on standard error and exit code 2. */
export class UsageError extends IxlError {
  /** Name of the class. */
  override readonly name = "UsageError";

  /**
   * Makes the error.
   *
   * @param message What is wrong with which argument.
   */
  constructor(message: string) {
    super("bad-config", message);
  }
}

/** An option of a command: a flag, or with a value. */
export interface CommandOption {
  /** Its name without the dashes. */
  readonly name: string;
  /** What stands for its value in the help, such as `N` or `FILE`; without it the option is a flag. */
  readonly value?: string;
  /** What it is when it is not given. A number makes the option take numbers. */
  readonly default?: string | number;
  /** Least and most of a number; whole numbers only, unless `fraction` is set. */
  readonly range?: readonly [number, number];
  /** Numbers may have a fraction. */
  readonly fraction?: boolean;
  /** One line for the help. */
  readonly help: string;
}

/** The option of every command that opens a card. */
export const UNSAFE_NO_IOMMU: CommandOption = {
  name: "unsafe-no-iommu",
  help: "open a card behind no IOMMU, which can then overwrite any memory",
};

/** The option of every command that opens a card: more features of a virtio device. */
export const VIRTIO_WITH: CommandOption = {
  name: "virtio-with",
  value: "NAME,…",
  help: "ask a virtio device for more features: guest-checksum, guest-tso4, …",
};

/** What the options of a command that opens a card mean to `openDevice()`. */
export function cardOptions(
  given: Given,
): { unsafeNoIommu: boolean; virtio: { with: readonly string[] } } {
  return {
    unsafeNoIommu: given.flag(UNSAFE_NO_IOMMU.name),
    virtio: { with: given.text(VIRTIO_WITH.name)?.split(",") ?? [] },
  };
}

/** A command, described. */
export interface CommandSpec {
  /** What the user types. */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Its arguments in order, such as `ADDRESS`; all are needed. */
  readonly args?: readonly string[];
  /** Its options. `--help` is always there. */
  readonly options?: readonly CommandOption[];
  /** More for its own help, after the options. */
  readonly notes?: string;
  /** Does it. Returns the exit code; errors may be thrown. */
  readonly run: (given: Given) => Promise<number>;
}

/** A command, ready to run. */
export interface Command {
  /** What the user types. */
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Runs it with what follows its name. Returns the exit code; throws a {@linkcode UsageError} for bad arguments. */
  readonly main: (args: readonly string[]) => Promise<number>;
}

/** What the user gave, checked. */
export class Given {
  readonly #values: ReadonlyMap<string, string | number | boolean>;
  readonly #chosen: ReadonlySet<string>;

  /**
   * @param args The arguments, as many as the command has.
   * @param values The options that have a value.
   * @param chosen The options that the user gave.
   */
  constructor(
    readonly args: readonly string[],
    values: ReadonlyMap<string, string | number | boolean>,
    chosen: ReadonlySet<string> = new Set(),
  ) {
    this.#values = values;
    this.#chosen = chosen;
  }

  /** True where the user gave the option, false where it has its default. */
  has(name: string): boolean {
    return this.#chosen.has(name);
  }

  /** A flag. */
  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** A number. */
  number(name: string): number {
    return Number(this.#values.get(name));
  }

  /** A text; undefined when there is none. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return value === undefined ? undefined : String(value);
  }
}

/**
 * Makes a command from its description.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { defineCommand } from "./command.ts";
 *
 * const command = defineCommand({
 *   name: "wait",
 *   summary: "Does nothing for a while",
 *   options: [{ name: "seconds", value: "S", default: 5, range: [0, 60], help: "how long" }],
 *   run: (given) => Promise.resolve(given.number("seconds")),
 * });
 * assertEquals(await command.main(["--seconds", "7"]), 7);
 * ```
 */
export function defineCommand(spec: CommandSpec): Command {
  return {
    name: spec.name,
    summary: spec.summary,
    main: async (args) => {
      const given = parse(spec, args);
      if (given !== undefined) return await spec.run(given);
      console.log(commandHelp(spec));
      return 0;
    },
  };
}

/** What the arguments mean; undefined when help was asked for. */
function parse(spec: CommandSpec, args: readonly string[]): Given | undefined {
  const { options = [], name } = spec;
  const given = parseArgs(args, {
    boolean: ["help", ...options.filter((o) => !o.value).map((o) => o.name)],
    string: ["_", ...options.filter((o) => o.value).map((o) => o.name)],
    alias: { help: "h" },
    unknown: (arg, key) => key === undefined || rejectOption(name, arg),
  });
  if (given.help) return undefined;
  const words = given._.map(String);
  assertArguments(spec, words);
  const values = new Map<string, string | number | boolean>();
  const chosen = new Set<string>();
  for (const option of options) {
    const value = given[option.name] as string | boolean | undefined;
    if (value !== undefined && value !== false) chosen.add(option.name);
    const checked = optionValue(option, value);
    if (checked !== undefined) values.set(option.name, checked);
  }
  return new Given(words, values, chosen);
}

function rejectOption(command: string, arg: string): never {
  throw new UsageError(
    /^-\d/.test(arg)
      ? `${arg} is no option: write a negative value with an equals sign, --option=${arg}`
      : `${command} has no option ${arg}: see ${command} --help`,
  );
}

function assertArguments(spec: CommandSpec, words: readonly string[]): void {
  const { name, args = [] } = spec;
  if (words.length < args.length) {
    throw new UsageError(
      `${name} needs ${args.slice(words.length).join(" ")}: see ${name} --help`,
    );
  }
  if (words.length > args.length) {
    throw new UsageError(
      `${name} takes no "${words[args.length]}": see ${name} --help`,
    );
  }
}

function optionValue(
  option: CommandOption,
  value: string | boolean | undefined,
): string | number | boolean | undefined {
  if (!option.value) return value;
  if (value === undefined) return option.default;
  if (value === "") {
    throw new UsageError(`--${option.name} needs a value: ${option.value}`);
  }
  return typeof option.default === "number" || option.range
    ? numberValue(option, String(value))
    : value;
}

function numberValue(option: CommandOption, text: string): number {
  const { name, fraction = false, range } = option;
  const [least, most] = range ?? [-Infinity, Infinity];
  const value = text.trim() === "" ? NaN : Number(text);
  const isRightKind = fraction
    ? Number.isFinite(value)
    : Number.isSafeInteger(value);
  if (isRightKind && value >= least && value <= most) return value;
  const kind = fraction ? "a number" : "a whole number";
  const limits = range ? ` from ${least} to ${most}` : "";
  throw new UsageError(`--${name} must be ${kind}${limits}, not ${text}`);
}

/** The text that `--help` prints. */
export function commandHelp(spec: CommandSpec): string {
  const { name, summary, args = [], options = [], notes } = spec;
  const lines = [
    ...options.map((option): [string, string] => [
      `--${option.name}${option.value ? ` ${option.value}` : ""}`,
      option.help + defaultNote(option),
    ]),
    ["--help", "print this"] as [string, string],
  ];
  return [
    `Usage: ixl ${[name, ...args].join(" ")} [options]`,
    `${summary}.`,
    definitionList(lines),
    ...(notes ? [notes] : []),
  ].join("\n\n");
}

function defaultNote(option: CommandOption): string {
  return option.default === undefined || option.default === ""
    ? ""
    : ` (default ${option.default})`;
}

/** Terms and what they mean, in two columns. */
export function definitionList(
  entries: readonly (readonly [string, string])[],
): string {
  const width = Math.max(...entries.map(([term]) => term.length));
  return entries.map(([term, text]) => `  ${term.padEnd(width)}  ${text}`)
    .join("\n");
}

/**
 * Runs a program to its exit code: what it throws becomes one line on standard error, with exit code 2 for bad
 * arguments and 1 for everything else. The stack is shown for what is a mistake of ours, or with `IXL_LOG=debug`.
 */
export function exitCode(program: () => Promise<number>): Promise<number> {
  return programExitCode(program, debugLogging);
}
