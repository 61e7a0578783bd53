/**
 * `ixl bind`, `ixl unbind` and `ixl list` on QEMU's cards, and what is said when a card cannot be opened.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { DeviceListing } from "../../src/device.ts";
import {
  asUser,
  bindDriver,
  bindForUser,
  type Guest,
  guestScenarios,
} from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "bind",
  nics: [{ model: "igb" }, { model: "e1000e" }],
});

const IXL = ["deno", "run", "-q", "-P=demo", "src/cli/main.ts"];
const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];
const CAPTURE = ["deno", "run", "-q", "-P=demo", "examples/capture.ts"];
const START = { timeoutMs: 90_000 };

async function ixl(guest: Guest, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await guest.run([...IXL, ...args]);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** Runs a command that fails, and returns the one line that it says. */
async function complaint(guest: Guest, command: string[]): Promise<string> {
  const { code, stderr } = await guest.run(command);
  assertEquals(code, 1, stderr);
  assertEquals(stderr.trim().split("\n").length, 1, stderr);
  return stderr;
}

async function listing(guest: Guest, address: string): Promise<DeviceListing> {
  const all = JSON.parse(await ixl(guest, "list", "--json"));
  return all.find((device: DeviceListing) => device.address === address);
}

scenario("ixl list says who has a card and what to do", async (guest) => {
  const [{ address }] = guest.nics;
  await guest.loadModule("igb");
  await bindDriver(guest, address, "igb");
  const card = await listing(guest, address);
  assertEquals(card.kernelDriver, "igb");
  assertEquals(card.ids, "8086:10c9");
  assertStringIncludes(card.reason!, `ixl bind ${address}`);
});

scenario(
  "ixl bind takes a card and ixl unbind gives it back",
  async (guest) => {
    const [{ address }] = guest.nics;
    await guest.loadModule("igb");
    await bindDriver(guest, address, "igb");
    await ixl(guest, "bind", address);
    assertEquals((await listing(guest, address)).kernelDriver, "vfio-pci");
    // Bound already: nothing to do.
    await ixl(guest, "bind", address);
    await ixl(guest, "unbind", address);
    assertEquals((await listing(guest, address)).kernelDriver, "igb");
  },
);

scenario("ixl bind refuses a card in use, unless forced", async (guest) => {
  const [{ address }] = guest.nics;
  await guest.loadModule("igb");
  await bindDriver(guest, address, "igb");
  const name = (await guest.sh(`ls /sys/bus/pci/devices/${address}/net`))
    .trim();
  await guest.sh(`ip addr add 10.9.9.1/24 dev ${name}; ip link set ${name} up`);
  const why = await complaint(guest, [...IXL, "bind", address]);
  assertStringIncludes(why, name);
  assertStringIncludes(why, "--force");
  assertEquals((await listing(guest, address)).kernelDriver, "igb");
  await ixl(guest, "bind", "--force", address);
  await ixl(guest, "unbind", address);
});

scenario(
  "an ordinary user is told why a card cannot be opened",
  async (guest) => {
    const [{ address }] = guest.nics;
    await ixl(guest, "bind", address);
    const group = await guest.sh(
      `basename $(readlink /sys/bus/pci/devices/${address}/iommu_group)`,
    );
    await guest.sh(
      `chown root /dev/vfio/${group.trim()}; chmod 600 /dev/vfio/${group.trim()}`,
    );
    const info = asUser([...IXL, "info", address]);
    assertStringIncludes(await complaint(guest, info), "chown");
  },
);

scenario("a card with its kernel driver cannot be opened", async (guest) => {
  const [, { address }] = guest.nics;
  await guest.loadModule("e1000e");
  await bindDriver(guest, address, "e1000e");
  const why = await complaint(guest, [...IXL, "info", address]);
  assertStringIncludes(why, `ixl bind ${address}`);
  assert(why.includes("e1000e"), why);
});

// What follows is about a process that cannot have a card: another has it, or too little memory may be locked.

scenario(
  "a card in use cannot be opened again, neither here nor elsewhere",
  async (guest) => {
    const [{ address }] = guest.nics;
    await bindForUser(guest, address);
    const twice = await guest.run(asUser([...FORWARD, address, address]));
    assertEquals(twice.code, 1);
    assertStringIncludes(twice.stderr, "in use by this program");
    const first = await guest.spawn(asUser([...CAPTURE, address, "/dev/null"]));
    await first.prints(/capturing/, START);
    const second = await guest.run(asUser([...IXL, "info", address]));
    assertEquals(second.code, 1);
    assertStringIncludes(second.stderr, "used by another process");
    await first.signal("SIGTERM");
    assertEquals((await first.ended()).code, 0);
  },
);

scenario(
  "too little lockable memory is named, with the limit to raise",
  async (guest) => {
    const [{ address }] = guest.nics;
    await bindForUser(guest, address);
    const { code, stderr } = await guest.run(
      asUser([...IXL, "info", address], { memlockBytes: 64 << 10 }),
    );
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "ulimit -l");
  },
);
