/**
 * What every scenario of the Intel cards needs.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { swapped } from "../frames.ts";
import type { Guest, Nic } from "../lab/mod.ts";
import type { Model } from "./models.ts";

/** A scenario's guest and card. */
export interface Rig {
  readonly guest: Guest;
  readonly nic: Nic;
  readonly model: Model;
  /** A check with a name of its own, on the card that the scenario has open. */
  step(name: string, check: () => Promise<void>): Promise<void>;
}

/** Registers a scenario for a card. */
export type OnCard = (
  what: string,
  scenario: (rig: Rig) => Promise<void>,
) => void;

/** Receives that never wait. */
export const POLLING = { irqTimeoutMs: 0 } as const;
/** The address of everybody. */
export const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** Frames on their way at once: the models drop what finds no descriptor, as silicon does. */
const BURST = 48;

/** Sends frames to a card that echoes, and expects them back in their order. */
export async function echoes(nic: Nic, frames: Uint8Array[]): Promise<void> {
  for (let at = 0; at < frames.length; at += BURST) {
    const some = frames.slice(at, at + BURST);
    await nic.port.send(...some);
    assertEquals(
      await nic.port.receiveMany(some.length),
      some.map((frame) => swapped(frame)),
    );
  }
}

/** Waits until a condition holds. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + 60_000;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`${what} did not come`);
  }
}
