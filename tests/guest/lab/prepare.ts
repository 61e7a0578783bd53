/**
 * `deno task lab`: installs what guests are made of, where it is lacking, and
 * finds out by trying how guests boot fastest; and installs DPDK, where it is
 * lacking. `deno task lab guests` and `deno task lab dpdk` do one of the two.
 *
 * @module
 */

import { isCommand } from "../../support/runner/requirements.ts";

import { cachePrograms } from "./deno_cache.ts";
import {
  findInstalled,
  type Installed,
  type Lab,
  LAB_FOLDER,
  loadLab,
  saveLab,
} from "./lab.ts";
import { prepareNewerQemu } from "./newer_qemu.ts";
import { buildNoIommuModule, forgetNoIommuModule } from "./no_iommu.ts";
import { install } from "./packages.ts";
import { probeAccelerator, probeImage } from "./probe.ts";

const TESTPMD = "dpdk-testpmd";

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

async function prepareGuests(): Promise<void> {
  const { qemuVersion, kernel, accelerator } = loadLab() ?? await prepare();
  const lacking: string[] = [];
  const attempt = async (part: string, prepared: Promise<unknown>) => {
    try {
      await prepared;
    } catch (error) {
      console.error(`No ${part}: ${(error as Error).message}`);
      lacking.push(part);
    }
  };
  // Only some tests need these: the others run without.
  await attempt(
    "module for VFIO's no-IOMMU mode",
    buildNoIommuModule(kernel),
  );
  await attempt(
    "QEMU for cards that another process serves",
    prepareNewerQemu(),
  );
  cachePrograms();
  const machine =
    `QEMU ${qemuVersion}, Linux ${kernel.version}, ${accelerator}`;
  if (lacking.length > 0) {
    throw new Error(
      `The lab has ${machine}, but no ${
        lacking.join(" and no ")
      }: mend what is said above, and run this again`,
    );
  }
  console.log(`The lab is ready: ${machine}`);
}

async function prepareDpdk(): Promise<void> {
  if (!isCommand(TESTPMD)) await install(["dpdk"]);
  if (!isCommand(TESTPMD)) throw new Error(`There is still no ${TESTPMD}`);
  console.log("DPDK is ready");
}

const PREPARATIONS = { guests: prepareGuests, dpdk: prepareDpdk };

async function main(names: string[]): Promise<void> {
  const all = Object.keys(PREPARATIONS) as (keyof typeof PREPARATIONS)[];
  const unknown = names.find((name) => !(name in PREPARATIONS));
  if (unknown !== undefined) {
    throw new Error(`There is no ${unknown} to prepare: ${all.join(", ")}`);
  }
  const wanted = all.filter((name) =>
    names.length === 0 || names.includes(name)
  );
  const failures: string[] = [];
  for (const name of wanted) {
    try {
      await PREPARATIONS[name]();
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  if (failures.length > 0) throw new Error(failures.join("\n"));
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
