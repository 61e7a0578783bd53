/**
 * Where every frame went: the books that the examples and the commands share.
 *
 * A frame that came is delivered, or in exactly one counter with a name. What the counters do not explain is
 * `unaccounted`: for a software card, whose wire counts the frames itself, that would be a fault.
 *
 * @module
 */
import {
  type Device,
  type DeviceStats,
  NotSupportedError,
  type QueueCounters,
  type RxQueue,
  type SimControls,
  simControls,
} from "../mod.ts";

/** Why frames were not delivered, in the order of their way, and what is said of it. */
export const REASONS = {
  tooShort: "too short",
  tooLong: "too long",
  damaged: "damaged",
  control: "kept by the MAC (pause frames)",
  filtered: "filtered (for other addresses or VLANs)",
  missed: "missed (no free descriptor or buffer)",
  inCard: "left in the card",
  inRing: "left in the receive ring",
  unusable: "unusable (descriptors that make no sense)",
  dropped: "given up",
  unsendable: "too long to send, or with a request that cannot be met",
  abandoned: "abandoned (the other side went away)",
  unsent: "left in the transmit ring",
  overflow: "without room on the cable",
  unconnected: "into a cable whose other end is not connected",
  unaccounted: "unaccounted for",
} as const;

/** The name of a reason. */
export type Reason = keyof typeof REASONS;

/** How many frames were not delivered for each reason that applies. */
export type Undelivered = Partial<Record<Reason, number>>;

/** The books of one way: frames that came, those that were delivered, and why the others were not. */
export interface Account {
  /** Frames that came: for a software card what its wire counted, else what the card did. */
  readonly seen: number;
  /** Frames that reached the end of the way. */
  readonly delivered: number;
  /** The others: `seen` is `delivered` and all of these. */
  readonly undelivered: Undelivered;
}

/** A queue's counters, or the sum of those of several queues. */
export type Counters = ReturnType<QueueCounters["snapshot"]>;

/** The controls of a software card; undefined for any other device. */
export function simControlsOf(device: Device): SimControls | undefined {
  try {
    return simControls(device);
  } catch (error) {
    if (error instanceof NotSupportedError) return undefined;
    throw error;
  }
}

/** How often it is looked whether a software card has more to give. */
const END_LOOK_MS = 50;

/**
 * Calls `action` once when the wire of a software card has given all its frames, and those that the card delivered have
 * been received. Never for other devices, and wires without an end.
 */
