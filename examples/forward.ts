/**
 * Forwards packets from one card to another, with one worker for each pair of queues.
 *
 *     deno run -P=demo examples/forward.ts sim:generator sim:sink
 *
 * This file is both the program and, by its default export, the worker's module.
 *
 * @module
 */
import { Batch, openDevice, type QueueContext, run } from "../mod.ts";
import { swapMacs } from "../src/net/mod.ts";
import {
  checkedBy,
  checkLine,
  closeBooks,
  isSound,
  joined,
  lastLine,
  liveLine,
  progress,
  received,
  sent,
  settle,
  sumOf,
  total,
} from "./_accounts.ts";
import { exitCode } from "./_ending.ts";
import { parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl forward A B [options]

Receives on card A, swaps the MAC addresses, and sends on card B.

  --queues N        queue pairs of each card, one worker each (default 1)
  --batch N         packets at a time (default 64)
  --irq-timeout MS  0 polls, above 0 sleeps so long for an interrupt, --irq-timeout=-2
                    without limit (default 100)
  --seconds N       when to end; 0 for on a signal (default 0)
  --json            print the summary as one object
  --help            print this`;

/** What happens to packets: runs in a worker for each queue. */
export default function forward(queue: QueueContext): void {
  const [{ rx }, { tx }] = queue.ports;
  const { pool } = rx;
  const batch = new Batch((queue.args as { batch: number }).batch);
  while (!queue.stopped) {
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) {
      swapMacs(pool.u8, pool.offset(batch.handles[i]));
    }
    queue.sendAll(tx, batch);
  }
}

/** Opens both cards and lets the workers forward until the end. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["A", "B"], {
    queues: [1, 1, 128],
    batch: [64, 1, 65536],
    "irq-timeout": [100, -1e9, 1e9],
    seconds: [0, 0, 1e6],
  });
  if (!given) return 0;
  const { words: [a, b], queues, batch, card } = given;
  const irqTimeoutMs = given["irq-timeout"];
  const options = { ...card, queues, irqTimeoutMs, promiscuous: true };

  await using from = await openDevice({ ...options, address: a });
  await using to = await openDevice({ ...options, address: b });
  const worker = import.meta.url;
  await using running = await run([from, to], { worker, args: { batch } });
  const counters = () => {
    const queues = running.stats();
    return [0, 1].map((port) => sumOf(queues.map(({ ports }) => ports[port])));
  };
  using _end = stopAfter(given.seconds, () => running.stop());
  console.error(`forwarding from ${a} to ${b}, Ctrl-C ends it`);
  {
    const line = progress();
    using _live = liveLine(() => {
      const [first, second] = counters();
      return line(first, second);
    });
    await running.done;
  }

  const [first, second] = counters();
  await settle(to, second.txPackets);
  [from, to].forEach(closeBooks);
  const { dropped } = first;
  const books = joined(received(from, first), sent(to, second), dropped);
  const checked = checkedBy(to);
  if (given.json) {
    const { seen, delivered, undelivered } = books;
    console.log(JSON.stringify({
      received: first.rxPackets,
      sent: second.txPackets,
      ...{ seen, delivered, ...undelivered },
      notDelivered: total(undelivered),
      ...(checked ? { checked } : {}),
    }));
  } else {
    console.log(`received ${first.rxPackets}, sent ${second.txPackets} frames`);
    if (checked) console.log(checkLine(checked));
    console.log(lastLine(books));
  }
  return running.failures.length === 0 && isSound(checked) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await exitCode(() => main(Deno.args)));
