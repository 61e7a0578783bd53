/** The tasks of `deno.json`, run from where a user stands. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fileURLToPath } from "node:url";
import type { DemoResult } from "../../src/cli/demo.ts";
import { type Outcome, outcomeOf } from "../support/host/cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Runs `deno task` in a folder below the project's, with a space in its name, which is empty again at the end. */
async function inFolder(
  use: (
    task: (...args: string[]) => Promise<Outcome>,
    folder: string,
  ) => Promise<void>,
): Promise<void> {
  Deno.mkdirSync(`${ROOT}tests/out`, { recursive: true });
  const folder = Deno.makeTempDirSync({
    dir: `${ROOT}tests/out`,
    prefix: "a folder ",
  });
  // These tests run under a task themselves: where that was started is not where this user stands.
  const { INIT_CWD: _, ...env } = Deno.env.toObject();
  const task = (...args: string[]) =>
    outcomeOf(Deno.execPath(), {
      ...{ args: ["task", "-q", ...args], cwd: folder, clearEnv: true, env },
    });
  try {
    await use(task, folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("deno task cli and demo take files from where the user stands", () =>
  inFolder(async (task, folder) => {
    const address = "sim:generator?count=9";
    const captured = await task("cli", "capture", address, "x.pcap");
    assertEquals(captured.code, 0, captured.stderr);
    assertEquals(Deno.statSync(`${folder}/x.pcap`).size, 24 + 9 * (16 + 60));
    const pcaps = ["--pcap-in", "x.pcap", "--pcap-out", "out.pcap"];
    const played = await task("demo", "--json", ...pcaps);
    assertEquals(played.code, 0, played.stderr);
    const { generated, sent }: DemoResult = JSON.parse(played.stdout);
    assertEquals([generated, sent], [9, 9]);
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assertEquals(names.toSorted(), ["out.pcap", "x.pcap"]);
  }));

Deno.test("deno task sim serves from where the user stands", () =>
  inFolder(async (task) => {
    const { code, stdout } = await task("sim", "serve", "--help");
    assertEquals(code, 0);
    assertMatch(stdout, /--wire/);
  }));

Deno.test("a task passes its arguments as they are, and its program's exit code", () =>
  inFolder(async (task) => {
    const file = "sim:pcap?in=no such $HOME 'file'.pcap";
    const { code, stderr } = await task("cli", "info", file);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "no such $HOME 'file'.pcap");
  }));
