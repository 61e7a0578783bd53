/**
 * A cable between two cards, both ways: whatever arrives on one is sent on the other as it is.
 *
 *     deno run -P=demo examples/bridge.ts 0000:00:04.0 0000:00:05.0
 *
 * This file is both the program and, by its default export, the workers' module.
 *
 * @module
 */
import {
  Batch,
  type Device,
  openDevice,
  type QueueContext,
  run,
} from "../mod.ts";
import {
  type Account,
  closeBooks,
  type Counters,
  figure,
  joined,
  lastLine,
  liveLine,
  received,
  sent,
  settle,
  sumOf,
  together,
  total,
} from "./_accounts.ts";
import { exitCode } from "./_ending.ts";
import { parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl bridge A B [options]

Sends on card B what arrives on card A, and the other way round.

  --queues N   queue pairs of each card, two workers each (default 1)
  --seconds N  when to end; 0 for on a signal (default 0)
  --json       print the summary as one object
  --help       print this`;

/** One direction on one queue: runs in a worker of its own. */
export default function pass(queue: QueueContext): void {
  const [{ rx }, { tx }] = queue.ports;
  const batch = new Batch(64);
  while (!queue.stopped) {
    rx.receive(batch);
    queue.sendAll(tx, batch);
  }
}

/** Opens both cards and lets the workers pass packets until the end. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["A", "B"], {
    queues: [1, 1, 128],
    seconds: [0, 0, 1e6],
  });
  if (!given) return 0;
  const { words: [a, b], queues, seconds, card } = given;
  // Checksums that one side leaves open are completed by the other.
  const virtio = { with: ["guest-checksum", ...card.virtio.with] };
  const options = { ...card, virtio, queues, promiscuous: true };

  await using left = await openDevice({ ...options, address: a });
  await using right = await openDevice({ ...options, address: b });
  const worker = import.meta.url;
  await using there = await run([left, right], { worker });
  await using back = await run([right, left], { worker });
  const ways = [there, back];
  // Both ways use the same counters: what one receives on the left, the other sends there.
  const counters = () => {
    const queues = there.stats();
    return [0, 1].map((port) => sumOf(queues.map(({ ports }) => ports[port])));
  };
  using _end = stopAfter(seconds, () => ways.map((way) => way.stop()));
  console.error(`bridging ${a} and ${b}, Ctrl-C ends it`);
  {
    using _live = liveLine(() => {
      const [first, second] = counters();
      return `to the right ${figure(second.txPackets)}, to the left ${
        figure(first.txPackets)
      } frames`;
    });
    await Promise.all(ways.map((way) => way.done));
  }

  const cards = [left, right];
  const sums = counters();
  await Promise.all(cards.map((card, i) => settle(card, sums[i].txPackets)));
  cards.forEach(closeBooks);
  const [toRight, toLeft] = [[0, 1], [1, 0]].map(([from, to]) =>
    wayOf(cards[from], sums[from], cards[to], sums[to])
  );
  if (given.json) {
    console.log(JSON.stringify({
      toRight: sums[1].txPackets,
      toLeft: sums[0].txPackets,
      copied: sums[0].copied + sums[1].copied,
      notDelivered: total(toRight.undelivered) + total(toLeft.undelivered),
      ways: { toRight, toLeft },
    }));
  } else {
    const [leftward, rightward] = sums.map(({ txPackets }) =>
      figure(txPackets)
    );
    console.log(`to the right ${rightward}, to the left ${leftward} frames`);
    console.log(lastLine(together([toRight, toLeft])));
  }
  return ways.every(({ failures }) => failures.length === 0) ? 0 : 1;
}

/** The books of one direction. */
function wayOf(
  from: Device,
  came: Counters,
  to: Device,
  went: Counters,
): Account {
  return joined(received(from, came), sent(to, went), came.dropped);
}

if (import.meta.main) Deno.exit(await exitCode(() => main(Deno.args)));
