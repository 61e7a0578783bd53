/**
 * A bulk TCP transfer between two namespaces.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { lastJson } from "./cli.ts";
import type { Namespace } from "./namespace.ts";

const CONNECT_TRIES = 50;
/** After that a transfer has come to a standstill. */
const LIMIT_SECONDS = 120;

/** What one end saw of a transfer. */
export interface TransferEnd {
  /** Bytes that went over the connection. */
  readonly bytes: number;
  /** Their hash. */
  readonly sha256: string;
}

/** Sends so many MiB of noise from one namespace to another; returns what each end saw. */
export async function transferTcp(
  from: Namespace,
  to: Namespace,
  address: string,
  mebibytes: number,
): Promise<{ sent: TransferEnd; received: TransferEnd }> {
  const receiving = program(to, "tcp_receive.ts", address);
  // Where sending fails, that is the error.
  receiving.catch(() => {});
  for (let tries = 1;; tries++) {
    try {
      const sent = await program(from, "tcp_send.ts", address, `${mebibytes}`);
      return { sent, received: await receiving };
    } catch (error) {
      // Refused until somebody listens.
      if (tries === CONNECT_TRIES || !/refused/.test(String(error))) {
        throw error;
      }
    }
  }
}

async function program(
  space: Namespace,
  file: string,
  ...args: string[]
): Promise<TransferEnd> {
  const path = fileURLToPath(new URL(`../fixtures/${file}`, import.meta.url));
  return lastJson<TransferEnd>(
    await space.run(
      ...["timeout", `${LIMIT_SECONDS}`, Deno.execPath()],
      ...["run", "-q", "--no-config", "--allow-net", path],
      ...args,
    ),
  );
}
