/**
 * Runs in the guest: a cable between two cards, as `examples/bridge.ts` is, each opened with options of the test's.
 *
 *     bridge_cards.ts A OPTIONS B OPTIONS
 *
 * Ends with its input, and prints a {@linkcode BridgeReport} then.
 *
 * @module
 */
import { type Device, openDevice, run } from "@ixl/deno";

/** What passed. */
export interface BridgeReport {
  /** Accepted features of each card. */
  readonly features: readonly (readonly string[])[];
  /** What arrived on each card. */
  readonly received: readonly Passed[];
  /** What was sent on each card. */
  readonly sent: readonly Passed[];
  /** Frames that made no sense, and packets that were given up. */
  readonly lost: number;
}

/** Packets as the cards know them: those that a card is to cut into segments count once. */
export interface Passed {
  readonly packets: number;
  readonly bytes: number;
}

async function open(address: string, options: string): Promise<Device> {
  return await openDevice({
    ...{ hugepages: "never", promiscuous: true },
    ...JSON.parse(options),
    address,
  });
}

const [left, leftOptions, right, rightOptions] = Deno.args;
const worker = new URL("../../../examples/bridge.ts", import.meta.url);
await using a = await open(left, leftOptions);
await using b = await open(right, rightOptions);
await using there = await run([a, b], { worker });
await using back = await run([b, a], { worker });
console.log("bridging");
for await (const _ of Deno.stdin.readable);
await Promise.all([there.stop(), back.stop()]);

/** Counters of all queues of one card; both ways share them. */
const counters = (card: 0 | 1) => there.stats().map(({ ports }) => ports[card]);
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
const cards = [counters(0), counters(1)];
const report: BridgeReport = {
  features: [a, b].map(({ features }) => features.virtio ?? []),
  received: cards.map((queues) => ({
    packets: sum(queues.map(({ rxPackets }) => rxPackets)),
    bytes: sum(queues.map(({ rxBytes }) => rxBytes)),
  })),
  sent: cards.map((queues) => ({
    packets: sum(queues.map(({ txPackets }) => txPackets)),
    bytes: sum(queues.map(({ txBytes }) => txBytes)),
  })),
  lost: sum(
    cards.flat().map(({ rxErrors, txErrors, dropped }) =>
      rxErrors + txErrors + dropped
    ),
  ),
};
console.log(JSON.stringify(report));
