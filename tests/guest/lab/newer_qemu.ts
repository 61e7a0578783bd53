/**
 * A QEMU with `vfio-user-pci`, for cards that a process of ours serves. Debian's stable releases have none yet: it is
 * taken from the unstable suite, into a folder of its own in the user's cache, and nothing of the system changes.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { LAB_FOLDER } from "./lab.ts";
import { APT, asRoot, shell, updatePackages } from "./packages.ts";
import { QEMU } from "./qemu.ts";

/** The card came with it. */
const OLDEST: readonly [major: number, minor: number] = [10, 1];
const SUITE = "sid";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** Where it is kept: other checkouts use the same. */
const FOLDER = `${
  Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`
}/ixl-lab/qemu-${SUITE}`;

/** What was found: there when such a QEMU is. */
const FOUND_FILE = `${LAB_FOLDER}/newer-qemu.json`;

/** The command that runs it: through its own loader, with its own libraries, modules and firmware. */
const COMMAND: readonly string[] = [
  "env",
  `QEMU_MODULE_DIR=${FOLDER}/${LIBRARIES}/qemu`,
  `${FOLDER}/lib64/ld-linux-x86-64.so.2`,
  ...["--library-path", `${FOLDER}/${LIBRARIES}`],
  `${FOLDER}/usr/bin/${QEMU}`,
  ...["-L", `${FOLDER}/usr/share/qemu`, "-L", `${FOLDER}/usr/share/seabios`],
];

/**
 * The machine's own mirror, as its sources name it, and debootstrap's keyring
 * of the distribution. What a package leaves for people is thrown away.
 */
const INSTALL = `
folder=$1
suite=$2
. /etc/os-release
mirror=$(awk -v main="$VERSION_CODENAME" '
  /^URIs:/ { uri = $2 }
  /^Suites:/ { for (i = 2; i <= NF; i++) if ($i == main) { print uri; exit } }
' /etc/apt/sources.list.d/*.sources /dev/null)
[ -n "$mirror" ] || mirror=$(awk -v main="$VERSION_CODENAME" '
  $1 == "deb" {
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^[a-z]+:/) uri = $i
      if ($i == main) { print uri; exit }
    }
  }' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /dev/null)
[ -n "$mirror" ] || { echo "no source of $VERSION_CODENAME to take the mirror from"; exit 1; }
mkdir -p "$folder"
rm -rf "$folder.new"
debootstrap --variant=minbase --include=qemu-system-x86 "$suite" "$folder.new" "$mirror"
rm -rf "$folder.new/var" "$folder.new/usr/share/doc" "$folder.new/usr/share/locale" \\
  "$folder.new/usr/share/man"
chmod -R a+rX "$folder.new"
rm -rf "$folder"
mv "$folder.new" "$folder"
`;

/** A QEMU that has the card. */
export interface NewerQemu {
  /** The command that runs it. */
  readonly command: readonly string[];
  /** What it says of itself. */
  readonly version: string;
}

/** What `deno task lab` has found or fetched, if it is still there. */
export function loadNewerQemu(): NewerQemu | undefined {
  if (!existsSync(FOUND_FILE)) return undefined;
  const saved: NewerQemu = JSON.parse(Deno.readTextFileSync(FOUND_FILE));
  return versionOf(saved.command) === saved.version ? saved : undefined;
}

/** Fetches it, where it is lacking, and leaves word for the tests. Says what it does. */
export async function prepareNewerQemu(): Promise<void> {
  if (loadNewerQemu() !== undefined) return;
  const qemu = find() ?? await fetchQemu();
  console.log(`QEMU ${qemu.version} takes cards that another process serves`);
  Deno.writeTextFileSync(FOUND_FILE, `${JSON.stringify(qemu)}\n`);
}

/** The system's own QEMU where it is new enough, else the one in the cache; undefined without either. */
function find(): NewerQemu | undefined {
  for (const command of [[QEMU], COMMAND]) {
    const version = versionOf(command);
    if (version !== undefined && isNewEnough(version)) {
      return { command, version };
    }
  }
}

async function fetchQemu(): Promise<NewerQemu> {
  console.log(
    `Fetching QEMU from Debian ${SUITE} into ${FOLDER} (some 220 MB): it can hold cards that another process serves`,
  );
  await shell("command -v debootstrap").catch(installDebootstrap);
  await asRoot(`set -- '${FOLDER}' ${SUITE}\n${INSTALL}`);
  const fetched = find();
  if (fetched !== undefined) return fetched;
  throw new Error(
    `Debian ${SUITE} has QEMU ${versionOf(COMMAND)}, not ${OLDEST.join(".")}`,
  );
}

async function installDebootstrap(): Promise<void> {
  console.log("Installing debootstrap: it fetches packages into a folder");
  await updatePackages();
  await asRoot(`${APT} install -y --no-install-recommends debootstrap`);
}

function isNewEnough(version: string): boolean {
  const [major, minor] = version.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function versionOf([command, ...args]: readonly string[]): string | undefined {
  if (command === "env" && !existsSync(FOLDER)) return undefined;
  try {
    const { stdout } = new Deno.Command(command, {
      args: [...args, "--version"],
    }).outputSync();
    return /version (\d+\.\d+\.\d+)/.exec(new TextDecoder().decode(stdout))
      ?.[1];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
