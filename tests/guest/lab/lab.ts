/**
 * What guests are made of, and whether it is there.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BUSYBOX, initramfs } from "./initramfs.ts";
import { findKernel, type Kernel } from "./kernel.ts";
import { baseArguments } from "./machine.ts";
import { QEMU } from "./qemu.ts";

/** The checkout. */
export const ROOT: string = fileURLToPath(
  new URL("../../..", import.meta.url),
).replace(/\/$/, "");

/** What `deno task lab` has found out; there when the lab is prepared. */
export const LAB_FILE = `${ROOT}/tests/out/lab/lab.json`;

/** The igb model came with it. */
export const OLDEST_QEMU = 8;

/** What guests are made of. */
export interface Lab {
  readonly qemuVersion: string;
  readonly kernel: Kernel;
  /** QEMU's `-accel`. */
  readonly accelerator: string;
}

/** The version of the installed QEMU, if there is one. */
export function qemuVersion(): string | undefined {
  try {
    const { stdout } = new Deno.Command(QEMU, { args: ["--version"] })
      .outputSync();
    return /version (\d+\.\d+\.\d+)/.exec(new TextDecoder().decode(stdout))
      ?.[1];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What is lacking for guests, in the names of {@linkcode packages}. */
export function lacking(): ("qemu" | "kernel" | "busybox")[] {
  const version = qemuVersion();
  const checks = {
    qemu: version !== undefined && parseInt(version) >= OLDEST_QEMU,
    kernel: findKernel() !== undefined,
    busybox: existsSync(BUSYBOX),
  } as const;
  const names = ["qemu", "kernel", "busybox"] as const;
  return names.filter((name) => !checks[name]);
}

/** Looks at what is installed; the accelerator is for the caller to know. */
export function findLab(accelerator: string): Lab {
  const kernel = findKernel();
  const version = qemuVersion();
  if (kernel === undefined || version === undefined) {
    throw new Error("The lab is not prepared: deno task lab");
  }
  return { qemuVersion: version, kernel, accelerator };
}

const KVM = "kvm";
const TCG = "tcg,thread=multi";

/** Boots as far as init.sh: a stock kernel under a KVM that only pretends hangs. */
const PROBE_LIMIT_SECONDS = 10;

/** Says whether KVM boots this kernel, by trying. */
async function kvmWorks(kernel: Kernel): Promise<boolean> {
  const isThere = new Deno.Command("test", { args: ["-w", "/dev/kvm"] });
  if (!isThere.outputSync().success) return false;
  const archive = await Deno.makeTempFile({ prefix: "ixl-probe-" });
  try {
    Deno.writeFileSync(archive, initramfs(kernel));
    const { stdout } = await new Deno.Command("timeout", {
      args: [
        ...["--signal=KILL", `${PROBE_LIMIT_SECONDS}`, QEMU],
        ...baseArguments(KVM),
        ...["-m", "256", "-serial", "stdio", "-kernel", kernel.image],
        ...[
          "-initrd",
          archive,
          "-append",
          "console=ttyS0 panic=-1 IXL_PROBE=1",
        ],
      ],
      stdin: "null",
      stderr: "null",
    }).output();
    return new TextDecoder().decode(stdout).includes("guest init: a probe");
  } finally {
    Deno.removeSync(archive);
  }
}

/** The fastest accelerator that works. */
export async function probeAccelerator(kernel: Kernel): Promise<string> {
  return await kvmWorks(kernel) ? KVM : TCG;
}

/** What `deno task lab` has left, if it still holds for what is installed. */
export function loadLab(): Lab | undefined {
  if (!existsSync(LAB_FILE)) return undefined;
  const saved: Lab = JSON.parse(Deno.readTextFileSync(LAB_FILE));
  if (lacking().length > 0) return undefined;
  const found = findLab(saved.accelerator);
  return JSON.stringify(found) === JSON.stringify(saved) ? found : undefined;
}

/** Leaves it for the tests. */
export function saveLab(lab: Lab): void {
  Deno.mkdirSync(`${ROOT}/tests/out/lab`, { recursive: true });
  Deno.writeTextFileSync(LAB_FILE, `${JSON.stringify(lab)}\n`);
}
