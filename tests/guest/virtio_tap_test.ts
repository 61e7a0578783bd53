/**
 * The virtio driver between kernels: the cables of QEMU's cards are TAP interfaces, which carry the virtio header, each
 * in a network namespace of the host. What the driver says of checksums and segments is judged by these kernels' stacks.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { type DeviceOptions, PacketFlag } from "../../mod.ts";
import { DEFAULT_RSS_KEY } from "../../src/config.ts";
import { lastJson } from "../support/host/cli.ts";
import { Namespace } from "../support/host/namespace.ts";
import { transferTcp, wrongTcpChecksums } from "../support/host/tcp.ts";
import { Card } from "./console.ts";
import { type Flow, FLOWS } from "./flows.ts";
import { bindDriver, type Guest, guestScenarios } from "./lab/mod.ts";
import type { BridgeReport } from "./programs/bridge_cards.ts";
import type { PacketReport } from "./programs/card_console.ts";

const LINKS = [`ixlvl${Deno.pid % 1e5}`, `ixlvr${Deno.pid % 1e5}`] as const;
const ADDRESSES = [
  { ipv4: "10.80.0.1", ipv6: "fd00:80::1" },
  { ipv4: "10.80.0.2", ipv6: "fd00:80::2" },
] as const;

const scenario = guestScenarios(
  {
    name: "virtio_tap",
    // On ordinary pages, which are not neighbours in RAM, QEMU 10.0.2 writes astray what lies in two of them.
    hugepages: 0,
    nics: LINKS.map((tap) => ({
      model: "virtio-net-pci",
      ...{ tap, cableQueues: 2 },
      properties: { packed: true, mq: true, rss: true, hash: true, vectors: 6 },
    })),
  },
  ...["root", "tap", "netns", "ip", "ping"] as const,
);

let spaces: Namespace[] | undefined;
Deno.test.afterAll(async () => {
  for (const space of spaces ?? []) await space[Symbol.asyncDispose]();
});

/** The hosts at the ends of the cables. They stay: a TAP interface goes with its namespace. */
async function hosts(): Promise<Namespace[]> {
  return spaces ??= await Promise.all(LINKS.map(async (link, index) => {
    const { ipv4, ipv6 } = ADDRESSES[index];
    const space = await Namespace.create(link);
    await space.adopt(link, `${ipv4}/24`);
    const inet6 = ["address", "add", `${ipv6}/64`, "dev", link, "nodad"];
    await space.run("ip", ...inet6);
    return space;
  }));
}

type Virtio = NonNullable<DeviceOptions["virtio"]>;

interface Passage {
  /** How each card is opened. */
  readonly virtio: readonly [left: Virtio, right: Virtio];
  readonly mebibytes: number;
}

/**
 * Sends noise over TCP from the left host to the right one, through both cards, over IPv4 and then over IPv6, and
 * expects it to arrive whole.
 */
async function carriesTcp(
  guest: Guest,
  { virtio, mebibytes }: Passage,
): Promise<BridgeReport> {
  const [left, right] = await hosts();
  for (const { address } of guest.nics) {
    await bindDriver(guest, address, "vfio-pci");
  }
  const cards = guest.nics.flatMap((
    { address },
    card,
  ) => [address, JSON.stringify({ virtio: virtio[card] })]);
  const bridge = await guest.spawn([
    ...["deno", "run", "-q", "-A", "--no-check"],
    ...["tests/guest/programs/bridge_cards.ts", ...cards],
  ]);
  await bridge.prints(/^bridging$/m, { timeoutMs: 90_000 });
  for (const address of Object.values(ADDRESSES[1])) {
    const ping = ["ping", "-c", "3", "-i", "0.2", "-w", "30", address];
    // It sends more than three where answers are slow.
    assertMatch(await left.run(...ping), /([3-9]|\d\d) received/);
    const ends = await transferTcp(left, right, address, mebibytes);
    assertEquals(ends.received, ends.sent);
    assertEquals(ends.received.bytes, mebibytes << 20);
  }
  for (const host of [left, right]) {
    assertEquals(wrongTcpChecksums(await host.run("cat", "/proc/net/snmp")), 0);
  }
  await bridge.closeInput();
  const { code, stdout, stderr } = await bridge.ended();
  assertEquals(code, 0, stderr);
  const report = lastJson<BridgeReport>(stdout);
  assertEquals(report.lost, 0);
  return report;
}

/** Bytes of the frames that the left card received, on average. */
const averageFrame = ({ received: [{ packets, bytes }] }: BridgeReport) =>
  bytes / packets;

const LARGEST_ON_A_WIRE = 1514;
const RINGS = { packed: [], split: ["packed"] } as const;
const WHOLE = ["guest-checksum", "guest-tso4", "guest-tso6"];

