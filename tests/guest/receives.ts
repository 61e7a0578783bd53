/**
 * How long one call of receive() waits, judged fairly: where the guest gets little of its host, anything may take long
 * once, but not each time.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Card } from "./console.ts";
import type { ReceiveReport } from "./programs/card_console.ts";

const ATTEMPTS = 10;
/** Less than the shortest sleep that a card could have been asked for. */
const AT_ONCE_MS = 50;

/** One call. */
export const receiveOnce = (card: Card): Promise<ReceiveReport> =>
  card.ask<ReceiveReport>("receiveOnce");

/** Does something until what comes of it is as expected, a few times. */
export async function once(
  what: string,
  attempt: () => Promise<ReceiveReport>,
  expected: (report: ReceiveReport) => boolean,
): Promise<void> {
  const reports: ReceiveReport[] = [];
  while (reports.length < ATTEMPTS) {
    const report = await attempt();
    if (expected(report)) return;
    reports.push(report);
  }
  throw new Error(`never ${what}: ${JSON.stringify(reports)}`);
}

/** Nothing has come, and it does not wait. */
export async function returnsAtOnce(card: Card): Promise<void> {
  const receive = async () => {
    const report = await receiveOnce(card);
    assertEquals(report.packets, 0);
    return report;
  };
  await once("at once", receive, ({ elapsed }) => elapsed < AT_ONCE_MS);
}

/** It took so long, and left the processors alone: one that polls uses all of its own, of two. */
const slept = (milliseconds: number) => (report: ReceiveReport) => {
  const { elapsed, cpu, idle } = report;
  return elapsed >= milliseconds && cpu < elapsed / 2 && idle > 0.5;
};

/** Nothing comes, and it sleeps as long as it shall. */
export async function sleepsThrough(
  card: Card,
  milliseconds: number,
): Promise<void> {
  const sleep = async () => {
    const report = await receiveOnce(card);
    assertEquals(report.packets, 0);
    // No machine is too slow for that.
    assert(report.elapsed >= milliseconds, `${report.elapsed} ms`);
    return report;
  };
  await once("asleep", sleep, slept(milliseconds));
}

/**
 * Sleeps for longer than asked, until a frame comes: its interrupt wakes it. A sleep is made of slices, of which one
 * may end by itself just when the frame is there.
 */
export async function wakes(
  card: Card,
  milliseconds: number,
  send: () => Promise<void>,
): Promise<void> {
  const sleep = async () => {
    const waiting = receiveOnce(card);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    await send();
    const report = await waiting;
    assertEquals(report.packets, 1);
    return report;
  };
  const hasSlept = slept(milliseconds / 2);
  const expected = (report: ReceiveReport) =>
    hasSlept(report) && report.irqs > 0;
  await once("asleep, and woken by an interrupt", sleep, expected);
}
