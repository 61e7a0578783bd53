/**
 * The command line in a process of its own, as users run it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { until } from "../until.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** Prints user and system time in seconds, as the last line on standard error. */
const TIMED = ["bash", "-c", 'TIMEFORMAT="%U %S"; time "$@"', "time"];

/** What became of a process. */
export interface Outcome {
  /** Its exit code; 128 and the signal's number when a signal ended it. */
  code: number;
  /** What it printed. */
  stdout: string;
  /** What it printed on standard error. */
  stderr: string;
}

/** How a process differs from `deno task cli`. */
export interface ProcessOptions {
  /** Instead of the permissions of the tasks. */
  permissions?: string[];
  /** Runs it: `setpriv --bounding-set=-net_admin`. */
  prefix?: string[];
  /** More environment. */
  env?: Record<string, string>;
  /** End standard error with a line of the user and system time it took, in seconds. */
  time?: boolean;
}

/** The command line while it runs. Disposing of it kills it, if it still does. */
export class CliProcess implements AsyncDisposable {
  /** What it has printed so far. */
  stdout = "";
  /** What it has printed on standard error so far. */
  stderr = "";
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<Outcome>;
  #running = true;

  /**
   * Starts it.
   *
   * @param args What follows `ixl`.
   * @param options How it shall differ from `deno task cli`.
   */
  constructor(args: readonly string[], options: ProcessOptions = {}) {
    const { permissions = ["-P=demo"], env = {} } = options;
    const prefix = options.time ? TIMED : options.prefix ?? [];
    const [command, ...rest] = [
      ...prefix,
      Deno.execPath(),
      ...["run", "-q", "--no-prompt", ...permissions, "src/cli/main.ts"],
      ...args,
    ];
    this.#child = new Deno.Command(command, {
      args: rest,
      cwd: ROOT,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#ended = this.#end();
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until it has printed this, anywhere. */
  async prints(pattern: RegExp): Promise<void> {
    const seen = () => pattern.test(this.stdout) || pattern.test(this.stderr);
    await until(`${pattern} in the output`, () => seen() || !this.#running);
    if (seen()) return;
    throw new Error(`ended without ${pattern}: ${this.stderr}${this.stdout}`);
  }

  /** Sends a signal. */
  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for its end. */
  ended(): Promise<Outcome> {
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running) this.#child.kill("SIGKILL");
    await this.#ended;
  }

  async #end(): Promise<Outcome> {
    const { status, stdout, stderr } = this.#child;
    const [{ code }] = await Promise.all([
      status,
      collect(stdout, (text) => this.stdout += text),
      collect(stderr, (text) => this.stderr += text),
    ]);
    this.#running = false;
    return { code, stdout: this.stdout, stderr: this.stderr };
  }
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (text: string) => void,
): Promise<void> {
  const texts = stream.pipeThrough(new TextDecoderStream());
  for await (const text of texts) take(text);
}

/** Runs the command line to its end. */
export async function runCli(
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<Outcome> {
  await using process = new CliProcess(args, options);
  return await process.ended();
}

/** Runs a command of the system and returns what it printed; throws when it fails. */
export async function command(
  name: string,
  ...args: string[]
): Promise<string> {
  const options = { args, stdin: "null" } as const;
  const output = await new Deno.Command(name, options).output();
  const decoder = new TextDecoder();
  if (output.success) return decoder.decode(output.stdout);
  const { code, stderr } = output;
  throw new Error(
    `${name} ${args.join(" ")} ended with ${code}: ${decoder.decode(stderr)}`,
  );
}

/** The last line of a program's output, as JSON. */
export function lastJson<T>(stdout: string): T {
  return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "");
}

/** Runs a command to its end, without colours. */
export async function outcomeOf(
  command: string,
  options: Deno.CommandOptions,
): Promise<Outcome> {
  const env = { NO_COLOR: "1", ...options.env };
  const { code, stdout, stderr } = await new Deno.Command(command, {
    stdin: "null",
    ...options,
    env,
  }).output();
  const [out, error] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  return { code, stdout: out, stderr: error };
}
