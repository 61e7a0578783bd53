/**
 * What `ethtool` says of a served card.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { numbered } from "../frames.ts";
import type { Interface } from "./interface.ts";

/** What the driver offers by default where the card can do it. */
const FEATURES = [
  ...["rx-checksumming", "tx-checksumming", "scatter-gather"],
  ...["tcp-segmentation-offload", "generic-receive-offload"],
  ...["rx-vlan-offload", "tx-vlan-offload", "rx-vlan-filter"],
  "receive-hashing",
];
/** Every station with IPv4 belongs to it (RFC 1112). */
const ALL_HOSTS = "01:00:5e:00:00:01";
const CHECK_SEQUENCE = 4;
const SIZES = [60, 300, 1514];
const MULTICASTS = 2;
const QUESTIONS = 3;
/** A question, and an answer as it leaves the kernel and the card. */
const ARP_BYTES = { padded: 60, bare: 42 };
const TESTS = {
  offline: ["Register", "Eeprom", "Interrupt", "Loopback", "Link"],
  online: ["Link"],
} as const;

/** `-i` and `-k`. */
export async function identifiesItself(it: Interface): Promise<void> {
  const identity = await it.ethtool("-i");
  assertMatch(identity, /^driver: ixgbe$/m);
  assertMatch(identity, new RegExp(`^bus-info: ${it.nic.address}$`, "m"));
  assertMatch(identity, /^firmware-version: 0x[0-9a-f]{8}$/m);
  for (const what of ["statistics", "test", "eeprom-access", "register-dump"]) {
    assertMatch(identity, new RegExp(`^supports-${what}: yes$`, "m"));
  }
  const features = await it.ethtool("-k");
  for (const feature of FEATURES) {
    assertMatch(features, new RegExp(`^${feature}: on$`, "m"));
  }
}

/** `-S`, against what the test has sent and got. */
export async function countsFrames(it: Interface): Promise<void> {
  const { mac, port } = it.nic;
  const send = async () => {
    await port.send(
      ...SIZES.map((size, number) => numbered(number, mac, size)),
      ...Array.from(
        { length: MULTICASTS },
        (_, number) => numbered(number, ALL_HOSTS),
      ),
    );
    await it.answers(QUESTIONS);
  };
  const packets = SIZES.length + MULTICASTS + QUESTIONS;
  const bytes = SIZES.reduce((sum, size) => sum + size) +
    (MULTICASTS + QUESTIONS) * ARP_BYTES.padded;
  const expected: Record<string, number> = {
    rx_packets: packets,
    rx_bytes: bytes,
    rx_pkts_nic: packets,
    rx_bytes_nic: bytes + packets * CHECK_SEQUENCE,
    multicast: MULTICASTS,
    broadcast: QUESTIONS,
    rx_missed_errors: 0,
    rx_crc_errors: 0,
    tx_packets: QUESTIONS,
    tx_bytes: QUESTIONS * ARP_BYTES.bare,
    tx_pkts_nic: QUESTIONS,
    tx_bytes_nic: QUESTIONS * (ARP_BYTES.padded + CHECK_SEQUENCE),
    tx_timeout_count: 0,
  };
  const grown = await it.growth(
    send,
    ({ rx_packets, tx_packets }) =>
      rx_packets >= packets && tx_packets >= QUESTIONS,
  );
  const counted = Object.keys(expected).map((name) => [name, grown[name]]);
  assertEquals(Object.fromEntries(counted), expected);
  const perQueue = Object.entries(grown).filter(([name]) =>
    /^rx_queue_\d+_packets$/.test(name)
  );
  assertEquals(perQueue.reduce((sum, [, count]) => sum + count, 0), packets);
}

/** `-d`, of an interface that is up. */
export async function dumpsRegisters(it: Interface): Promise<void> {
  const dump = await it.ethtool("-d");
  const facts = {
    "Link Status": "up",
    "Link Speed": "10G",
    "Broadcast Accept": "enabled",
    "Unicast Promiscuous": "disabled",
    "VLAN Filter": "enabled",
    "Receive CRC Strip": "enabled",
    "Pad Short Frames": "enabled",
    Loopback: "disabled",
  };
  for (const [name, value] of Object.entries(facts)) {
    assertMatch(dump, new RegExp(`^ +${name}: +${value}$`, "m"));
  }
  const octets = it.nic.mac.split(":");
  const low = octets.slice(0, 4).toReversed().join("");
  const high = octets.slice(4).toReversed().join("");
  assertMatch(dump, new RegExp(`: RAL0?0 .* 0x${low}$`, "im"));
  assertMatch(dump, new RegExp(`: RAH0?0 .* 0x8000${high}$`, "im"));
}

/** `-t`: passes, and the interface works as before. */
export async function passesSelfTest(
  it: Interface,
  kind: keyof typeof TESTS,
): Promise<void> {
  const report = await it.ethtool("-t", kind);
  assertMatch(report, /^The test result is PASS$/m);
  for (const name of TESTS[kind]) {
    assertMatch(report, new RegExp(`^${name} test +\\(.*\\)\\s+0$`, "m"));
  }
  await it.untilLink(true);
}

/** What `-t offline` does although the datasheet forbids it (src/sim/README.md), and what `-d` does. */
const OF_SELF_TESTS = [
  /^register: write of \S+ to STATUS\[0\]: it is read-only /,
  /^order: [RT]D(BAL|LEN)\[\d\] = \S+ is not a multiple of 128 /,
  /^order: RXDCTL\[\d\]\.ENABLE without a sound ring /,
  /^order: RDT\[\d\] = \d+ (before RXDCTL\.ENABLE|is beyond the ring) /,
  /^order: RXCTRL\.RXEN set (without halting the security path|while)/,
  /^order: receive queue 0 runs with DCA_RXCTRL\[0\] bit 12 set /,
];
const OF_DUMPS = [
  /^register: read at offset \S+ no register is there /,
];

/** Those of a server's remarks that neither explains. */
export function unexplained(remarks: readonly string[]): string[] {
  const known = [...OF_SELF_TESTS, ...OF_DUMPS];
  return remarks.filter((remark) => !known.some((one) => one.test(remark)));
}
