/**
 * Runs in the guest: opens cards through the public API and does what it is told, one JSON object a line.
 *
 *     console.ts ADDRESS OPTIONS [ADDRESS OPTIONS …]
 *
 * The first line it prints has all cards; then each line of standard input is a {@linkcode Command}, and each is
 * answered by a line with its id. What one card is asked is done in turn; no card waits for another. Ends with its
 * input.
 *
 * @module
 */
import { CardConsole } from "./card_console.ts";

export type { PacketReport, ReceiveReport } from "./card_console.ts";

/** What a test can ask for. */
export interface Command {
  readonly id: number;
  /** Which of the cards, from 0. */
  readonly card: number;
  readonly name: keyof CardConsole;
  readonly args: readonly unknown[];
}

/** What it gets. */
export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { name: string; message: string } };

/** A card, and when all has been done that it was asked. */
interface Seat {
  readonly card: CardConsole;
  idle: Promise<void>;
}

async function openAll(args: readonly string[]): Promise<Seat[]> {
  const opened = Array.from({ length: args.length / 2 }, async (_, index) => {
    const [address, options] = args.slice(2 * index);
    const card = new CardConsole(address);
    return { card, report: await card.open(JSON.parse(options)) };
  });
  const all = await Promise.all(opened);
  print(all.map(({ report }) => report));
  return all.map(({ card }) => ({ card, idle: Promise.resolve() }));
}

function print(line: unknown): void {
  console.log(JSON.stringify(line));
}

async function obey(
  card: CardConsole,
  { id, name, args }: Command,
): Promise<void> {
  try {
    const method = card[name] as (...args: unknown[]) => unknown;
    print({ id, result: await method.apply(card, [...args]) ?? null });
  } catch (error) {
    const { name, message } = error as Error;
    print({ id, error: { name, message } });
  }
}

const seats = await openAll(Deno.args);
let rest = "";
for await (
  const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const command: Command = JSON.parse(line);
    const seat = seats[command.card];
    seat.idle = seat.idle.then(() => obey(seat.card, command));
  }
}
await Promise.all(seats.map(async ({ card, idle }) => {
  await idle;
  await card.close();
}));
