/**
 * Tests that need more than Deno: they name what they need, and run only where
 * it is there.
 *
 * ```ts
 * const test = requires("netns", "ping");
 * test("responder answers a ping", async () => { … });
 * ```
 *
 * A test whose needs are not met is not registered: the runner's summary lists
 * it with the reason. Under `CI=true` it is registered and fails instead, so
 * that a CI machine cannot lose a test in silence.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the runner wants to hear of skipped tests: one JSON object a line. */
export const SKIPPED_FILE_ENV = "IXL_TEST_SKIPPED";

/** One line of that file. */
export interface SkippedTest {
  /** Name of the test. */
  name: string;
  /** What is missing and how to get it. */
  reason: string;
}

/** Says whether this is a CI machine. */
export function onCi(): boolean {
  return Deno.env.get("CI") === "true";
}

/** Runs a command to its end; undefined if there is no such command. */
function run(command: string, ...args: string[]): Deno.CommandOutput | void {
  try {
    return new Deno.Command(command, { args, stdin: "null" }).outputSync();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const succeeds = (...command: [string, ...string[]]): boolean =>
  run(...command)?.success ?? false;

/** Says whether there is such a command. */
export const isCommand = (name: string): boolean =>
  succeeds("sh", "-c", `command -v ${name}`);

const isRoot = (): boolean => Deno.uid() === 0;

/** Through a child: Deno looks into /dev only when it may do everything. */
const isDevice = (path: string): boolean => succeeds("test", "-c", path);

/** Creates a network namespace and deletes it: containers often forbid it to root. */
function canMakeNamespaces(): boolean {
  const name = `ixl-probe-${Deno.pid}`;
  if (!isRoot() || !succeeds("ip", "netns", "add", name)) return false;
  return succeeds("ip", "netns", "delete", name);
}

/** Free 2 MiB pages; the runner says 1 or 0 after it has tried to make some. */
function hasHugepages(): boolean {
  const told = Deno.env.get("IXL_TEST_HUGEPAGES");
  if (told !== undefined) return told === "1";
  // Through a child, because Deno reads /proc only when it may do everything.
  const meminfo = run("cat", "/proc/meminfo")?.stdout ?? new Uint8Array();
  const free = /^HugePages_Free:\s+(\d+)/m.exec(
    new TextDecoder().decode(meminfo),
  );
  return Number(free?.[1] ?? 0) >= 8;
}

const NATIVE_SHIM = fileURLToPath(
  new URL("../../../native/build/libixl.so", import.meta.url),
);

/** Written by `deno task lab`. */
const LAB_FILE = fileURLToPath(
  new URL("../../out/lab/lab.json", import.meta.url),
);

/** Written by `deno task lab`, where there is one or it could be fetched. */
const NEWER_QEMU_FILE = fileURLToPath(
  new URL("../../out/lab/newer-qemu.json", import.meta.url),
);

/** Written by `deno task lab`, where it could be built. */
const NO_IOMMU_MODULE = fileURLToPath(
  new URL("../../out/lab/vfio-no-iommu.ko", import.meta.url),
);

interface Check {
  met: () => boolean;
  /** What to do when it is not met. */
  advice: string;
}

const command = (name: string, debianPackage: string): Check => ({
  met: () => isCommand(name),
  advice: `install ${name} (Debian: apt-get install ${debianPackage})`,
});

const CHECKS = {
  root: { met: isRoot, advice: "run as root" },
  hugepages: {
    met: hasHugepages,
    advice: "run as root, or set /proc/sys/vm/nr_hugepages to 64 or more",
  },
  netns: {
    met: canMakeNamespaces,
    advice:
      "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, and install ip (Debian: apt-get install iproute2)",
  },
  tap: {
    met: () => isRoot() && isDevice("/dev/net/tun"),
    advice: "run as root with CAP_NET_ADMIN, and load the tun module",
  },
  native: {
    met: () => existsSync(NATIVE_SHIM),
    advice:
      "build the shim: deno task native (Debian: apt-get install gcc libc6-dev)",
  },
  lab: {
    met: () => existsSync(LAB_FILE),
    advice: "prepare the virtual machines: deno task lab",
  },
  newerQemu: {
    met: () => existsSync(NEWER_QEMU_FILE),
    advice:
      "fetch a QEMU with vfio-user-pci: deno task lab says what is missing",
  },
  noIommu: {
    met: () => existsSync(NO_IOMMU_MODULE),
    advice:
      "build VFIO with its no-IOMMU mode: deno task lab says what is missing",
  },
  cc: command("cc", "gcc libc6-dev"),
  ip: command("ip", "iproute2"),
  ping: command("ping", "iputils-ping"),
  ethtool: command("ethtool", "ethtool"),
  testpmd: command("dpdk-testpmd", "dpdk-dev; or: deno task lab dpdk"),
  tcpdump: command("tcpdump", "tcpdump"),
  python3: command("python3", "python3"),
  tshark: command("tshark", "tshark"),
} satisfies Record<string, Check>;

/** What a test can need. */
export type Requirement = keyof typeof CHECKS;

const missing = new Map<Requirement, string | undefined>();

/**
 * Says what is missing for a requirement and how to get it; undefined when it
 * is met. Asks the machine once per process.
 */
export function whyMissing(requirement: Requirement): string | undefined {
  if (!missing.has(requirement)) {
    const { met, advice } = CHECKS[requirement];
    missing.set(requirement, met() ? undefined : `${requirement}: ${advice}`);
  }
  return missing.get(requirement);
}

function reportSkipped(skipped: SkippedTest): void {
  const file = Deno.env.get(SKIPPED_FILE_ENV);
  if (file === undefined) {
    console.error(`skipped: ${skipped.name} (needs ${skipped.reason})`);
  } else {
    const line = `${JSON.stringify(skipped)}\n`;
    Deno.writeTextFileSync(file, line, { append: true });
  }
}

/** Registers a test, or reports that it cannot run here. */
export type RegisterTest = (
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
  options?: Omit<Deno.TestDefinition, "name" | "fn" | "ignore">,
) => void;

/**
 * Makes a function like `Deno.test` for tests that need all of the given.
 *
 * @param requirements what the tests need
 */
export function requires(...requirements: Requirement[]): RegisterTest {
  const reason = requirements.map(whyMissing).filter(Boolean).join("; ");
  return (name, fn, options = {}) => {
    if (reason === "") {
      Deno.test({ ...options, name, fn });
    } else if (onCi()) {
      Deno.test(name, () => {
        throw new Error(`This test must run on CI and needs ${reason}`);
      });
    } else {
      reportSkipped({ name, reason });
    }
  };
}
