/**
 * TAP devices: the kernel's own network interface as the other end of a cable.
 *
 * @module
 */
import { ConfigError, IxlError, SystemError } from "../errors.ts";
import { closeFd, cString, errno, libc } from "./libc.ts";

const O_RDWR = 0x2;
const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
/** linux/if_tun.h */
const TUNSETIFF = 0x400454can;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
/** struct ifreq: 16 bytes of name, then a union of 24. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;
const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const EBUSY = 16;

/**
 * Makes a TAP device that lives until the returned descriptor is closed.
 * @throws {IxlError} "permission" without CAP_NET_ADMIN, "device-busy" when the name is taken.
 */
export function openTap(name: string): number {
  if (!/^[A-Za-z0-9_.-]+$/.test(name) || name.length >= IFNAMSIZ) {
    throw new ConfigError(
      "tap",
      `"${name}" is no interface name: 1 to ${
        IFNAMSIZ - 1
      } letters, digits, _, . or -`,
    );
  }
  const fd = libc().open(
    cString("/dev/net/tun"),
    O_RDWR | O_NONBLOCK | O_CLOEXEC,
    0,
  );
  if (fd < 0) throw tunError("open /dev/net/tun", errno(), name);
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setUint16(IFNAMSIZ, IFF_TAP | IFF_NO_PI, true);
  if (libc().ioctl(fd, TUNSETIFF, request) < 0) {
    const code = errno();
    closeFd(fd);
    throw tunError("TUNSETIFF", code, name);
  }
  return fd;
}

function tunError(call: string, code: number, name: string): IxlError {
  switch (code) {
    case EPERM:
    case EACCES:
      return new IxlError(
        "permission",
        `a TAP device needs CAP_NET_ADMIN (${call}): run as root or in a network namespace of your own (unshare -rn), or use another sim: wire`,
      );
    case ENOENT:
      return new IxlError(
        "not-supported",
        "there is no /dev/net/tun: load the tun module (modprobe tun)",
      );
    case EBUSY:
      return new IxlError(
        "device-busy",
        `the interface ${name} is in use: choose another name`,
      );
    default:
      return new SystemError(call, code);
  }
}

/** Reads one frame into `into`; 0 when none is there. */
export function readFrame(fd: number, into: Uint8Array): number {
  const length = Number(
    libc().read(fd, into as Uint8Array<ArrayBuffer>, BigInt(into.length)),
  );
  return Math.max(length, 0);
}

/** Writes one frame; false when the kernel did not take it. */
export function writeFrame(
  fd: number,
  bytes: Uint8Array,
  length: number,
): boolean {
  const written = libc().write(
    fd,
    bytes as Uint8Array<ArrayBuffer>,
    BigInt(length),
  );
  return Number(written) === length;
}

/** Removes the TAP device. */
export function closeTap(fd: number): void {
  closeFd(fd);
}
