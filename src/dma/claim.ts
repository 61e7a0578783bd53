/**
 * Numbers that are unique among all isolates of the process, which share no memory unless somebody hands it on.
 *
 * A number is claimed by binding an abstract Unix socket with it in its name (unix(7)): only one can be bound at a time,
 * and the kernel gives it back with the process.
 *
 * @module
 */
import { SystemError } from "../errors.ts";
import { check, closeFd, errno, libc } from "../ffi/libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const EADDRINUSE = 98;
/** getauxval(3): the address of random bytes that the kernel put on the stack, different for each process. */
const AT_RANDOM = 25n;

/** A number that this isolate has until it releases it. */
export interface Claim {
  /** The number. */
  readonly number: number;
  /** Lets others have it. */
  release(): void;
}

const lastNumbers = new Map<string, number>();

/**
 * Claims a number from 1 to `most` that no isolate of this process has for the same kind. Numbers are given out in turn.
 * Returns undefined when all are taken.
 */
export function claimNumber(kind: string, most: number): Claim | undefined {
  const flags = SOCK_DGRAM | SOCK_CLOEXEC;
  const fd = check("socket", libc().socket(AF_UNIX, flags, 0));
  try {
    let number = lastNumbers.get(kind) ?? 0;
    for (let tries = 0; tries < most; tries++) {
      number = (number % most) + 1;
      if (!bindTo(fd, kind, number)) continue;
      lastNumbers.set(kind, number);
      return { number, release: () => closeFd(fd) };
    }
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  closeFd(fd);
  return undefined;
}

function bindTo(fd: number, kind: string, number: number): boolean {
  const name = `\0ixl-${processName()}-${kind}-${number}`;
  const path = new TextEncoder().encode(name);
  const address = new Uint8Array(2 + path.length);
  address[0] = AF_UNIX;
  address.set(path, 2);
  if (libc().bind(fd, address, address.length) === 0) return true;
  const code = errno();
  if (code === EADDRINUSE) return false;
  throw new SystemError("bind", code);
}

/** Process numbers alone are not unique: containers that share a network have numbers of their own. */
function processName(): string {
  return `${Deno.pid}-${libc().getauxval(AT_RANDOM).toString(36)}`;
}
