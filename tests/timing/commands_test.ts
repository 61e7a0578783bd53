/** Commands on an idle machine: how they wait, what processor time they use, and what rates they keep. */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { CliProcess, runCli } from "../support/host/cli.ts";
import { assertClean, demo } from "../support/host/demo.ts";

Deno.test("demo forwards as fast as it goes: nothing lost, both queues busy and polling", async () => {
  const result = await demo(["--seconds", "2"]);
  assertClean(result);
  assertEquals(result.driver, "ixgbe");
  assertEquals([result.queues, result.workers], [2, 2]);
  for (const queue of result.perQueue) {
    assertGreater(queue.received, result.received / 10);
    assertGreater(queue.polls, 0);
    assertGreater(queue.modeSwitches, 0);
  }
});

Deno.test("demo with --rate 1000 sits in IRQ mode", async () => {
  const result = await demo(["--rate", "1000", "--seconds", "2"]);
  assertClean(result);
  for (const queue of result.perQueue) {
    assertEquals(queue.modeSwitches, 0);
    assertEquals(queue.polls, 0);
    assertGreater(queue.irqs, 100);
  }
});

Deno.test("demo with --rate 1000 uses under a quarter of one core", async () => {
  // The difference of two runs: starting and compiling is in both.
  const short = await cpuSeconds(["--rate", "1000", "--seconds", "1"]);
  const long = await cpuSeconds(["--rate", "1000", "--seconds", "5"]);
  assertLess((long - short) / 4, 0.25);
});

async function cpuSeconds(args: string[]): Promise<number> {
  const { stderr, code } = await runCli(["demo", ...args], { time: true });
  assertEquals(code, 0, stderr);
  const [user, system] = stderr.trim().split("\n").at(-1)!.split(" ");
  return Number(user) + Number(system);
}

Deno.test("generate keeps its rate and shows it every second", async () => {
  await using process = new CliProcess(
    "generate sim:sink --rate 5000 --queues 2 --json --seconds 3".split(" "),
  );
  const { code, stdout } = await process.ended();
  assertEquals(code, 0);
  const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert(lines.length >= 3, "one line a second, and the sum");
  const { packets, seconds } = lines.at(-1);
  // The workers start before the clock does, hence more than the rate allows.
  assert(packets >= 0.9 * 5000 * (seconds - 0.5), `${packets} in ${seconds} s`);
  assert(packets <= 5000 * (seconds + 2), `${packets} in ${seconds} s`);
});
