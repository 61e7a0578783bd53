/** The stand-ins in links/ behave like the packages they stand in for. */

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  AssertionError,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { parseArgs } from "@std/cli";
import { dlopen } from "@denosaurs/plug";

Deno.test("parseArgs() sorts options from words", () => {
  const args = ["demo", "--queues", "4", "--rate=1000", "--json", "more", "5"];
  const given = parseArgs(args, {
    boolean: ["json", "help"],
    string: ["queues"],
    default: { batch: 32 },
  });
  assertEquals(given, {
    _: ["demo", "more", 5],
    queues: "4",
    rate: 1000,
    json: true,
    help: false,
    batch: 32,
  });
});

Deno.test("parseArgs() takes a negative number only after an equals sign", () => {
  const options = { string: ["irq-timeout"] };
  assertEquals(parseArgs(["--irq-timeout=-1"], options)["irq-timeout"], "-1");
  const apart = parseArgs(["--irq-timeout", "-1"], options);
  assertEquals(apart["irq-timeout"], "");
});

Deno.test("parseArgs() gives an alias the value of its option and back", () => {
  const options = { boolean: ["help"], alias: { help: "h" } };
  assertEquals(parseArgs(["-h"], options), { _: [], help: true, h: true });
  assertEquals(parseArgs(["--help"], options), { _: [], help: true, h: true });
  assertEquals(parseArgs([], options), { _: [], help: false, h: false });
});

Deno.test("parseArgs() collects repeated options", () => {
  const options = { string: ["tier"], collect: ["tier"] } as const;
  assertEquals(parseArgs(["--tier=a", "--tier", "b"], options).tier, [
    "a",
    "b",
  ]);
  assertEquals(parseArgs([], options).tier, []);
});

Deno.test("parseArgs() stops early and after --", () => {
  assertEquals(
    parseArgs(["-v", "run", "--x"], { boolean: ["v"], stopEarly: true }),
    {
      _: ["run", "--x"],
      v: true,
    },
  );
  assertEquals(parseArgs(["a", "--", "--x"], { "--": true }), {
    _: ["a"],
    "--": ["--x"],
  });
});

Deno.test("parseArgs() shows what is unknown and leaves it out on false", () => {
  const unknown: string[] = [];
  const given = parseArgs(["--odd=1", "--known", "word"], {
    boolean: ["known"],
    unknown: (arg) => {
      unknown.push(arg);
      return false;
    },
  });
  assertEquals(unknown, ["--odd=1", "word"]);
  assertEquals(given, { _: [], known: true });
});

Deno.test("assertThrows() fails if nothing, another class or another text is thrown", () => {
  const range = () => {
    throw new RangeError("too large");
  };
  assertThrows(range, RangeError, "large");
  for (
    const wrong of [
      () => assertThrows(() => {}),
      () => assertThrows(range, TypeError),
      () => assertThrows(range, RangeError, "small"),
    ]
  ) {
    assertThrows(wrong, AssertionError);
  }
});

Deno.test("assertRejects() fails unless the promise rejects", async () => {
  await assertRejects(
    () => Promise.reject(new TypeError("no")),
    TypeError,
    "no",
  );
  await assertRejects(
    () => assertRejects(() => Promise.resolve()),
    AssertionError,
  );
});

Deno.test("assertAlmostEquals() allows a ten-millionth by default", () => {
  assertAlmostEquals(1, 1 + 0.5e-7);
  assertThrows(() => assertAlmostEquals(1, 1.001), AssertionError);
});

Deno.test("assertEquals() says what differs", () => {
  const error = assertThrows(
    () => assertEquals({ port: 1 }, { port: 2 }, "the port"),
    AssertionError,
  );
  assert(error.message.includes("the port") && error.message.includes("+"));
});

Deno.test("plug's dlopen() rejects a missing library and a foreign URL", async () => {
  await assertRejects(
    () => dlopen("/nowhere/libixl.so", {}),
    Error,
    "Could not find",
  );
  await assertRejects(() => dlopen("https://example.org/a.so", {}), TypeError);
});
