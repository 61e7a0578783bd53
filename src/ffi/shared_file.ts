/**
 * Files that another process shares by passing their descriptors: how far they can be trusted.
 *
 * @module
 */
import { check, cString, libc } from "./libc.ts";
import { PAGE_SIZE } from "./mapping.ts";

const AT_EMPTY_PATH = 0x1000;
/** STATX_SIZE. */
const STATX_MASK = 0x200;
/** struct statx of linux/stat.h. */
const STATX = {
  bytes: 256,
  size: 40,
} as const;
/** struct statfs of sys/vfs.h. */
const STATFS = {
  bytes: 120,
  type: 0,
  blockSize: 8,
} as const;
/** linux/magic.h */
const HUGETLBFS_MAGIC = 0x958458f6;
/** linux/fcntl.h */
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 0x2;

/** What an open file is. */
export interface SharedFile {
  /** Bytes in it. */
  readonly size: number;
  /** The page size of its memory, which mappings of it must be aligned to. */
  readonly pageSize: number;
  /** The file cannot be made shorter, so that touching a mapping of it is safe. */
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
  const system = new DataView(new ArrayBuffer(STATFS.bytes));
  check(
    "fstatfs",
    libc().fstatfs(fd, new Uint8Array(system.buffer)),
  );
  const isHuge = system.getUint32(STATFS.type, true) === HUGETLBFS_MAGIC;
  const seals = libc().fcntl(fd, F_GET_SEALS, 0);
  return {
    size: Number(view.getBigUint64(STATX.size, true)),
    pageSize: isHuge
      ? Number(system.getBigUint64(STATFS.blockSize, true))
      : PAGE_SIZE,
    cannotShrink: seals >= 0 && (seals & F_SEAL_SHRINK) !== 0,
  };
}
