/**
 * Answers ARP and ping for one IPv4 address.
 *
 *     deno run -P=demo examples/responder.ts sim:tap/ixl0 --ip 10.1.0.2 &
 *     ip addr add 10.1.0.1/24 dev ixl0 && ip link set ixl0 up && ping 10.1.0.2
 *
 * One queue, no worker: the loop over `rx` sleeps on the card's interrupt without blocking the program.
 *
 * @module
 */
import { Batch, openDevice } from "../mod.ts";
import * as net from "../src/net/mod.ts";
import {
  account,
  closeBooks,
  lastLine,
  received,
  sent,
  settle,
  total,
} from "./_accounts.ts";
import { exitCode } from "./_ending.ts";
import { parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl responder ADDRESS --ip IPV4 [options]

Answers ARP requests and pings for an IPv4 address.

  --ip IPV4    the address to answer for
  --seconds N  when to end; 0 for on a signal (default 0)
  --json       print the summary as one object
  --help       print this`;

/** The low twelve bits of a tag. A priority tag, VLAN 0, belongs to no VLAN (IEEE 802.1Q). */
const VLAN_ID = 0xfff;
/** Sources below and from here on are "this network" and groups: they name no host (RFC 1122, 3.2.1.3). */
const FIRST_NETWORK = 1 << 24;
const FIRST_GROUP = 0xe0000000;
const LOOPBACK = 127;

/** What became of a frame: answered, or why not. */
type Verdict =
  | "arp"
  | "echo"
  | "otherAddress"
  | "badSource"
  | "malformed"
  | "otherProtocol";

/** Turns requests into their answers, in place. */
export class Responder {
  /** How many frames were answered, and how many were not. */
  readonly count: Record<Verdict, number> = {
    ...{ arp: 0, echo: 0 },
    ...{ otherAddress: 0, badSource: 0, malformed: 0, otherProtocol: 0 },
  };

  /**
   * @param mac The six octets of the card's address.
   * @param ip The IPv4 address to answer for.
   */
  constructor(readonly mac: Uint8Array, readonly ip: number) {}

  /** Counts the frame. True when it is an answer now. */
  answer(u8: Uint8Array, frame: number, length: number): boolean {
    const verdict = this.#judge(u8, frame, length);
    this.count[verdict]++;
    if (verdict !== "arp" && verdict !== "echo") return false;
    net.swapMacs(u8, frame);
    net.copyMac(this.mac, 0, u8, frame + net.ETHERNET_FIELD.source);
    return true;
  }

  #judge(u8: Uint8Array, frame: number, length: number): Verdict {
    if (!net.isEthernet(u8, frame, length)) return "malformed";
    if (net.isMulticastMac(u8, frame + net.ETHERNET_FIELD.source)) {
      return "badSource";
    }
    let header = net.ETHERNET_HEADER_LENGTH;
    let type = net.etherType(u8, frame);
    if (type === net.ETHER_TYPE.vlan) {
      if (length < header + net.VLAN_TAG_LENGTH) return "malformed";
      if ((net.readU16(u8, frame + header) & VLAN_ID) !== 0) {
        return "otherAddress";
      }
      type = net.readU16(u8, frame + header + 2);
      header += net.VLAN_TAG_LENGTH;
    }
    const payload = frame + header;
    const rest = length - header;
    if (type === net.ETHER_TYPE.arp) return this.#judgeArp(u8, payload, rest);
    if (type !== net.ETHER_TYPE.ipv4) return "otherProtocol";
    // An answer to a group would make many hosts flood the one that asked (RFC 1122, 3.2.2).
    if (!net.equalMac(u8, frame, this.mac, 0)) return "otherAddress";
    return this.#judgeEcho(u8, payload, rest);
  }

  #judgeArp(u8: Uint8Array, arp: number, length: number): Verdict {
    if (!net.isArp(u8, arp, length)) return "malformed";
    if (net.arpOperation(u8, arp) !== net.ARP_OPERATION.request) {
      return "otherProtocol";
    }
    if (net.arpTargetIpv4(u8, arp) !== this.ip) return "otherAddress";
    // An ARP probe has the sender 0.0.0.0. The owner of the address must answer it (RFC 5227).
    const sender = net.arpSenderIpv4(u8, arp);
    if (sender !== 0 && !this.#isHost(sender)) return "badSource";
    net.makeArpReply(u8, arp, this.mac);
    return "arp";
  }

  #judgeEcho(u8: Uint8Array, ip: number, length: number): Verdict {
    if (!net.isIpv4(u8, ip, length)) return "malformed";
    if (net.ipv4Destination(u8, ip) !== this.ip) return "otherAddress";
    if (!net.hasValidIpv4Checksum(u8, ip)) return "malformed";
    if (!this.#isHost(net.ipv4Source(u8, ip))) return "badSource";
    if (net.ipv4Protocol(u8, ip) !== net.IP_PROTOCOL.icmp) {
      return "otherProtocol";
    }
    if (net.isIpv4Fragment(u8, ip)) return "otherProtocol";
    const header = net.ipv4HeaderLength(u8, ip);
    const size = net.ipv4TotalLength(u8, ip) - header;
    if (!net.isIcmpEchoRequest(u8, ip + header, size)) return "otherProtocol";
    net.swapIpv4Addresses(u8, ip);
    net.makeEchoReply(u8, ip + header);
    return "echo";
  }

  /** Whether an address can be another host's: RFC 1122, 3.2.1.3, names those that no datagram may come from. */
  #isHost(address: number): boolean {
    return address !== this.ip && address >= FIRST_NETWORK &&
      address < FIRST_GROUP && address >>> 24 !== LOOPBACK;
  }
}

/** Opens the card and answers until the end. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["ADDRESS"], {
    ip: net.parseIpv4,
    seconds: [0, 0, 1e6],
  });
  if (!given) return 0;
  const { words: [address], ip, card } = given;

  await using device = await openDevice({ ...card, address });
  const { macAddress } = device;
  const { rx, tx } = device.queue(0);
  const { pool } = rx;
  const responder = new Responder(net.parseMac(macAddress), ip);
  const answers = new Batch(64);
  let dropped = 0;
  using _end = stopAfter(given.seconds, () => device.stopQueue(0));
  console.error(`${net.formatIpv4(ip)} is at ${macAddress} on ${address}`);
  for await (const batch of rx) {
    answers.length = 0;
    for (let i = 0; i < batch.length; i++) {
      const handle = batch.handles[i];
      const length = pool.lengths[pool.index(handle)];
      if (responder.answer(pool.u8, pool.offset(handle), length)) {
        answers.push(handle);
      } else pool.free(handle);
    }
    dropped += answers.free(tx.send(answers));
  }

  const counters = rx.counters.snapshot();
  await settle(device, counters.txPackets);
  closeBooks(device);
  const came = received(device, counters);
  const went = sent(device, counters);
  const { arp, echo, ...ignored } = responder.count;
  const silent = Object.values(ignored).reduce((sum, count) => sum + count);
  const books = account(came.seen, silent + went.delivered, {
    ...came.undelivered,
    dropped,
    ...went.undelivered,
  });
  if (given.json) {
    const { seen, undelivered } = books;
    console.log(JSON.stringify({
      ...{ arp, echo, ignored, seen, ...undelivered },
      notDelivered: total(undelivered),
    }));
  } else {
    console.log(`answered ${arp} ARP requests and ${echo} pings`);
    console.log(`ignored ${describe(ignored)}`);
    console.log(lastLine(books));
  }
  return 0;
}

function describe(ignored: Readonly<Record<string, number>>): string {
  const { otherAddress, badSource, malformed, otherProtocol } = ignored;
  return `${otherAddress} frames for others, ${badSource} from impossible sources, ${malformed} malformed, ${otherProtocol} of other protocols`;
}

if (import.meta.main) Deno.exit(await exitCode(() => main(Deno.args)));
