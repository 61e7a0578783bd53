/**
 * A packet generator: sends UDP packets of many flows, as fast as it goes or at a rate.
 *
 *     deno run -P=demo examples/generate.ts sim:sink --rate 100000
 *
 * This file is both the program and, by its default export, the worker's module.
 *
 * @module
 */
import { Batch, openDevice, type QueueContext, run } from "../mod.ts";
import * as net from "../src/net/mod.ts";
import {
  checkedBy,
  checkLine,
  closeBooks,
  isSound,
  lastLine,
  received,
  sent,
  settle,
  sumOf,
  total,
} from "./_accounts.ts";
import { exitCode } from "./_ending.ts";
import { parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl generate ADDRESS [options]

Sends UDP packets from 198.18.0.1 to 198.18.0.2 and shows each second how many.

  --size N     bytes of a frame, without its check sequence (default 60)
  --flows N    flows, told apart by their source port (default 64)
  --rate N     packets a second in all; 0 for as fast as it goes (default 0)
  --queues N   transmit queues, one worker each (default 1)
  --seconds N  when to end; 0 for on a signal (default 0)
  --json       print the figures of each second, and of all, as an object a line
  --help       print this`;

const HEADERS = 42;
const SOURCE_PORT = 34;
const FIRST_PORT = 1024;
const idle = new Int32Array(new SharedArrayBuffer(4));

/** What each worker is told; the rate is that of one queue. */
type Order = { frame: Uint8Array; flows: number; rate: number; queues: number };

/** Makes packets and sends them: runs in a worker for each queue. */
export default function generate(queue: QueueContext): void {
  const { frame, flows, rate, queues } = queue.args as Order;
  const { tx, pool } = queue;
  const batch = new Batch(64);
  const begin = performance.now();
  let made = 0;
  while (!queue.stopped) {
    const elapsed = (performance.now() - begin) / 1000;
    let due = rate === 0 ? batch.capacity : Math.floor(elapsed * rate) - made;
    for (; due > 0 && batch.length < batch.capacity; due--) {
      const handle = pool.allocate();
      if (handle === 0) break;
      const at = pool.offset(handle);
      pool.u8.set(frame, at);
      const flow = (made++ * queues + queue.queue) % flows;
      net.writeU16(pool.u8, at + SOURCE_PORT, FIRST_PORT + flow);
      pool.lengths[pool.index(handle)] = frame.length;
      batch.push(handle);
    }
    const count = tx.send(batch);
    batch.removeFirst(count);
    if (count === 0) Atomics.wait(idle, 0, 0, 0.2);
  }
  batch.free();
  for (let patience = 100; tx.pending > 0 && patience > 0; patience--) {
    if (tx.reclaim() === 0) Atomics.wait(idle, 0, 0, 1);
  }
}

/** A frame that only lacks its source port. */
function template(size: number, mac: string): Uint8Array {
  const frame = new Uint8Array(size);
  const to = net.parseMac("02:00:00:00:00:02");
  net.writeEthernet(frame, 0, to, net.parseMac(mac), net.ETHER_TYPE.ipv4);
  const udp = net.writeIpv4(frame, net.ETHERNET_HEADER_LENGTH, {
    source: net.parseIpv4("198.18.0.1"),
    destination: net.parseIpv4("198.18.0.2"),
    protocol: net.IP_PROTOCOL.udp,
    payloadLength: size - HEADERS + net.UDP_HEADER_LENGTH,
  });
  net.writeUdp(frame, udp, FIRST_PORT, 9, size - HEADERS);
  return frame;
}

/** Opens the card and shows what its workers send. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["ADDRESS"], {
    size: [60, 60, 1514],
    flows: [64, 1, 64512],
    rate: [0, 0, 1e9],
    queues: [1, 1, 128],
    seconds: [0, 0, 1e6],
  });
  if (!given) return 0;
  const { words: [address], size, flows, queues, card } = given;

  await using device = await openDevice({ ...card, address, queues });
  const frame = template(size, device.macAddress);
  const order: Order = { frame, flows, rate: given.rate / queues, queues };
  const worker = import.meta.url;
  await using running = await run(device, { worker, args: order });
  using _end = stopAfter(given.seconds, () => running.stop());
  const begin = performance.now();
  let last = begin;
  const { linkSpeed } = device;
  let isFasterThanLink = false;
  const show = (packets: number, since: number, more = {}) => {
    const seconds = (performance.now() - since) / 1000;
    const mpps = packets / seconds / 1e6;
    // A frame takes 24 bytes more on the wire: preamble, check sequence, gap.
    const gbits = mpps * (size + 24) * 8 / 1000;
    if (!isFasterThanLink && gbits * 1000 > linkSpeed && linkSpeed > 0) {
      isFasterThanLink = true;
      console.error(
        `ixl: more than the ${
          linkSpeed / 1000
        } Gbit/s of the link: a software card sends as fast as it can`,
      );
    }
    console.log(
      given.json
        ? JSON.stringify({ seconds, packets, mpps, gbits, ...more })
        : `${packets} packets, ${mpps.toFixed(3)} Mpps, ${
          gbits.toFixed(3)
        } Gbit/s`,
    );
  };
  const timer = setInterval(() => {
    show(device.readStats().txPackets, last);
    last = performance.now();
  }, 1000);
  await running.done;
  clearInterval(timer);
  const counters = sumOf(running.stats().map(({ ports: [port] }) => port));
  await settle(device, counters.txPackets);
  closeBooks(device);
  const books = sent(device, counters);
  const checked = checkedBy(device);
  const { seen: arrived } = received(device, counters);
  const { seen, delivered, undelivered } = books;
  show(counters.txPackets, begin, {
    ...{ seen, delivered, ...undelivered },
    ...{ notDelivered: total(undelivered), arrived },
    ...(checked ? { checked } : {}),
  });
  if (!given.json) {
    if (checked) console.log(checkLine(checked));
    if (arrived > 0) console.log(`${arrived} frames arrived, unused`);
    console.log(lastLine(books));
  }
  return running.failures.length === 0 && isSound(checked) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await exitCode(() => main(Deno.args)));
