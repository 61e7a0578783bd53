/**
 * VFIO's module with its no-IOMMU mode, which Debian's kernel is built without: the same source, built with it.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Kernel } from "./kernel.ts";
import { LAB_FOLDER } from "./lab.ts";
import { APT, asRoot, shell, updatePackages } from "./packages.ts";

/** The module, for `insmod` in a guest. */
export const NO_IOMMU_MODULE = `${LAB_FOLDER}/vfio-no-iommu.ko`;

const buildScript = ({ version }: Kernel) => `
series=$(echo ${version} | cut -d. -f1-2)
release=$(dpkg-query -W -f '\${Version}' linux-image-${version})
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
${APT} download "linux-source-$series=$release"
dpkg-deb --fsys-tarfile linux-source-*.deb |
  tar -xO "./usr/src/linux-source-$series.tar.xz" |
  tar -xJ --strip-components=3 --wildcards --no-wildcards-match-slash \\
    "linux-source-$series/drivers/vfio/*.[ch]" \\
    "linux-source-$series/drivers/vfio/Makefile"
# Only what is in this folder.
sed -i '/\\/$/d' Makefile
make -C /lib/modules/${version}/build M="$work" \\
  CONFIG_VFIO_NOIOMMU=y KCFLAGS=-DCONFIG_VFIO_NOIOMMU=1 vfio.ko
strip --strip-debug vfio.ko
cp vfio.ko ${NO_IOMMU_MODULE}
`;

/** Builds the module, if it is not there: some 30 s, most of it for fetching the kernel's source. */
export async function buildNoIommuModule(kernel: Kernel): Promise<void> {
  if (existsSync(NO_IOMMU_MODULE)) return;
  console.log(
    "Building VFIO with its no-IOMMU mode: the kernel's headers and source",
  );
  await updatePackages();
  await asRoot(`
    DEBIAN_FRONTEND=noninteractive ${APT} install -y --no-install-recommends \
      make binutils xz-utils linux-headers-${kernel.version}
  `);
  await shell(buildScript(kernel));
}

/** Before the lab is prepared anew, perhaps for another kernel. */
export function forgetNoIommuModule(): void {
  if (existsSync(NO_IOMMU_MODULE)) Deno.removeSync(NO_IOMMU_MODULE);
}
