/**
 * Cards handed to VFIO and to ordinary users, through sysfs alone: what the
 * product does itself has tests of its own.
 *
 * @module
 */

import type { Guest } from "./guest.ts";

/** An ordinary user of the guest. */
export const USER = 1000;

/** What an ordinary user may lock for its cards by default. */
const MEMLOCK_BYTES = 256 << 20;

const device = (address: string) => `/sys/bus/pci/devices/${address}`;

/**
 * Gives a card to a driver, whoever has it now: `vfio-pci`, `igb`. One that has it from here keeps it; one that found
 * it by itself may not be ready.
 */
export async function bindDriver(
  guest: Guest,
  address: string,
  driver: string,
): Promise<void> {
  await guest.sh(`
    cd ${device(address)}
    has_it() { [ driver -ef /sys/bus/pci/drivers/${driver} ]; }
    if [ "$(cat driver_override)" = ${driver} ] && has_it; then exit; fi
    [ ! -e driver ] || echo ${address} > driver/unbind
    echo ${driver} > driver_override
    echo ${address} > /sys/bus/pci/drivers_probe
    has_it
  `);
}

/** The number of a card's IOMMU group. */
export async function iommuGroup(
  guest: Guest,
  address: string,
): Promise<number> {
  const link = await guest.sh(`readlink ${device(address)}/iommu_group`);
  return Number(link.trim().split("/").at(-1));
}

/** Gives a card to vfio-pci, and its group's file to the ordinary user. */
export async function bindForUser(
  guest: Guest,
  address: string,
): Promise<void> {
  await bindDriver(guest, address, "vfio-pci");
  const group = await iommuGroup(guest, address);
  await guest.sh(`chown ${USER} /dev/vfio/${group}`);
}

/** The command that runs another as the ordinary user, without capabilities. */
export function asUser(
  command: readonly string[],
  { memlockBytes = MEMLOCK_BYTES }: { memlockBytes?: number } = {},
): string[] {
  return [
    ...["prlimit", `--memlock=${memlockBytes}:${memlockBytes}`],
    ...["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"],
    ...["--bounding-set=-all", "--inh-caps=-all"],
    ...["env", "HOME=/run/ixl/user", "DENO_DIR=/run/ixl/user/deno_dir"],
    ...command,
  ];
}

/** Waits until the guest has a card at an address, or none any more. */
export async function untilDevice(
  guest: Guest,
  address: string,
  state: "present" | "absent",
): Promise<void> {
  const test = state === "present" ? "-e" : "! -e";
  await guest.sh(`until [ ${test} ${device(address)} ]; do sleep 0.05; done`);
}
