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
import { exitCode, parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl responder ADDRESS --ip IPV4 [options]

Answers ARP requests and pings for an IPv4 address.

  --ip IPV4    the address to answer for
  --seconds N  when to end; 0 for on a signal (default 0)
  --json       print the summary as one object
  --help       print this`;

/** Turns requests into their answers, in place. */
class Responder {
  arp = 0;
  echo = 0;

  constructor(readonly mac: Uint8Array, readonly ip: number) {}

  /** True when the frame is an answer now. */
  answer(u8: Uint8Array, frame: number, length: number): boolean {
    if (!net.isEthernet(u8, frame, length)) return false;
    const payload = frame + net.ETHERNET_HEADER_LENGTH;
    const rest = length - net.ETHERNET_HEADER_LENGTH;
    const type = net.etherType(u8, frame);
    const answered = type === net.ETHER_TYPE.arp
      ? this.#answerArp(u8, payload, rest)
      : type === net.ETHER_TYPE.ipv4 && this.#answerEcho(u8, payload, rest);
    if (!answered) return false;
    net.swapMacs(u8, frame);
    net.copyMac(this.mac, 0, u8, frame + net.ETHERNET_FIELD.source);
    return true;
  }

  #answerArp(u8: Uint8Array, arp: number, length: number): boolean {
    if (!net.isArp(u8, arp, length)) return false;
    if (net.arpOperation(u8, arp) !== net.ARP_OPERATION.request) return false;
    if (net.arpTargetIpv4(u8, arp) !== this.ip) return false;
    net.makeArpReply(u8, arp, this.mac);
    this.arp++;
    return true;
  }

  #answerEcho(u8: Uint8Array, ip: number, length: number): boolean {
    if (!net.isIpv4(u8, ip, length)) return false;
    if (net.ipv4Destination(u8, ip) !== this.ip) return false;
    if (net.ipv4Protocol(u8, ip) !== net.IP_PROTOCOL.icmp) return false;
    if (net.isIpv4Fragment(u8, ip)) return false;
    if (!net.hasValidIpv4Checksum(u8, ip)) return false;
    const header = net.ipv4HeaderLength(u8, ip);
    const size = net.ipv4TotalLength(u8, ip) - header;
    if (!net.isIcmpEchoRequest(u8, ip + header, size)) return false;
    net.swapIpv4Addresses(u8, ip);
    net.makeEchoReply(u8, ip + header);
    this.echo++;
    return true;
  }
}

/** Opens the card and answers until the end. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["ADDRESS"], {
    ip: net.parseIpv4,
    seconds: [0, 0, 1e6],
  });
  if (!given) return 0;
  const { words: [address], ip, unsafeNoIommu } = given;

  await using device = await openDevice({ address, unsafeNoIommu });
  const { macAddress } = device;
  const { rx, tx } = device.queue(0);
  const { pool } = rx;
  const responder = new Responder(net.parseMac(macAddress), ip);
  const answers = new Batch(64);
  console.error(`${net.formatIpv4(ip)} is at ${macAddress} on ${address}`);
  using _end = stopAfter(given.seconds, () => device.stopQueue(0));
  for await (const batch of rx) {
    answers.length = 0;
    for (let i = 0; i < batch.length; i++) {
      const handle = batch.handles[i];
      const length = pool.lengths[pool.index(handle)];
      if (responder.answer(pool.u8, pool.offset(handle), length)) {
        answers.push(handle);
      } else pool.free(handle);
    }
    answers.free(tx.send(answers));
  }

  const { arp, echo } = responder;
  console.log(given.json ? JSON.stringify({ arp, echo }) : { arp, echo });
  return 0;
}

if (import.meta.main) Deno.exit(await exitCode(main(Deno.args)));
