/**
 * The rules of the house, enforced: which part may import which, who may touch
 * foreign memory, and that nothing names a registry's host.
 */

import { assert, assertEquals } from "@std/assert";
import { globSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Part {
  /** Paths of the part: a file, or a folder with all that is below it. */
  paths: string[];
  /** The parts whose code it may import, besides itself. */
  mayImport: string[];
}

/**
 * cli, examples → runtime → device → drivers → bus → dma, irq, pci → ffi.
 *
 * A file belongs to the part with the longest path that fits.
 */
// deno-fmt-ignore
const PARTS: Record<string, Part> = {
  // Bytes and values: they know nobody.
  net:      { paths: ["src/net"], mayImport: [] },
  base:     { paths: ["src/errors.ts", "src/environment.ts", "src/log.ts", "src/platform.ts", "src/config.ts", "src/stats.ts", "src/wait.ts", "src/rss_table.ts"], mayImport: [] },

  // The machine.
  ffi:      { paths: ["src/ffi"], mayImport: ["base"] },
  dma:      { paths: ["src/dma"], mayImport: ["base", "ffi"] },
  irq:      { paths: ["src/irq"], mayImport: ["base", "ffi"] },
  pci:      { paths: ["src/pci"], mayImport: ["base", "ffi"] },
  memory:   { paths: ["src/memory"], mayImport: ["base", "dma"] },

  // The seam, and what stands on either side of it.
  bus:      { paths: ["src/bus/bus.ts", "src/bus/description.ts", "src/bus/address.ts", "src/bus/virtio"], mayImport: ["base", "dma", "irq", "pci"] },
  api:      { paths: ["src/device_api.ts"], mayImport: ["base", "memory", "bus", "dma", "irq", "pci"] },
  drivers:  { paths: ["src/drivers"], mayImport: ["base", "net", "memory", "api", "bus", "dma", "irq", "pci"] },
  sim:      { paths: ["src/sim"], mayImport: ["base", "net"] },
  tap:      { paths: ["src/sim/wires/tap.ts", "src/sim/wires/peer.ts"], mayImport: ["base", "net", "sim", "ffi"] },
  busSim:   { paths: ["src/bus/sim"], mayImport: ["base", "bus", "dma", "irq", "pci", "sim", "tap", "ffi"] },
  busVfio:  { paths: ["src/bus/vfio"], mayImport: ["base", "bus", "dma", "irq", "pci", "ffi"] },
  busVhost: { paths: ["src/bus/vhost_user"], mayImport: ["base", "bus", "dma", "irq", "pci", "ffi"] },
  vfioUser: { paths: ["src/vfio_user"], mayImport: ["base", "sim", "tap", "ffi"] },
  virtioNotifier: { paths: ["src/bus/virtio/pci/notifier.ts"], mayImport: ["base", "bus", "busVfio"] },
  attach:   { paths: ["src/bus/attach.ts"], mayImport: ["base", "bus", "busSim", "busVfio", "busVhost", "virtioNotifier"] },

  // Where both sides meet.
  device:   { paths: ["src/device.ts"], mayImport: ["base", "memory", "api", "drivers", "attach", "bus", "busSim", "busVfio", "busVhost", "dma", "irq", "pci", "ffi"] },
  runtime:  { paths: ["src/runtime"], mayImport: ["base", "memory", "api", "device", "drivers", "bus", "dma", "irq", "pci", "ffi"] },
  testing:  { paths: ["src/testing"], mayImport: ["base", "memory", "device"] },
  simWorker:   { paths: ["workers/sim_worker.ts"], mayImport: ["base", "busSim"] },
  cardWorker:  { paths: ["workers/served_card_worker.ts"], mayImport: ["base", "vfioUser"] },
  queueWorker: { paths: ["workers/queue_worker.ts"], mayImport: ["base", "runtime"] },

  // What users see.
  manifest: { paths: ["deno.json"], mayImport: [] },
  mod:      { paths: ["mod.ts"], mayImport: ["base", "net", "memory", "api", "device", "runtime", "drivers", "bus", "busSim", "dma", "irq", "pci"] },
  examples: { paths: ["examples"], mayImport: ["mod", "net"] },
  cli:      { paths: ["src/cli"], mayImport: ["manifest", "mod", "examples", "base", "net", "memory", "api", "device", "runtime", "pci", "sim", "vfioUser", "irq"] },
};

/** Which part may import which package. Everyone may import `node:` modules. */
const PACKAGES: Record<string, string[]> = {
  "@std/cli": ["cli", "examples"],
  "@denosaurs/plug": ["ffi"],
};

/** The only folders whose code may name `Deno.dlopen` and `Deno.Unsafe*`. */
const MAY_TOUCH_FOREIGN_MEMORY = [
  "src/ffi/",
  // Stands in for a package, which is not ours to judge.
  "links/plug/",
];

// In pieces, so that this file does not break its own rule.
const REGISTRY_HOSTS = [
  ["jsr", "io"],
  ["npmjs", "org"],
  ["npmjs", "com"],
  ["npmmirror", "com"],
  ["yarnpkg", "com"],
  ["deno", "land"],
  ["esm", "sh"],
  ["unpkg", "com"],
  ["jsdelivr", "net"],
  ["skypack", "dev"],
  ["debian", "org"],
  ["pypi", "org"],
  ["crates", "io"],
].map((labels) => labels.join("."));

function partOf(path: string): string {
  let best = "";
  let longest = 0;
  for (const [name, { paths }] of Object.entries(PARTS)) {
    for (const prefix of paths) {
      const fits = path === prefix || path.startsWith(`${prefix}/`);
      if (fits && prefix.length > longest) {
        [best, longest] = [name, prefix.length];
      }
    }
  }
  return best;
}

/** Paths relative to the root, of the files that match. */
function find(...patterns: string[]): string[] {
  return globSync(patterns, {
    cwd: ROOT,
    exclude: (name) =>
      /(^|\/)(\.git|node_modules|native\/build|tests\/out|coverage)(\/|$)/
        .test(typeof name === "string" ? name : ""),
  }).filter((path) => Deno.statSync(ROOT + path).isFile).sort();
}

interface Dependency {
  specifier: string;
  code?: { specifier?: string; error?: string };
  type?: { specifier?: string; error?: string };
}

interface Graph {
  modules: { specifier: string; dependencies?: Dependency[] }[];
}

/** The imports of the files as Deno itself parses them, `import type` included. */
async function readImports(files: string[]): Promise<Graph> {
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const lines = files.map((file) =>
      `import "${pathToFileURL(ROOT + file)}";`
    );
    await Deno.writeTextFile(entry, lines.join("\n"));
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", "--no-lock", `--config=${ROOT}deno.json`, entry],
      cwd: ROOT,
      stderr: "inherit",
    }).output();
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(entry);
  }
}

