/**
 * `deno task lab`: installs what guests are made of, where it is lacking, and
 * finds out by trying how guests boot fastest.
 *
 * @module
 */

import {
  findInstalled,
  type Installed,
  type Lab,
  LAB_FOLDER,
  loadLab,
  saveLab,
} from "./lab.ts";
import { buildNoIommuModule, forgetNoIommuModule } from "./no_iommu.ts";
import { install } from "./packages.ts";
import { probeAccelerator, probeImage } from "./probe.ts";

async function installed(): Promise<Installed> {
  const found = findInstalled();
  if (!Array.isArray(found)) return found;
  await install(found);
  const now = findInstalled();
  if (!Array.isArray(now)) return now;
  throw new Error(`Still lacking after the installation: ${now.join(", ")}`);
}

async function prepare(): Promise<Lab> {
  if (Deno.build.arch !== "x86_64") {
    throw new Error("The guest lab needs an x86-64 machine");
  }
  const parts = await installed();
  Deno.mkdirSync(LAB_FOLDER, { recursive: true });
  forgetNoIommuModule();
  console.log("Booting a guest, under KVM if that works");
  const accelerator = await probeAccelerator(parts.kernel);
  const image = await probeImage(parts.kernel, accelerator);
  const lab = { ...parts, accelerator, image };
  saveLab(lab);
  return lab;
}

async function main(): Promise<void> {
  const { qemuVersion, kernel, accelerator } = loadLab() ?? await prepare();
  // Only the tests of that mode need it: they say so where it is missing.
  await buildNoIommuModule(kernel).catch(({ message }) =>
    console.error(`No module for VFIO's no-IOMMU mode: ${message}`)
  );
  console.log(
    `The lab is ready: QEMU ${qemuVersion}, Linux ${kernel.version}, ${accelerator}`,
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
