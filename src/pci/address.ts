/**
 * PCI addresses.
 *
 * @module
 */

const FULL = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i;
const SHORT = /^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;

/**
 * Completes an address to `dddd:bb:dd.f`; undefined for what is none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parsePciAddress } from "./address.ts";
 *
 * assertEquals(parsePciAddress("01:00.0"), "0000:01:00.0");
 * assertEquals(parsePciAddress("eth0"), undefined);
 * ```
 */
export function parsePciAddress(text: string): string | undefined {
  const address = SHORT.test(text) ? `0000:${text}` : text;
  return FULL.test(address) ? address.toLowerCase() : undefined;
}