export function whenPlayed(
  device: Device,
  { counters }: Pick<RxQueue, "counters">,
  action: () => void,
): Disposable {
  const wire = simControlsOf(device)?.wire;
  const timer = setInterval(() => {
    if (!wire?.finished || wire.get("waiting") > 0) return;
    const taken = counters.get("rxPackets") + counters.get("rxErrors");
    if (taken < wire.get("delivered")) return;
    clearInterval(timer);
    action();
  }, END_LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Adds up counters. */
export function sumOf(all: readonly Readonly<Counters>[]): Counters {
  const [first, ...rest] = all;
  const sum = { ...first };
  for (const counters of rest) {
    for (const name of Object.keys(sum) as (keyof Counters)[]) {
      sum[name] += counters[name];
    }
  }
  return sum;
}

/**
 * What came to a device and did not reach the programs on its queues.
 *
 * @param device The device.
 * @param queues The sum of the counters of all its queues.
 * @param stats What the device counted in the same time.
 */
export function received(
  device: Device,
  queues: Readonly<Counters>,
  stats: Readonly<DeviceStats> = device.totalStats(),
): Account {
  const { rxMissed, rxErrors, rxTooShort, rxTooLong } = stats;
  const { rxControl, rxFiltered } = stats;
  const wire = simControlsOf(device)?.wire;
  // A virtio device's statistics are those of its queues.
  const ownBooks = device.features.countsFiltered;
  const undelivered = {
    tooShort: rxTooShort,
    tooLong: rxTooLong,
    damaged: ownBooks ? rxErrors - rxTooShort - rxTooLong : 0,
    control: rxControl,
    filtered: rxFiltered,
    missed: rxMissed,
    inCard: wire ? wire.get("waiting") + wire.get("reset") : 0,
    inRing: ownBooks ? stats.rxPackets - queues.rxPackets - queues.rxErrors : 0,
    unusable: queues.rxErrors,
  };
  const explained = queues.rxPackets + total(undelivered);
  return account(
    wire?.get("generated") ?? explained,
    queues.rxPackets,
    undelivered,
  );
}

/**
 * What programs handed to a device and it did not put on the wire.
 *
 * @param device The device.
 * @param queues The sum of the counters of all its queues.
 * @param stats What the device counted in the same time.
 */
export function sent(
  device: Device,
  queues: Readonly<Counters>,
  stats: Readonly<DeviceStats> = device.totalStats(),
): Account {
  const { txPackets, txErrors: unsendable, abandoned } = queues;
  const wire = simControlsOf(device)?.wire;
  const unsent = device.features.countsFiltered
    ? txPackets - stats.txPackets
    : 0;
  const overflow = wire?.get("overflow") ?? 0;
  const unconnected = wire?.get("unconnected") ?? 0;
  const undelivered = {
    ...{ unsendable, abandoned, unsent, overflow, unconnected },
  };
  const seen = txPackets + unsendable;
  const left = txPackets - abandoned - unsent - overflow - unconnected;
  return account(seen, wire?.get("received") ?? left, undelivered);
}

/**
 * Puts two ways behind each other: what the first one delivered is what programs had, who gave some of it up and handed
 * the rest to the second.
 */
export function joined(from: Account, to: Account, dropped: number): Account {
  return account(from.seen, to.delivered, {
    ...from.undelivered,
    dropped,
    ...to.undelivered,
  });
}

/** An account of these figures: what they do not explain is unaccounted for. */
export function account(
  seen: number,
  delivered: number,
  undelivered: Undelivered,
): Account {
  const { unaccounted: _, ...known } = undelivered;
  const unaccounted = seen - delivered - total(known);
  return { seen, delivered, undelivered: { ...known, unaccounted } };
}

/** How many frames were not delivered. */
export function total(undelivered: Undelivered): number {
  return Object.values(undelivered).reduce((sum, count) => sum + count, 0);
}

/** The last line of a summary: that all frames were delivered, or how many were not and why. */
export function lastLine({ seen, undelivered }: Account): string {
  const reasons = (Object.keys(REASONS) as Reason[])
    .filter((reason) => (undelivered[reason] ?? 0) !== 0)
    .map((reason) => `${figure(undelivered[reason]!)} ${REASONS[reason]}`);
  if (reasons.length === 0) return `all ${figure(seen)} frames were delivered`;
  return `not delivered: ${figure(total(undelivered))} of ${
    figure(seen)
  } frames: ${reasons.join(", ")}`;
}

/** The books of several ways together. */
export function together(ways: readonly Account[]): Account {
  const undelivered: Undelivered = {};
  for (const way of ways) {
    for (const reason of Object.keys(way.undelivered) as Reason[]) {
      undelivered[reason] = (undelivered[reason] ?? 0) +
        (way.undelivered[reason] ?? 0);
    }
  }
  const sum = (of: (way: Account) => number) =>
    ways.reduce((sum, way) => sum + of(way), 0);
  return account(
    sum(({ seen }) => seen),
    sum(({ delivered }) => delivered),
    undelivered,
  );
}

/** What a sink checked. */
export interface Checked {
  /** Frames that came to it. */
  readonly received: number;
  /** Of these, frames with wrong bytes. */
  readonly corrupted: number;
  /** Frames behind a later one of their flow. */
  readonly reordered: number;
  /** Frames that came twice. */
  readonly duplicated: number;
  /** Frames that are not of its generator: their bytes could not be checked. */
  readonly foreign: number;
}

/** What the sink checked that a device sends to; undefined when it does not. */
export function checkedBy(device: Device): Checked | undefined {
  const wire = simControlsOf(device)?.wire;
  if (wire === undefined || !device.address.startsWith("sim:sink")) {
    return undefined;
  }
  return {
    received: wire.get("received"),
    corrupted: wire.get("corrupted"),
    reordered: wire.get("reordered"),
    duplicated: wire.get("duplicated"),
    foreign: wire.get("foreign"),
  };
}

/** Whether nothing was wrong with the frames that a sink could check. */
export function isSound(checked: Checked | undefined): boolean {
  if (checked === undefined) return true;
  const { corrupted, reordered, duplicated } = checked;
  return corrupted + reordered + duplicated === 0;
}

/** A line about what the sink checked. */
export function checkLine(checked: Checked): string {
  const { received, foreign, corrupted, reordered, duplicated } = checked;
  const own = received - foreign;
  const wrong = Object.entries({ corrupted, reordered, duplicated })
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${figure(count)} ${name}`);
  const found = wrong.length > 0
    ? wrong.join(", ")
    : own > 0
    ? "every byte as generated"
    : "nothing to check";
  const others = foreign > 0
    ? `; ${figure(foreign)} not of its generator (see flows, size and seed)`
    : "";
  return `the sink checked ${figure(own)} frames: ${found}${others}`;
}

/** Time without any progress after which a ring is taken for stuck. */
const STUCK_MS = 300;
const LOOK_MS = 5;

/**
 * After the workers have stopped: lets the device send what it was handed, as long as it gets anywhere.
 *
 * @param handed Packets that its queues were handed in all.
 */
export async function settle(device: Device, handed: number): Promise<void> {
  if (!device.features.countsFiltered) return;
  let left = handed - device.totalStats().txPackets;
  let deadline = performance.now() + STUCK_MS;
  while (left > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = handed - device.totalStats().txPackets;
    if (now !== left) deadline = performance.now() + STUCK_MS;
    left = now;
  }
}

/**
 * Pulls the cable of a software card, before its books are closed: nothing more arrives while they are read. Other
 * devices only have what they counted.
 */
export function closeBooks(device: Device): void {
  simControlsOf(device)?.setLink(false);
}

/** A number with thousands separators. */
export function figure(value: number): string {
  return value.toLocaleString("en-US");
}

/**
 * A line on standard error that is renewed each second: in place on a terminal, below the last one elsewhere. Dispose of
 * it at the end.
 */
export function liveLine(text: () => string): Disposable {
  const terminal = Deno.stderr.isTerminal();
  const encoder = new TextEncoder();
  const show = () => write(terminal ? `\r\x1b[K${text()}` : `${text()}\n`);
  const write = (line: string) => {
    try {
      Deno.stderr.writeSync(encoder.encode(line));
    } catch {
      // The reader has gone: the work goes on, and the summary with it.
    }
  };
  const timer = setInterval(show, 1000);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      show();
      if (terminal) write("\n");
    },
  };
}

/** What a live line says of the way from one device's counters to another's. */
export function progress(): (
  from: Readonly<Counters>,
  to: Readonly<Counters>,
) => string {
  let last = { at: performance.now(), sent: 0 };
  return ({ rxPackets, dropped }, { txPackets, txErrors }) => {
    const at = performance.now();
    const mpps = (txPackets - last.sent) / (at - last.at) / 1000;
    last = { at, sent: txPackets };
    const lost = dropped + txErrors;
    return `received ${figure(rxPackets)}, sent ${figure(txPackets)}, ${
      mpps.toFixed(3)
    } Mpps${lost > 0 ? `, given up ${figure(lost)}` : ""}`;
  };
}
