/**
 * The software card, served over vfio-user, between the guest's kernel with its own ixgbe driver and other kernels: the
 * cables lead into network namespaces of the host, and each card has another kind of interrupts.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { showFigures } from "../support/runner/figures.ts";
import { Namespace } from "../support/host/namespace.ts";
import { type Guest, guestScenarios } from "./lab/mod.ts";
import { passesSelfTest, unexplained } from "./served/ethtool.ts";
import { complaints, Interface, remarks } from "./served/interface.ts";
import {
  carriesTcp,
  type Path,
  Peer,
  roundTrip,
  setOffloads,
} from "./served/transfers.ts";

const CARDS = [
  { model: "82599", interrupts: "msix" },
  { model: "x540", interrupts: "msi" },
  { model: "82599", interrupts: "intx" },
] as const;
const LINKS = CARDS.map((_, index) => `ixls${index}${Deno.pid % 1e5}`);
const MEBIBYTES = 8;
const MTU = { standard: 1500, large: 9000 };
/** Headers of IPv4 and ICMP. */
const PING_HEADERS = 28;

const scenario = guestScenarios(
  {
    name: "served-tcp",
    nics: CARDS.map((card, index) => ({ ...card, tap: LINKS[index] })),
  },
  ...["newerQemu", "ethtool", "root", "tap", "netns", "ip", "ping"] as const,
);

let spaces: Namespace[] | undefined;
Deno.test.afterAll(async () => {
  for (const space of spaces ?? []) await space[Symbol.asyncDispose]();
});

/** The hosts at the ends of the cables. They stay: a TAP interface goes with its namespace. */
async function hosts(): Promise<Namespace[]> {
  return spaces ??= await Promise.all(LINKS.map(async (link, index) => {
    const space = await Namespace.create(link);
    await space.adopt(link, `10.81.${index}.1/24`);
    return space;
  }));
}

/** A card's interface with its address, and the host that it is connected to. */
async function pathOf(guest: Guest, index: number): Promise<Path> {
  const host = (await hosts())[index];
  const it = await Interface.up(guest, guest.nics[index]);
  const [inside, outside] = [`10.81.${index}.2`, `10.81.${index}.1`];
  await guest.sh(`ip address replace ${inside}/24 dev ${it.name}`);
  return { it, host, inside, outside };
}

/** What kind of interrupts the kernel has for a card, and whether each of them has come. */
async function interruptsOf({ guest, name, nic }: Interface): Promise<string> {
  const folder = `/sys/bus/pci/devices/${nic.address}/msi_irqs`;
  const kinds = await guest.sh(`[ ! -e ${folder} ] || cat ${folder}/*`);
  const lines = (await guest.sh("cat /proc/interrupts")).split("\n")
    .filter((line) => new RegExp(` ${name}(-TxRx-\\d+)?$`).test(line));
  assert(lines.length > 0, "no interrupts");
  for (const line of lines) assertMatch(line, /: .*[1-9]\d* .*(MSI|APIC)/);
  return [...new Set(kinds.trim().split("\n"))].join() || "intx";
}

/** Finds out, and reports, how fast a card is; nothing depends on it. */
async function report(path: Path, peer: Peer, what: string): Promise<void> {
  const { inward, outward } = await carriesTcp(peer, path, MEBIBYTES);
  const milliseconds = await roundTrip(path);
  showFigures(
    `served ${what}: TCP ${inward.toFixed(1)} MB/s into the guest, ` +
      `${outward.toFixed(1)} MB/s out of it, ping ${milliseconds} ms`,
  );
}

for (const [index, { model, interrupts }] of CARDS.entries()) {
  scenario(`${model} with ${interrupts} carries TCP`, async (guest) => {
    const path = await pathOf(guest, index);
    const { it } = path;
    const peer = await Peer.start(guest);
    await report(path, peer, `${model}, ${interrupts}`);
    await setOffloads(it, "off");
    await report(path, peer, `${model}, ${interrupts}, nothing offloaded`);
    await setOffloads(it, "on");
    assertEquals(await interruptsOf(it), interrupts);
    for (const up of [false, true]) {
      await it.nic.setLink(up);
      await it.untilLink(up);
    }
    await passesSelfTest(it, "online");
    const { tx_timeout_count, rx_crc_errors, rx_csum_offload_errors } = await it
      .counters();
    assertEquals([tx_timeout_count, rx_crc_errors], [0, 0]);
    assertEquals(rx_csum_offload_errors, 0);
  });
}

scenario("carries frames of 9000 bytes when told to", async (guest) => {
  const path = await pathOf(guest, 0);
  const { it, host, inside } = path;
  await host.run("ip", "link", "set", LINKS[0], "mtu", `${MTU.large}`);
  const size = `${MTU.large - PING_HEADERS}`;
  const ping = (...limits: string[]) =>
    host.run("ping", "-M", "do", "-s", size, ...limits, inside);
  const { rx_packets } = await it.growth(
    () => assertRejects(() => ping("-c", "1", "-W", "1")),
    ({ rx_long_length_errors }) => rx_long_length_errors === 1,
  );
  assertEquals(rx_packets, 0, "a standard interface takes none");
  await guest.sh(`ip link set ${it.name} mtu ${MTU.large}`);
  await it.untilLink(true);
  const said = await ping("-c", "3", "-i", "0.2", "-w", "30");
  // It sends more than three where answers are slow.
  assertMatch(said, / ([3-9]|\d\d) received/);
  await carriesTcp(await Peer.start(guest), path, MEBIBYTES);
  await guest.sh(`ip link set ${it.name} mtu ${MTU.standard}`);
});

scenario("has seen nothing that the datasheet forbids", async (guest) => {
  for (const { output } of guest.servedCards) {
    assertEquals(remarks(output), []);
  }
  assertEquals(await complaints(guest), []);
});

// After that: they do what the datasheet forbids. With MSI-X the driver does not test interrupts.
scenario("passes the driver's tests of interrupts", async (guest) => {
  for (const index of [1, 2]) {
    const { it, host, inside } = await pathOf(guest, index);
    await passesSelfTest(it, "offline");
    await host.run("ping", "-c", "1", "-w", "30", inside);
    const { output } = guest.servedCards[index];
    assertEquals(unexplained(remarks(output)), []);
  }
  assertEquals(await complaints(guest), []);
});
