/**
 * What a served card is connected to.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { LoopbackWire } from "../sim/wires/loopback.ts";
import { PcapWire } from "../sim/wires/pcap.ts";
import { PeerWire } from "../sim/wires/peer.ts";
import { TapWire } from "../sim/wires/tap.ts";
import type { Wire } from "../sim/wires/wire.ts";

/** The wires and what can be said of them: for help texts. */
export const WIRES: readonly (readonly [string, string])[] = [
  ["loopback", "what is sent comes back"],
  ["tap:NAME", "a TAP device of the kernel (needs CAP_NET_ADMIN)"],
  ["pcap:FILE", "writes what is sent into a pcap (a task may not: see below)"],
  [
    "peer:PATH",
    "a Unix socket to another served card, or to QEMU's -netdev stream; it listens there if no process does",
  ],
];

/**
 * Makes a wire from its description.
 * @throws {ConfigError} when there is none like that; otherwise what the wire throws.
 */
export function makeWire(text: string): Wire {
  const [kind, name] = splitOnce(text);
  if (kind === "loopback" && name === undefined) return new LoopbackWire();
  if (name !== undefined && name !== "") {
    if (kind === "tap") return new TapWire(name);
    if (kind === "pcap") return new PcapWire({ output: name });
    if (kind === "peer") return new PeerWire(name);
  }
  const forms = WIRES.map(([form]) => form).join(", ");
  throw new ConfigError("wire", `there is no "${text}": use ${forms}`);
}

function splitOnce(text: string): [string, string | undefined] {
  const colon = text.indexOf(":");
  if (colon < 0) return [text, undefined];
  return [text.slice(0, colon), text.slice(colon + 1)];
}
