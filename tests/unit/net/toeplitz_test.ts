import { assertEquals, assertThrows } from "@std/assert";
import { parseIpv4 } from "../../../src/net/ipv4.ts";
import { parseIpv6 } from "../../../src/net/ipv6.ts";
import { writeU16, writeU32 } from "../../../src/net/bytes.ts";
import {
  defaultRssKey,
  toeplitzHash,
  ToeplitzHasher,
  toeplitzIpv4,
  toeplitzIpv4Ports,
  toeplitzIpv6,
  toeplitzIpv6Ports,
} from "../../../src/net/toeplitz.ts";

interface Vector {
  destination: [address: string, port: number];
  source: [address: string, port: number];
  addresses: number;
  withPorts: number;
}

/** Microsoft, "Verifying the RSS Hash Calculation", IPv4. */
// deno-fmt-ignore
const IPV4_VECTORS: Vector[] = [
  { destination: ["161.142.100.80", 1766], source: ["66.9.149.187", 2794], addresses: 0x323e8fc2, withPorts: 0x51ccc178 },
  { destination: ["65.69.140.83", 4739], source: ["199.92.111.2", 14230], addresses: 0xd718262a, withPorts: 0xc626b0ea },
  { destination: ["12.22.207.184", 38024], source: ["24.19.198.95", 12898], addresses: 0xd2d0a5de, withPorts: 0x5c2b394a },
  { destination: ["209.142.163.6", 2217], source: ["38.27.205.30", 48228], addresses: 0x82989176, withPorts: 0xafc7327f },
  { destination: ["202.188.127.2", 1303], source: ["153.39.163.191", 44251], addresses: 0x5d1809c5, withPorts: 0x10e828a2 },
];

/** Microsoft, "Verifying the RSS Hash Calculation", IPv6. */
// deno-fmt-ignore
const IPV6_VECTORS: Vector[] = [
  { destination: ["3ffe:2501:200:3::1", 1766], source: ["3ffe:2501:200:1fff::7", 2794], addresses: 0x2cc18cd5, withPorts: 0x40207d3d },
  { destination: ["ff02::1", 4739], source: ["3ffe:501:8::260:97ff:fe40:efab", 14230], addresses: 0x0f0c461c, withPorts: 0xdde51bbf },
  { destination: ["fe80::200:f8ff:fe21:67cf", 38024], source: ["3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251], addresses: 0x4b61e985, withPorts: 0x02d1feef },
];

/** Where the headers lie, to show that offsets are honoured. */
const IP = 14;

interface Packet {
  bytes: Uint8Array;
  ports: number;
}

function writePorts(packet: Packet, { source, destination }: Vector): Packet {
  writeU16(packet.bytes, packet.ports, source[1]);
  writeU16(packet.bytes, packet.ports + 2, destination[1]);
  return packet;
}

/** An IPv4 packet whose header has room for options. */
function ipv4Packet(vector: Vector, optionsLength = 0): Packet {
  const bytes = new Uint8Array(100);
  writeU32(bytes, IP + 12, parseIpv4(vector.source[0]));
  writeU32(bytes, IP + 16, parseIpv4(vector.destination[0]));
  return writePorts({ bytes, ports: IP + 20 + optionsLength }, vector);
}

function ipv6Packet(vector: Vector): Packet {
  const bytes = new Uint8Array(100);
  bytes.set(parseIpv6(vector.source[0]), IP + 8);
  bytes.set(parseIpv6(vector.destination[0]), IP + 24);
  return writePorts({ bytes, ports: IP + 40 }, vector);
}

const key = defaultRssKey();
const hasher = new ToeplitzHasher(key);

for (const vector of IPV4_VECTORS) {
  const flow = `${vector.source.join(":")} to ${vector.destination.join(":")}`;

  Deno.test(`toeplitzIpv4() matches Microsoft's vector, ${flow}`, () => {
    const { bytes, ports } = ipv4Packet(vector);
    assertEquals(toeplitzIpv4(key, bytes, IP), vector.addresses);
    const withPorts = toeplitzIpv4Ports(key, bytes, IP, ports);
    assertEquals(withPorts, vector.withPorts);
  });

  Deno.test(`ToeplitzHasher.ipv4() matches Microsoft's vector, ${flow}`, () => {
    const { bytes, ports } = ipv4Packet(vector);
    assertEquals(hasher.ipv4(bytes, IP), vector.addresses);
    assertEquals(hasher.ipv4Ports(bytes, IP, ports), vector.withPorts);
  });
}

for (const vector of IPV6_VECTORS) {
  const flow = `${vector.source.join(" ")} to ${vector.destination.join(" ")}`;

  Deno.test(`toeplitzIpv6() matches Microsoft's vector, ${flow}`, () => {
    const { bytes, ports } = ipv6Packet(vector);
    assertEquals(toeplitzIpv6(key, bytes, IP), vector.addresses);
    const withPorts = toeplitzIpv6Ports(key, bytes, IP, ports);
    assertEquals(withPorts, vector.withPorts);
  });

  Deno.test(`ToeplitzHasher.ipv6() matches Microsoft's vector, ${flow}`, () => {
    const { bytes, ports } = ipv6Packet(vector);
    assertEquals(hasher.ipv6(bytes, IP), vector.addresses);
    assertEquals(hasher.ipv6Ports(bytes, IP, ports), vector.withPorts);
  });
}

Deno.test("toeplitzIpv4Ports() finds ports behind IPv4 options", () => {
  const [vector] = IPV4_VECTORS;
  const { bytes, ports } = ipv4Packet(vector, 8);
  const definition = toeplitzIpv4Ports(key, bytes, IP, ports);
  assertEquals(definition, vector.withPorts);
  assertEquals(hasher.ipv4Ports(bytes, IP, ports), vector.withPorts);
});

Deno.test("ToeplitzHasher.hash() equals the definition for other keys and every length", () => {
  // A fixed linear congruential generator: the same inputs on every run.
  let state = 1;
  const next = () =>
    (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  for (let length = 0; length <= 36; length++) {
    const otherKey = Uint8Array.from({ length: 40 }, next);
    const bytes = Uint8Array.from({ length: 64 }, next);
    const other = new ToeplitzHasher(otherKey);
    assertEquals(
      other.hash(bytes, 5, length),
      toeplitzHash(otherKey, bytes, 5, length),
    );
  }
});

Deno.test("toeplitzHash() of zeros is 0", () => {
  assertEquals(toeplitzHash(key, new Uint8Array(36), 0, 36), 0);
});

Deno.test("toeplitzHash() rejects a key that is too short", () => {
  const short = new Uint8Array(39);
  const error = "39 octets is too short";
  assertThrows(
    () => toeplitzHash(short, new Uint8Array(36), 0, 36),
    RangeError,
    error,
  );
  assertThrows(() => new ToeplitzHasher(short), RangeError, error);
});

Deno.test("defaultRssKey() gives each caller a copy", () => {
  defaultRssKey().fill(0);
  assertEquals(defaultRssKey()[0], 0x6d);
});
