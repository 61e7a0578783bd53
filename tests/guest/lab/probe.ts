/**
 * Which accelerator and which form of the kernel boot a guest here: found out
 * by trying.
 *
 * @module
 */

import { unpackKernel } from "./boot_image.ts";
import { initramfs } from "./initramfs.ts";
import type { Kernel } from "./kernel.ts";
import { KVM, LAB_FOLDER, TCG } from "./lab.ts";
import { baseArguments } from "./machine.ts";
import { QEMU } from "./qemu.ts";

/** A stock kernel hangs under a KVM that only pretends. */
const KVM_LIMIT_SECONDS = 10;
/** On a busy machine TCG takes ten times as long as on an idle one. */
const TCG_LIMIT_SECONDS = 60;

/** A guest that gets as far as init.sh. */
interface Attempt {
  readonly accelerator: string;
  readonly image: string;
  readonly limitSeconds: number;
}

async function boots(kernel: Kernel, attempt: Attempt): Promise<boolean> {
  const archive = await Deno.makeTempFile({ prefix: "ixl-probe-" });
  try {
    Deno.writeFileSync(archive, initramfs(kernel));
    const { stdout } = await new Deno.Command("timeout", {
      args: [
        ...["--signal=KILL", `${attempt.limitSeconds}`, QEMU],
        ...baseArguments(attempt.accelerator),
        ...["-m", "256", "-serial", "stdio", "-kernel", attempt.image],
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

/** KVM if a guest really boots under it. */
export async function probeAccelerator(kernel: Kernel): Promise<string> {
  const isThere = new Deno.Command("test", { args: ["-w", "/dev/kvm"] });
  if (!isThere.outputSync().success) return TCG;
  const { image } = kernel;
  const attempt = { accelerator: KVM, image, limitSeconds: KVM_LIMIT_SECONDS };
  return await boots(kernel, attempt) ? KVM : TCG;
}

/** The unpacked kernel in the lab's folder if QEMU boots that, else the packed. */
export async function probeImage(
  kernel: Kernel,
  accelerator: string,
): Promise<string> {
  const unpacked = await unpackKernel(kernel);
  if (unpacked === undefined) return kernel.image;
  const image = `${LAB_FOLDER}/vmlinux-${kernel.version}`;
  Deno.writeFileSync(image, unpacked);
  const attempt = { accelerator, image, limitSeconds: TCG_LIMIT_SECONDS };
  return await boots(kernel, attempt) ? image : kernel.image;
}