const rootUrl = pathToFileURL(ROOT).href;

/** What is wrong with one import; undefined if nothing is. */
function judge(from: string, dependency: Dependency): string | undefined {
  const { specifier, code, type } = dependency;
  if (specifier.startsWith("node:")) return undefined;
  const part = partOf(from);
  const users = PACKAGES[specifier];
  if (users !== undefined) {
    if (users.includes(part)) return undefined;
    return `${from} (${part}) must not import the package ${specifier}`;
  }
  const target = code?.specifier ?? type?.specifier ?? "";
  if (!target.startsWith(rootUrl)) {
    return `${from} imports ${specifier}, which is not in PACKAGES`;
  }
  const to = target.slice(rootUrl.length);
  const other = partOf(to);
  if (other === part || PARTS[part].mayImport.includes(other)) return undefined;
  return `${from} (${part}) must not import ${to} (${other || "no part"})`;
}

const LIBRARY = find(
  "mod.ts",
  "src/**/*.ts",
  "workers/*.ts",
  "examples/**/*.ts",
);

Deno.test("every file of the library belongs to a part", () => {
  assertEquals(LIBRARY.filter((path) => partOf(path) === ""), []);
});

Deno.test("imports follow the arrows of the design", async () => {
  const files = LIBRARY.filter((path) => partOf(path) !== "");
  const { modules } = await readImports(files);
  const wrong: string[] = [];
  let seen = 0;
  for (const { specifier, dependencies = [] } of modules) {
    const from = specifier.slice(rootUrl.length);
    if (!specifier.startsWith(rootUrl) || !files.includes(from)) continue;
    seen++;
    for (const dependency of dependencies) {
      const complaint = judge(from, dependency);
      if (complaint !== undefined) wrong.push(complaint);
    }
  }
  assertEquals(seen, files.length, "deno info must have read every file");
  assertEquals(wrong, []);
});

Deno.test("the arrows have no circle", () => {
  const visiting = new Set<string>();
  const visit = (part: string, way: string[]): void => {
    assert(!visiting.has(part), `circle: ${[...way, part].join(" → ")}`);
    visiting.add(part);
    for (const next of PARTS[part].mayImport) visit(next, [...way, part]);
    visiting.delete(part);
  };
  for (const part of Object.keys(PARTS)) visit(part, []);
});

Deno.test("drivers cannot reach vfio, sim or ffi", () => {
  for (const part of ["busVfio", "busSim", "busVhost", "sim", "tap", "ffi"]) {
    assert(!PARTS.drivers.mayImport.includes(part));
  }
});

/** Leaves out comment lines, which may name what code may not. */
function codeLines(text: string): string[] {
  return text.split("\n").map((line) =>
    /^\s*(\/\/|\/\*|\*)/.test(line) ? "" : line
  );
}

/** `Deno.dlopen`, `Deno.Unsafe…`, and `Deno` passed on under another name. */
const FOREIGN_MEMORY = new RegExp([
  String.raw`\bDeno\s*\??\.\s*(dlopen|Unsafe)`,
  String.raw`\bDeno\s*\[`,
  String.raw`[=(,:]\s*Deno\s*([;,)}]|$)`,
].join("|"));

Deno.test("only src/ffi touches foreign memory", () => {
  const wrong: string[] = [];
  for (const path of find("**/*.ts")) {
    if (MAY_TOUCH_FOREIGN_MEMORY.some((folder) => path.startsWith(folder))) {
      continue;
    }
    codeLines(Deno.readTextFileSync(ROOT + path)).forEach((line, index) => {
      if (!FOREIGN_MEMORY.test(line)) return;
      // This file has to spell the rule.
      if (path.endsWith("architecture_test.ts")) return;
      wrong.push(`${path}:${index + 1}: ${line.trim()}`);
    });
  }
  assertEquals(wrong, []);
});

Deno.test("no file names the host of a registry", () => {
  const wrong: string[] = [];
  const files = find("**/*.{ts,js,json,md,sh,c,yml,toml,lock}", ".ci/*");
  for (const path of files) {
    const text = Deno.readTextFileSync(ROOT + path).toLowerCase();
    for (const host of REGISTRY_HOSTS) {
      if (text.includes(host)) wrong.push(`${path} names ${host}`);
    }
  }
  assert(files.length > 20, "the search must find the files");
  assertEquals(wrong, []);
});
