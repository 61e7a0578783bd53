/** However a program ends, it leaves nothing behind. */

import { assert, assertEquals } from "@std/assert";
import { CliProcess, command } from "../support/cli.ts";
import { requires } from "../support/requirements.ts";
import { until } from "../support/until.ts";

const PROGRAMS: [name: string, args: string[], ready: RegExp][] = [
  ["forward", ["sim:generator", "sim:sink"], /forwarding from/],
  ["bridge", ["sim:generator", "sim:sink"], /bridg|between|cable/],
  ["generate", ["sim:sink", "--rate", "1000"], /Mpps/],
  ["capture", ["sim:generator?rate=100", "/dev/null"], /capturing from/],
  ["responder", ["sim:loopback", "--ip", "10.0.0.1"], /10\.0\.0\.1 is at/],
  ["stats", ["sim:generator", "--interval", "0.1"], /^queue 0/m],
];

for (const [name, args, ready] of PROGRAMS) {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.test(`${name} ends cleanly on ${signal}`, async () => {
      await using process = new CliProcess([name, ...args]);
      await process.prints(ready);
      process.signal(signal);
      const { code, stderr } = await process.ended();
      assertEquals(code, 0, stderr);
      assert(!/warn|error/i.test(stderr), stderr);
    });
  }
}

for (const [name, args, ready] of PROGRAMS) {
  Deno.test(`${name} takes Ctrl-C from a runner as one request`, async () => {
    await using process = new CliProcess([name, ...args]);
    await process.prints(ready);
    process.signal("SIGINT");
    // What `deno task` adds of its own; after the end it finds no process any more.
    await new Promise((resolve) => setTimeout(resolve, 30));
    try {
      process.signal("SIGINT");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    const { code, stderr } = await process.ended();
    assertEquals(code, 0, stderr);
  });
}

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
