import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type CommandOption,
  defineCommand,
  exitCode,
  type Given,
  UsageError,
} from "../../../src/cli/command.ts";
import { main } from "../../../src/cli/main.ts";
import { formatTable, LiveTable } from "../../../src/cli/table.ts";
import { IxlError } from "../../../mod.ts";

const COMMANDS = [
  ...["list", "info", "stats", "demo"],
  ...["forward", "bridge", "generate", "capture", "responder"],
];

interface Outcome {
  code: number;
  out: string;
  error: string;
}

/** Runs a program of this process with what it prints caught. */
async function caught(program: () => Promise<number>): Promise<Outcome> {
  const { log, error } = console;
  const lines = { out: [] as string[], error: [] as string[] };
  console.log = (...words) => void lines.out.push(words.join(" "));
  console.error = (...words) => void lines.error.push(words.join(" "));
  try {
    const code = await program();
    return { code, out: lines.out.join("\n"), error: lines.error.join("\n") };
  } finally {
    Object.assign(console, { log, error });
  }
}

const ixl = (...args: string[]) => caught(() => main(args));

/** A command with these options that keeps what it was given. */
function commandWith(options: CommandOption[], args: string[] = []) {
  let last: Given | undefined;
  const command = defineCommand({
    name: "probe",
    summary: "Keeps what it is given",
    args,
    options,
    run: (given) => {
      last = given;
      return Promise.resolve(0);
    },
  });
  return async (...words: string[]): Promise<Given> => {
    last = undefined;
    await command.main(words);
    if (last === undefined) throw new Error("the command did not run");
    return last;
  };
}

Deno.test("a command gets its options, or their defaults", async () => {
  const probe = commandWith([
    { name: "rate", value: "PPS", default: 10, help: "" },
    { name: "out", value: "FILE", help: "" },
    { name: "json", help: "" },
  ], ["ADDRESS"]);
  const plain = await probe("sim:sink");
  assertEquals(plain.args, ["sim:sink"]);
  assertEquals(plain.number("rate"), 10);
  assertEquals(plain.text("out"), undefined);
  assertEquals(plain.flag("json"), false);
  const full = await probe("--json", "--rate=7", "--out", "x.pcap", "sim:sink");
  assertEquals(full.number("rate"), 7);
  assertEquals(full.text("out"), "x.pcap");
  assertEquals(full.flag("json"), true);
});

Deno.test("a negative number is given with an equals sign", async () => {
  const probe = commandWith([
    { name: "wait", value: "MS", default: 0, range: [-9, 9], help: "" },
  ]);
  assertEquals((await probe("--wait=-1")).number("wait"), -1);
  await assertRejects(() => probe("--wait", "-1"), UsageError, "equals sign");
});

Deno.test("a command rejects what it does not know and what it lacks", async () => {
  const probe = commandWith([
    { name: "rate", value: "PPS", default: 10, range: [1, 99], help: "" },
    { name: "json", help: "" },
  ], ["A", "B"]);
  const cases: [string[], string][] = [
    [["a", "b", "--fast"], "no option --fast"],
    [["a", "b", "-x"], "no option -x"],
    [["a"], "needs B"],
    [[], "needs A B"],
    [["a", "b", "c"], 'takes no "c"'],
    [["a", "b", "--rate"], "needs a value"],
    [["a", "b", "--rate="], "needs a value"],
    [
      ["a", "b", "--rate=0"],
      "--rate must be a whole number from 1 to 99, not 0",
    ],
    [["a", "b", "--rate=100"], "from 1 to 99, not 100"],
    [["a", "b", "--rate=2.5"], "must be a whole number"],
    [["a", "b", "--rate=many"], "must be a whole number"],
  ];
  for (const [words, message] of cases) {
    await assertRejects(() => probe(...words), UsageError, message);
  }
});

Deno.test("an option may take fractions", async () => {
  const probe = commandWith([
    {
      name: "s",
      value: "S",
      default: 1,
      range: [0, 2],
      fraction: true,
      help: "",
    },
  ]);
  assertEquals((await probe("--s", "0.5")).number("s"), 0.5);
  await assertRejects(() => probe("--s", "Infinity"), UsageError);
});

Deno.test("exitCode() puts what went wrong on one line", async () => {
  const usage = await caught(() =>
    exitCode(() => Promise.reject(new UsageError("two\n  lines")))
  );
  assertEquals(usage, { code: 2, out: "", error: "ixl: two lines" });
  const failure = await caught(() =>
    exitCode(() => Promise.reject(new IxlError("device-busy", "it is taken")))
  );
  assertEquals(failure, { code: 1, out: "", error: "ixl: it is taken" });
});

Deno.test("exitCode() shows the stack of a mistake of ours", async () => {
  const { code, error } = await caught(() =>
    exitCode(() => Promise.reject(new TypeError("x is not a function")))
  );
  assertEquals(code, 1);
  assertMatch(error, /^ixl: x is not a function\nTypeError: .*\n +at /);
});

Deno.test("help lists every command", async () => {
  for (const args of [[], ["help"], ["--help"], ["-h"]]) {
    const { code, out, error } = await ixl(...args);
    assertEquals([code, error], [0, ""]);
    for (const name of COMMANDS) {
      assertMatch(out, new RegExp(`^  ${name} `, "m"));
    }
  }
});

