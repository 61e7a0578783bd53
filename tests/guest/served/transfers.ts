/**
 * Bulk TCP between the guest and a host at the end of a served card's cable.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Noise, Taken } from "../../fixtures/tcp_noise.ts";
import type { Namespace } from "../../support/host/namespace.ts";
import {
  receiveTcp,
  sendTcp,
  wrongTcpChecksums,
} from "../../support/host/tcp.ts";
import type { Guest, Program } from "../lab/mod.ts";
import type { Transfer, Transferred } from "../programs/tcp_peer.ts";
import type { Interface } from "./interface.ts";

const PROGRAM = "tests/guest/programs/tcp_peer.ts";
/** For a transfer, on a busy machine. */
const TIMEOUT_MS = 120_000;
/** As `ethtool -K` and `ethtool -k` call them. */
const OFFLOADS = {
  tx: "tx-checksum-ip-generic",
  rx: "rx-checksumming",
  sg: "scatter-gather",
  tso: "tcp-segmentation-offload",
  gso: "generic-segmentation-offload",
  gro: "generic-receive-offload",
};
const BYTES_PER_MEGABYTE = 1e6;

/** Both ends of a card's cable. */
export interface Path {
  readonly it: Interface;
  readonly host: Namespace;
  readonly inside: string;
  readonly outside: string;
}

/** The program in the guest that is an end of transfers. */
export class Peer {
  #asked = 0;

  private constructor(readonly program: Program) {}

  /** Starts it. */
  static async start(guest: Guest): Promise<Peer> {
    const permissions = ["--no-config", "--allow-net"];
    return new Peer(
      await guest.spawn(["deno", "run", "-q", ...permissions, PROGRAM]),
    );
  }

  /** Has it send so many MiB to an address. */
  sends(address: string, mebibytes: number): Promise<Noise> {
    return this.#ask({ address, mebibytes });
  }

  /** Has it receive at an address of its own. */
  receives(address: string): Promise<Taken> {
    return this.#ask({ address });
  }

  async #ask<T>(transfer: Omit<Transfer, "id">): Promise<T> {
    const id = ++this.#asked;
    await this.program.write(`${JSON.stringify({ id, ...transfer })}\n`);
    const answer = new RegExp(`^\\{"id":${id},.*\n`, "m");
    await this.program.prints(answer, { timeoutMs: TIMEOUT_MS });
    const line = answer.exec(this.program.stdout)![0];
    return (JSON.parse(line) as Transferred).result as T;
  }
}

/** Switches all checksum and segmentation offload on or off. */
export async function setOffloads(
  it: Interface,
  state: "on" | "off",
): Promise<void> {
  await it.ethtool(
    "-K",
    ...Object.keys(OFFLOADS).flatMap((word) => [word, state]),
  );
  const features = await it.ethtool("-k");
  for (const name of Object.values(OFFLOADS)) {
    assertEquals(
      new RegExp(`^\\s*${name}: (\\w+)`, "m").exec(features)?.[1],
      state,
    );
  }
}

/** Sends noise to the guest and back again, expects it to arrive whole, and returns the rates in MB/s. */
export async function carriesTcp(
  peer: Peer,
  { it, host, inside, outside }: Path,
  mebibytes: number,
): Promise<{ inward: number; outward: number }> {
  const rate = async (sending: Promise<Noise>, receiving: Promise<Taken>) => {
    const [sent, { noise, milliseconds }] = await Promise.all([
      sending,
      receiving,
    ]);
    assertEquals(noise, sent);
    assertEquals(noise.bytes, mebibytes << 20);
    return noise.bytes / BYTES_PER_MEGABYTE / (milliseconds / 1000);
  };
  const inward = await rate(
    sendTcp(host, inside, mebibytes),
    peer.receives(inside),
  );
  const outward = await rate(
    peer.sends(outside, mebibytes),
    receiveTcp(host, outside),
  );
  const snmp = ["cat", "/proc/net/snmp"];
  assertEquals(wrongTcpChecksums(await host.run(...snmp)), 0);
  assertEquals(wrongTcpChecksums(await it.guest.sh(snmp.join(" "))), 0);
  return { inward, outward };
}

/** Milliseconds from the host to the guest's kernel and back, on average. */
export async function roundTrip({ host, inside }: Path): Promise<number> {
  const ping = ["ping", "-c", "20", "-i", "0.02", "-w", "30", inside];
  const said = await host.run(...ping);
  return Number(/ = [\d.]+\/([\d.]+)\//.exec(said)![1]);
}
