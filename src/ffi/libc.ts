/**
 * The C library, the only door to the kernel. Calls that fail throw {@linkcode SystemError} with the errno.
 *
 * No `Deno.UnsafePointer` is needed: `memcpy` of zero bytes returns the address of a buffer, which keeps
 * `--allow-ffi` as narrow as the path of libc itself.
 *
 * @module
 */
import { IxlError, SystemError } from "../errors.ts";

/** Where the distributions keep it. The first entry needs an unrestricted `--allow-ffi`. */
const LIBC_PATHS = [
  "/lib/x86_64-linux-gnu/libc.so.6",
  "/lib/aarch64-linux-gnu/libc.so.6",
  "/lib64/libc.so.6",
  "/usr/lib/libc.so.6",
  "libc.so.6",
];

const SYMBOLS = {
  mmap: {
    parameters: ["usize", "usize", "i32", "i32", "i32", "i64"],
    result: "usize",
  },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  mlock: { parameters: ["usize", "usize"], result: "i32" },
  munlock: { parameters: ["usize", "usize"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  fstatfs: { parameters: ["i32", "buffer"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  preadv2: {
    parameters: ["i32", "buffer", "i32", "i64", "i32"],
    result: "isize",
  },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  ioctlValue: {
    name: "ioctl",
    parameters: ["i32", "usize", "usize"],
    result: "i32",
  },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  pollAsync: {
    name: "poll",
    parameters: ["buffer", "usize", "i32"],
    result: "i32",
    nonblocking: true,
  },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "buffer"],
    result: "i32",
  },
  getuid: { parameters: [], result: "u32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  statx: {
    parameters: ["i32", "buffer", "i32", "u32", "buffer"],
    result: "i32",
  },
  getauxval: { parameters: ["usize"], result: "usize" },
  sched_yield: { parameters: [], result: "i32" },
  sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  syscall3: {
    name: "syscall",
    parameters: ["i64", "usize", "buffer", "usize"],
    result: "i64",
  },
  getMempolicy: {
    name: "syscall",
    parameters: ["i64", "buffer", "buffer", "usize", "usize", "usize"],
    result: "i64",
  },
  ioSetup: {
    name: "syscall",
    parameters: ["i64", "usize", "buffer"],
    result: "i64",
  },
  ioDestroy: { name: "syscall", parameters: ["i64", "usize"], result: "i64" },
  ioSubmit: {
    name: "syscall",
    parameters: ["i64", "usize", "usize", "buffer"],
    result: "i64",
  },
  ioGetEvents: {
    name: "syscall",
    parameters: ["i64", "usize", "usize", "usize", "buffer", "usize"],
    result: "i64",
  },
  addressOf: {
    name: "memcpy",
    parameters: ["buffer", "usize", "usize"],
    result: "usize",
  },
  copyFromAddress: {
    name: "memcpy",
    parameters: ["buffer", "usize", "usize"],
    result: "usize",
  },
  errnoLocation: { name: "__errno_location", parameters: [], result: "usize" },
} as const;

/** The C functions in use here. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Libc | undefined;

/** Whether {@linkcode libc} can be called without asking the user for a permission. */
export function mayCallLibc(): boolean {
  return opened !== undefined ||
    LIBC_PATHS.some((path) =>
      Deno.permissions.querySync({ name: "ffi", path }).state === "granted"
    );
}

/** Opens libc once per isolate. Throws a "permission" error that names the flag when FFI is not allowed. */
export function libc(): Libc {
  return opened ??= open();
}

function open(): Libc {
  const failures: unknown[] = [];
  for (const path of LIBC_PATHS) {
    try {
      return Deno.dlopen(path, SYMBOLS).symbols;
    } catch (error) {
      failures.push(error);
    }
  }
  const denied = failures.some((error) =>
    error instanceof Deno.errors.NotCapable
  );
  throw new IxlError(
    denied ? "permission" : "unsupported-platform",
    denied
      ? `the C library may not be called: run with --allow-ffi, or with --allow-ffi=${
        LIBC_PATHS.slice(0, -1).join(",")
      }`
      : `no GNU C library found at ${LIBC_PATHS.join(", ")}`,
    { cause: failures[0] },
  );
}

const errnoValue = new Int32Array(1);

/** The calling thread's errno. Read it at once after the failing call. */
export function errno(): number {
  const { copyFromAddress, errnoLocation } = libc();
  copyFromAddress(errnoValue, errnoLocation(), 4n);
  return errnoValue[0];
}

/** Throws when a call's result is negative; otherwise passes it on. */
export function check(call: string, result: number, hint?: string): number {
  if (result < 0) throw new SystemError(call, errno(), hint);
  return result;
}

/** A NUL-terminated copy of a string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** Closes a file descriptor; one that is already closed is ignored. */
export function closeFd(fd: number): void {
  if (fd >= 0) libc().close(fd);
}

/** Yields the rest of this thread's time slice. */
export function yieldCpu(): void {
  libc().sched_yield();
}
