/**
 * Plots as SVG: lines, with a logarithmic x axis of base 2, and bars.
 *
 * @module
 */

/** Among the arguments of a benchmark: its picture is for the README. */
export const UPDATE = "--update";

/** What to draw. */
export interface LinePlot {
  /** Above the plot. */
  readonly title: string;
  /** Below the title. */
  readonly subtitle: string;
  /** What the x axis says. */
  readonly x: string;
  /** What the y axis says. */
  readonly y: string;
  /** Whether the y axis is logarithmic, too. Its values are above 0 then. */
  readonly logarithmicY?: boolean;
  /** Where a horizontal line helps the eye. */
  readonly reference?: number;
  /** The lines, each a name and its points in ascending order. */
  readonly lines: readonly {
    readonly name: string;
    readonly points: readonly (readonly [x: number, y: number])[];
  }[];
}

/** Bars to draw. */
export interface BarPlot {
  /** Above the plot. */
  readonly title: string;
  /** Below the title. */
  readonly subtitle: string;
  /** Groups, one below the other, each with a scale of its own that begins at 0. */
  readonly groups: readonly BarGroup[];
}

/** Bars that may be compared. */
export interface BarGroup {
  /** What the values are, with their unit. */
  readonly name: string;
  /** The bars. */
  readonly bars: readonly {
    readonly name: string;
    readonly value: number;
    /** The least and the most that was seen. */
    readonly range?: readonly [number, number];
  }[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 60;
const TOP = 60;
const RIGHT = 190;
const BOTTOM = 50;
const COLOURS = [
  ...["#1b6ca8", "#d1495b", "#2e933c", "#8f5bb5"],
  ...["#c77d0a", "#00798c", "#6b705c", "#b5179e"],
];
const TICKS = 5;
const BAR_LEFT = 190;
const BAR_HEIGHT = 26;

const escape = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const text = (x: number, y: number, content: string, more = "") =>
  `<text x="${x}" y="${y}" ${more}>${escape(content)}</text>`;

/** Draws it. */
export function linePlot(plot: LinePlot): string {
  const all = plot.lines.flatMap(({ points }) => points);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const scale = yScale(plot, all.map(([, y]) => y));
  const [first, last] = [Math.log2(xs[0]), Math.log2(xs[xs.length - 1])];
  const width = WIDTH - LEFT - RIGHT;
  const height = HEIGHT - TOP - BOTTOM;
  const toX = (x: number) =>
    round(LEFT + width * (Math.log2(x) - first) / (last - first || 1));
  const toY = (y: number) => round(TOP + height * (1 - scale.place(y)));
  const bottom = TOP + height;

  const axes = [
    ...xs.map((x) => text(toX(x), bottom + 18, `${x}`, MIDDLE)),
    ...scale.ticks.map((y) => {
      return `<path d="M${LEFT} ${toY(y)}h${width}" stroke="#ddd"/>` +
        text(LEFT - 8, toY(y) + 4, tick(y), 'text-anchor="end"');
    }),
    text(LEFT + width / 2, bottom + 40, plot.x, MIDDLE),
    text(LEFT, TOP - 10, plot.y),
  ];
  const reference = plot.reference === undefined ? [] : [
    `<path d="M${LEFT} ${
      toY(plot.reference)
    }h${width}" stroke="#444" stroke-dasharray="4 4"/>`,
  ];
  const lines = plot.lines.flatMap(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map(([x, y]) => `${toX(x)} ${toY(y)}`).join("L");
    const legend = TOP + 18 * i;
    return [
      `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<path d="M${WIDTH - RIGHT + 14} ${
        legend - 4
      }h18" stroke="${colour}" stroke-width="3"/>`,
      text(WIDTH - RIGHT + 38, legend, name),
    ];
  });
  return picture(plot, HEIGHT, [...axes, ...reference, ...lines]);
}

/** Draws them, with a thin line from the least to the most. */
export function barPlot(plot: BarPlot): string {
  const parts: string[] = [];
  let y = TOP + 10;
  for (const { name, bars } of plot.groups) {
    const width = WIDTH - BAR_LEFT - RIGHT / 2;
    const most = Math.max(
      ...bars.flatMap((bar) => [bar.value, ...bar.range ?? []]),
    );
    const toWidth = (value: number) => round(width * value / most);
    parts.push(text(LEFT, y, name, 'font-weight="bold"'));
    y += 10;
    bars.forEach(({ name, value, range }, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const middle = y + BAR_HEIGHT / 2;
      parts.push(
        text(BAR_LEFT - 8, middle + 4, name, 'text-anchor="end"'),
        `<rect x="${BAR_LEFT}" y="${y + 4}" width="${toWidth(value)}" height="${
          BAR_HEIGHT - 8
        }" fill="${colour}"/>`,
        text(
          BAR_LEFT + toWidth(range?.[1] ?? value) + 8,
          middle + 4,
          String(value),
        ),
      );
      if (range !== undefined) {
        const [low, high] = range.map(toWidth);
        parts.push(
          `<path d="M${BAR_LEFT + low} ${middle}h${
            round(high - low)
          }" stroke="#222"/>`,
        );
      }
      y += BAR_HEIGHT;
    });
    y += 30;
  }
  return picture(plot, y, parts);
}

function picture(
  { title, subtitle }: { readonly title: string; readonly subtitle: string },
  height: number,
  parts: readonly string[],
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    text(LEFT, 22, title, 'font-size="15" font-weight="bold"'),
    text(LEFT, 40, subtitle, 'fill="#666" font-size="11"'),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

/** Writes a picture to `bench/out`, or to `bench/results` where these are to be updated, and says so. */
export function savePlot(name: string, svg: string): void {
  const folder = Deno.args.includes(UPDATE) ? "results" : "out";
  const url = new URL(`../${folder}/`, import.meta.url);
  Deno.mkdirSync(url, { recursive: true });
  Deno.writeTextFileSync(new URL(`${name}.svg`, url), svg);
  console.log(`plot: bench/${folder}/${name}.svg`);
}

/** Where a value is between bottom, 0, and top, 1, and what the axis names. */
interface Scale {
  readonly ticks: readonly number[];
  place(y: number): number;
}

function yScale(plot: LinePlot, values: readonly number[]): Scale {
  if (plot.logarithmicY) {
    const lowest = Math.floor(Math.log10(Math.min(...values)));
    const decades = Math.ceil(Math.log10(Math.max(...values))) - lowest || 1;
    return {
      ticks: Array.from({ length: decades + 1 }, (_, i) => 10 ** (lowest + i)),
      place: (y) => (Math.log10(y) - lowest) / decades,
    };
  }
  const highest = Math.max(plot.reference ?? 0, ...values) * 1.1;
  return {
    ticks: Array.from({ length: TICKS + 1 }, (_, i) => highest * i / TICKS),
    place: (y) => y / highest,
  };
}

/** Two digits, and no power of ten where it can be written out. */
function tick(value: number): string {
  return String(Number(value.toPrecision(2)));
}

const MIDDLE = 'text-anchor="middle"';

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
