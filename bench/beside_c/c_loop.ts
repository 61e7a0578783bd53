/**
 * The C program that our drivers are measured against: `native/bench/ring.c`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { LineProgram } from "./line_program.ts";

const SOURCE = fileURLToPath(
  new URL("../../native/bench/ring.c", import.meta.url),
);
const PROGRAM = fileURLToPath(
  new URL("../../native/build/ring", import.meta.url),
);
const FLAGS = ["-O3", "-march=native", "-Wall", "-Wextra", "-Werror"];

/** Entries as classic drivers have them. */
export const CLASSIC_ENTRY = 2048;
/** Entries as our pools have them: a cache line longer, so that their heads are spread over the cache. */
export const PADDED_ENTRY: number = CLASSIC_ENTRY + 64;

/** One measurement. */
export interface CLoopPoint {
  /** "advanced" or "legacy" descriptors. */
  readonly layout: string;
  /** Descriptors of each ring. */
  readonly ring: number;
  /** Packets at once. */
  readonly batch: number;
  /** Bytes of a frame. */
  readonly size: number;
  /** How many packets. */
  readonly packets: number;
  /** Bytes of a packet's entry with its head: {@linkcode CLASSIC_ENTRY} or {@linkcode PADDED_ENTRY}. */
  readonly entry: number;
}

/** The program, compiled and running. */
export class CLoop implements AsyncDisposable {
  readonly #program: LineProgram;

  private constructor(core: number) {
    this.#program = new LineProgram(PROGRAM, [String(core)]);
  }

  /** Compiles it and starts it on a core. Throws when there is no compiler. */
  static async start(core: number): Promise<CLoop> {
    await Deno.mkdir(fileURLToPath(new URL(".", `file://${PROGRAM}`)), {
      recursive: true,
    });
    const compiler = Deno.env.get("CC") || "cc";
    const { success } = await new Deno.Command(compiler, {
      args: [...FLAGS, "-o", PROGRAM, SOURCE],
      stdin: "null",
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`${compiler} cannot compile ${SOURCE}`);
    return new CLoop(core);
  }

  /** Nanoseconds a packet. */
  measure(point: CLoopPoint): Promise<number> {
    const { layout, ring, batch, size, packets, entry } = point;
    return this.#program.ask(
      `${layout} ${ring} ${batch} ${size} ${packets} ${entry}`,
    );
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}
