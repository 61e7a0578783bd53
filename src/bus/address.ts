/**
 * The form that the addresses of software devices share: `SCHEME:NAME?option=value&…`.
 *
 * A name and a value are what stands there, octet for octet, but for `%` and two hexadecimal digits, which stand for
 * the octet of that number, as in a URL. Only three characters need it: `%` itself (`%25`), `?` in a name (`%3F`), and
 * `&` in a value (`%26`). `encodeURIComponent()` writes any file name so that it is read back.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";

/** The parts of an address. */
export interface AddressParts {
  /** What stands between the scheme and the options, decoded. */
  readonly name: string;
  /** The options, decoded; empty for one without `=`. */
  readonly options: ReadonlyMap<string, string>;
}

/**
 * Splits an address.
 *
 * @throws {ConfigError} for a `%` that begins no octet of a text in UTF-8, and an option that is given twice
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { splitAddress } from "./address.ts";
 *
 * const { name, options } = splitAddress("sim:pcap?in=10:00+2 #1.pcap&out=50%25.pcap");
 * assertEquals(name, "pcap");
 * assertEquals(options.get("in"), "10:00+2 #1.pcap");
 * assertEquals(options.get("out"), "50%.pcap");
 * ```
 */
export function splitAddress(address: string): AddressParts {
  const [path, query] = splitOnce(
    address.slice(address.indexOf(":") + 1),
    "?",
  );
  const options = new Map<string, string>();
  for (const pair of query.split("&").filter((text) => text !== "")) {
    const [key, value] = splitOnce(pair, "=");
    if (options.has(key)) {
      throw new ConfigError(address, `${key} is given twice`);
    }
    options.set(key, decode(address, value));
  }
  return { name: decode(address, path), options };
}

function splitOnce(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0
    ? [text, ""]
    : [text.slice(0, index), text.slice(index + at.length)];
}

function decode(address: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigError(
      address,
      `"${text}" has a % that is no %XX: write % itself as %25`,
    );
  }
}
