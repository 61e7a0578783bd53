/**
 * Laying kernel memory over a part of a SharedArrayBuffer, so that every isolate sees the same bytes as the
 * device does.
 *
 * A `mmap(MAP_FIXED)` that fails has already unmapped what was there, and the next touch is a segfault.
 * Hence hugepages come from a memfd whose pages are allocated first: the mapping over the buffer can then
 * not fail for want of pages.
 *
 * @module
 */
import { IxlError, SystemError } from "../errors.ts";
import { check, closeFd, cString, errno, libc } from "./libc.ts";

const EINTR = 4;
const ENOMEM = 12;
const ENOSPC = 28;
const O_RDONLY = 0;
const O_CLOEXEC = 0x80000;
const PROT_READ = 1;

const PROT_READ_WRITE = 3;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_POPULATE = 0x8000;
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_HUGETLB = 0x4;
/** memfd_create(2): log2 of the page size goes above this bit. */
const MFD_HUGE_SHIFT = 26;
/** fcntl(2): what can never be done to a file again. */
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 0x1;
const F_SEAL_SHRINK = 0x2;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const MAP_FAILED = 0xffffffffffffffffn;
/** Bits 0 to 54 of an entry of /proc/PID/pagemap, where the page is present (Linux: admin-guide/mm/pagemap.rst). */
const FRAME_NUMBER = (1n << 55n) - 1n;
const PAGEMAP_ENTRY_BYTES = 8n;

/** The system's ordinary page size in bytes, on x86-64 and on almost every arm64 kernel. */
export const PAGE_SIZE = 4096;

/** The address of a buffer's first byte. */
export function addressOf(buffer: SharedArrayBuffer): bigint {
  return libc().addressOf(new Uint8Array(buffer), 0n, 0n);
}

/** Puts fresh zeroed private memory at `address`, which gives back whatever was mapped there. */
export function mapPlain(address: bigint, length: number): void {
  mapFixed(address, length, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/** Puts `length` bytes of a file, from `offset` on, at `address`. */
export function mapFile(
  address: bigint,
  length: number,
  fd: number,
  offset: number,
): void {
  mapFixed(address, length, MAP_SHARED, fd, offset);
}

function mapFixed(
  address: bigint,
  length: number,
  flags: number,
  fd: number,
  offset: number,
): void {
  const result = libc().mmap(
    address,
    BigInt(length),
    PROT_READ_WRITE,
    flags | MAP_FIXED,
    fd,
    BigInt(offset),
  );
  if (result === MAP_FAILED) {
    const code = errno();
    // The old mapping is gone: put plain memory there before anybody touches it.
    if (fd >= 0) mapPlain(address, length);
    throw new SystemError("mmap", code);
  }
}

/** Keeps pages in RAM. Throws with the limit to raise. */
export function lockPages(address: bigint, length: number): void {
  check(
    "mlock",
    libc().mlock(address, BigInt(length)),
    "raise the limit of locked memory (ulimit -l, or LimitMEMLOCK in a service)",
  );
}

/** Undoes {@linkcode lockPages}. */
export function unlockPages(address: bigint, length: number): void {
  libc().munlock(address, BigInt(length));
}

/** Anonymous file memory that can be mapped by other processes; `hugePageSize` 0 means ordinary pages. */
export class MemFd {
  /** The file descriptor, for passing to another process. */
  readonly fd: number;

  /**
   * @param name Shown in /proc/PID/maps.
   * @param hugePageSize 0, 2 MiB or 1 GiB.
   */
  constructor(readonly name: string, readonly hugePageSize: number) {
    const flags = hugePageSize === 0
      ? 0
      : MFD_HUGETLB | (Math.log2(hugePageSize) << MFD_HUGE_SHIFT);
    this.fd = check(
      "memfd_create",
      libc().memfd_create(
        cString(name),
        (MFD_CLOEXEC | MFD_ALLOW_SEALING | flags) >>> 0,
      ),
      hugePageSize ? "this kernel has no hugepages of that size" : undefined,
    );
    // Who else has the file could cut it off, and our next touch would be a SIGBUS.
    libc().fcntl(this.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
  }

  /** Allocates the pages of a range now, so that mapping and touching them later cannot fail. */
  allocate(offset: number, length: number): void {
    const code = fallocate(this.fd, 0, offset, length);
    if (code === 0) return;
    const isEmpty = code === ENOSPC || code === ENOMEM;
    if (this.hugePageSize === 0 || !isEmpty) {
      throw new SystemError("fallocate", code);
    }
    const kilobytes = this.hugePageSize / 1024;
    throw new IxlError(
      "no-hugepages",
      `not enough free hugepages for ${
        length / this.hugePageSize
      } of ${kilobytes} KiB: write a larger count to /sys/kernel/mm/hugepages/hugepages-${kilobytes}kB/nr_hugepages as root, or set IXL_HUGEPAGES=never`,
    );
  }

  /**
   * Where the page at `offset`, which is allocated, lies in RAM.
   * @throws {IxlError} "permission" when the kernel does not tell this process.
   */
  physicalAddress(offset: number): bigint {
    const length = BigInt(this.hugePageSize || PAGE_SIZE);
    const address = libc().mmap(
      0n,
      length,
      PROT_READ,
      MAP_SHARED | MAP_POPULATE,
      this.fd,
      BigInt(offset),
    );
    if (address === MAP_FAILED) throw new SystemError("mmap", errno());
    try {
      return frameNumber(address) * BigInt(PAGE_SIZE);
    } finally {
      libc().munmap(address, length);
    }
  }

  /** Returns the pages of a range to the system. */
  release(offset: number, length: number): void {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const code = fallocate(this.fd, mode, offset, length);
    if (code !== 0) throw new SystemError("fallocate", code);
  }

  /** Closes the file; mappings of it stay. */
  close(): void {
    closeFd(this.fd);
  }
}

/** Calls fallocate(2) until no signal interrupts it. Returns 0, or the errno. */
function fallocate(
  fd: number,
  mode: number,
  offset: number,
  length: number,
): number {
  for (;;) {
    const { fallocate } = libc();
    if (fallocate(fd, mode, BigInt(offset), BigInt(length)) === 0) return 0;
    const code = errno();
    if (code !== EINTR) return code;
  }
}

/** The number of the page of RAM behind an address that is populated. */
function frameNumber(address: bigint): bigint {
  const path = "/proc/self/pagemap";
  const fd = check(
    `open ${path}`,
    libc().open(cString(path), O_RDONLY | O_CLOEXEC, 0),
  );
  const entry = new BigUint64Array(1);
  const at = (address / BigInt(PAGE_SIZE)) * PAGEMAP_ENTRY_BYTES;
  try {
    const read = libc().pread(
      fd,
      new Uint8Array(entry.buffer),
      PAGEMAP_ENTRY_BYTES,
      at,
    );
    check(`read ${path}`, Number(read));
  } finally {
    closeFd(fd);
  }
  const frame = entry[0] & FRAME_NUMBER;
  if (frame !== 0n) return frame;
  throw new IxlError(
    "permission",
    "physical addresses are only told to a process with CAP_SYS_ADMIN: run as root",
  );
}
