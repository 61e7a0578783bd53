/**
 * Runs in the guest: starts and signals programs as the test asks over
 * standard input, and reports on standard output what they print and how they
 * end. Ends with its input, and the guest with it.
 *
 * @module
 */

import {
  readObjects,
  type Report,
  type Request,
  type StartRequest,
  writeAll,
  writeObject,
} from "./protocol.ts";

const programs = new Map<number, Program>();
let written = Promise.resolve();

/** Reports go out one after the other. */
function report(report: Report): void {
  const bytes = writeObject(report);
  written = written.then(() => writeAll(Deno.stdout, bytes));
}

class Program {
  readonly #id: number;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ id, start, options }: StartRequest) {
    this.#id = id;
    const [command, ...args] = start;
    this.#child = new Deno.Command(command, {
      args,
      ...options,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      // In a process group of its own, for a signal to reach all of it.
      detached: true,
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#run();
  }

  async #run(): Promise<void> {
    const id = this.#id;
    const { stdout, stderr, status } = this.#child;
    const [{ code, signal }] = await Promise.all([
      status,
      forward(stdout, (stdout) => report({ id, stdout })),
      forward(stderr, (stderr) => report({ id, stderr })),
    ]);
    programs.delete(id);
    report({ id, ended: { code, signal } });
  }

  /** Not waited for: a program that does not read must not stop the others. */
  write(text: string): void {
    this.#input.write(new TextEncoder().encode(text)).catch(() => {});
  }

  closeInput(): void {
    this.#input.close().catch(() => {});
  }

  signal(signal: Deno.Signal): void {
    try {
      Deno.kill(-this.#child.pid, signal);
    } catch {
      // All of the group has ended by itself in this moment.
    }
  }
}

async function forward(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    take(text);
  }
}

function start(request: StartRequest): void {
  try {
    programs.set(request.id, new Program(request));
  } catch (error) {
    report({ id: request.id, failed: String(error) });
  }
}

function obey(request: Request): void {
  if ("start" in request) return start(request);
  // Without a program: it has ended, and the test will hear of that.
  const program = programs.get(request.id);
  if ("write" in request) program?.write(request.write);
  else if ("closeInput" in request) program?.closeInput();
  else program?.signal(request.signal);
}

report({ ready: true });
for await (const request of readObjects<Request>(Deno.stdin.readable)) {
  obey(request);
}
