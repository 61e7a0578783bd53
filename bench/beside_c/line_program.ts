/**
 * A program that answers each line with a number.
 *
 * @module
 */

/** One that is running. */
export class LineProgram implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;

  /**
   * Starts it.
   *
   * @param path The program.
   * @param args Its arguments.
   */
  constructor(readonly path: string, args: readonly string[]) {
    this.#process = new Deno.Command(path, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
  }

  /** What it answers to a line. */
  async ask(line: string): Promise<number> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
    let answer = "";
    while (!answer.endsWith("\n")) {
      const { value, done } = await this.#output.read();
      if (done) throw new Error(`${this.path} has ended`);
      answer += value;
    }
    return Number(answer);
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close();
    await this.#output.cancel();
    await this.#process.status;
  }
}
