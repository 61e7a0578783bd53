/**
 * The guest's first root: busybox, the modules to boot with, and `init.sh`.
 *
 * @module
 */

import { archive, folder, program } from "./cpio.ts";
import { bootModules, type Kernel, readModule } from "./kernel.ts";

/** The statically linked busybox, where Debian's package puts it. */
export const BUSYBOX = "/bin/busybox";

const FOLDERS = [
  ...["bin", "modules", "proc", "sys", "dev"],
  ...["memory", "host", "root"],
];

/**
 * Builds it: in some 50 ms, so that it is built anew for each guest and never
 * out of date.
 */
export function initramfs(kernel: Kernel): Uint8Array<ArrayBuffer> {
  const modules = bootModules(kernel);
  const order = modules.map(({ name }) => `${name}\n`).join("");
  const init = Deno.readFileSync(new URL("init.sh", import.meta.url));
  return archive([
    ...FOLDERS.map(folder),
    program("init", init),
    program("bin/busybox", Deno.readFileSync(BUSYBOX)),
    program("modules/order", new TextEncoder().encode(order)),
    ...modules.map((module) =>
      program(`modules/${module.name}`, readModule(module))
    ),
  ]);
}
