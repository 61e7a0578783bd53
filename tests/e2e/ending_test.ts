/** However a program ends, it leaves nothing behind. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  CliProcess,
  command,
  type Outcome,
  runCli,
} from "../support/host/cli.ts";
import { repetitions } from "../support/runner/repeat.ts";
import { requires } from "../support/runner/requirements.ts";
import { interruptedTask } from "../support/host/terminal.ts";
import { until } from "../support/until.ts";

interface Program {
  args: string[];
  /** What it prints when Ctrl-C ends it. */
  ready: RegExp;
  /** Its summary. */
  summary: RegExp;
  /** Its task; default `cli`. */
  task?: string[];
}

/** A folder for sockets and captures, which must be gone or readable afterwards. */
const FOLDER = await Deno.makeTempDir({ prefix: "ixl-ending-" });
addEventListener("unload", () => Deno.removeSync(FOLDER, { recursive: true }));
let made = 0;
const fresh = (suffix: string) => `${FOLDER}/${++made}${suffix}`;

const PROGRAMS: Record<string, () => Program> = {
  forward: () => ({
    args: ["sim:generator?rate=1000", "sim:sink"],
    ready: /Ctrl-C ends it/,
    summary: /received \d+, sent \d+ frames[^]*delivered/,
  }),
  bridge: () => ({
    args: ["sim:generator?rate=1000", "sim:sink"],
    ready: /Ctrl-C ends it/,
    summary: /to the right [\d,]+, to the left[^]*delivered/,
  }),
  generate: () => ({
    args: ["sim:sink", "--rate", "1000"],
    ready: /Mpps/,
    summary: /Mpps[^]*Mpps[^]*delivered/,
  }),
  capture: () => ({
    args: ["sim:generator?rate=100", fresh(".pcap")],
    ready: /Ctrl-C ends it/,
    summary: /wrote \d+ frames/,
  }),
  responder: () => ({
    args: ["sim:loopback", "--ip", "10.0.0.1"],
    ready: /10\.0\.0\.1 is at/,
    summary: /answered 0 ARP[^]*delivered/,
  }),
  stats: () => ({
    args: ["sim:generator?rate=1000", "--interval", "0.1"],
    ready: /queue 0/,
    summary: /queue 0/,
  }),
  demo: () => ({
    args: ["--rate", "1000", "--seconds", "60"],
    ready: /pool in use/,
    summary: /million frames a second[^]*delivered/,
    task: ["demo"],
  }),
  "sim serve": () => ({
    args: ["--socket", fresh(".sock")],
    ready: /serving 82599/,
    summary: /serving 82599/,
    task: ["sim", "serve"],
  }),
};

/** A program ended as it should: a summary, no complaint, nothing left in its folder but captures. */
function assertGoodEnd(
  { summary, args }: Program,
  { code, stdout, stderr }: Outcome,
): void {
  const output = `${stdout}${stderr}`;
  assertEquals(code, 0, output);
  assertMatch(output, summary);
  assert(!/^ixl|Uncaught|suppressed/m.test(output), output);
  const socket = args.find((arg) => arg.endsWith(".sock"));
  if (socket) {
    assertThrows(() => Deno.lstatSync(socket), Deno.errors.NotFound);
  }
}

/** Processes of this test that are still there. */
function leftProcesses(): string {
  const { stdout } = new Deno.Command("pgrep", { args: ["-fa", FOLDER] })
    .outputSync();
  return new TextDecoder().decode(stdout);
}

const ENDINGS = repetitions("endings", { gate: 1, soak: 40 });

for (const [name, make] of Object.entries(PROGRAMS)) {
  requires("python3")(
    `${name} ends cleanly by Ctrl-C in a terminal, under deno task`,
    async () => {
      for (let i = 0; i < ENDINGS; i++) {
        const program = make();
        const { task = ["cli", name], args, ready } = program;
        const outcome = await interruptedTask([...task, ...args], ready);
        assertGoodEnd(program, outcome);
      }
      await until("no process left", () => leftProcesses() === "");
    },
  );

  Deno.test(`${name} ends cleanly on SIGTERM and SIGHUP`, async () => {
    const end = async (signal: Deno.Signal) => {
      const program = make();
      await using process = new CliProcess([
        ...name.split(" "),
        ...program.args,
      ]);
      await process.prints(program.ready);
      process.signal(signal);
      assertGoodEnd(program, await process.ended());
    };
    await Promise.all([end("SIGTERM"), end("SIGHUP")]);
  });
}

