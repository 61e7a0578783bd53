/**
 * The test's side of `programs/console.ts`: a card that a program in the guest drives, frame by frame.
 *
 * @module
 */
import type { DeviceOptions } from "../../mod.ts";
import { bindDriver, type Guest, type Nic, type Program } from "./lab/mod.ts";
import type {
  Answer,
  CardReport,
  Command,
  PacketReport,
} from "./programs/console.ts";

const PROGRAM = "tests/guest/programs/console.ts";
/** An emulated guest on a busy machine. */
const TIMEOUT_MS = 60_000;

/** A card, opened by a program in the guest. */
export class Card {
  /** What the program says of it. */
  report: CardReport;
  /** The program, for tests of its end. */
  readonly program: Program;
  #asked = 0;

  private constructor(program: Program, report: CardReport) {
    this.program = program;
    this.report = report;
  }

  /** Gives a card to VFIO and opens it. */
  static async open(
    guest: Guest,
    nic: Nic,
    options: Readonly<Record<string, unknown>> & DeviceOptions = {},
  ): Promise<Card> {
    await bindDriver(guest, nic.address, "vfio-pci");
    const program = await guest.spawn([
      ...["deno", "run", "-q", "-A", "--no-check", PROGRAM, nic.address],
      JSON.stringify(options),
    ]);
    await program.prints(/^\{"driver".*\n/m, { timeoutMs: TIMEOUT_MS });
    return new Card(program, JSON.parse(program.stdout.split("\n")[0]));
  }

  /** Closes the card, and opens it with other options in the same program: quicker than another one. */
  async reopen(
    options: Readonly<Record<string, unknown>> & DeviceOptions = {},
  ): Promise<void> {
    this.report = await this.ask<CardReport>("reopen", options);
  }

  /** Has the program do something, and returns what came of it. Throws an Error with its error. */
  async ask<T = unknown>(
    name: Command["name"],
    ...args: unknown[]
  ): Promise<T> {
    const id = ++this.#asked;
    await this.program.write(`${JSON.stringify({ id, name, args })}\n`);
    const line = new RegExp(`^\\{"id":${id},.*\\n`, "m");
    await this.program.prints(line, { timeoutMs: TIMEOUT_MS });
    const answer: Answer = JSON.parse(line.exec(this.program.stdout)![0]);
    if ("error" in answer) {
      throw new Error(`${answer.error.name}: ${answer.error.message}`);
    }
    return answer.result as T;
  }

  /** Calls a method of the device. */
  call<T = unknown>(method: string, ...args: unknown[]): Promise<T> {
    return this.ask<T>("call", method, ...args);
  }

  /** Takes so many packets from all queues, or what came in time. */
  receive(count: number, timeoutMs = 10_000): Promise<PacketReport[]> {
    return this.ask<PacketReport[]>("receive", count, timeoutMs);
  }

  /** Closes the device and ends the program. */
  async close(): Promise<void> {
    await this.program.closeInput();
    const { code, stderr } = await this.program.ended();
    if (code !== 0) throw new Error(`ended with ${code}: ${stderr}`);
  }
}
