/**
 * A driver that comes and goes, and an interface that is switched on and off, over and over.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Guest } from "../lab/mod.ts";
import { DRIVER, Interface } from "./interface.ts";

/** Without KVM, on a busy machine. */
const TIMEOUT_MS = 600_000;
/** Most of the time goes into filling the rings: short ones are quicker. */
const RING = { short: 64, standard: 512 };
const QUESTIONS = 5;

async function resizeRings(it: Interface, size: number): Promise<void> {
  await it.ethtool("-G", "rx", `${size}`, "tx", `${size}`);
}

/** Takes an interface down and up so many times; then it works as before. */
export async function outlastsToggles(
  it: Interface,
  times: number,
): Promise<void> {
  await resizeRings(it, RING.short);
  await it.guest.sh(
    `
    for round in $(seq ${times}); do
      ip link set ${it.name} down
      ip link set ${it.name} up
    done
    `,
    { timeoutMs: TIMEOUT_MS },
  );
  await it.untilLink(true);
  await it.answers(QUESTIONS);
  await resizeRings(it, RING.standard);
  await it.untilLink(true);
}

/** Unloads and loads the driver so many times; then all cards work as before. */
export async function outlastsReloads(
  guest: Guest,
  times: number,
): Promise<void> {
  await guest.loadModule(DRIVER);
  const names = guest.nics.map(({ address }) =>
    `/sys/bus/pci/devices/${address}/net`
  ).join(" ");
  const rounds = await guest.sh(
    `
    for round in $(seq ${times}); do
      modprobe -r ${DRIVER}
      for name in ${names}; do [ ! -e $name ]; done
      modprobe ${DRIVER}
      for name in ${names}; do [ -e $name ]; done
      echo $round
    done
    `,
    { timeoutMs: TIMEOUT_MS },
  );
  assertEquals(rounds.trim().split("\n").length, times);
  for (const nic of guest.nics) {
    const it = await Interface.up(guest, nic);
    await it.answers(QUESTIONS);
  }
}
