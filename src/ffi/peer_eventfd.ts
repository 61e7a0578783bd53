/**
 * Signalling eventfds that another process has given.
 *
 * Such a process can make a plain write wait for ever: it shares the file, so it can take the non-blocking mode away and
 * fill the counter. The kernel itself signals an eventfd without ever waiting when an asynchronous read completes
 * (io_submit(2), IOCB_FLAG_RESFD). A read of one byte from a memory file completes at once, about 1 us in all.
 *
 * @module
 */
import { SystemError } from "../errors.ts";
import { check, closeFd, cString, errno, libc } from "./libc.ts";

const IS_ARM = Deno.build.arch === "aarch64";
const SYS_IO_SETUP = IS_ARM ? 0n : 206n;
const SYS_IO_DESTROY = IS_ARM ? 1n : 207n;
const SYS_IO_GETEVENTS = IS_ARM ? 4n : 208n;
const SYS_IO_SUBMIT = IS_ARM ? 2n : 209n;
const MFD_CLOEXEC = 1;
const EINVAL = 22;
const EBADF = 9;

/** struct iocb (linux/aio_abi.h): where its fields are. */
const IOCB = {
  bytes: 64,
  file: 20,
  buffer: 24,
  length: 32,
  flags: 56,
  event: 60,
} as const;
const IOCB_FLAG_RESFD = 1;
const EVENT_BYTES = 32;
/** Results that wait to be taken, at most. */
const MOST_RESULTS = 32;

/** What signals eventfds of other processes. Close it when it is no longer needed. */
export class PeerSignals {
  readonly #context = new BigUint64Array(1);
  readonly #file: number;
  readonly #request = new DataView(new ArrayBuffer(IOCB.bytes));
  readonly #byte = new Uint8Array(new ArrayBuffer(8));
  readonly #requests: BigUint64Array<ArrayBuffer>;
  readonly #results = new Uint8Array(
    new ArrayBuffer(MOST_RESULTS * EVENT_BYTES),
  );
  #waiting = 0;

  /** Sets it up. Throws a SystemError when the kernel has no room for it. */
  constructor() {
    const { addressOf, ioSetup, memfd_create } = libc();
    const made = ioSetup(SYS_IO_SETUP, BigInt(MOST_RESULTS), this.#context);
    check("io_setup", Number(made), "raise /proc/sys/fs/aio-max-nr");
    this.#file = memfd_create(cString("ixl-signal"), MFD_CLOEXEC);
    if (this.#file < 0) {
      const code = errno();
      this.close();
      throw new SystemError("memfd_create", code);
    }
    const request = this.#request;
    request.setUint32(IOCB.file, this.#file, true);
    request.setBigUint64(IOCB.buffer, addressOf(this.#byte, 0n, 0n), true);
    request.setBigUint64(IOCB.length, 1n, true);
    request.setUint32(IOCB.flags, IOCB_FLAG_RESFD, true);
    const bytes = new Uint8Array(request.buffer);
    this.#requests = new BigUint64Array([addressOf(bytes, 0n, 0n)]);
  }

  /** Adds one to an eventfd, or leaves it full. Never waits. False for a file that is no eventfd. */
  signal(fd: number): boolean {
    if (this.#waiting === MOST_RESULTS) this.#takeResults();
    this.#request.setUint32(IOCB.event, fd, true);
    const { ioSubmit } = libc();
    const [context] = this.#context;
    if (ioSubmit(SYS_IO_SUBMIT, context, 1n, this.#requests) === 1n) {
      this.#waiting++;
      return true;
    }
    const code = errno();
    if (code === EINVAL || code === EBADF) return false;
    throw new SystemError("io_submit", code);
  }

  /** Gives everything back. */
  close(): void {
    closeFd(this.#file);
    const [context] = this.#context;
    if (context !== 0n) libc().ioDestroy(SYS_IO_DESTROY, context);
    this.#context[0] = 0n;
  }

  #takeResults(): void {
    const [context] = this.#context;
    const most = BigInt(MOST_RESULTS);
    const taken = libc().ioGetEvents(
      SYS_IO_GETEVENTS,
      context,
      0n,
      most,
      this.#results,
      0n,
    );
    this.#waiting -= check("io_getevents", Number(taken));
  }
}

/** Whether a descriptor is an eventfd. */
export function isEventFd(fd: number): boolean {
  const path = new Uint8Array(new ArrayBuffer(64));
  const { readlink } = libc();
  const length = readlink(cString(`/proc/self/fd/${fd}`), path, 64n);
  const name = new TextDecoder().decode(path.subarray(0, Number(length)));
  return name === "anon_inode:[eventfd]";
}
