/**
 * Reading /sys and /proc. Deno itself does so only with `--allow-all`, which is more than a driver should have.
 *
 * @module
 */
import { SystemError } from "../errors.ts";
import { check, closeFd, cString, errno, libc } from "./libc.ts";

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_CLOEXEC = 0x80000;
const ENOENT = 2;
const SYS_GETDENTS64 = Deno.build.arch === "aarch64" ? 61n : 217n;
/** struct linux_dirent64: inode, offset, record length, type, name. */
const RECORD_LENGTH = 16;
const NAME = 19;
const CHUNK = 32768;

/** The text of a small file; undefined when there is none. */
export function readSmallFile(path: string): string | undefined {
  return withFile(path, (fd) => {
    const chunk = new Uint8Array(CHUNK);
    let text = "";
    const decoder = new TextDecoder();
    for (;;) {
      const read = Number(libc().read(fd, chunk, BigInt(CHUNK)));
      if (check(`read ${path}`, read) === 0) return text;
      text += decoder.decode(chunk.subarray(0, read), { stream: true });
    }
  });
}

/** Writes a text to a file that is there, in one call, as sysfs wants it. */
export function writeSmallFile(path: string, text: string): void {
  const fd = check(
    `open ${path}`,
    libc().open(cString(path), O_WRONLY | O_CLOEXEC, 0),
    "this needs root",
  );
  try {
    const bytes = new TextEncoder().encode(text);
    const written = libc().write(fd, bytes, BigInt(bytes.length));
    check(`write to ${path}`, Number(written));
  } finally {
    closeFd(fd);
  }
}

/** The names in a folder, in no order; none when there is no such folder. */
export function listFolder(path: string): string[] {
  return withFile(path, (fd) => {
    const names: string[] = [];
    const chunk = new Uint8Array(CHUNK);
    for (;;) {
      const length = Number(
        libc().syscall3(SYS_GETDENTS64, BigInt(fd), chunk, BigInt(CHUNK)),
      );
      if (check(`getdents ${path}`, length) === 0) return names;
      names.push(...namesIn(chunk.subarray(0, length)));
    }
  }) ?? [];
}

/** Where a symbolic link points; undefined when there is none. */
export function readLink(path: string): string | undefined {
  const target = new Uint8Array(4096);
  const length = Number(
    libc().readlink(cString(path), target, BigInt(target.length)),
  );
  if (length < 0) return undefined;
  return new TextDecoder().decode(target.subarray(0, length));
}

function namesIn(records: Uint8Array): string[] {
  const names: string[] = [];
  const view = new DataView(records.buffer, records.byteOffset);
  for (let at = 0; at < records.length;) {
    const length = view.getUint16(at + RECORD_LENGTH, true);
    const end = records.indexOf(0, at + NAME);
    const name = new TextDecoder().decode(records.subarray(at + NAME, end));
    if (name !== "." && name !== "..") names.push(name);
    at += length;
  }
  return names;
}

function withFile<T>(path: string, use: (fd: number) => T): T | undefined {
  const fd = libc().open(cString(path), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    const code = errno();
    if (code === ENOENT) return undefined;
    throw new SystemError(`open ${path}`, code);
  }
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
