/**
 * Text tables, printed once or redrawn in place on a terminal.
 *
 * @module
 */
import { readEnv } from "../environment.ts";

/** A column of a table. */
export interface Column {
  /** Its head. */
  readonly title: string;
  /** Which side its cells keep to. Default: "left". */
  readonly align?: "left" | "right";
}

/** What stands in a table: numbers are written with thousands separators. */
export type Cell = string | number;

const GAP = "  ";
const BOLD = "\x1b[1m";
const PLAIN = "\x1b[0m";
const CLEAR_BELOW = "\x1b[0J";

/**
 * Lays a table out: its head, then a line for each row.
 *
 * @param widths Least width of each column; raised to what the table needs.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatTable } from "./table.ts";
 *
 * const columns = [{ title: "queue" }, { title: "received", align: "right" as const }];
 * assertEquals(formatTable(columns, [[0, 12345]]), "queue  received\n0        12,345");
 * ```
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  widths: number[] = [],
): string {
  return tableLines(columns, rows, widths).join("\n");
}

function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  widths: number[],
): string[] {
  const table = [columns.map(({ title }) => title), ...rows.map(rowTexts)];
  columns.forEach((_, i) => {
    const needed = table.map((row) => row[i]?.length ?? 0);
    widths[i] = Math.max(widths[i] ?? 0, ...needed);
  });
  return table.map((row) =>
    columns.map(({ align }, i) => pad(row[i] ?? "", widths[i], align))
      .join(GAP).trimEnd()
  );
}

const rowTexts = (row: readonly Cell[]): string[] => row.map(cellText);

function cellText(cell: Cell): string {
  return typeof cell === "number" ? cell.toLocaleString("en-US") : cell;
}

function pad(text: string, width: number, align: Column["align"]): string {
  return align === "right" ? text.padStart(width) : text.padEnd(width);
}

/** Where a live table goes. */
export interface LiveTableOutput {
  /** Takes text. */
  readonly write: (text: string) => void;
  /** Whether the cursor can be moved. */
  readonly terminal: boolean;
  /** Characters of a line, which is cut there; only for a terminal. */
  readonly width: () => number;
  /** Whether the head may be bold. */
  readonly color: boolean;
}

/**
 * A table whose rows change: redrawn in place on a terminal, appended as plain lines elsewhere.
 *
 * @example
 * ```ts
 * import { LiveTable } from "./table.ts";
 *
 * const table = new LiveTable([{ title: "second" }, { title: "packets", align: "right" }]);
 * table.update([[1, 1000]]);
 * table.update([[2, 2000]]);
 * table.done();
 * ```
 */
export class LiveTable {
  readonly #columns: readonly Column[];
  readonly #output: LiveTableOutput;
  readonly #widths: number[] = [];
  #linesDrawn = 0;

  /**
   * @param columns Its columns.
   * @param output Where it goes: standard output, unless that is for something else.
   */
  constructor(
    columns: readonly Column[],
    output: LiveTableOutput = liveOutput(Deno.stdout),
  ) {
    this.#columns = columns;
    this.#output = output;
  }

  /** Shows these rows: in place of the last ones on a terminal, below them elsewhere. */
  update(rows: readonly (readonly Cell[])[]): void {
    const lines = tableLines(this.#columns, rows, this.#widths);
    if (this.#output.terminal) this.#redraw(lines);
    else this.#append(lines);
  }

  /** Leaves the last rows where they are; what is printed next goes below. */
  done(): void {
    this.#linesDrawn = 0;
  }

  #redraw(lines: readonly string[]): void {
    const { write, width, color } = this.#output;
    const room = width();
    const [head, ...rest] = lines.map((line) => line.slice(0, room));
    const shownHead = color ? `${BOLD}${head}${PLAIN}` : head;
    const back = this.#linesDrawn > 0 ? `\x1b[${this.#linesDrawn}A` : "";
    write(`${back}\r${CLEAR_BELOW}${[shownHead, ...rest].join("\n")}\n`);
    this.#linesDrawn = lines.length;
  }

  #append(lines: readonly string[]): void {
    const wanted = this.#linesDrawn === 0 ? lines : lines.slice(1);
    if (wanted.length > 0) this.#output.write(`${wanted.join("\n")}\n`);
    this.#linesDrawn = lines.length;
  }
}

/** What {@linkcode liveOutput} writes to. */
type Stream = Pick<typeof Deno.stdout, "isTerminal" | "writeSync">;

/** A live table's way to a stream. */
function liveOutput(stream: Stream): LiveTableOutput {
  const encoder = new TextEncoder();
  const terminal = stream.isTerminal();
  return {
    write: (text) => writeAll(stream, encoder.encode(text)),
    terminal,
    // A terminal that does not know its size says 0.
    width: () => Deno.consoleSize().columns || Infinity,
    color: terminal && (readEnv("NO_COLOR") ?? "") === "",
  };
}

function writeAll(stream: Stream, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    at += stream.writeSync(bytes.subarray(at));
  }
}

/** Where a command says what is for people. */
export interface Display {
  /** For a {@linkcode LiveTable}. */
  readonly live: LiveTableOutput;
  /** Writes a line. */
  readonly say: (line: string) => void;
}

/**
 * Where tables and sentences go: to standard output, and with `--json` to standard error, because standard output is
 * for the object then.
 */
export function display(json: boolean): Display {
  return json
    ? { live: liveOutput(Deno.stderr), say: (line) => console.error(line) }
    : { live: liveOutput(Deno.stdout), say: (line) => console.log(line) };
}
