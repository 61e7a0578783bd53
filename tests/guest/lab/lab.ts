/**
 * What guests are made of, and whether it is there.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BUSYBOX } from "./initramfs.ts";
import { findKernel, type Kernel } from "./kernel.ts";
import { QEMU } from "./qemu.ts";

/** The checkout. */
export const ROOT: string = fileURLToPath(
  new URL("../../..", import.meta.url),
).replace(/\/$/, "");

/** What `deno task lab` leaves. */
export const LAB_FOLDER = `${ROOT}/tests/out/lab`;

/** What it has found out; there when the lab is prepared. */
const LAB_FILE = `${LAB_FOLDER}/lab.json`;

/** The igb model came with it. */
const OLDEST_QEMU = 8;

/** Processors of the host. */
export const KVM = "kvm";
/** Processors in software. */
export const TCG = "tcg,thread=multi";

/** A part of a guest. */
export type Part = "qemu" | "kernel" | "busybox";

/** What is installed for guests. */
export interface Installed {
  readonly qemuVersion: string;
  readonly kernel: Kernel;
}

/** What guests are made of. */
export interface Lab extends Installed {
  /** QEMU's `-accel`. */
  readonly accelerator: string;
  /** The kernel in the form that QEMU starts. */
  readonly image: string;
}

/** Says whether this version has all the cards. */
export function isNewEnough(version: string | undefined): boolean {
  return version !== undefined && parseInt(version) >= OLDEST_QEMU;
}

/** The version of the installed QEMU, if there is one. */
export function qemuVersion(): string | undefined {
  try {
    const { stdout } = new Deno.Command(QEMU, { args: ["--version"] })
      .outputSync();
    const pattern = /version (\d+\.\d+\.\d+)/;
    return pattern.exec(new TextDecoder().decode(stdout))?.[1];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What is installed, or which parts are lacking. */
export function findInstalled(): Installed | Part[] {
  const version = qemuVersion();
  const kernel = findKernel();
  const lacking: Part[] = [];
  if (!isNewEnough(version)) lacking.push("qemu");
  if (kernel === undefined) lacking.push("kernel");
  if (!existsSync(BUSYBOX)) lacking.push("busybox");
  if (version === undefined || kernel === undefined || lacking.length > 0) {
    return lacking;
  }
  return { qemuVersion: version, kernel };
}

/** What `deno task lab` has left, if it still holds for what is installed. */
export function loadLab(): Lab | undefined {
  if (!existsSync(LAB_FILE)) return undefined;
  const saved: Lab = JSON.parse(Deno.readTextFileSync(LAB_FILE));
  const { accelerator: _, image, ...installed } = saved;
  const isSame = JSON.stringify(findInstalled()) === JSON.stringify(installed);
  return isSame && existsSync(image) ? saved : undefined;
}

/** Leaves it for the tests. */
export function saveLab({ qemuVersion, kernel, ...probed }: Lab): void {
  const text = JSON.stringify({ qemuVersion, kernel, ...probed });
  Deno.writeTextFileSync(LAB_FILE, `${text}\n`);
}
