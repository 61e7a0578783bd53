/** Which frames are received, where they go, and what is said of them. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import { ConfigError } from "../../src/errors.ts";
import { INDEX_MASK } from "../../src/memory/mempool.ts";
import { PacketFlag } from "../../src/memory/packet.ts";
import {
  type IxgbeRig,
  numberedFrame,
  receiveAll,
  STATION,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";
import { ipv4Frame } from "../support/frames/ip_frames.ts";

const OTHER = "02:00:00:00:00:77";
const MULTICAST = "01:00:5e:00:00:05";
const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Which of these addresses are received. */
function accepted(rig: IxgbeRig): string[] {
  return [STATION, OTHER, MULTICAST, BROADCAST].filter((to) => {
    rig.wire.toCard.push(numberedFrame(1, 60, to));
    return receiveAll(rig).length === 1;
  });
}

Deno.test("ixgbe receives its own address and broadcast, unless told more", async () => {
  await withIxgbe({}, (rig) => {
    const { device } = rig;
    assertEquals(accepted(rig), [STATION, BROADCAST]);
    device.setAllMulticast(true);
    assertEquals(accepted(rig), [STATION, MULTICAST, BROADCAST]);
    device.setAllMulticast(false);
    device.setPromiscuous(true);
    assertEquals(accepted(rig), [STATION, OTHER, MULTICAST, BROADCAST]);
    device.setPromiscuous(false);
    assertEquals(accepted(rig), [STATION, BROADCAST]);
  });
});

Deno.test("ixgbe opens promiscuous when asked", async () => {
  await withIxgbe({ promiscuous: true }, (rig) => {
    assertEquals(accepted(rig), [STATION, OTHER, MULTICAST, BROADCAST]);
  });
});

Deno.test("ixgbe filters by added addresses, and by a new MAC address", async () => {
  await withIxgbe({}, (rig) => {
    const { device } = rig;
    device.addMacFilter(OTHER);
    device.addMacFilter(OTHER);
    assertEquals(accepted(rig), [STATION, OTHER, BROADCAST]);
    device.removeMacFilter(OTHER);
    device.removeMacFilter(OTHER);
    assertEquals(accepted(rig), [STATION, BROADCAST]);
    device.setMacAddress(OTHER);
    assertEquals(device.macAddress, OTHER);
    assertEquals(accepted(rig), [OTHER, BROADCAST]);
    assertThrows(() => device.setMacAddress(MULTICAST), TypeError);
    assertThrows(() => device.addMacFilter("02:00"), TypeError);
  });
});

Deno.test("ixgbe holds 127 filters besides the MAC address", async () => {
  await withIxgbe({}, ({ device }) => {
    const mac = (n: number) =>
      `02:00:00:00:01:${n.toString(16).padStart(2, "0")}`;
    for (let n = 0; n < device.features.macFilters; n++) {
      device.addMacFilter(mac(n));
    }
    assertThrows(() => device.addMacFilter(mac(200)), ConfigError);
    device.removeMacFilter(mac(5));
    device.addMacFilter(mac(200));
  });
});

Deno.test("ixgbe filters VLANs once it knows one", async () => {
  await withIxgbe({}, (rig) => {
    const { device } = rig;
    const VLANS = [0, 0x123, 0x124, 4094];
    const taken = () =>
      VLANS.filter((vlan) => {
        const frame = numberedFrame(1, 64, STATION);
        frame.set([0x81, 0x00, vlan >> 8, vlan & 0xff], 12);
        rig.wire.toCard.push(frame);
        return receiveAll(rig).length === 1;
      });
    assertEquals(taken(), VLANS);
    device.addVlanFilter(0x123);
    device.addVlanFilter(0x123);
    assertEquals(taken(), [0x123]);
    assertEquals(accepted(rig), [STATION, BROADCAST], "without a tag");
    device.addVlanFilter(0);
    device.addVlanFilter(4094);
    assertEquals(taken(), [0, 0x123, 4094]);
    device.setPromiscuous(true);
    assertEquals(taken(), VLANS);
    device.setPromiscuous(false);
    device.removeVlanFilter(0x123);
    device.removeVlanFilter(0x123);
    assertEquals(taken(), [0, 4094]);
    device.removeVlanFilter(0);
    device.removeVlanFilter(4094);
    assertEquals(taken(), VLANS);
    for (const vlan of [-1, 1.5, 4095]) {
      assertThrows(() => device.addVlanFilter(vlan), ConfigError);
    }
  });
});

/** Frames of 64 flows. */
function flows(): Uint8Array[] {
  return Array.from(
    { length: 64 },
    (_, n) => ipv4Frame({ protocol: "udp", sourcePort: 1000 + n }),
  );
}

/** How many of these frames each queue receives. */
function spread(rig: IxgbeRig, frames: Uint8Array[]): number[] {
  rig.wire.toCard.push(...frames);
  return Array.from(
    { length: rig.device.rxQueueCount },
    (_, q) => receiveAll(rig, rig.device.queue(q)).length,
  );
}

