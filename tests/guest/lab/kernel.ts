/**
 * Linux for the guest: an installed kernel and the modules it boots with.
 *
 * @module
 */

import { existsSync } from "node:fs";

/**
 * What the guest needs before it sees the rest: its root, the agent's channel,
 * and VFIO. Cards' own drivers come from the root when a scenario asks.
 */
const BOOT_MODULES = [
  "virtio_pci",
  "virtio_console",
  "9pnet_virtio",
  "9p",
  "overlay",
  "vfio_iommu_type1",
  "vfio-pci",
];

/** What scenarios load later, by `guest.loadModule`. */
const LATER_MODULES = [
  ...["e1000", "e1000e", "igb", "ixgbe", "virtio_net", "tun", "bridge"],
  "8021q",
];

/** A kernel with its modules. */
export interface Kernel {
  /** What `uname -r` says in the guest. */
  readonly version: string;
  /** The compressed image. */
  readonly image: string;
}

/** A kernel module as a file, in the order of loading. */
export interface KernelModule {
  /** Its name, as in the file's. */
  readonly name: string;
  /** Its file, possibly compressed. */
  readonly file: string;
}

const modulesFolder = (version: string) => `/lib/modules/${version}`;

/** Module files are named NAME.ko, with a suffix if they are compressed. */
const moduleName = (path: string) =>
  /([^/]+)\.ko(?:\.[a-z0-9]+)?$/.exec(path)?.[1] ?? path;

const sameName = (name: string) => name.replaceAll("-", "_");

/** The table of modules.dep: a module's name to its file and the files it needs. */
function readDependencies(version: string): Map<string, string[]> {
  const text = Deno.readTextFileSync(`${modulesFolder(version)}/modules.dep`);
  const table = new Map<string, string[]>();
  for (const line of text.split("\n").filter(Boolean)) {
    const [file, needs] = line.split(":");
    const needed = needs.split(" ").filter(Boolean);
    table.set(sameName(moduleName(file)), [file, ...needed]);
  }
  return table;
}

function builtIn(version: string): Set<string> {
  const text = Deno.readTextFileSync(
    `${modulesFolder(version)}/modules.builtin`,
  );
  return new Set(
    text.split("\n").map((line) => sameName(moduleName(line))),
  );
}

/** What of the guest's modules this kernel neither has nor contains. */
function missingModules(version: string): string[] {
  const [table, builtin] = [readDependencies(version), builtIn(version)];
  return [...BOOT_MODULES, ...LATER_MODULES].filter((name) =>
    !table.has(sameName(name)) && !builtin.has(sameName(name))
  );
}

/** The modules to load at boot, each after those that it needs. */
export function bootModules({ version }: Kernel): KernelModule[] {
  const table = readDependencies(version);
  const files = BOOT_MODULES.flatMap((name) => {
    // modules.dep lists what a module needs from the last to load to the first.
    return (table.get(sameName(name)) ?? []).toReversed();
  });
  return [...new Set(files)].map((file) => ({
    name: moduleName(file),
    file: `${modulesFolder(version)}/${file}`,
  }));
}

const DECOMPRESSORS: Record<string, string> = {
  ko: "cat",
  xz: "xz -dc",
  zst: "zstd -dc",
  gz: "gzip -dc",
};

/** A module's content, unpacked: not every kernel unpacks modules by itself. */
export function readModule({ file }: KernelModule): Uint8Array {
  const suffix = file.slice(file.lastIndexOf(".") + 1);
  if (suffix === "ko") return Deno.readFileSync(file);
  const { success, stdout } = new Deno.Command("sh", {
    args: ["-c", `${DECOMPRESSORS[suffix]} "$1"`, "sh", file],
    stdin: "null",
  }).outputSync();
  if (!success) throw new Error(`cannot unpack ${file}`);
  return stdout;
}

function readable(file: string): boolean {
  try {
    Deno.openSync(file).close();
    return true;
  } catch {
    return false;
  }
}

/** Newest first, as far as numbers in version strings tell. */
const byVersion = (a: string, b: string) =>
  b.localeCompare(a, "en", { numeric: true });

/** The newest installed kernel that the guest can boot, if there is one. */
export function findKernel(): Kernel | undefined {
  if (!existsSync("/lib/modules")) return undefined;
  const versions = Array.from(
    Deno.readDirSync("/lib/modules"),
    ({ name }) => name,
  );
  const version = versions.sort(byVersion).find((version) =>
    existsSync(`${modulesFolder(version)}/modules.dep`) &&
    readable(`/boot/vmlinuz-${version}`) &&
    missingModules(version).length === 0
  );
  return version && { version, image: `/boot/vmlinuz-${version}` } || undefined;
}
