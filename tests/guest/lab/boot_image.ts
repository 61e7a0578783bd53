/**
 * The kernel that QEMU starts without unpacking it first, which would take
 * the guest longer than all the rest of its boot.
 *
 * @module
 */

import type { Kernel } from "./kernel.ts";

/** Fields of the boot protocol's header (Linux: Documentation/arch/x86/boot.rst). */
const HEADER = {
  setupSectors: 0x1f1,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
} as const;
const SECTOR = 512;

/** How the payload may begin, what unpacks it, and what the build appends. */
const FORMATS = [
  { magic: [0x1f, 0x8b], command: "gzip", trailer: 0 },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], command: "xz", trailer: 4 },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], command: "zstd", trailer: 4 },
] as const;

const ELF = [0x7f, 0x45, 0x4c, 0x46];

const begins = (bytes: Uint8Array, magic: readonly number[]) =>
  magic.every((byte, at) => bytes[at] === byte);

function payload(image: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(image.buffer);
  // The sector before the setup code is not in its count.
  const setup = (view.getUint8(HEADER.setupSectors) + 1) * SECTOR;
  const start = setup + view.getUint32(HEADER.payloadOffset, true);
  const length = view.getUint32(HEADER.payloadLength, true);
  return image.subarray(start, start + length);
}

async function unpack(
  command: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const child = new Deno.Command(command, {
    args: ["-dc"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const written = new Blob([bytes]).stream().pipeTo(child.stdin);
  const [{ stdout }] = await Promise.all([child.output(), written]);
  return stdout;
}

/** The kernel as an ELF file; undefined if nothing here can unpack it. */
export async function unpackKernel(
  kernel: Kernel,
): Promise<Uint8Array | undefined> {
  const packed = payload(Deno.readFileSync(kernel.image));
  const format = FORMATS.find(({ magic }) => begins(packed, magic));
  if (format === undefined) return undefined;
  const content = packed.subarray(0, packed.length - format.trailer);
  try {
    const unpacked = await unpack(format.command, content);
    return begins(unpacked, ELF) ? unpacked : undefined;
  } catch (error) {
    // No such command: the guest unpacks its kernel by itself.
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
