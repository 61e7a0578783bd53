/**
 * Offline stand-in for `@std/cli`: `parseArgs` with the options this project
 * uses and the results of the real package. The words are cut into tokens by
 * `node:util`; what they mean is decided here, because the two packages differ
 * (an option that nobody declared takes a value in `@std/cli`, for example).
 *
 * @module
 */

import { parseArgs as tokenize } from "node:util";

type Aliases = Readonly<Record<string, string | readonly string[]>>;

/** What `parseArgs` is told about the command line. */
export interface ParseOptions<
  B extends string,
  S extends string,
  C extends string,
  D extends Record<string, unknown>,
> {
  /** Put what follows `--` into the result's `"--"` rather than into `_`. */
  "--"?: boolean;
  /** Other names of an option. */
  alias?: Aliases;
  /** Options without a value; false unless given. */
  boolean?: B | readonly B[];
  /** Options that may be repeated; their values come as an array. */
  collect?: C | readonly C[];
  /** Values of options that were not given. */
  default?: D;
  /** Take everything after the first word that is no option as it stands. */
  stopEarly?: boolean;
  /** Options whose value stays a string, even if it looks like a number. */
  string?: S | readonly S[];
  /** Called for what is not declared; returning false leaves it out. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Fields of the named options; nothing if the names are not known at compile time. */
type Fields<Names extends PropertyKey, T> = string extends Names ? unknown
  : { [K in Names]: T };

/** The options found, and the other words in `_`. */
export type Args<
  B extends string,
  S extends string,
  C extends string,
  D extends Record<string, unknown>,
> =
  & Record<string, unknown>
  & { _: (string | number)[]; "--"?: string[] }
  & Fields<Exclude<B, C>, boolean>
  & Fields<Extract<S, C>, string[]>
  & Fields<Exclude<C, S | B>, unknown[]>
  & Partial<Fields<Exclude<S, C | keyof D | "_">, string>>
  & {
    [K in keyof D]: K extends B ? boolean
      : K extends C ? unknown
      : K extends S ? string | D[K]
      : unknown;
  };

type Value = string | number | boolean;

const list = <T extends string>(value: T | readonly T[] | undefined) =>
  value === undefined ? [] : typeof value === "string" ? [value] : value;

const isNumber = (text: string) =>
  /^0x[0-9a-f]+$/i.test(text) ||
  /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/.test(text);

/** Each name of an option together with all its other names. */
function aliasTable(alias: Aliases = {}): Map<string, string[]> {
  const table = new Map<string, string[]>();
  for (const [key, names] of Object.entries(alias)) {
    const all = [key, ...list(names)];
    for (const name of all) table.set(name, all.filter((n) => n !== name));
  }
  return table;
}

class Parser {
  readonly found: Record<string, unknown> = {};
  readonly positionals: (string | number)[] = [];
  readonly #aliases: Map<string, string[]>;
  readonly #booleans: Set<string>;
  readonly #strings: Set<string>;
  readonly #collected: Set<string>;
  readonly #unknown: ParseOptions<string, string, string, never>["unknown"];

  constructor(
    options: ParseOptions<string, string, string, Record<string, unknown>>,
  ) {
    this.#aliases = aliasTable(options.alias);
    this.#booleans = this.#withAliases(list(options.boolean));
    this.#strings = this.#withAliases(list(options.string));
    this.#collected = this.#withAliases(list(options.collect));
    this.#unknown = options.unknown;
  }

  #withAliases(names: readonly string[]): Set<string> {
    return new Set(
      names.flatMap((name) => [name, ...this.#aliases.get(name) ?? []]),
    );
  }

  /** Says whether the option eats the word that follows it. */
  takesValue(key: string, next: string | undefined): next is string {
    if (next === undefined) return false;
    if (this.#booleans.has(key)) return next === "true" || next === "false";
    return true;
  }

  option(key: string, text: string | undefined, arg: string): void {
    let value: Value = text ?? (this.#strings.has(key) ? "" : true);
    if (this.#booleans.has(key)) value = text !== "false";
    const declared = this.#booleans.has(key) || this.#strings.has(key) ||
      this.#aliases.has(key);
    if (!declared && this.#unknown?.(arg, key, value) === false) return;
    if (
      typeof value === "string" && !this.#strings.has(key) && isNumber(value)
    ) value = Number(value);
    for (const name of [key, ...this.#aliases.get(key) ?? []]) {
      if (!this.#collected.has(name)) this.found[name] = value;
      else {(this.found[name] ??= [] as Value[], this.found[name] as Value[])
          .push(value);}
    }
  }

  positional(word: string): void {
    if (this.#unknown?.(word) === false) return;
    const keep = this.#strings.has("_") || !isNumber(word);
    this.positionals.push(keep ? word : Number(word));
  }

  addDefaults(defaults: Record<string, unknown> = {}): void {
    for (const [key, value] of Object.entries(defaults)) {
      if (Object.hasOwn(this.found, key)) continue;
      for (const name of [key, ...this.#aliases.get(key) ?? []]) {
        this.found[name] = value;
      }
    }
    for (const name of this.#collected) this.found[name] ??= [];
    for (const name of this.#booleans) this.found[name] ??= false;
  }
}

/**
 * Reads a command line.
 *
 * Options take a value after `=` or as the next word unless that begins with
 * `-`, so a negative number needs the equals sign: `--irq-timeout=-1`.
 *
 * @param args the words, such as `Deno.args`
 * @param options what to expect
 * @returns the options by name, with the remaining words in `_`
 */
export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
  const D extends Record<string, unknown> = Record<never, never>,
>(
  args: readonly string[],
  options: ParseOptions<B, S, C, D> = {},
): Args<B, S, C, D> {
  const parser = new Parser(options);
  const end = args.indexOf("--");
  const words = end < 0 ? [...args] : args.slice(0, end);
  const { tokens } = tokenize({ args: words, strict: false, tokens: true });
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (token.kind === "option") {
      const next = tokens[i + 1];
      const word = next?.kind === "positional" ? next.value : undefined;
      const eats = token.value === undefined &&
        parser.takesValue(token.name, word);
      parser.option(
        token.name,
        token.value ?? (eats ? word : undefined),
        words[token.index],
      );
      if (eats) i++;
    } else if (token.kind === "positional") {
      parser.positional(token.value);
      if (!options.stopEarly) continue;
      parser.positionals.push(...words.slice(token.index + 1));
      break;
    }
  }
  parser.addDefaults(options.default);
  const rest = end < 0 ? [] : args.slice(end + 1);
  if (!options["--"]) parser.positionals.push(...rest);
  return {
    ...parser.found,
    _: parser.positionals,
    ...(options["--"] ? { "--": rest } : {}),
  } as Args<B, S, C, D>;
}
