/**
 * `deno task lab`: installs what guests are made of, where it is lacking, and
 * finds out which accelerator works.
 *
 * @module
 */

import { findLab, lacking, loadLab, probeAccelerator, saveLab } from "./lab.ts";
import { install } from "./packages.ts";

async function main(): Promise<void> {
  const ready = loadLab();
  if (ready !== undefined) {
    console.log(
      `The lab is prepared: QEMU ${ready.qemuVersion}, Linux ${ready.kernel.version}, ${ready.accelerator}`,
    );
    return;
  }
  if (Deno.build.arch !== "x86_64") {
    throw new Error("The guest lab needs an x86-64 machine");
  }
  await install(lacking());
  const found = findLab("none");
  console.log("Trying whether a guest boots under KVM (up to 10 s)");
  const accelerator = await probeAccelerator(found.kernel);
  saveLab({ ...found, accelerator });
  console.log(
    `The lab is ready: QEMU ${found.qemuVersion}, Linux ${found.kernel.version}, ${accelerator}`,
  );
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
