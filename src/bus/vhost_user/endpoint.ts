/**
 * Where connections to a backend come from.
 *
 * @module
 */
import { IxlError, SystemError } from "../../errors.ts";
import {
  connectUnix,
  UnixListener,
  type UnixSocket,
} from "../../ffi/unix_socket.ts";
import type { VhostUserSpec } from "./address.ts";

const EADDRINUSE = 98;

/** A path where a backend is met, as its server or as its client. */
export class Endpoint {
  readonly #spec: VhostUserSpec;
  readonly #listener: UnixListener | undefined;

  /**
   * Listens, where the backend is to connect.
   * @throws {IxlError} "device-busy" when something else is at the path.
   */
  constructor(spec: VhostUserSpec) {
    this.#spec = spec;
    if (spec.server) this.#listener = listen(spec.path);
  }

  /** What to do for a backend to be met. */
  get advice(): string {
    const { path, server } = this.#spec;
    return server
      ? `start a backend that connects to ${path}`
      : `start a backend that listens at ${path}`;
  }

  /** A connection to the next backend; undefined while there is none. */
  meet(): UnixSocket | undefined {
    return this.#listener === undefined
      ? connectUnix(this.#spec.path)
      : this.#listener.accept();
  }

  /** Stops listening. */
  close(): void {
    this.#listener?.close();
  }
}

function listen(path: string): UnixListener {
  try {
    return UnixListener.listen(path);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== EADDRINUSE) {
      throw error;
    }
    throw new IxlError(
      "device-busy",
      `${path} is in use by another program, or is no socket: end it, remove the file, or choose another path`,
      { cause: error },
    );
  }
}
