/**
 * Files that another process shares by passing their descriptors: which file it is, and how far it can be trusted.
 *
 * @module
 */
import { check, cString, libc } from "./libc.ts";

const AT_EMPTY_PATH = 0x1000;
/** STATX_INO and STATX_SIZE. */
const STATX_MASK = 0x100 | 0x200;
/** struct statx of linux/stat.h. */
const STATX = {
  bytes: 256,
  blockSize: 4,
  inode: 32,
  size: 40,
  deviceMajor: 136,
  deviceMinor: 140,
} as const;
/** linux/fcntl.h */
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 0x2;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0x800;

/** What an open file is. */
export interface SharedFile {
  /** The same for all descriptors of the same file. */
  readonly key: string;
  /** Bytes in it. */
  readonly size: number;
  /** What mappings of it must be aligned to: the page size of its memory. */
  readonly pageSize: number;
  /** Nobody can make it shorter: to touch a mapping of it is safe. */
  readonly cannotShrink: boolean;
}

/** Looks at an open file. */
export function statShared(fd: number): SharedFile {
  const bytes = new Uint8Array(new ArrayBuffer(STATX.bytes));
  check(
    "statx",
    libc().statx(fd, cString(""), AT_EMPTY_PATH, STATX_MASK, bytes),
  );
  const view = new DataView(bytes.buffer);
  const device = `${view.getUint32(STATX.deviceMajor, true)}:${
    view.getUint32(STATX.deviceMinor, true)
  }`;
  const seals = libc().fcntl(fd, F_GET_SEALS, 0);
  return {
    key: `${device}:${view.getBigUint64(STATX.inode, true)}`,
    size: Number(view.getBigUint64(STATX.size, true)),
    pageSize: view.getUint32(STATX.blockSize, true),
    cannotShrink: seals >= 0 && (seals & F_SEAL_SHRINK) !== 0,
  };
}

/** Makes writing to a descriptor that another process has given never wait. */
export function neverBlock(fd: number): void {
  const flags = check("fcntl", libc().fcntl(fd, F_GETFL, 0));
  check("fcntl", libc().fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}
