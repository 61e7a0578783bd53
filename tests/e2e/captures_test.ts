/** Captures on the command line: which files are read, written, and left alone. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { pcapRecords } from "../../src/net/mod.ts";
import { captureOf } from "../support/frames/capture_file.ts";
import { runCli } from "../support/host/cli.ts";
import { requires } from "../support/runner/requirements.ts";

const FRAMES = Array.from({ length: 20 }, (_, i) => {
  const frame = new Uint8Array(64).fill(i);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return frame;
});

/** A folder with a capture, a symbolic link to it and a hard one. */
async function withCapture(
  use: (folder: string, capture: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "ixl-captures-" });
  const capture = `${folder}/in.pcap`;
  Deno.writeFileSync(capture, captureOf(FRAMES));
  Deno.symlinkSync(capture, `${folder}/symbolic.pcap`);
  Deno.linkSync(capture, `${folder}/hard.pcap`);
  try {
    await use(folder, capture);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const framesIn = (bytes: Uint8Array) =>
  [...pcapRecords(bytes)].map(({ offset, capturedLength }) =>
    bytes.subarray(offset, offset + capturedLength)
  );

Deno.test("no command overwrites the capture that it plays", () =>
  withCapture(async (folder, capture) => {
    const names = ["in", "symbolic", "hard"];
    const commands = names.flatMap((name) => {
      const same = `${folder}/${name}.pcap`;
      return [
        ["demo", "--pcap-in", same, "--pcap-out", capture],
        ["capture", `sim:pcap?in=${capture}`, same],
        ["capture", `sim:pcap?in=${same}&out=${capture}`, "/dev/null"],
      ];
    });
    const before = Deno.readFileSync(capture);
    const outcomes = await Promise.all(commands.map((args) => runCli(args)));
    for (const { code, stderr } of outcomes) {
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, "write to another one");
      assertEquals(stderr.match(/^ixl: /gm)?.length, 1, stderr);
    }
    assertEquals(Deno.readFileSync(capture), before);
  }));

Deno.test("capture ends when a software card has no more to give", () =>
  withCapture(async (folder, capture) => {
    const outputs = [`${folder}/a.pcap`, `${folder}/b.pcap`];
    const [generated, played] = await Promise.all([
      runCli(["capture", "sim:generator?count=100", outputs[0], "--json"]),
      runCli(["capture", `sim:pcap?in=${capture}`, outputs[1]]),
    ]);
    assertEquals(generated.code, 0, generated.stderr);
    assertEquals(JSON.parse(generated.stdout).frames, 100);
    assertEquals(framesIn(Deno.readFileSync(outputs[0])).length, 100);
    assertStringIncludes(played.stdout, "all 20 frames were delivered");
    assertEquals(framesIn(Deno.readFileSync(outputs[1])), FRAMES);
  }));

requires("tshark")(
  "capture writes to standard output, and nothing else",
  async () => {
    const cli = `${Deno.execPath()} run -q -P=demo src/cli/main.ts`;
    const script =
      `${cli} capture "sim:generator?count=100" - --count 5 2>err | tshark -r - 2>/dev/null`;
    const folder = Deno.makeTempDirSync();
    const root = new URL("../..", import.meta.url);
    const { stdout } = await new Deno.Command("bash", {
      args: ["-c", script.replace("2>err", `2>${folder}/err`)],
      cwd: root,
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    assertEquals(lines.length, 5);
    const said = Deno.readTextFileSync(`${folder}/err`);
    assertMatch(said, /wrote 5 frames to standard output/);
    Deno.removeSync(folder, { recursive: true });
  },
);

Deno.test("file names may contain any character", () =>
  withCapture(async (folder, capture) => {
    const names = ["2024-05-01T10:00:00+02:00.pcap", "a#b.pcap", "c d'e.pcap"];
    const outcomes = await Promise.all(names.map((name) => {
      const [input, output] = [`${folder}/${name}`, `${folder}/out-${name}`];
      Deno.copyFileSync(capture, input);
      return runCli(["capture", `sim:pcap?in=${input}`, output]);
    }));
    for (const { code, stderr } of outcomes) assertEquals(code, 0, stderr);
    for (const name of names) {
      const bytes = Deno.readFileSync(`${folder}/out-${name}`);
      assertEquals(framesIn(bytes), FRAMES, name);
    }
    const percent = `${folder}/50%.pcap`;
    Deno.copyFileSync(capture, percent);
    const wrong = await runCli([
      "capture",
      `sim:pcap?in=${percent}`,
      "/dev/null",
    ]);
    assertEquals(wrong.code, 2);
    assertStringIncludes(wrong.stderr, "%25");
    const right = await runCli([
      ...["capture", `sim:pcap?in=${folder}/50%25.pcap`, `${folder}/p.pcap`],
    ]);
    assertEquals(right.code, 0, right.stderr);
  }));

Deno.test("a pipe as the input is refused at once, in one line", () =>
  withCapture(async (folder) => {
    const pipe = `${folder}/pipe`;
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    const { code, stderr } = await runCli([
      ...["demo", "--pcap-in", pipe, "--pcap-out", `${folder}/out.pcap`],
    ]);
    assert(code !== 0);
    assertMatch(stderr, /^ixl: [^\n]*a pipe can be read only once[^\n]*\n$/);
  }));
