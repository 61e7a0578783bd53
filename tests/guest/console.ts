/**
 * The test's side of `programs/console.ts`: cards that a program in the guest drives, frame by frame.
 *
 * @module
 */
import type { DeviceOptions } from "../../mod.ts";
import { bindDriver, type Guest, type Nic, type Program } from "./lab/mod.ts";
import type { CardReport, PacketReport } from "./programs/card_console.ts";
import type { Answer, Command } from "./programs/console.ts";

const PROGRAM = "tests/guest/programs/console.ts";
/** An emulated guest on a busy machine. */
const TIMEOUT_MS = 60_000;

type Options = Readonly<Record<string, unknown>> & DeviceOptions;

/** The program, and what it is asked. */
class Channel {
  #asked = 0;

  constructor(readonly program: Program) {}

  async ask(
    command: Omit<Command, "id">,
  ): Promise<unknown> {
    const id = ++this.#asked;
    await this.program.write(`${JSON.stringify({ id, ...command })}\n`);
    const line = new RegExp(`^\\{"id":${id},.*\\n`, "m");
    await this.program.prints(line, { timeoutMs: TIMEOUT_MS });
    const answer: Answer = JSON.parse(line.exec(this.program.stdout)![0]);
    if (!("error" in answer)) return answer.result;
    throw new Error(`${answer.error.name}: ${answer.error.message}`);
  }
}

/** A card, opened by a program in the guest. */
export class Card {
  /** What the program says of it. */
  report: CardReport;
  readonly #channel: Channel;
  /** Which of the program's cards. */
  readonly #index: number;

  private constructor(channel: Channel, index: number, report: CardReport) {
    this.#channel = channel;
    this.#index = index;
    this.report = report;
  }

  /** Gives a card to VFIO and opens it. */
  static async open(
    guest: Guest,
    nic: Nic,
    options: Options = {},
  ): Promise<Card> {
    const [card] = await Card.openAll(guest, [nic], () => options);
    return card;
  }

  /** Gives cards to VFIO and opens all in one program. */
  static async openAll(
    guest: Guest,
    nics: readonly Nic[],
    optionsOf: (nic: Nic) => Options,
  ): Promise<Card[]> {
    for (const { address } of nics) {
      await bindDriver(guest, address, "vfio-pci");
    }
    const program = await guest.spawn([
      ...["deno", "run", "-q", "-A", "--no-check", PROGRAM],
      ...nics.flatMap((nic) => [nic.address, JSON.stringify(optionsOf(nic))]),
    ]);
    await program.prints(/^\[\{"driver".*\n/, { timeoutMs: TIMEOUT_MS });
    const reports: CardReport[] = JSON.parse(program.stdout.split("\n")[0]);
    const channel = new Channel(program);
    return reports.map((report, index) => new Card(channel, index, report));
  }

  /** The program, for tests of its end. */
  get program(): Program {
    return this.#channel.program;
  }

  /** Closes the card, and opens it with other options in the same program: quicker than another one. */
  async reopen(options: Options = {}): Promise<void> {
    this.report = await this.ask<CardReport>("reopen", options);
  }

  /** Has the program do something, and returns what came of it. Throws an Error with its error. */
  async ask<T = unknown>(
    name: Command["name"],
    ...args: unknown[]
  ): Promise<T> {
    return await this.#channel.ask({ card: this.#index, name, args }) as T;
  }

  /** Calls a method of the device. */
  call<T = unknown>(method: string, ...args: unknown[]): Promise<T> {
    return this.ask<T>("call", method, ...args);
  }

  /** Takes so many packets from all queues, or what came in time. */
  receive(count: number, timeoutMs = 10_000): Promise<PacketReport[]> {
    return this.ask<PacketReport[]>("receive", count, timeoutMs);
  }

  /** Closes all devices of the program, and ends it. */
  async close(): Promise<void> {
    await this.program.closeInput();
    const { code, stderr } = await this.program.ended();
    if (code !== 0) throw new Error(`ended with ${code}: ${stderr}`);
  }
}
