/**
 * Unix stream sockets that carry file descriptors (unix(7), SCM_RIGHTS).
 *
 * Nothing here waits: calls that would have to say so, and {@linkcode PollSet} waits.
 *
 * @module
 */
import { ConfigError, SystemError } from "../errors.ts";
import { check, closeFd, cString, errno, libc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SHUT_RDWR = 2;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_PEERCRED = 17;
/** struct ucred: process, user and group. */
const CREDENTIALS_WORDS = 3;
const CREDENTIALS_UID = 1;
const MSG_CTRUNC = 0x8;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const POLLOUT = 4;

const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
const EACCES = 13;
const EPIPE = 32;
const ENOTSOCK = 88;
const ECONNRESET = 104;
const ECONNREFUSED = 111;

/** struct sockaddr_un: two bytes of family, then the path with its NUL. */
const SUN_PATH = 2;
const SUN_PATH_BYTES = 108;
/** struct msghdr with 64-bit pointers. */
const MSGHDR = {
  bytes: 56,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
} as const;
/** struct iovec, laid behind the msghdr. */
const IOVEC = MSGHDR.bytes;
const IOVEC_BYTES = 16;
/** struct cmsghdr: length, level, type, then the descriptors. */
const CMSG = { level: 8, type: 12, data: 16 } as const;
/** Most descriptors of one message here; the kernel allows 253. */
const MOST_FDS = 32;
const CONTROL_BYTES = CMSG.data + MOST_FDS * 4;
/** Connections that may wait to be accepted. */
const BACKLOG = 8;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const FOLLOW = 0;
const STATX_TYPE_MODE_AND_INODE = 0x1 | 0x2 | 0x100;
const STATX = { bytes: 256, mode: 28, inode: 32 } as const;
const S_IFMT = 0o170000;
const S_IFSOCK = 0o140000;
const S_IWOTH = 0o2;

/** What {@linkcode UnixSocket.receive} found. */
export interface Received {
  /** Bytes; 0 when the other end has closed, undefined when nothing is there yet. */
  readonly length: number | undefined;
  /** Descriptors that came with them. They belong to the caller, who closes them. */
  readonly fds: number[];
  /** True when there were more descriptors than there is room for: those are lost. */
  readonly truncated: boolean;
}

/** One end of a connection. Child processes do not inherit it, and no call on it waits. */
export class UnixSocket {
  readonly #header = new ArrayBuffer(MSGHDR.bytes + IOVEC_BYTES);
  readonly #headerBytes = new Uint8Array(this.#header);
  readonly #headerView = new DataView(this.#header);
  readonly #control = new ArrayBuffer(CONTROL_BYTES);
  readonly #controlView = new DataView(this.#control);

  /** @param fd A connected stream socket. */
  constructor(readonly fd: number) {}

  /**
   * Sends bytes, and descriptors with the first of them. Returns how many bytes the kernel took; 0 when it has no
   * room now, undefined when the other end has closed.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): number | undefined {
    if (fds.length > MOST_FDS) {
      throw new RangeError(`${fds.length} descriptors in one message`);
    }
    this.#point(bytes, fds.length === 0 ? 0 : CMSG.data + fds.length * 4);
    const view = this.#controlView;
    view.setBigUint64(0, BigInt(CMSG.data + fds.length * 4), true);
    view.setInt32(CMSG.level, SOL_SOCKET, true);
    view.setInt32(CMSG.type, SCM_RIGHTS, true);
    fds.forEach((fd, i) => view.setInt32(CMSG.data + 4 * i, fd, true));
    for (;;) {
      const { sendmsg } = libc();
      const sent = Number(sendmsg(this.fd, this.#headerBytes, MSG_NOSIGNAL));
      if (sent >= 0) return sent;
      const code = errno();
      if (code === EAGAIN) return 0;
      if (code === EPIPE || code === ECONNRESET) return undefined;
      if (code !== EINTR) throw new SystemError("sendmsg", code);
    }
  }

  /** Takes what has arrived, at most as much as fits `into`, and at most `mostFds` descriptors. */
  receive(into: Uint8Array, mostFds: number = MOST_FDS): Received {
    this.#point(into, CMSG.data + Math.min(mostFds, MOST_FDS) * 4);
    for (;;) {
      const { recvmsg } = libc();
      const got = Number(
        recvmsg(this.fd, this.#headerBytes, MSG_CMSG_CLOEXEC),
      );
      if (got >= 0) return this.#received(got);
      const code = errno();
      const nothing = { fds: [], truncated: false };
      if (code === EAGAIN) return { ...nothing, length: undefined };
      if (code === ECONNRESET) return { ...nothing, length: 0 };
      if (code !== EINTR) throw new SystemError("recvmsg", code);
    }
  }

  /** Waits until the kernel has room for more to send, blocking the isolate. False when the time was over first. */
  waitForRoom(timeoutMs: number): boolean {
    const entry = new Int32Array([this.fd, POLLOUT]);
    const until = performance.now() + timeoutMs;
    for (let left = timeoutMs;; left = until - performance.now()) {
      const ready = libc().poll(entry, 1n, Math.max(Math.ceil(left), 0));
      if (ready >= 0) return ready > 0;
      const code = errno();
      // A signal came: only the rest of the time is left.
      if (code !== EINTR) throw new SystemError("poll", code);
    }
  }

  /** The user at the other end, as the kernel knows it. */
  get peerUser(): number {
    const credentials = new Int32Array(CREDENTIALS_WORDS);
    const length = new Int32Array([credentials.byteLength]);
    const { getsockopt } = libc();
    check(
      "getsockopt",
      getsockopt(this.fd, SOL_SOCKET, SO_PEERCRED, credentials, length),
    );
    return credentials[CREDENTIALS_UID] >>> 0;
  }

  /** Ends the connection both ways, which wakes those who wait on it. */
  shutdown(): void {
    libc().shutdown(this.fd, SHUT_RDWR);
  }

  /** Closes this end. */
  close(): void {
    closeFd(this.fd);
  }

  #point(bytes: Uint8Array, controlLength: number): void {
    const { addressOf } = libc();
    const view = this.#headerView;
    const iovec = addressOf(this.#headerBytes, 0n, 0n) + BigInt(IOVEC);
    const control = addressOf(new Uint8Array(this.#control), 0n, 0n);
    const data = addressOf(bytes as Uint8Array<ArrayBuffer>, 0n, 0n);
    view.setBigUint64(IOVEC, data, true);
    view.setBigUint64(IOVEC + 8, BigInt(bytes.length), true);
    view.setBigUint64(MSGHDR.iov, iovec, true);
    view.setBigUint64(MSGHDR.iovLength, 1n, true);
    view.setBigUint64(MSGHDR.control, controlLength > 0 ? control : 0n, true);
    view.setBigUint64(MSGHDR.controlLength, BigInt(controlLength), true);
    view.setInt32(MSGHDR.flags, 0, true);
  }

  #received(length: number): Received {
    const view = this.#controlView;
    const flags = this.#headerView.getInt32(MSGHDR.flags, true);
    const end = Number(
      this.#headerView.getBigUint64(MSGHDR.controlLength, true),
    );
    const fds: number[] = [];
    // One control message at most: the kernel puts all descriptors of a sendmsg() into one.
    if (end > CMSG.data && view.getInt32(CMSG.type, true) === SCM_RIGHTS) {
      const stop = Number(view.getBigUint64(0, true));
      for (let at: number = CMSG.data; at + 4 <= stop; at += 4) {
        fds.push(view.getInt32(at, true));
      }
    }
    return { length, fds, truncated: (flags & MSG_CTRUNC) !== 0 };
  }
}

/** A socket that others connect to, at a path that is removed with it. */
export class UnixListener {
  readonly #inode: bigint | undefined;

  private constructor(readonly fd: number, readonly path: string) {
    this.#inode = statSocket(path);
  }

  /**
   * Listens at a path. A socket file without a listener is replaced.
   * @throws {SystemError} EADDRINUSE when something is there that is in use, or is no socket.
   */
  static listen(path: string): UnixListener {
    if (statSocket(path) !== undefined && isStale(path)) unlink(path);
    const fd = newSocket();
    try {
      const address = socketAddress(path);
      check(`bind ${path}`, libc().bind(fd, address, address.length));
      check(`listen ${path}`, libc().listen(fd, BACKLOG));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return new UnixListener(fd, path);
  }

  /** The next connection; undefined if there is none. */
  accept(): UnixSocket | undefined {
    const flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = libc().accept4(this.fd, 0n, 0n, flags);
    if (fd >= 0) return new UnixSocket(fd);
    const code = errno();
    if (code === EAGAIN || code === EINTR) return undefined;
    throw new SystemError("accept4", code);
  }

  /** Stops listening and removes the socket file, if it is still this one. */
  close(): void {
    closeFd(this.fd);
    if (this.#inode !== undefined && statSocket(this.path) === this.#inode) {
      unlink(this.path);
    }
  }
}

/**
 * Connects to the process that listens at a path; undefined if there is none, or it is busy.
 * @throws {SystemError} for everything else: no permission, no socket.
 */
export function connectUnix(path: string): UnixSocket | undefined {
  const address = socketAddress(path);
  const fd = newSocket();
  if (libc().connect(fd, address, address.length) === 0) {
    return new UnixSocket(fd);
  }
  const code = errno();
  closeFd(fd);
  // A file that is not a socket fails like a socket without a listener.
  if (code === ECONNREFUSED && stat(path, FOLLOW)?.isSocket === false) {
    throw new SystemError(
      `connect to ${path}`,
      ENOTSOCK,
      "choose another path, or remove what is there",
    );
  }
  if ([ENOENT, ECONNREFUSED, EAGAIN, EINTR].includes(code)) return undefined;
  throw new SystemError(
    `connect to ${path}`,
    code,
    code === EACCES
      ? "it takes the right to write to the socket, and to search its folders"
      : undefined,
  );
}

function newSocket(): number {
  return check(
    "socket",
    libc().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    "raise the limit of open files (ulimit -n)",
  );
}

/** A struct sockaddr_un. Throws a ConfigError for a path that it cannot hold. */
function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = cString(path);
  if (text.length > SUN_PATH_BYTES || text.indexOf(0) < text.length - 1) {
    throw new ConfigError(
      "path",
      `"${path}" is no path of a socket: at most ${
        SUN_PATH_BYTES - 1
      } bytes, and no NUL among them`,
    );
  }
  const address = new Uint8Array(new ArrayBuffer(SUN_PATH + text.length));
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(text, SUN_PATH);
  return address;
}

/** True for a socket file without a listener. */
function isStale(path: string): boolean {
  const address = socketAddress(path);
  const fd = newSocket();
  const refused = libc().connect(fd, address, address.length) < 0 &&
    errno() === ECONNREFUSED;
  closeFd(fd);
  return refused;
}

/** Whether any user may put a file at this path, as in /tmp. */
export function anyUserMayCreate(path: string): boolean {
  const folder = /^(.*)\/[^/]*$/.exec(path)?.[1] ?? ".";
  const found = stat(folder || "/", FOLLOW);
  return found !== undefined && (found.mode & S_IWOTH) !== 0;
}

/** The user of this process. */
export function currentUser(): number {
  return libc().getuid();
}

/** The number of a socket file; undefined when there is none, or it is no socket. */
function statSocket(path: string): bigint | undefined {
  const found = stat(path, AT_SYMLINK_NOFOLLOW);
  return found?.isSocket ? found.inode : undefined;
}

/** What is at a path; undefined when that is nothing, or may not be known. */
function stat(
  path: string,
  flags: number,
): { isSocket: boolean; inode: bigint; mode: number } | undefined {
  const bytes = new Uint8Array(new ArrayBuffer(STATX.bytes));
  const failed = libc().statx(
    AT_FDCWD,
    cString(path),
    flags,
    STATX_TYPE_MODE_AND_INODE,
    bytes,
  ) < 0;
  if (failed) return undefined;
  const view = new DataView(bytes.buffer);
  const mode = view.getUint16(STATX.mode, true);
  return {
    mode,
    isSocket: (mode & S_IFMT) === S_IFSOCK,
    inode: view.getBigUint64(STATX.inode, true),
  };
}

function unlink(path: string): void {
  libc().unlink(cString(path));
}
