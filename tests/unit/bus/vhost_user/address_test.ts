import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import {
  isVhostUserAddress,
  parseVhostUserAddress as parse,
} from "../../../../src/bus/vhost_user/address.ts";
import { ConfigError } from "../../../../src/errors.ts";

Deno.test("a vhost-user address names a path", () => {
  const spec = parse("vhost-user:/run/a.sock");
  assertEquals(spec.path, "/run/a.sock");
  assertEquals(spec.server, false);
  assertEquals(spec.timeoutMs, 10_000);
});

Deno.test("a vhost-user address may say who listens, which MAC address, and how long to wait", () => {
  const spec = parse(
    "vhost-user:b.sock?server&mac=02:00:5e:00:00:Ff&timeout=250",
  );
  assertEquals(spec.path, "b.sock");
  assertEquals(spec.server, true);
  assertEquals(spec.timeoutMs, 250);
  assertEquals([...spec.macAddress], [0x02, 0, 0x5e, 0, 0, 0xff]);
});

Deno.test("a vhost-user address may ask for memory on ordinary pages", () => {
  assertEquals(parse("vhost-user:a?memory=pages").ordinaryPages, true);
  assertEquals(parse("vhost-user:a").ordinaryPages, false);
});

Deno.test("without a MAC address there is one for each path, always the same", () => {
  const of = (path: string) => parse(`vhost-user:${path}`).macAddress;
  assertEquals(of("/run/a"), of("/run/a"));
  assertNotEquals(of("/run/a"), of("/run/b"));
  assertEquals(of("/run/a")[0], 0x02);
  assertEquals(of("/run/a").length, 6);
});

Deno.test("a vhost-user address names the path as it stands, but for %XX", () => {
  const path = (address: string) => parse(address).path;
  assertEquals(
    path("vhost-user:/run/10:00+02 #1&2.sock"),
    "/run/10:00+02 #1&2.sock",
  );
  assertEquals(path("vhost-user:/run/a%3Fb%25.sock?server"), "/run/a?b%.sock");
});

Deno.test("only the scheme decides what a vhost-user address is", () => {
  assertEquals(isVhostUserAddress("vhost-user:"), true);
  assertEquals(isVhostUserAddress("sim:loopback"), false);
});

for (
  const [address, complaint] of [
    ["vhost-user:", "is no vhost-user:PATH"],
    ["vhost-user:?server", "is no vhost-user:PATH"],
    ["vhost-user:/a?server?mac", "server?mac is no option"],
    ["vhost-user:/a?server&server", "server is given twice"],
    ["vhost-user:/50%", "write % itself as %25"],
    ["vhost-user:/a?servr", "servr is no option"],
    ["vhost-user:/a?server=1", "server takes no value"],
    ["vhost-user:/a?timeout=-1", "timeout=-1"],
    ["vhost-user:/a?timeout=", "timeout="],
    ["vhost-user:/a?timeout=1e3", "timeout=1e3"],
    ["vhost-user:/a?memory", "memory= in"],
    ["vhost-user:/a?memory=huge", "is not memory=pages"],
    ["vhost-user:/a?mac=", "mac="],
    ["vhost-user:/a?mac=01:00:00:00:00:01", "no unicast address"],
    ["vhost-user:/a?mac=00:00:00:00:00:00", "no unicast address"],
    ["vhost-user:/a?mac=02:00:00:00:00", "no unicast address"],
    ["vhost-user:/a?mac=02:00:00:00:00:0g", "no unicast address"],
  ]
) {
  Deno.test(`${address} is refused: ${complaint}`, () => {
    assertThrows(() => parse(address), ConfigError, complaint);
  });
}
