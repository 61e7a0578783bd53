/**
 * Where this library can run at all.
 *
 * @module
 */
import { IxlError } from "./errors.ts";

/** Throws unless this is Linux on a little-endian x86-64 or arm64 machine. */
export function assertPlatform(
  os: string = Deno.build.os,
  arch: string = Deno.build.arch,
  littleEndian: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1,
): void {
  if (os !== "linux") {
    throw new IxlError(
      "unsupported-platform",
      `user-space drivers need Linux (VFIO, eventfd, hugepages); this is ${os}: use a Linux machine or virtual machine`,
    );
  }
  if (arch !== "x86_64" && arch !== "aarch64") {
    throw new IxlError(
      "unsupported-platform",
      `x86-64 or arm64 is needed, this is ${arch}`,
    );
  }
  if (!littleEndian) {
    throw new IxlError(
      "unsupported-platform",
      "descriptor rings are little-endian, and this machine is not",
    );
  }
}