for (const name of COMMANDS) {
  Deno.test(`${name} --help says how to use it`, async () => {
    const asked = await ixl(name, "--help");
    assertEquals([asked.code, asked.error], [0, ""]);
    assertMatch(asked.out, new RegExp(`^Usage: ixl ${name}\\b`));
    assertMatch(asked.out, /^ {2}--help +print this$/m);
    assert(asked.out.split("\n").every((line) => line.length <= 100));
    assertEquals(await ixl("help", name), asked);
    assertEquals(await ixl(name, "-h"), asked);
  });

  Deno.test(`${name} answers bad arguments with one line and 2`, async () => {
    for (const args of [["--nonsense"], ["a", "b", "c", "d"]]) {
      const { code, out, error } = await ixl(name, ...args);
      assertEquals([code, out], [2, ""]);
      assertMatch(error, /^ixl: .+$/);
    }
  });
}

Deno.test("every wrong argument of an example gets one line and 2", async () => {
  const cases: [string, RegExp][] = [
    ["forward sim:generator", /: B is missing/],
    [
      "forward sim:generator sim:sink --queues 0",
      /--queues must be a whole number from 1 to 128, not 0/,
    ],
    ["forward sim:generator sim:sink --queues two", /--queues.*whole number/],
    ["forward sim:generator sim:sink --batch=", /--batch/],
    ["forward sim:generator sim:sink --irq-timeout x", /--irq-timeout/],
    [
      "generate sim:sink --size 59",
      /--size must be a whole number from 60 to 1514, not 59/,
    ],
    ["generate sim:sink --flows 0", /--flows/],
    ["generate sim:sink --rate -1", /-1/],
    ["generate sim:sink --seconds 1e9", /--seconds/],
    ["capture sim:generator", /FILE/],
    ["capture sim:generator x.pcap --count 0", /--count/],
    ["capture sim:generator x.pcap --snaplen 0", /--snaplen/],
    ["responder sim:loopback", /^ixl: --ip is missing; see --help$/],
    ["responder sim:loopback --ip 300.1.1.1", /^ixl: --ip: "300\.1\.1\.1"/],
    ["stats sim:loopback --interval 0", /--interval/],
    ["info sim:loopback --link-timeout=x", /--link-timeout/],
    ["nothing", /no command nothing: use list, .*responder/],
    ["help nothing", /no command nothing/],
    ["help list info", /one command/],
  ];
  for (const [line, message] of cases) {
    const { code, out, error } = await ixl(...line.split(" "));
    assertEquals([line, code, out], [line, 2, ""]);
    assertMatch(error, /^ixl: .+$/);
    assertMatch(error, message);
  }
});

Deno.test("--version prints the version", async () => {
  const { code, out } = await ixl("--version");
  assertEquals(code, 0);
  assertMatch(out, /^ixl \d+\.\d+\.\d+ /);
});

Deno.test("list --json gives addresses that can be opened", async () => {
  const { code, out } = await ixl("list", "--json");
  assertEquals(code, 0);
  const devices = JSON.parse(out) as { address: string; reason: unknown }[];
  const loopback = devices.find(({ address }) => address === "sim:loopback");
  assertEquals(loopback?.reason, null);
});

Deno.test("list prints a table", async () => {
  const { out } = await ixl("list");
  assertMatch(
    out,
    /^address +ids +NUMA node +IOMMU group +kernel driver +link +can be opened/,
  );
  assertMatch(out, /^sim:loopback +- +- +- +- +- +yes +/m);
});

Deno.test("formatTable() aligns columns and groups digits", () => {
  const table = formatTable(
    [{ title: "queue" }, { title: "n", align: "right" }, { title: "mode" }],
    [[0, 1234567, "poll"], [1, 8, ""]],
  );
  assertEquals(
    table,
    "queue          n  mode\n0      1,234,567  poll\n1              8",
  );
});

function drawnOn(terminal: boolean, color = false) {
  let text = "";
  const table = new LiveTable([{ title: "n", align: "right" }], {
    write: (more) => text += more,
    terminal,
    color,
    width: () => 6,
  });
  return { table, text: () => text };
}

Deno.test("LiveTable appends lines where the cursor cannot move", () => {
  const { table, text } = drawnOn(false);
  table.update([[1], [2]]);
  table.update([[30], [40]]);
  table.done();
  assertEquals(text(), "n\n1\n2\n30\n40\n");
});

Deno.test("LiveTable redraws its rows on a terminal", () => {
  const { table, text } = drawnOn(true);
  table.update([[1], [2]]);
  table.update([[3], [4]]);
  table.done();
  table.update([[5]]);
  assertEquals(
    text(),
    "\r\x1b[0Jn\n1\n2\n" + "\x1b[3A\r\x1b[0Jn\n3\n4\n" + "\r\x1b[0Jn\n5\n",
  );
});

Deno.test("LiveTable cuts lines at the terminal's edge, or they would wrap", () => {
  const { table, text } = drawnOn(true, true);
  table.update([["123456789"]]);
  assertEquals(text(), "\r\x1b[0J\x1b[1m      \x1b[0m\n123456\n");
});
