/**
 * What Deno keeps of programs that it has run before: compiled here once, guests need not do it at every boot.
 *
 * @module
 */
import { LAB_FOLDER, ROOT } from "./lab.ts";

const FOLDER = `${LAB_FOLDER}/deno_dir`;
/** What `start.sh` unpacks. */
const ARCHIVE = `${LAB_FOLDER}/deno_dir.tar`;

/** Folders of programs that guests run. */
const PROGRAMS = ["examples", "workers", "tests/guest/programs"];
/** Run once, for what is kept of a program only after it. */
const RUNS = [
  ["src/cli/main.ts", "--help"],
  ["examples/forward.ts", "--help"],
];

function run(command: string, args: readonly string[]): void {
  const { success, stderr } = new Deno.Command(command, {
    args: [...args],
    cwd: ROOT,
    env: { DENO_DIR: FOLDER },
    stdin: "null",
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
}

/** Leaves the archive, for this checkout as it is. */
export function cachePrograms(): void {
  const programs = PROGRAMS.flatMap((folder) =>
    Array.from(Deno.readDirSync(`${ROOT}/${folder}`))
      .filter(({ name }) => name.endsWith(".ts"))
      .map(({ name }) => `${folder}/${name}`)
  );
  const deno = Deno.execPath();
  run(deno, ["cache", "-q", "src/cli/main.ts", ...programs]);
  for (const args of RUNS) run(deno, ["run", "-q", "-P=demo", ...args]);
  run("tar", ["-cf", ARCHIVE, "-C", FOLDER, "."]);
}
