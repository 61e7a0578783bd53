/**
 * The program of `programs/open_card.ts` in a guest, from outside.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { bindDriver, type Guest, type Nic, type Program } from "./lab/mod.ts";
import type { CardOptions } from "./programs/open_card.ts";
import {
  type Description,
  isDescription,
  readDescription,
} from "./programs/card_worker.ts";

const START_TIMEOUT_MS = 90_000;

/** A card that a program in the guest has opened. */
export class CardProgram {
  readonly #program: Program;
  #lastId = 0;

  private constructor(program: Program, readonly nic: Nic) {
    this.#program = program;
  }

  /** Binds the card to vfio-pci, starts the program and waits until its workers run. */
  static async start(
    guest: Guest,
    nic: Nic,
    options: CardOptions = {},
  ): Promise<CardProgram> {
    await bindDriver(guest, nic.address, "vfio-pci");
    const program = await guest.spawn([
      ...["deno", "run", "-q", "-P=demo", "tests/guest/programs/open_card.ts"],
      ...[nic.address, JSON.stringify(options)],
    ]);
    await program.prints(/^ready$/m, { timeoutMs: START_TIMEOUT_MS });
    return new CardProgram(program, nic);
  }

  /** What the program has printed. */
  get output(): string {
    return this.#program.stdout + this.#program.stderr;
  }

  /** Calls a method or reads a property of the device, or gives one of the program's commands. */
  async call<T = unknown>(call: string, ...args: unknown[]): Promise<T> {
    const id = ++this.#lastId;
    await this.#program.write(`${JSON.stringify({ id, call, args })}\n`);
    const pattern = new RegExp(`^= ${id} (.*)$`, "m");
    await this.#program.prints(pattern);
    const outcome = JSON.parse(pattern.exec(this.#program.stdout)![1]);
    if (!("error" in outcome)) return outcome.value;
    const { name, message } = outcome.error;
    throw Object.assign(new Error(message), { name });
  }

  /** Waits until a condition on what a call returns holds. */
  async until<T>(
    call: string,
    holds: (value: T) => boolean,
    timeoutMs = 20_000,
  ): Promise<T> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const value = await this.call<T>(call);
      if (holds(value)) return value;
      if (performance.now() > end) {
        throw new Error(`${call} stays ${JSON.stringify(value)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Waits for what the program prints. */
  prints(pattern: RegExp, timeoutMs = 20_000): Promise<void> {
    return this.#program.prints(pattern, { timeoutMs });
  }

  /** Sends frames to a card whose workers describe, and returns what they say of each, in the order of arrival. */
  async describe(
    frames: Uint8Array[],
    expected = frames.length,
  ): Promise<Description[]> {
    await this.nic.port.send(...frames);
    const answers = await this.nic.port.receiveMany(expected, {
      where: isDescription,
    });
    return answers.map(readDescription);
  }

  /** Ends the program by the end of its input: it must close the card and end well. */
  async close(): Promise<void> {
    await this.#program.closeInput();
    const { code, stderr } = await this.#program.ended();
    assertEquals(code, 0, stderr);
    assertEquals(/^closed$/m.test(this.#program.stdout), true);
  }

  /** Kills the program, which gets no chance to stop the card. */
  async kill(): Promise<void> {
    await this.#program.kill();
  }
}