for (const [ring, without] of Object.entries(RINGS)) {
  scenario(`large packets pass as large packets, ${ring}`, async (guest) => {
    const virtio = { with: WHOLE, without };
    const report = await carriesTcp(guest, {
      ...{ virtio: [virtio, virtio], mebibytes: 8 },
    });
    for (const features of report.features) {
      for (const name of [...WHOLE, "checksum", "tso4", "tso6"]) {
        assert(features.includes(name), name);
      }
    }
    // How large they are is TCP's choice, but on a wire none would be.
    const average = averageFrame(report);
    assert(average > LARGEST_ON_A_WIRE, `${average} bytes`);
  });

  scenario(
    `frames of a wire pass where nothing is offloaded, ${ring}`,
    async (guest) => {
      const virtio = { without: [...without, "checksum"] };
      const report = await carriesTcp(guest, {
        ...{ virtio: [virtio, virtio], mebibytes: 1 },
      });
      for (const features of report.features) {
        for (const name of [...WHOLE, "checksum", "tso4", "tso6"]) {
          assert(!features.includes(name), name);
        }
      }
      assert(averageFrame(report) <= LARGEST_ON_A_WIRE);
    },
  );

  scenario(
    `the driver completes checksums where a card cannot, ${ring}`,
    async (guest) => {
      const report = await carriesTcp(guest, {
        virtio: [
          { with: ["guest-checksum"], without },
          { without: [...without, "checksum"] },
        ],
        mebibytes: 1,
      });
      const [left, right] = report.features;
      assert(left.includes("guest-checksum") && !right.includes("checksum"));
      assert(averageFrame(report) <= LARGEST_ON_A_WIRE);
    },
  );
}

const UDP_SEND = fileURLToPath(
  new URL("../fixtures/udp_send.ts", import.meta.url),
);
/** Those that a host can send without a scope. */
const SENDABLE = FLOWS.filter(({ destination: [address] }) =>
  !/^f[ef]/.test(address)
);

/** Makes the flows' sources addresses of the left host, and their destinations neighbours that are the card. */
async function routeFlows(host: Namespace, mac: string): Promise<void> {
  const [link] = LINKS;
  for (const { source: [source], destination: [destination] } of SENDABLE) {
    const [bits, ...more] = source.includes(":") ? [128, "nodad"] : [32];
    const ip = (...words: string[]) => host.run("ip", ...words, "dev", link);
    await host.run(
      ...["ip", "address", "replace", `${source}/${bits}`, "dev", link],
      ...more.map(String),
    );
    await ip("route", "replace", destination, "src", source);
    await ip("neighbour", "replace", destination, "lladdr", mac);
  }
}

/** Has a host send a datagram of a flow. */
async function sendDatagram(host: Namespace, flow: Flow): Promise<void> {
  await host.run(
    ...[Deno.execPath(), "run", "-q", "--no-config"],
    ...["--allow-net", "--unstable-net", UDP_SEND],
    ...[flow.source, flow.destination].flat().map(String),
  );
}

const ETHERTYPE = 12;
const IPV6 = 0x86dd;

/** What tells the frames of one flow from those of another. */
function flowOf({ hex }: PacketReport): string {
  const view = new DataView(Uint8Array.fromHex(hex).buffer);
  const isIpv6 = view.getUint16(ETHERTYPE) === IPV6;
  return `${isIpv6 ? 6 : 4}/${view.getUint16(14 + (isIpv6 ? 40 : 20))}`;
}

const nameOf = ({ source: [address, port] }: Flow) =>
  `${address.includes(":") ? 6 : 4}/${port}`;

scenario("spreads by the published hashes, and reports them", async (guest) => {
  const [nic] = guest.nics;
  const [host] = await hosts();
  const queues = 2;
  await routeFlows(host, nic.mac);
  const card = await Card.open(guest, nic, { irqTimeoutMs: 0, queues });
  const { features } = card.report;
  assertEquals([features.maxQueues, features.rssQueues], [2, 2]);
  const TABLE_MASK = features.retaSize - 1;
  const seen = async () => {
    for (const flow of SENDABLE) await sendDatagram(host, flow);
    const reports = new Map<string, PacketReport>();
    while (!SENDABLE.every((flow) => reports.has(nameOf(flow)))) {
      const some = await card.receive(1);
      assert(some.length > 0, `only ${[...reports.keys()]}`);
      for (const report of some) reports.set(flowOf(report), report);
    }
    return SENDABLE.map((flow) => {
      const { queue, rssHash, flags } = reports.get(nameOf(flow))!;
      assert((flags & PacketFlag.RssHash) !== 0);
      return { queue, hash: rssHash };
    });
  };
  const expected = (queueOf: (entry: number) => number) =>
    SENDABLE.map(({ withPorts: hash }) => ({
      queue: queueOf(hash & TABLE_MASK),
      hash,
    }));

  for (const virtio of [{}, { without: ["packed"] }]) {
    await card.reopen({ irqTimeoutMs: 0, queues, virtio });
    assertEquals(await seen(), expected((entry) => entry % queues));
  }
  await card.call("setRssTable", [1]);
  assertEquals(await seen(), expected(() => 1));
  await card.ask("setRssKey", new Array(40).fill(0));
  assertEquals(await seen(), SENDABLE.map(() => ({ queue: 1, hash: 0 })));
  await card.ask("setRssKey", [...DEFAULT_RSS_KEY]);
  await card.call("setRssTable", [0, 1, 1, 0]);
  assertEquals(await seen(), expected((entry) => [0, 1, 1, 0][entry % 4]));
  await card.close();
});
