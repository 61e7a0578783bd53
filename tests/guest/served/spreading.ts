/**
 * Receive queues of a served card: frames land where Toeplitz says, and every queue's interrupt comes.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { DEFAULT_RSS_KEY } from "../../../src/config.ts";
import { flowFrame, FLOWS } from "../flows.ts";
import type { Counters, Interface } from "./interface.ts";

/** The driver has as many queues as the guest has processors. */
export const QUEUES = 4;
/** Each makes an interrupt per queue necessary. */
const ROUNDS = 3;

const keyWord = (key: Iterable<number>) =>
  Array.from(key, (byte) => byte.toString(16).padStart(2, "0")).join(":");

/** The key that the flows' published hashes were made with. */
const PUBLISHED_KEY = keyWord(DEFAULT_RSS_KEY);
/** All hashes are 0 with it. */
const ZERO_KEY = keyWord(new Uint8Array(DEFAULT_RSS_KEY.length));

/** The queue of each entry of the indirection table. */
async function indirection(it: Interface): Promise<number[]> {
  const rows = (await it.ethtool("-x")).matchAll(/^ +\d+: +([\d ]+)$/gm);
  const table = Array.from(rows, ([, row]) => row.trim().split(/ +/)).flat();
  return table.map(Number);
}

/** Packets that each queue has received. */
const perQueue = (counters: Counters) =>
  Array.from(
    { length: QUEUES },
    (_, queue) => counters[`rx_queue_${queue}_packets`],
  );

/** Interrupts of each queue's vector so far, on all processors. */
async function interrupts(it: Interface): Promise<number[]> {
  const text = await it.guest.sh("cat /proc/interrupts");
  return Array.from({ length: QUEUES }, (_, queue) => {
    const line = new RegExp(
      `^ *\\d+:([ \\d]+) .*${it.name}-TxRx-${queue}$`,
      "m",
    );
    const counts = line.exec(text)![1].trim().split(/ +/).map(Number);
    return counts.reduce((sum, count) => sum + count);
  });
}

/** Sends all flows several times over, and expects each in the queue that its hash and the table name. */
async function landAsTold(
  it: Interface,
  hashOf: (flow: typeof FLOWS[number]) => number,
): Promise<void> {
  const table = await indirection(it);
  const expected = new Array(QUEUES).fill(0);
  for (const flow of FLOWS) expected[table[hashOf(flow) % table.length]]++;
  const frames = FLOWS.map((flow) => flowFrame(it.nic.mac, flow, "tcp"));
  const before = await interrupts(it);
  for (let round = 0; round < ROUNDS; round++) {
    const grown = await it.growth(
      () => it.nic.port.send(...frames),
      ({ rx_packets }) => rx_packets >= frames.length,
    );
    assertEquals(perQueue(grown), expected);
  }
  const after = await interrupts(it);
  for (const [queue, packets] of expected.entries()) {
    const came = after[queue] - before[queue];
    assert(packets === 0 || came >= ROUNDS, `queue ${queue}: ${came}`);
  }
}

/** Key and indirection table as `ethtool -X` sets them: all queues, two of them, and one key that has no hashes. */
export async function spreadsAsTold(it: Interface): Promise<void> {
  const byPorts = (flow: typeof FLOWS[number]) => flow.withPorts;
  await it.ethtool("-X", "hkey", PUBLISHED_KEY, "equal", `${QUEUES}`);
  assert((await it.ethtool("-x")).includes(PUBLISHED_KEY));
  assertEquals(
    await indirection(it),
    Array.from({ length: 128 }, (_, entry) => entry % QUEUES),
  );
  await landAsTold(it, byPorts);
  await it.ethtool("-X", "weight", "1", "0", "0", "3");
  assertEquals(new Set(await indirection(it)), new Set([0, 3]));
  await landAsTold(it, byPorts);
  await it.ethtool("-X", "hkey", ZERO_KEY);
  await landAsTold(it, () => 0);
  await it.ethtool("-X", "hkey", PUBLISHED_KEY, "equal", `${QUEUES}`);
}