Deno.test("ixgbe spreads flows over queues, each always to the same one", async () => {
  await withIxgbe({ queues: 4 }, (rig) => {
    const counts = spread(rig, flows());
    assertEquals(counts.reduce((sum, n) => sum + n), 64);
    assert(counts.every((count) => count > 0), `${counts}`);
    assertEquals(spread(rig, flows()), counts);
  });
});

Deno.test("ixgbe follows a new table and a new key while it runs", async () => {
  await withIxgbe({ queues: 4 }, (rig) => {
    const { device } = rig;
    const before = spread(rig, flows());
    device.setRssTable([2]);
    assertEquals(spread(rig, flows()), [0, 0, 64, 0]);
    device.setRssTable([0, 1, 2, 3]);
    assertEquals(spread(rig, flows()), before);
    device.setRssKey(new Uint8Array(40));
    assertEquals(spread(rig, flows()), [64, 0, 0, 0]);
    assertThrows(() => device.setRssKey(new Uint8Array(16)), ConfigError);
    assertThrows(() => device.setRssTable([4]), ConfigError);
    assertThrows(() => device.setRssTable([0, 1, 2]), ConfigError);
  });
});

/** Receives one frame and returns what is known of it. */
function receiveOne(rig: IxgbeRig, frame: Uint8Array) {
  rig.wire.toCard.push(frame);
  rig.bus.settle();
  const batch = new Batch(4);
  assertEquals(rig.pair.rx.receive(batch), 1);
  const { pool } = rig.pair.rx;
  const index = batch.handles[0] & INDEX_MASK;
  const known = {
    flags: pool.flags[index],
    hash: pool.rssHashes[index],
    vlan: pool.vlanTags[index],
    length: pool.lengths[index],
  };
  batch.free();
  return known;
}

const L4_BAD = PacketFlag.L4ChecksumBad;

Deno.test("ixgbe says the RSS hash and the verdicts on checksums", async () => {
  await withIxgbe({}, (rig) => {
    const { RssHash, IpChecksumGood, IpChecksumBad, L4ChecksumGood } =
      PacketFlag;
    const good = receiveOne(rig, ipv4Frame({ protocol: "tcp" }));
    assertEquals(good.flags, RssHash | IpChecksumGood | L4ChecksumGood);
    assert(good.hash !== 0);
    const badIp = receiveOne(
      rig,
      ipv4Frame({ protocol: "tcp", spoil: "ip" }),
    );
    assert((badIp.flags & IpChecksumBad) !== 0);
    const badTcp = receiveOne(
      rig,
      ipv4Frame({ protocol: "tcp", spoil: "l4" }),
    );
    assertEquals(
      badTcp.flags,
      RssHash | IpChecksumGood | PacketFlag.L4ChecksumBad,
    );
    assertEquals(receiveOne(rig, numberedFrame(1)).flags, 0);
  });
});

Deno.test("ixgbe reports no UDP checksum as wrong, as the 82599 errs on zero", async () => {
  await withIxgbe({}, (rig) => {
    const zero = receiveOne(
      rig,
      ipv4Frame({ protocol: "udp", zeroChecksum: true }),
    );
    assertEquals(zero.flags & PacketFlag.L4ChecksumBad, 0);
    const good = receiveOne(rig, ipv4Frame({ protocol: "udp" }));
    assert((good.flags & PacketFlag.L4ChecksumGood) !== 0);
  });
});

for (const [model, said] of [["82599", 0], ["x540", L4_BAD]] as const) {
  Deno.test(`ixgbe ${said ? "reports" : "does not report"} a wrong UDP checksum of the ${model}`, () =>
    withIxgbe({ model }, (rig) => {
      const frame = ipv4Frame({ protocol: "udp", spoil: "l4" });
      const { flags } = receiveOne(rig, frame);
      assertEquals(flags & L4_BAD, said);
    }));
}

function tagged(frame: Uint8Array, tag: number): Uint8Array {
  const bytes = new Uint8Array(frame.length + 4);
  bytes.set(frame.subarray(0, 12));
  bytes.set([0x81, 0x00, tag >> 8, tag & 0xff], 12);
  bytes.set(frame.subarray(12), 16);
  return bytes;
}

Deno.test("ixgbe takes VLAN tags out when asked, and leaves them when not", async () => {
  const plain = numberedFrame(5, 80);
  const frame = tagged(plain, 0x6123);
  await withIxgbe({ vlanStrip: true }, (rig) => {
    const known = receiveOne(rig, frame);
    assert((known.flags & PacketFlag.VlanStripped) !== 0);
    assertEquals(known.vlan, 0x6123);
    assertEquals(known.length, plain.length);
    assertEquals(receiveOne(rig, plain).flags & PacketFlag.VlanStripped, 0);
    rig.wire.toCard.push(frame);
    assertEquals(receiveAll(rig), [plain]);
  });
  await withIxgbe({}, (rig) => {
    assertEquals(receiveOne(rig, frame).flags & PacketFlag.VlanStripped, 0);
    rig.wire.toCard.push(frame);
    assertEquals(receiveAll(rig), [frame]);
  });
});
