/** `ixl sim serve` in a process of its own, as users run it. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync } from "node:fs";
import { readSmallFile } from "../../src/ffi/files.ts";
import { CliProcess, runCli } from "../support/host/cli.ts";
import { requires } from "../support/runner/requirements.ts";
import { until } from "../support/until.ts";
import { VfioUserClient } from "../support/vfio_user/client.ts";

const permissions = ["-P=serve"];
const BAR0 = 0;
const CONFIG = 7;
const PCI_COMMAND = 4;
const STATUS = 0x00008;
const STATUS_LINK_UP = 1 << 7;
const ESDP = 0x00020;
/** Software-definable pin 3 is an output, and low. */
const LASER_ON = 1 << 11;

/** A folder that is removed with the test. */
async function withFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "ixl-serve-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function serve(socket: string, ...more: string[]): CliProcess {
  return new CliProcess(["sim", "serve", "--socket", socket, ...more], {
    permissions,
  });
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`sim serve ends with ${signal} and removes its socket`, () =>
    withFolder(async (folder) => {
      const socket = `${folder}/card`;
      await using process = serve(socket);
      await process.prints(
        /^serving 82599 02:00:00:00:00:01 at .*card, on loopback$/m,
      );
      using client = new VfioUserClient(socket);
      assertEquals(client.read32(CONFIG, 0), 0x10fb8086);
      process.signal(signal);
      assertEquals((await process.ended()).code, 0);
      assert(!existsSync(socket), "the socket is still there");
      client.untilClosed();
    }));
}

Deno.test("sim serve serves the X540 with the address that it is given", () =>
  withFolder(async (folder) => {
    const socket = `${folder}/card`;
    const mac = "02:12:34:56:78:9A";
    await using process = serve(socket, "--model", "x540", "--mac", mac);
    await process.prints(/^serving x540 02:12:34:56:78:9a/m);
    using client = new VfioUserClient(socket);
    assertEquals(client.read32(CONFIG, 0), 0x15288086);
  }));

Deno.test("sim serve takes the place of a socket that nobody listens at", () =>
  withFolder(async (folder) => {
    const socket = `${folder}/card`;
    {
      await using killed = serve(socket);
      await killed.prints(/^serving/m);
    }
    assert(existsSync(socket), "killed, it has left its socket");
    await using process = serve(socket);
    await process.prints(/^serving/m);
    using _client = new VfioUserClient(socket);
    await process.prints(/^ixl sim serve: client 1 has come$/m);
  }));

Deno.test("sim serve pulls the cable with SIGUSR2, and plugs it in again", () =>
  withFolder(async (folder) => {
    const socket = `${folder}/card`;
    await using process = serve(socket);
    await process.prints(/^serving/m);
    using client = new VfioUserClient(socket);
    client.write(CONFIG, PCI_COMMAND, new Uint8Array([6, 0]));
    client.write32(BAR0, ESDP, LASER_ON);
    const linkUp = () => (client.read32(BAR0, STATUS) & STATUS_LINK_UP) !== 0;
    await until("the link", linkUp);
    process.signal("SIGUSR2");
    await process.prints(/the cable is out$/m);
    await until("no link", () => !linkUp());
    process.signal("SIGUSR2");
    await process.prints(/the cable is in$/m);
    await until("the link again", linkUp);
  }));

Deno.test("sim serve says what is wrong, in one line", () =>
  withFolder(async (folder) => {
    const socket = `${folder}/card`;
    const fails = async (code: number, message: RegExp, ...args: string[]) => {
      const outcome = await runCli(["sim", ...args], { permissions });
      assertMatch(outcome.stderr, message);
      assertMatch(outcome.stderr, /^ixl: [^\n]+\n$/);
      assertEquals([outcome.code, outcome.stdout], [code, ""]);
    };
    await fails(2, /no command sim fly: use sim serve/, "fly");
    await fails(2, /needs --socket PATH/, "serve");
    const at = (...more: string[]) => ["serve", "--socket", socket, ...more];
    await fails(
      2,
      /--model 82576 is not 82599 or x540/,
      ...at("--model=82576"),
    );
    await fails(
      2,
      /--mac 01:.* is no MAC address/,
      ...at("--mac=01:00:00:00:00:00"),
    );
    await fails(2, /--mac eth0 is no MAC address/, ...at("--mac=eth0"));
    await fails(
      2,
      /there is no "moon": use loopback, tap:NAME/,
      ...at("--wire=moon"),
    );
    await fails(2, /there is no "tap:"/, ...at("--wire=tap:"));
    await fails(
      1,
      /bind \/no\/such\/card/,
      "serve",
      "--socket",
      "/no/such/card",
    );
    await fails(
      1,
      /--wire pcap:.*out\.pcap: this program may not write .*: start it with deno run -P=serve --allow-read=\.,FILE --allow-write=FILE src\/cli/,
      ...at(`--wire=pcap:${folder}/out.pcap`),
    );
    await using _first = serve(socket);
    await _first.prints(/^serving/m);
    await fails(1, /Address already in use|EADDRINUSE/, ...at());
  }));

Deno.test("sim serve writes a pcap with the rights that its help names", () =>
  withFolder(async (folder) => {
    const [socket, pcap] = [`${folder}/card`, `${folder}/out.pcap`];
    const args = ["--socket", socket, "--wire", `pcap:${pcap}`];
    await using process = new CliProcess(["sim", "serve", ...args], {
      permissions: [
        "-P=serve",
        `--allow-read=.,${pcap}`,
        `--allow-write=${pcap}`,
      ],
    });
    await process.prints(/^serving/m);
    process.signal("SIGINT");
    assertEquals((await process.ended()).code, 0);
    assertEquals(Deno.statSync(pcap).size, 24);
  }));

Deno.test("sim serve --help lists the wires and QEMU's words", async () => {
  const outcome = await runCli(["sim", "serve", "--help"], { permissions });
  assertEquals([outcome.code, outcome.stderr], [0, ""]);
  for (
    const word of ["--socket PATH", "tap:NAME", "peer:PATH", "vfio-user-pci"]
  ) {
    assert(outcome.stdout.includes(word), word);
  }
});

requires("tap")(
  "sim serve makes a TAP device, and takes it away",
  () =>
    withFolder(async (folder) => {
      const name = `ixlsrv${Deno.pid % 1e5}`;
      const there = () =>
        readSmallFile(`/sys/class/net/${name}/mtu`) !== undefined;
      await using process = serve(`${folder}/card`, "--wire", `tap:${name}`);
      await process.prints(/^serving/m);
      assert(there());
      process.signal("SIGTERM");
      await process.ended();
      assert(!there());
    }),
);
