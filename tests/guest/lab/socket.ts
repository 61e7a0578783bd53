/**
 * Unix sockets that QEMU connects to: the test listens first, so that nobody
 * has to try again.
 *
 * @module
 */

import { writeAll } from "./protocol.ts";

/** The test's end of a connection with QEMU. */
export class QemuSocket {
  /** Where QEMU shall connect to. */
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  #connection: Deno.UnixConn | undefined;
  #written: Promise<void> = Promise.resolve();

  /** Listens at a path that does not exist yet. */
  constructor(path: string) {
    this.path = path;
    this.#listener = Deno.listen({ transport: "unix", path });
  }

  /** Waits for QEMU, and returns what it says from then on. */
  async accept(): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    this.#connection = await this.#listener.accept();
    return this.#connection.readable;
  }

  /** Sends bytes after all that were sent before. */
  send(bytes: Uint8Array): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) throw new Error("QEMU has not connected");
    this.#written = this.#written.then(() => writeAll(connection, bytes));
    return this.#written;
  }

  /** Closes it from this side. */
  close(): void {
    for (const resource of [this.#listener, this.#connection]) {
      try {
        resource?.close();
      } catch {
        // The other side was first.
      }
    }
  }
}
