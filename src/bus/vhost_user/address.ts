/**
 * How a vhost-user backend is named: `vhost-user:PATH?option=value&…`. `../address.ts` says how characters are written.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { splitAddress } from "../address.ts";

const SCHEME = "vhost-user:";
const OPTIONS = ["mac", "memory", "server", "timeout"];
/** How long to wait for a backend where the address does not say. */
const DEFAULT_TIMEOUT_MS = 10_000;
const LONGEST_TIMEOUT_MS = 3_600_000;
const MULTICAST_BIT = 1;
/** First octet of the addresses made here: locally administered, unicast. */
const LOCAL_UNICAST = 0x02;

/** A backend, as its address describes it. */
export interface VhostUserSpec {
  /** The address as it was given. */
  readonly address: string;
  /** The socket's path. */
  readonly path: string;
  /** True to listen and have the backend connect; false to connect to a backend that listens. */
  readonly server: boolean;
  /** The MAC address, six octets: as it was given, or one made from the path. */
  readonly macAddress: Uint8Array;
  /** Whether it was given, and so stands before one that the backend has. */
  readonly macIsChosen: boolean;
  /** True for memory on ordinary pages only, which a backend cannot use to end this process. */
  readonly ordinaryPages: boolean;
  /** How long to wait for a backend, in milliseconds. */
  readonly timeoutMs: number;
}

/** The forms of an address: for help texts. */
export const VHOST_USER_ADDRESSES: readonly (readonly [string, string])[] = [
  ["vhost-user:PATH", "a vhost-user backend that listens at a Unix socket"],
  ["vhost-user:PATH?server", "a vhost-user backend that connects to us"],
];

/** True for an address of a vhost-user backend. */
export function isVhostUserAddress(address: string): boolean {
  return address.startsWith(SCHEME);
}

/**
 * Parses an address.
 * @throws {ConfigError} that names what is wrong.
 */
export function parseVhostUserAddress(address: string): VhostUserSpec {
  const { name: path, options } = splitAddress(address);
  if (!isVhostUserAddress(address) || path === "") {
    throw new ConfigError(
      "address",
      `"${address}" is no ${SCHEME}PATH?mac=02:00:00:00:00:01&memory=pages&server&timeout=MS`,
    );
  }
  for (const name of options.keys()) {
    if (OPTIONS.includes(name)) continue;
    throw new ConfigError(
      "address",
      `${name} is no option of ${address}: use ${OPTIONS.join(", ")}`,
    );
  }
  return {
    address,
    path,
    server: flag(address, options.get("server")),
    macAddress: station(address, options.get("mac")) ?? stationOf(path),
    macIsChosen: options.has("mac"),
    ordinaryPages: memory(address, options.get("memory")),
    timeoutMs: timeout(address, options.get("timeout")),
  };
}

function flag(address: string, text: string | undefined): boolean {
  if (text === undefined) return false;
  if (text === "") return true;
  throw new ConfigError("address", `server takes no value in ${address}`);
}

function memory(address: string, text: string | undefined): boolean {
  if (text === undefined) return false;
  if (text === "pages") return true;
  throw new ConfigError(
    "address",
    `memory=${text} in ${address} is not memory=pages, the only choice besides leaving it out`,
  );
}

function timeout(address: string, text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= LONGEST_TIMEOUT_MS) return value;
  throw new ConfigError(
    "address",
    `timeout=${text} in ${address} is not a number of milliseconds within 0 to ${LONGEST_TIMEOUT_MS}`,
  );
}

function station(
  address: string,
  text: string | undefined,
): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const octets = text.split(":").map((octet) => parseInt(octet, 16));
  if (
    /^[\da-f]{2}(:[\da-f]{2}){5}$/i.test(text) &&
    (octets[0] & MULTICAST_BIT) === 0 && octets.some((octet) => octet !== 0)
  ) return new Uint8Array(octets);
  throw new ConfigError(
    "address",
    `mac=${text} in ${address} is no unicast address such as 02:00:00:00:00:01`,
  );
}

/** The same address for the same path each time, and hardly the same one for two paths: FNV-1a. */
function stationOf(path: string): Uint8Array {
  const octets = new Uint8Array(6);
  octets[0] = LOCAL_UNICAST;
  const bytes = new TextEncoder().encode(path);
  const low = fnv1a(bytes, FNV_OFFSET);
  const high = fnv1a(bytes, low);
  new DataView(octets.buffer).setUint32(2, low);
  octets[1] = high & 0xff;
  return octets;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

function fnv1a(bytes: Uint8Array, start: number): number {
  let hash = start;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME) >>> 0;
  return hash;
}
