/**
 * Debian packages that guests are made of, and DPDK.
 *
 * @module
 */

import { isNewEnough, type Part } from "./lab.ts";

const PARTS: Record<Part | "dpdk", { packages: string[]; why: string }> = {
  qemu: {
    packages: ["qemu-system-x86"],
    why: "the machine with its cards",
  },
  kernel: {
    packages: ["linux-image-amd64", "kmod", "xz-utils"],
    why: "the guest's kernel, with VFIO and the cards' own drivers as modules",
  },
  busybox: {
    packages: ["busybox-static"],
    why: "the commands of the guest's first root",
  },
  dpdk: {
    packages: ["dpdk-dev"],
    why: "testpmd, the other side of a vhost-user socket, with its drivers",
  },
};

/** Runs a shell script and returns what it prints; throws that if it fails. */
export async function shell(
  script: string,
  sudo: string[] = [],
): Promise<string> {
  const [command, ...args] = [...sudo, "sh", "-ec", `exec 2>&1\n${script}`];
  const options = { args, stdin: "null" } as const;
  const { success, stdout } = await new Deno.Command(command, options).output();
  const printed = new TextDecoder().decode(stdout);
  if (success) return printed;
  throw new Error(`${printed}\n${script.trim()}\nhas failed`);
}

/** The same, as root. */
export const asRoot = (script: string): Promise<string> =>
  shell(script, Deno.uid() === 0 ? [] : ["sudo"]);

const LOCK_TIMEOUT_MS = 600_000;

/** The command that fetches packages; it waits while another process holds the lock. */
export const APT = "apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=600";

/**
 * Adds the backports suite: the machine's own source of its main suite, with
 * the suite's name changed. Does nothing when it is there.
 */
const ADD_BACKPORTS = `
. /etc/os-release
suite=$VERSION_CODENAME-backports
target=/etc/apt/sources.list.d/ixl-backports
[ -e $target.sources ] || [ -e $target.list ] && exit 0
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] || continue
  awk -v RS= -v main="$VERSION_CODENAME" -v suite="$suite" '
    $0 ~ "Suites:[^\\n]* ?" main "( |\\n|$)" {
      sub(/Suites:[^\\n]*/, "Suites: " suite); print; exit
    }' "$file" > $target.sources
  [ -s $target.sources ] && exit 0
  rm $target.sources
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$file" ] || continue
  awk -v main="$VERSION_CODENAME" -v suite="$suite" '
    $1 == "deb" {
      for (i = 2; i <= NF; i++) if ($i == main) { $i = suite; print; exit }
    }' "$file" > $target.list
  [ -s $target.list ] && exit 0
  rm $target.list
done
echo "no source of $VERSION_CODENAME to copy"
exit 1
`;

/** Reads what packages there are. Where the lists are locked, apt-get does not wait for them itself. */
export async function updatePackages(): Promise<void> {
  const patience = performance.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    try {
      await asRoot(`${APT} update`);
      return;
    } catch (error) {
      const isLocked = `${error}`.includes("Could not get lock");
      if (!isLocked || performance.now() > patience) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

/** The version of QEMU that would be installed now. */
async function offeredQemu(): Promise<string | undefined> {
  const policy = await shell(`apt-cache policy ${PARTS.qemu.packages}`);
  return /Candidate: (?:\d+:)?(\d\S*)/.exec(policy)?.[1];
}

/** Debian 12 itself has QEMU 7: its backports have a newer one. */
async function useBackports(): Promise<string> {
  console.log("The distribution's QEMU is too old: using its backports");
  await asRoot(ADD_BACKPORTS);
  await updatePackages();
  return "-t $(. /etc/os-release && echo $VERSION_CODENAME)-backports";
}

/**
 * Says what it installs and why, and installs it.
 *
 * @throws {Error} When that fails, with what apt-get says.
 */
export async function install(
  parts: readonly (keyof typeof PARTS)[],
): Promise<void> {
  for (const part of parts) {
    const { packages, why } = PARTS[part];
    console.log(`Installing ${packages.join(", ")}: ${why}`);
  }
  await updatePackages();
  for (const part of parts) {
    const isOld = part === "qemu" && !isNewEnough(await offeredQemu());
    const suite = isOld ? await useBackports() : "";
    await asRoot(
      `DEBIAN_FRONTEND=noninteractive ${APT} install -y --no-install-recommends ${suite} ${
        PARTS[part].packages.join(" ")
      }`,
    );
  }
}
