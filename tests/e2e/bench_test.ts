/** What `deno task bench` says of its arguments. */

import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { savePlot } from "../../bench/support/plot.ts";
import { outcomeOf } from "../support/host/cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const bench = (file: string, ...args: string[]) =>
  outcomeOf(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", "-P=bench", file, ...args],
    cwd: ROOT,
  });

const WRONG: readonly (readonly [string[], RegExp])[] = [
  [["fly"], /there is no benchmark fly: use ixgbe, /],
  [["toString"], /there is no benchmark toString/],
  [["--quick"], /there is no option --quick: --help lists them/],
  [["virtio", "--layout", "x"], /--layout must be one of split, packed, not x/],
  [["virtio", "--layout"], /--layout needs a value: one of split, packed/],
  [
    ["virtio", "--runs", "0"],
    /--runs must be a whole number from 1 to 99, not 0/,
  ],
  [
    ["virtio", "--runs=2x"],
    /--runs must be a whole number from 1 to 99, not 2x/,
  ],
  [["ixgbe", "--layout=split"], /--layout is for virtio alone/],
  [["--runs=1"], /--runs is for virtio alone/],
];

for (const [args, message] of WRONG) {
  Deno.test(`bench ${args.join(" ")} is one line of error and code 2`, async () => {
    const { code, stdout, stderr } = await bench("bench/run.ts", ...args);
    assertMatch(stderr, message);
    assertMatch(stderr, /^bench: [^\n]+\n$/);
    assertEquals([code, stdout], [2, ""]);
  });
}

Deno.test("bench --help lists the benchmarks and their choices", async () => {
  const { code, stdout, stderr } = await bench("bench/run.ts", "--help");
  assertMatch(stdout, /^ {2}virtio {2,}the virtio driver beside DPDK's/m);
  assertMatch(stdout, /^ {2}--layout split\|packed {2,}virtio: /m);
  assertMatch(stdout, /^ {2}--runs N {2,}virtio: /m);
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("the virtio benchmark itself knows its layouts", async () => {
  const { code, stderr } = await bench(
    "bench/beside_dpdk/virtio.ts",
    "--layout",
    "x",
  );
  assertEquals([code, stderr], [2, "--layout is split or packed\n"]);
});

Deno.test("a benchmark's picture changes no file of the project, unless it is to", () => {
  const out = new URL("../../bench/out/a_test.svg", import.meta.url);
  savePlot("a_test", "<svg/>");
  assertEquals(Deno.readTextFileSync(out), "<svg/>");
  Deno.removeSync(out);
});
