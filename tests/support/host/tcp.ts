/**
 * A bulk TCP transfer between two namespaces.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { Noise, Taken } from "../../fixtures/tcp_noise.ts";
import { lastJson } from "./cli.ts";
import type { Namespace } from "./namespace.ts";

/** After that a transfer has come to a standstill. */
const LIMIT_SECONDS = 120;

/** Sends so many MiB of noise from one namespace to another; returns what each end saw. */
export async function transferTcp(
  from: Namespace,
  to: Namespace,
  address: string,
  mebibytes: number,
): Promise<{ sent: Noise; received: Noise }> {
  const [sent, { noise: received }] = await Promise.all([
    sendTcp(from, address, mebibytes),
    receiveTcp(to, address),
  ]);
  return { sent, received };
}

/** Sends so many MiB of noise from a namespace to an address, as soon as somebody listens there. */
export function sendTcp(
  from: Namespace,
  address: string,
  mebibytes: number,
): Promise<Noise> {
  return program(from, "tcp_send.ts", address, `${mebibytes}`);
}

/** Takes one connection to an address of a namespace. */
export function receiveTcp(to: Namespace, address: string): Promise<Taken> {
  return program(to, "tcp_receive.ts", address);
}

/** Checksums of TCP segments that a kernel found wrong, from its /proc/net/snmp. */
export function wrongTcpChecksums(snmp: string): number {
  const [names, values] = snmp.split("\n")
    .filter((line) => line.startsWith("Tcp:")).map((line) => line.split(" "));
  return Number(values[names.indexOf("InCsumErrors")]);
}

async function program<T>(
  space: Namespace,
  file: string,
  ...args: string[]
): Promise<T> {
  const path = fileURLToPath(
    new URL(`../../fixtures/${file}`, import.meta.url),
  );
  return lastJson<T>(
    await space.run(
      ...["timeout", `${LIMIT_SECONDS}`, Deno.execPath()],
      ...["run", "-q", "--no-config", "--allow-net", path],
      ...args,
    ),
  );
}
