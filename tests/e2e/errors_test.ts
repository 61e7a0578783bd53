/** What goes wrong from the start: one line that says so, and an exit code. */

import { assertEquals, assertMatch } from "@std/assert";
import {
  CliProcess,
  type ProcessOptions,
  runCli,
} from "../support/host/cli.ts";
import { requires } from "../support/runner/requirements.ts";

async function fails(
  args: string[],
  code: number,
  message: RegExp,
  options: ProcessOptions = {},
): Promise<void> {
  await using process = new CliProcess(args, options);
  const outcome = await process.ended();
  assertMatch(outcome.stderr, message);
  assertMatch(outcome.stderr, /^ixl: [^\n]+\n$/);
  assertEquals([outcome.code, outcome.stdout], [code, ""]);
}

Deno.test("a bad argument ends the process with 2", async () => {
  await fails(["info"], 2, /needs ADDRESS/);
  await fails(["forward", "sim:sink", "--quick"], 2, /--quick/);
});

Deno.test("an unknown command ends the process with 2", async () => {
  await fails(["fly"], 2, /there is no command fly: use list, /);
});

Deno.test("a setting that has no such value is named with those that it has", async () => {
  const values = {
    IXL_HUGEPAGES: /IXL_HUGEPAGES: "bogus" .* use auto, never, require/,
    IXL_DEBUG: /IXL_DEBUG: "bogus" .* use 0, 1/,
    IXL_LOG: /IXL_LOG: "bogus" .* use debug, info, warn, error, silent/,
  };
  for (const [name, message] of Object.entries(values)) {
    const env = { [name]: "bogus" };
    await fails(["demo", "--seconds", "1"], 2, message, { env });
  }
});

Deno.test("an unknown device is named", async () => {
  await fails(["info", "eth7"], 1, /there is no network card "eth7"/);
  await fails(["info", "0000:99:00.0"], 1, /no network card "0000:99:00\.0"/);
  await fails(["info", "sim:moon"], 1, /there is no "sim:moon": use sim:loop/);
});

Deno.test("a wrong option of a software card is named", async () => {
  await fails(
    ["info", "sim:generator?rate=x"],
    2,
    /rate must be a whole number from 0 to 1000000000, not x/,
  );
  await fails(["info", "sim:generator?speed=1"], 2, /speed is no option/);
  await fails(["info", "sim:pair"], 2, /sim:pair\/NAME/);
});

Deno.test("too many queues are refused by the card", async () => {
  await fails(["stats", "sim:loopback", "--queues=128"], 2, /queues/);
});

Deno.test("a missing FFI permission is named with its flag", async () => {
  const permissions = ["--allow-read"];
  const message = /may not be called: run with --allow-ffi/;
  await fails(["info", "sim:loopback"], 1, message, { permissions });
});

Deno.test("a file that cannot be written is named", async () => {
  const args = ["capture", "sim:loopback", "/no/such/folder/x.pcap"];
  await fails(args, 1, /\/no\/such\/folder\/x\.pcap/);
});

Deno.test("a full disk is named before anything is played", async () => {
  // Deno opens devices only for a program that may do everything.
  const options = { permissions: ["-A"] };
  const message = /cannot write to \/dev\/full: .*the disk is full/;
  const address = "sim:pcap?out=/dev/full";
  await fails(["forward", "sim:sink", address], 1, message, options);
});

Deno.test("a missing write permission is named", async () => {
  const permissions = ["--allow-read", "--allow-ffi"];
  const args = ["capture", "sim:loopback", "/tmp/ixl-not-allowed.pcap"];
  await fails(args, 1, /write access to/, { permissions });
});

Deno.test("a capture that cannot be played is named", async () => {
  await fails(["info", "sim:pcap?in=/no/such.pcap"], 1, /\/no\/such\.pcap/);
  await fails(["info", "sim:pcap?in=/dev/null"], 2, /file is empty/);
});

Deno.test("IXL_LOG=debug shows the bring-up and the stack", async () => {
  await using good = new CliProcess(["info", "sim:loopback"], {
    env: { IXL_LOG: "debug" },
  });
  assertMatch((await good.ended()).stderr, /^ixl debug sim:loopback: /m);
  await using bad = new CliProcess(["info", "eth7"], {
    env: { IXL_LOG: "debug" },
  });
  assertMatch((await bad.ended()).stderr, /^ixl: [^\n]+\nIxlError: /m);
});

requires("tap")("a TAP device that is taken is named", async () => {
  const address = `sim:tap/ixlbusy${Deno.pid % 1e5}`;
  await using first = new CliProcess(
    `stats ${address} --interval 0.05`.split(" "),
  );
  await first.prints(/^queue 0/m);
  await fails(["info", address], 1, /in use: choose another name/);
});

requires("tap")("a TAP device without CAP_NET_ADMIN is refused", async () => {
  const prefix = ["setpriv", "--bounding-set=-net_admin"];
  const address = `sim:tap/ixlcap${Deno.pid % 1e5}`;
  await fails(["info", address], 1, /needs CAP_NET_ADMIN/, { prefix });
});

Deno.test("a name that no interface can have is refused", async () => {
  const { code, stderr } = await runCli(
    "info sim:tap/far-too-long-a-name".split(" "),
  );
  assertMatch(stderr, /^ixl: .*is no interface name.*\n$/);
  assertEquals(code, 2);
});
