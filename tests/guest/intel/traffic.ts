/**
 * Traffic for cards that must stand for long: bursts that come back, and load that does not end by itself.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { DeviceOptions } from "../../../mod.ts";
import { Card } from "../console.ts";
import { numbered, numberOf, swapped } from "../frames.ts";
import type { Guest, Nic } from "../lab/mod.ts";

/** Frames of one send. Those beyond a full ring the 8254x's models drop and count, as silicon does. */
export const BURST = 48;
/** Numbers of frames that {@linkcode untilEchoed} sends begin here. */
const MARKER = 1_000_000;
/** When nothing comes back for so long, frames have been dropped. */
const SILENCE_MS = 1000;
const ECHO_TIMEOUT_MS = 30_000;

/** A cable and the program that has opened the card at its end. */
export interface Opened {
  readonly nic: Nic;
  readonly card: Card;
}

/** Opens cards in one program, and does the same with each at the same time. */
export async function withEach(
  guest: Guest,
  nics: readonly Nic[],
  optionsOf: (nic: Nic) => DeviceOptions,
  action: (opened: Opened) => Promise<void>,
): Promise<void> {
  const cards = await Card.openAll(guest, nics, optionsOf);
  await Promise.all(cards.map((card, i) => action({ nic: nics[i], card })));
  await cards[0].close();
}

/** Receives that never wait, into small pages: the scenarios of a card on its own have huge ones. */
export const polling = (): DeviceOptions => ({
  irqTimeoutMs: 0,
  hugepages: "never",
});

/** Has frames go through a card one burst after the other, and expects each of them back. */
export async function echoed(nic: Nic, frames: Uint8Array[]): Promise<void> {
  for (let at = 0; at < frames.length; at += BURST) {
    const some = frames.slice(at, at + BURST);
    await nic.port.send(...some);
    assertEquals(
      await nic.port.receiveMany(some.length, {
        where: (frame) => numberOf(frame) < MARKER,
      }),
      some.map((frame) => swapped(frame)),
    );
  }
}

/**
 * Sends bursts until it is disposed of: the next one when something has come back of the one before, so that the cable
 * does not fill up, or nothing has for a while.
 */
export function load(
  { port, mac }: Nic,
  {
    back = port,
    frame = (i: number) => numbered(i, mac),
  } = {},
): AsyncDisposable {
  const burst = Array.from({ length: BURST }, (_, i) => frame(i));
  let done = false;
  const sending = (async () => {
    while (!done) {
      const { received } = back;
      await port.send(...burst);
      const end = performance.now() + SILENCE_MS;
      while (!done && back.received === received && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  })();
  // Whoever disposes of it hears of an error.
  sending.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      done = true;
      await sending;
    },
  };
}

/** Sends a frame, again and again if need be, until it comes back: what was sent before fills the rings at first. */
export async function untilBack(nic: Nic, frame: Uint8Array): Promise<void> {
  const expected = swapped(frame).toHex();
  const where = (other: Uint8Array) => other.toHex() === expected;
  const end = performance.now() + ECHO_TIMEOUT_MS;
  for (;;) {
    await nic.port.send(frame);
    const options = { where, timeoutMs: SILENCE_MS };
    const back = await nic.port.receive(options).catch(() => undefined);
    if (back !== undefined) return;
    assert(performance.now() < end, `${nic.model}: nothing comes back`);
  }
}

/** The same with a frame that has a number. */
export const untilEchoed = (nic: Nic, number: number): Promise<void> =>
  untilBack(nic, numbered(MARKER + number, nic.mac));
