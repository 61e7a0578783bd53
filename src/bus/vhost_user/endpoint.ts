/**
 * Where connections to a backend come from.
 *
 * @module
 */
import { IxlError, SystemError } from "../../errors.ts";
import {
  anyUserMayCreate,
  connectUnix,
  currentUser,
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

  /**
   * A connection to the next backend; undefined while there is none.
   * @throws {IxlError} "permission" when it may be somebody else's, see {@linkcode assertTrusted}.
   */
  meet(): UnixSocket | undefined {
    const { path } = this.#spec;
    const socket = this.#listener === undefined
      ? connectUnix(path)
      : this.#listener.accept();
    if (socket === undefined) return undefined;
    try {
      assertTrusted(path, socket.peerUser);
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  /** Stops listening. */
  close(): void {
    this.#listener?.close();
  }
}

/**
 * Refuses a backend of another user in a folder such as /tmp, where any user can put a socket at a path that is not taken
 * yet. Such a backend would see each frame, and the memory of the device. In other folders the owner decides who may.
 *
 * @throws {IxlError} "permission" when the peer is neither this user nor root.
 */
export function assertTrusted(
  path: string,
  peerUser: number,
  user: number = currentUser(),
): void {
  if (peerUser === 0 || peerUser === user || !anyUserMayCreate(path)) return;
  throw new IxlError(
    "permission",
    `the backend at ${path} belongs to user ${peerUser}, in a folder where any user can put one: use a path in a folder of your own, such as $XDG_RUNTIME_DIR`,
  );
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