Deno.test("a signal during bring-up ends every command cleanly", async () => {
  const names = ["forward", "capture", "responder", "stats"];
  await Promise.all(names.map(async (name) => {
    const program = PROGRAMS[name]();
    const env = { IXL_LOG: "debug" };
    await using process = new CliProcess([name, ...program.args], { env });
    await process.prints(/allocating memory/);
    process.signal("SIGINT");
    const { code, stdout, stderr } = await process.ended();
    assertEquals(code, 0, stderr);
    assertMatch(`${stdout}${stderr}`, program.summary);
  }));
});

Deno.test("a command ends when the reader of its output has gone", async () => {
  const args = ["stats", "sim:generator?rate=1000", "--json"];
  const behindHead = ["bash", "-c", '"$@" | head -1; exit ${PIPESTATUS[0]}'];
  const { code, stdout, stderr } = await runCli(
    [...args, "--interval", "0.1"],
    { prefix: [...behindHead, "head"] },
  );
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trim().split("\n").length, 1);
});

Deno.test("capture says that the disk is full, in one line, with its summary", async () => {
  const args = ["capture", "sim:generator?rate=100", "/dev/full"];
  // Deno opens devices only for a program that may do everything.
  const { code, stdout, stderr } = await runCli(args, { permissions: ["-A"] });
  assertEquals(code, 1);
  assertMatch(stdout, /^wrote 0 frames to \/dev\/full$/m);
  const complaints = stderr.trim().split("\n").filter((line) =>
    !line.includes("Ctrl-C ends it")
  );
  assertEquals(complaints.length, 1, stderr);
  assertMatch(
    complaints[0],
    /^ixl: cannot write to \/dev\/full: .*disk is full/,
  );
});

function freeHugepages(): number {
  const { stdout } = new Deno.Command("cat", { args: ["/proc/meminfo"] })
    .outputSync();
  const text = new TextDecoder().decode(stdout);
  return Number(/^HugePages_Free:\s+(\d+)/m.exec(text)?.[1]);
}

async function heldHugepages(pid: number): Promise<number> {
  const text = await command("cat", `/proc/${pid}/smaps`);
  const sizes = text.matchAll(/^(?:Private|Shared)_Hugetlb:\s+(\d+) kB/gm);
  return sizes.reduce((sum, [, size]) => sum + Number(size) / 2048, 0);
}

requires("hugepages")("no hugepage stays behind, however it ends", async () => {
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    const before = freeHugepages();
    await using process = new CliProcess(
      "forward sim:generator sim:sink".split(" "),
    );
    await process.prints(/forwarding from/);
    assert(await heldHugepages(process.pid) > 0, "it runs on hugepages");
    process.signal(signal);
    await process.ended();
    // Not at once: somebody else on this machine may hold some for a while.
    await until("all hugepages free again", () => freeHugepages() >= before);
  }
});

requires("tap")("no TAP device stays behind, however it ends", async () => {
  const name = `ixlend${Deno.pid % 1e5}`;
  const exists = async () =>
    (await command("ls", "/sys/class/net")).split(/\s+/).includes(name);
  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    await using process = new CliProcess(
      `responder sim:tap/${name} --ip 10.0.0.1`.split(" "),
    );
    await process.prints(/10\.0\.0\.1 is at/);
    assert(await exists());
    process.signal(signal);
    await process.ended();
    assertEquals(await exists(), false);
  }
});

Deno.test("a program that ends leaves no other process", async () => {
  const mark = `ixl-mark-${Deno.pid}`;
  const address = `sim:pair/${mark}`;
  await using process = new CliProcess(
    `stats ${address} --interval 0.1`.split(" "),
  );
  await process.prints(/^queue 0/m);
  process.signal("SIGINT");
  await process.ended();
  let left = "";
  await until("all processes gone", () => {
    const { stdout } = new Deno.Command("pgrep", { args: ["-fa", mark] })
      .outputSync();
    left = new TextDecoder().decode(stdout);
    return left === "";
  });
  assertEquals(left, "");
});
