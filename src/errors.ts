/**
 * One small hierarchy of errors. Each carries a stable `code` for programs and, in its message, what to
 * do about it for people.
 *
 * @module
 */

/** What went wrong, as a stable string that programs may switch on. */
export type IxlErrorCode =
  | "bad-config"
  | "not-supported"
  | "unsupported-platform"
  | "permission"
  | "no-hugepages"
  | "out-of-memory"
  | "out-of-iova"
  | "device-not-found"
  | "device-busy"
  | "device-timeout"
  | "device-gone"
  | "device-fault"
  | "pool-misuse"
  | "pool-unreachable"
  | "worker-failed"
  | "system";

/**
 * Base of every error that this library throws on purpose.
 *
 * @example
 * ```ts
 * import { IxlError } from "@ixl/deno";
 * const error = new IxlError("device-busy", "0000:01:00.0 is in use: run `ixl unbind` first");
 * console.log(error.code);
 * ```
 */
export class IxlError extends Error {
  /** Name of the class. */
  override readonly name: string = "IxlError";

  /**
   * Makes the error.
   *
   * @param code Stable identifier of the failure.
   * @param message What failed and what to do about it.
   * @param options The underlying cause, if there is one.
   */
  constructor(
    readonly code: IxlErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A value in a configuration is outside what the device or the library can do. */
export class ConfigError extends IxlError {
  /** Name of the class. */
  override readonly name = "ConfigError";

  /**
   * Makes the error.
   *
   * @param field The name of the wrong field.
   * @param message What is allowed.
   */
  constructor(readonly field: string, message: string) {
    super("bad-config", `${field}: ${message}`);
  }
}

/** The chip, or the bus that it sits on, cannot do what was asked. */
export class NotSupportedError extends IxlError {
  /** Name of the class. */
  override readonly name = "NotSupportedError";

  /**
   * Makes the error.
   *
   * @param message What cannot be done, and on which chip.
   */
  constructor(message: string) {
    super("not-supported", message);
  }
}

/** Something that was waited for did not happen in time. */
export class DeviceTimeoutError extends IxlError {
  /** Name of the class. */
  override readonly name = "DeviceTimeoutError";

  /**
   * Makes the error.
   *
   * @param what What was waited for, such as a register and bit.
   * @param milliseconds How long the wait lasted.
   * @param advice What the user should check or do; only the caller knows.
   */
  constructor(
    readonly what: string,
    readonly milliseconds: number,
    advice: string,
  ) {
    super(
      "device-timeout",
      `${what} did not happen within ${milliseconds} ms: ${advice}`,
    );
  }
}

/** The device wrote something that cannot be true, or went away. */
export class DeviceFaultError extends IxlError {
  /** Name of the class. */
  override readonly name = "DeviceFaultError";

  /**
   * Makes the error.
   *
   * @param message What the device did.
   */
  constructor(message: string) {
    super("device-fault", message);
  }
}

/** A packet handle was used in a way that would corrupt memory. */
export class PoolError extends IxlError {
  /** Name of the class. */
  override readonly name = "PoolError";

  /**
   * Makes the error.
   *
   * @param message Which handle, which pool, and what was wrong with the use.
   */
  constructor(message: string) {
    super("pool-misuse", message);
  }
}

/** A call of the operating system failed. */
export class SystemError extends IxlError {
  /** Name of the class. */
  override readonly name = "SystemError";

  /**
   * Makes the error.
   *
   * @param call The name of the call.
   * @param errno The positive errno value.
   * @param hint What to do about it.
   */
  constructor(readonly call: string, readonly errno: number, hint?: string) {
    super(
      errno === 1 || errno === 13 ? "permission" : "system",
      `${call} failed with ${errnoName(errno)}${hint ? `: ${hint}` : ""}`,
    );
  }
}

const ERRNO_NAMES: Record<number, string> = {
  1: "EPERM (operation not permitted)",
  2: "ENOENT (no such file)",
  4: "EINTR (interrupted)",
  5: "EIO (input/output error)",
  6: "ENXIO (no such device)",
  9: "EBADF (bad file descriptor)",
  11: "EAGAIN (try again)",
  12: "ENOMEM (out of memory)",
  13: "EACCES (permission denied)",
  14: "EFAULT (bad address)",
  16: "EBUSY (device or resource busy)",
  17: "EEXIST (exists)",
  19: "ENODEV (no such device)",
  22: "EINVAL (invalid argument)",
  24: "EMFILE (too many open files)",
  28: "ENOSPC (no space)",
  32: "EPIPE (the other end is closed)",
  36: "ENAMETOOLONG (name too long)",
  38: "ENOSYS (not implemented by this kernel)",
  77: "EBADFD (file descriptor in bad state)",
  88: "ENOTSOCK (not a socket)",
  98: "EADDRINUSE (address in use)",
  104: "ECONNRESET (connection reset)",
  111: "ECONNREFUSED (no process listens there)",
};

function errnoName(errno: number): string {
  return ERRNO_NAMES[errno] ?? `errno ${errno}`;
}
