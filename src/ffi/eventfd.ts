/**
 * Eventfds and sleeping on them.
 *
 * @module
 */
import { SystemError } from "../errors.ts";
import { check, closeFd, errno, libc } from "./libc.ts";
import { native } from "./native.ts";

const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;
const POLLIN = 1;
const EINTR = 4;
const EOPNOTSUPP = 95;
/** preadv2(2): fails instead of waiting, whatever the mode of the descriptor. */
const RWF_NOWAIT = 0x8;
/** preadv2(2): for files that have no position. */
const NO_POSITION = -1n;
const COUNT_BYTES = 8n;
const ONE = new BigUint64Array([1n]);

/**
 * A counter in the kernel that threads and devices signal and sleep on. The number is valid in every isolate
 * of the process; exactly one of them, the creator, closes it.
 */
export class EventFd {
  readonly #count = new BigUint64Array(new ArrayBuffer(8));
  /** struct iovec: where the count is, and its bytes. */
  readonly #vector = new BigUint64Array(new ArrayBuffer(16));

  /** @param fd An open eventfd. */
  constructor(readonly fd: number) {}

  /** Creates a non-blocking eventfd that child processes do not inherit. */
  static create(): EventFd {
    return new EventFd(
      check(
        "eventfd",
        libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        "raise the limit of open files (ulimit -n)",
      ),
    );
  }

  /** Wakes the isolate that sleeps on it. */
  signal(): void {
    libc().write(this.fd, ONE, 8n);
  }

  /**
   * Takes what was signalled: true when there was something. Does not wait, even where another process has the eventfd
   * too and took its non-blocking mode away.
   */
  clear(): boolean {
    if (!readsAtOnce) return this.#read();
    const { addressOf, preadv2 } = libc();
    const vector = this.#vector;
    if (vector[0] === 0n) {
      vector[0] = addressOf(new Uint8Array(this.#count.buffer), 0n, 0n);
      vector[1] = COUNT_BYTES;
    }
    const got = preadv2(this.fd, vector, 1, NO_POSITION, RWF_NOWAIT);
    if (got === COUNT_BYTES) return true;
    if (errno() !== EOPNOTSUPP) return false;
    readsAtOnce = false;
    return this.#read();
  }

  #read(): boolean {
    return libc().read(this.fd, this.#count, COUNT_BYTES) === COUNT_BYTES;
  }

  /** Closes the descriptor. */
  close(): void {
    closeFd(this.fd);
  }

  /** Instead of {@linkcode close}, where another isolate may still use the number: see {@linkcode retireFd}. */
  retire(): void {
    retireFd(this.fd);
  }
}

/** Stands behind retired numbers, whichever file they were once of. */
let nothing: number | undefined;

/**
 * Closes a file whose number another isolate may still use. The number stays taken, by an eventfd that means nothing, so
 * that it never names an unrelated file.
 */
export function retireFd(fd: number): void {
  nothing ??= EventFd.create().fd;
  check("dup3", libc().dup3(nothing, fd, EFD_CLOEXEC));
}

/** Whether the kernel reads eventfds so: from Linux 5.8 on. */
let readsAtOnce = true;

/** A fixed set of file descriptors to wait on for input. */
export class PollSet {
  readonly #entries: Int32Array<ArrayBuffer>;

  /** @param fds The descriptors; negative ones are ignored by the kernel. */
  constructor(fds: readonly number[]) {
    this.#entries = new Int32Array(fds.length * 2);
    fds.forEach((fd, i) => {
      this.#entries[2 * i] = fd;
      this.#entries[2 * i + 1] = POLLIN;
    });
  }

  /** Sleeps until one is readable or `timeoutMs` is over (negative: without limit). Returns how many are ready. */
  wait(timeoutMs: number): number {
    const count = BigInt(this.#entries.length / 2);
    const timeout = clampTimeout(timeoutMs);
    const shim = native();
    if (shim) {
      const ready = Number(shim.ixl_poll(this.#entries, count, timeout));
      return ready >= 0 ? ready : interrupted(-ready);
    }
    const ready = libc().poll(this.#entries, count, timeout);
    return ready >= 0 ? ready : interrupted(errno());
  }

  /** Like {@linkcode wait} on a thread of its own, leaving the event loop free. */
  async waitAsync(timeoutMs: number): Promise<number> {
    const ready = await libc().pollAsync(
      this.#entries,
      BigInt(this.#entries.length / 2),
      clampTimeout(timeoutMs),
    );
    // errno belongs to the pool's thread and cannot be read here: an interrupted wait looks like a timeout.
    return Math.max(ready, 0);
  }

  /** After a wait: whether the descriptor at `index` was readable. */
  ready(index: number): boolean {
    return (this.#entries[2 * index + 1] >>> 16) !== 0;
  }
}

/** A signal handler ran meanwhile: nothing is ready, and the caller's loop decides whether to wait again. */
function interrupted(code: number): 0 {
  if (code === EINTR) return 0;
  throw new SystemError("poll", code);
}

function clampTimeout(milliseconds: number): number {
  return Math.min(Math.ceil(milliseconds), 0x7fffffff);
}
