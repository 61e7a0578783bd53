/**
 * Checksums and segmentation through the virtio header: DPDK completes what we leave open, and we see what it leaves.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import type { DeviceOptions } from "../../src/config.ts";
import type { QueuePair } from "../../src/device.ts";
import { INDEX_MASK } from "../../src/memory/mempool.ts";
import * as net from "../../src/net/mod.ts";
import { Packet } from "../../src/memory/packet.ts";
import { requires } from "../support/runner/requirements.ts";
import type { BackendOptions } from "../support/vhost/testpmd.ts";
import { until } from "../support/until.ts";
import {
  bytesOf,
  makeFrame,
  packetOf,
  receive,
  swapped,
  VhostRig,
} from "../support/vhost/rig.ts";

const test = requires("testpmd");

const ETHERNET = net.ETHERNET_HEADER_LENGTH;
const IP_LENGTHS = { ipv4: 20, ipv6: 40 } as const;
/** Where TCP and UDP keep their checksums (RFC 9293 3.1, RFC 768). */
const PLACES = { tcp: 16, udp: 6 } as const;
const TCP_HEADER = 20;
const SEGMENT = 1400;
/** Has testpmd leave the checksums of UDP and TCP to its device: RTE_ETH_TX_OFFLOAD_UDP_CKSUM, …TCP_CKSUM. */
const LEAVE_CHECKSUMS = "--tx-offloads=0xC";

interface Kind {
  readonly ip: keyof typeof IP_LENGTHS;
  readonly protocol: keyof typeof PLACES;
}

const KINDS: readonly Kind[] = [
  { ip: "ipv4", protocol: "tcp" },
  { ip: "ipv4", protocol: "udp" },
  { ip: "ipv6", protocol: "tcp" },
  { ip: "ipv6", protocol: "udp" },
];

/** Sizes in one buffer, odd and even, and in several. */
const SIZES = [90, 91, 1514, 4000, 4001];

const l4Of = ({ ip }: Kind) => ETHERNET + IP_LENGTHS[ip];
const placeOf = (kind: Kind) => l4Of(kind) + PLACES[kind.protocol];

/** The sum over the pseudo header, which stands in the checksum's place until it is complete (5.1.6.2). */
function pseudoSum(frame: Uint8Array, kind: Kind): number {
  const sum = kind.ip === "ipv4" ? net.pseudoHeaderIpv4 : net.pseudoHeaderIpv6;
  const protocol = net.IP_PROTOCOL[kind.protocol];
  return sum(frame, ETHERNET, protocol, frame.length - l4Of(kind));
}

/** A frame with the right checksum. */
function completeFrame(kind: Kind, size: number): Uint8Array {
  const frame = makeFrame(size, size);
  const view = new DataView(frame.buffer);
  const l4 = l4Of(kind);
  const protocol = net.IP_PROTOCOL[kind.protocol];
  if (kind.ip === "ipv4") {
    view.setUint16(12, net.ETHER_TYPE.ipv4);
    net.writeIpv4(frame, ETHERNET, {
      source: net.parseIpv4("198.18.0.1"),
      destination: net.parseIpv4("198.18.0.2"),
      protocol,
      payloadLength: size - l4,
    });
  } else {
    view.setUint16(12, net.ETHER_TYPE.ipv6);
    frame.set([0x60, 0, 0, 0, 0, 0, protocol, 64], ETHERNET);
    view.setUint16(ETHERNET + 4, size - l4);
  }
  if (kind.protocol === "udp") view.setUint16(l4 + 4, size - l4);
  else frame[l4 + 12] = TCP_HEADER / 4 << 4;
  const pseudo = pseudoSum(frame, kind);
  net.writeTransportChecksum(pseudo, frame, l4, size - l4, protocol);
  return frame;
}

/** The same before anybody has computed the checksum. */
function openFrame(kind: Kind, complete: Uint8Array): Uint8Array {
  const frame = complete.slice();
  net.writeU16(frame, placeOf(kind), pseudoSum(frame, kind));
  return frame;
}

/** Sends a frame that asks for its checksum, and to be cut into segments where `segment` is not 0. */
function sendOpen(
  { rx, tx }: QueuePair,
  kind: Kind,
  frame: Uint8Array,
  segment = 0,
): void {
  const packet = new Packet().at(packetOf(rx.pool, frame));
  packet.requestChecksum(l4Of(kind), PLACES[kind.protocol]);
  if (segment !== 0) packet.requestSegmentation(segment);
  const batch = new Batch(1);
  batch.push(packet.handle);
  assertEquals(tx.send(batch), 1);
}

