/**
 * Packet headers, checksums, the RSS hash and capture files: pure functions
 * over bytes. What is called for each packet takes `(bytes, offset)`, allocates
 * nothing and throws nothing.
 *
 * The pattern: ask once whether a header is whole and consistent (`isIpv4` and
 * its siblings), then use the accessors, which do not check again.
 *
 * @example Answer a frame to its sender
 * ```ts
 * import { ETHER_TYPE, etherType, isEthernet, swapMacs } from "@ixl/deno/net";
 *
 * function reply(frame: Uint8Array, offset: number, length: number): boolean {
 *   if (!isEthernet(frame, offset, length)) return false;
 *   if (etherType(frame, offset) !== ETHER_TYPE.ipv4) return false;
 *   swapMacs(frame, offset);
 *   return true;
 * }
 *
 * reply(new Uint8Array(60), 0, 60);
 * ```
 *
 * @module
 */

export * from "./arp.ts";
export * from "./bytes.ts";
export * from "./capture.ts";
export * from "./capture_clock.ts";
export * from "./capture_decoder.ts";
export * from "./capture_file.ts";
export * from "./capture_output.ts";
export * from "./capture_reader.ts";
export * from "./checksum.ts";
export * from "./ethernet.ts";
export * from "./icmp.ts";
export * from "./ipv4.ts";
export * from "./ipv6.ts";
export * from "./pcap.ts";
export * from "./pcap_decoder.ts";
export * from "./pcapng.ts";
export * from "./toeplitz.ts";
export * from "./transport.ts";
export * from "./udp.ts";
