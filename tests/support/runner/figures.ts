/**
 * Figures that a run shows and no test judges.
 *
 * @module
 */

/** Where the runner wants them: a line each. */
export const FIGURES_FILE_ENV = "IXL_TEST_FIGURES";

/** Shows a line of figures when the file of tests has ended; without the runner, at once. */
export function showFigures(line: string): void {
  const file = Deno.env.get(FIGURES_FILE_ENV);
  if (file === undefined) console.log(line);
  else Deno.writeTextFileSync(file, `${line}\n`, { append: true });
}
