import { assertEquals } from "@std/assert";
import { fits } from "../../runner/job.ts";
import { inOrder, type Job, runJobs } from "../../runner/schedule.ts";
import { slowestFiles, tierTimes } from "../../runner/summary.ts";
import {
  repetitions,
  SEED_ENV,
  seedsAfter,
  SOAK_ENV,
} from "../../support/runner/repeat.ts";
import {
  MOST_RERUNS,
  readReruns,
  RERUNS_FILE_ENV,
  tooMany,
} from "../../support/runner/reruns.ts";

interface Named extends Job<string> {
  name: string;
}

/** Jobs that end when told, and what runs. */
class Jobs {
  readonly running = new Map<string, () => void>();

  make(name: string, seconds: number, claims: Named["claims"]): Named {
    const run = () =>
      new Promise<string>((resolve) => {
        this.running.set(name, () => {
          this.running.delete(name);
          resolve(name);
        });
      });
    return { name, seconds, claims, run };
  }

  /** What runs now; ends the first of it, and lets others start. */
  async next(): Promise<string> {
    const names = [...this.running.keys()].join();
    this.running.values().next().value?.();
    await new Promise((resolve) => setTimeout(resolve));
    return names;
  }
}

Deno.test("inOrder() has the longest first, and last what wants the machine", () => {
  const jobs = new Jobs();
  const names = inOrder([
    jobs.make("machine", 500, "machine"),
    jobs.make("short", 1, "nothing"),
    jobs.make("long", 90, "nothing"),
    jobs.make("host", 40, "host"),
    jobs.make("longer host", 60, "host"),
  ]).map((job) => (job as Named).name);
  assertEquals(names, ["longer host", "host", "long", "short", "machine"]);
});

Deno.test("runJobs() fills its slots, and keeps apart what excludes each other", async () => {
  const jobs = new Jobs();
  const end = runJobs([
    jobs.make("a", 4, "nothing"),
    jobs.make("b", 3, "nothing"),
    jobs.make("host 1", 9, "host"),
    jobs.make("host 2", 8, "host"),
    jobs.make("machine", 7, "machine"),
  ], 2);
  assertEquals(await jobs.next(), "host 1,a");
  assertEquals(await jobs.next(), "a,host 2");
  assertEquals(await jobs.next(), "host 2,b");
  assertEquals(await jobs.next(), "b");
  assertEquals(await jobs.next(), "machine");
  assertEquals((await end).length, 5);
});

Deno.test("runJobs() starts nothing after it was stopped", async () => {
  const jobs = new Jobs();
  let stopped = false;
  const end = runJobs(
    ["a", "b", "c"].map((name) => jobs.make(name, 1, "nothing")),
    2,
    () => stopped,
  );
  stopped = true;
  await jobs.next();
  await jobs.next();
  assertEquals(await end, ["a", "b"]);
});

Deno.test("the summary has the slowest files first, and each tier's total", () => {
  const files = [
    { path: "tests/unit/a_test.ts", seconds: 1.25, tests: 3 },
    { path: "tests/guest/b_test.ts", seconds: 60, tests: 2 },
    { path: "tests/unit/c_test.ts", seconds: 2, tests: 1 },
  ];
  const trimmed = (lines: string[]) => lines.map((line) => line.trim());
  assertEquals(trimmed(slowestFiles(files)), [
    "60.0 s  tests/guest/b_test.ts (2 tests)",
    "2.0 s  tests/unit/c_test.ts (1 tests)",
    "1.3 s  tests/unit/a_test.ts (3 tests)",
  ]);
  assertEquals(trimmed(tierTimes(files)), [
    "3.3 s  tier unit (4 tests in 2 files)",
    "60.0 s  tier guest (2 tests in 1 files)",
  ]);
});

Deno.test("tests that are run again are counted over all processes, and two are the most", async () => {
  const file = Deno.makeTempFileSync();
  try {
    assertEquals(tooMany(readReruns(file)), undefined);
    const module = new URL("../../support/runner/reruns.ts", import.meta.url);
    const program = `import { noteRerun } from ${JSON.stringify(`${module}`)};
      noteRerun({ name: "a test", why: "QEMU" });`;
    const script = `${file}.ts`;
    Deno.writeTextFileSync(script, program);
    for (let count = 1; count <= MOST_RERUNS + 1; count++) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-q",
          "--no-config",
          "--allow-env",
          `--allow-write=${file}`,
          script,
        ],
        env: { [RERUNS_FILE_ENV]: file },
      }).output();
      const said = new TextDecoder().decode(stderr);
      assertEquals([code, said], [0, "a test: run again: QEMU\n"]);
      assertEquals(readReruns(file).length, count);
      assertEquals(
        tooMany(readReruns(file)) !== undefined,
        count > MOST_RERUNS,
      );
    }
    Deno.removeSync(script);
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("repetitions() are few, and all of them in the soak of that name", () => {
  const [soak, seed] = [SOAK_ENV, SEED_ENV].map((name) => Deno.env.get(name));
  const count = () => repetitions("kills", { gate: 2, soak: 20 });
  try {
    Deno.env.delete(SOAK_ENV);
    Deno.env.set(SEED_ENV, "7");
    assertEquals([count(), seedsAfter("random")], [2, 0]);
    Deno.env.set(SOAK_ENV, "random");
    assertEquals([count(), seedsAfter("random")], [2, 7]);
    Deno.env.set(SOAK_ENV, "kills");
    assertEquals([count(), seedsAfter("random")], [20, 0]);
  } finally {
    for (const [name, value] of [[SOAK_ENV, soak], [SEED_ENV, seed]] as const) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});

Deno.test("fits() reads a filter as Deno does", () => {
  assertEquals(fits("a clean start", undefined), true);
  assertEquals([fits("a clean start", "clean"), fits("a", "b")], [true, false]);
  assertEquals(fits("a clean start", "/clean|dirty/"), true);
  assertEquals(fits("a clean start", "/^clean/"), false);
});
