/** The library and the command line from other folders, as those who cloned the project use them, with nothing cached. */

import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { outcomeOf } from "../support/host/cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const IMPORT_MAP = `${ROOT}links/import_map.json`;

const PROGRAM = (library: string) =>
  `import { openDevice } from "${library}";
await using device = await openDevice({ address: "sim:loopback" });
console.log(device.model);
`;

/** Makes a folder with these files, and an empty cache beside them. */
async function withFolder(
  files: Readonly<Record<string, string>>,
  use: (
    run: (command: string, ...args: string[]) => Promise<string>,
    folder: string,
  ) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "ixl-outside-" });
  const here = `${folder}/program`;
  Deno.mkdirSync(here);
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(`${here}/${name}`, text);
  }
  const run = async (command: string, ...args: string[]) => {
    const { code, stdout, stderr } = await outcomeOf(command, {
      args,
      cwd: here,
      env: {
        DENO_DIR: `${folder}/cache`,
        // What `deno install` writes calls deno by its name.
        PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
      },
    });
    assertEquals(code, 0, stderr);
    return stdout;
  };
  Deno.mkdirSync(`${folder}/bin`);
  Deno.symlinkSync(Deno.execPath(), `${folder}/bin/deno`);
  try {
    await use(run, folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a program imports a clone by its path", () =>
  withFolder({ "main.ts": PROGRAM(`${ROOT}mod.ts`) }, async (run) => {
    const args = ["run", "-A", "--cached-only", "main.ts"];
    assertEquals(await run(Deno.execPath(), ...args), "82599\n");
  }));

Deno.test("a project links to a clone", () =>
  withFolder({
    "main.ts": PROGRAM("@ixl/deno"),
    "deno.json": JSON.stringify({
      links: [ROOT],
      imports: { "@ixl/deno": "jsr:@ixl/deno@^0.1" },
    }),
  }, async (run) => {
    const args = ["run", "-A", "--cached-only", "main.ts"];
    assertEquals(await run(Deno.execPath(), ...args), "82599\n");
  }));

Deno.test("deno install makes a command of a clone", () =>
  withFolder({}, async (run, folder) => {
    await run(
      Deno.execPath(),
      ...["install", "-g", "-A", "-f", "-n", "ixl", "--root", folder],
      ...["--import-map", IMPORT_MAP, `${ROOT}src/cli/main.ts`],
    );
    assertMatch(await run(`${folder}/bin/ixl`, "list"), /^sim:loopback /m);
  }));