const open = (
  name: string,
  device: DeviceOptions,
  backend: Omit<BackendOptions, "socket"> = {},
) =>
  VhostRig.open({
    name,
    backend,
    device: { maxFrameSize: 9018, ...device },
  });

for (
  const without of [[], ["packed"], ["checksum"], ["packed", "indirect"]]
) {
  const title = without.length > 0 ? ` without ${without.join(", ")}` : "";
  test(`virtio: checksums that packets ask for are complete when they come back${title}`, async () => {
    const name = `checksums-${without.join("-")}`;
    await using rig = await open(name, { virtio: { without } });
    const pair = rig.device.queue(0);
    for (const kind of KINDS) {
      for (const size of SIZES) {
        const complete = completeFrame(kind, size);
        sendOpen(pair, kind, openFrame(kind, complete));
        assertEquals(receive(pair, 1)[0], swapped(complete), `${size} bytes`);
      }
    }
  });
}

for (const without of [[], ["packed"]]) {
  const ring = without.length > 0 ? "split" : "packed";
  test(`virtio: a backend gets TCP packets whole that ask to be cut into segments, ${ring} rings`, async () => {
    const size = 8000;
    await using rig = await open(`segments-${ring}`, { virtio: { without } }, {
      mode: "rxonly",
      device: "tso=1",
    });
    const { backend, device } = rig;
    assertEquals(device.features.segmentation, true);
    const pair = device.queue(0);
    await backend.command("set verbose 1");
    for (const kind of KINDS.filter(({ protocol }) => protocol === "tcp")) {
      const from = backend.output.length;
      sendOpen(pair, kind, openFrame(kind, completeFrame(kind, size)), SEGMENT);
      await backend.prints(/ol_flags: .*\n/, from);
      const said = backend.output.slice(from);
      assertStringIncludes(said, `length=${size} `);
      assertStringIncludes(said, kind.ip === "ipv4" ? "L3_IPV4" : "L3_IPV6");
      // Segments that DPDK takes for one that its device has put together, with a checksum that is not wrong.
      assertStringIncludes(said, "RTE_MBUF_F_RX_LRO ");
      assertStringIncludes(said, "RTE_MBUF_F_RX_L4_CKSUM_GOOD ");
    }
  });
}

test("virtio: segments that no device cuts are dropped, and counted", async () => {
  await using rig = await open("no-segments", {});
  const pair = rig.device.queue(0);
  assertEquals(rig.device.features.segmentation, false);
  const [kind] = KINDS;
  sendOpen(pair, kind, openFrame(kind, completeFrame(kind, 8000)), SEGMENT);
  assertEquals(pair.tx.counters.get("txErrors"), 1);
});

for (const packed of [true, false]) {
  const ring = packed ? "packed" : "split";
  const without = packed ? [] : ["packed"];
  const backend = { mode: "csum", more: [LEAVE_CHECKSUMS] } as const;

  test(`virtio: checksums that a backend leaves open arrive as requests, ${ring} rings`, async () => {
    await using rig = await open(`open-${ring}`, {
      virtio: { with: ["guest-checksum"], without },
    }, backend);
    const pair = rig.device.queue(0);
    const batch = new Batch(1);
    const packet = new Packet();
    for (const kind of KINDS) {
      for (const size of SIZES) {
        const complete = completeFrame(kind, size);
        sendOpen(pair, kind, openFrame(kind, complete));
        await until("it is back", () => pair.rx.receive(batch) > 0);
        packet.at(batch.handles[0]);
        assertEquals(packet.requestsChecksum, true);
        const { offloads } = packet.pool;
        const asked = offloads[packet.handle & INDEX_MASK];
        assertEquals(asked & 0xffff, l4Of(kind));
        const open = openFrame(kind, complete);
        assertEquals(bytesOf(packet.handle).subarray(12), open.subarray(12));
        batch.free();
      }
    }
  });

  test(`virtio: checksums that a backend leaves open are complete where we do not take them so, ${ring} rings`, async () => {
    await using rig = await open(
      `closed-${ring}`,
      { virtio: { without } },
      backend,
    );
    const pair = rig.device.queue(0);
    for (const kind of KINDS) {
      const complete = completeFrame(kind, 91);
      sendOpen(pair, kind, openFrame(kind, complete));
      assertEquals(
        receive(pair, 1)[0].subarray(12),
        complete.subarray(12),
      );
    }
  });
}
