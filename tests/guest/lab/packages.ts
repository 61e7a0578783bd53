/**
 * Debian packages that guests are made of.
 *
 * @module
 */

import { OLDEST_QEMU, qemuVersion } from "./lab.ts";

/** A part of a guest. */
export type Part = "qemu" | "kernel" | "busybox";

const PARTS: Record<Part, { packages: string[]; why: string }> = {
  qemu: {
    packages: ["qemu-system-x86"],
    why: `the machine with its cards; version ${OLDEST_QEMU} or later for igb`,
  },
  kernel: {
    packages: ["linux-image-amd64", "kmod"],
    why: "the guest's kernel, with VFIO and the cards' own drivers as modules",
  },
  busybox: {
    packages: ["busybox-static"],
    why: "the commands of the guest's first root",
  },
};

/** Runs a script as root, with its output on ours. */
async function asRoot(script: string): Promise<boolean> {
  const sudo = Deno.uid() === 0 ? [] : ["sudo"];
  const [command, ...args] = [...sudo, "sh", "-ec", script];
  const { success } = await new Deno.Command(command, { args, stdin: "null" })
    .spawn().status;
  return success;
}

const APT = "apt-get -qq -o Dpkg::Use-Pty=0";

const installScript = (packages: string[], options = "") =>
  `DEBIAN_FRONTEND=noninteractive ${APT} install -y --no-install-recommends ${options} ${
    packages.join(" ")
  }`;

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

/** Debian 12 itself has QEMU 7: its backports have a newer one. */
async function installNewerQemu(): Promise<void> {
  const suite = `$(. /etc/os-release && echo $VERSION_CODENAME)-backports`;
  console.log("This QEMU is too old: installing the one in backports");
  const done = await asRoot(ADD_BACKPORTS) &&
    await asRoot(`${APT} update`) &&
    await asRoot(installScript(PARTS.qemu.packages, `-t ${suite}`));
  if (!done) throw new Error("QEMU could not be installed from backports");
}

/** Says what it installs and why, and installs it. */
export async function install(parts: readonly Part[]): Promise<void> {
  if (parts.length === 0) return;
  for (const part of parts) {
    const { packages, why } = PARTS[part];
    console.log(`Installing ${packages.join(", ")}: ${why}`);
  }
  const packages = parts.flatMap((part) => PARTS[part].packages);
  const done = await asRoot(`${APT} update`) &&
    await asRoot(installScript(packages));
  if (!done) {
    throw new Error(
      `The packages could not be installed. On Debian: apt-get install ${
        packages.join(" ")
      }`,
    );
  }
  const version = qemuVersion();
  if (version === undefined || parseInt(version) < OLDEST_QEMU) {
    await installNewerQemu();
  }
}
