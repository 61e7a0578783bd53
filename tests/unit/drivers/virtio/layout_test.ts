/** Where the specification has things (Virtio 1.2), and which features go together. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../../src/bus/virtio/feature_bits.ts";
import {
  acceptedFeatures,
  accepts,
  featureNames,
  negotiate,
  VIRTIO_FEATURE_NAMES,
  VirtioFeatures,
} from "../../../../src/drivers/virtio/features.ts";
import {
  ringBytes,
  virtqueueAddresses,
  virtqueueLayout,
} from "../../../../src/drivers/virtio/virtqueue/layout.ts";
import { NotSupportedError } from "../../../../src/errors.ts";
import { withVirtio } from "../../../support/virtio/rig.ts";

const SPLIT = acceptedFeatures(featureBits(["version-1"]));
const PACKED = acceptedFeatures(featureBits(["version-1", "packed"]));

Deno.test("the parts of a split ring are aligned and large enough (2.7)", () => {
  for (const depth of [64, 128, 512, 4096]) {
    const { descriptors, driver, device, tables } = virtqueueLayout(
      SPLIT,
      depth,
      "rx",
    );
    assertEquals([descriptors % 16, driver % 2, device % 4], [0, 0, 0]);
    assert(driver - descriptors >= 16 * depth);
    assert(device - driver >= 6 + 2 * depth);
    assert(tables - device >= 6 + 8 * depth);
    assertEquals(ringBytes(SPLIT, depth, "rx"), tables);
  }
});

Deno.test("nothing that is read or written at once lies in two pages", () => {
  const PAGE = 4096;
  for (
    const [features, depths] of [
      [SPLIT, [64, 128, 256, 512, 1024, 4096]],
      [PACKED, [64, 72, 256, 1000, 4096]],
    ] as const
  ) {
    for (const depth of depths) {
      const layout = virtqueueLayout(features, depth, "tx");
      // The memory of a virtqueue begins on any cache line.
      for (let start = 0; start < PAGE; start += 64) {
        const whole = (offset: number, bytes: number) =>
          assertEquals(
            (start + offset) % PAGE <= PAGE - bytes,
            true,
            `${bytes} bytes at ${offset}, depth ${depth}`,
          );
        for (let i = 0; i < depth; i++) {
          whole(layout.descriptors + 16 * i, 16);
          if (features === PACKED) continue;
          whole(layout.driver + 4 + 2 * i, 2);
          whole(layout.device + 4 + 8 * i, 8);
        }
        if (features === SPLIT) continue;
        whole(layout.driver, 4);
        whole(layout.device, 4);
      }
    }
  }
});

Deno.test("the parts of a packed ring are aligned and large enough (2.8.10)", () => {
  for (const depth of [64, 72, 512, 4096]) {
    const { descriptors, driver, device, tables } = virtqueueLayout(
      PACKED,
      depth,
      "rx",
    );
    assertEquals([descriptors % 16, driver % 4, device % 4], [0, 0, 0]);
    assert(driver - descriptors >= 16 * depth);
    assert(device - driver >= 4);
    assert(tables - device >= 4);
  }
});

Deno.test("only a transmit queue has indirect tables, and only where they were accepted", () => {
  const indirect = acceptedFeatures(featureBits(["version-1", "indirect"]));
  assertEquals(ringBytes(indirect, 64, "rx"), ringBytes(SPLIT, 64, "rx"));
  assertEquals(
    ringBytes(indirect, 64, "tx") - ringBytes(SPLIT, 64, "tx"),
    64 * 16 * 16,
  );
});

Deno.test("the addresses of a virtqueue follow from its first", () => {
  const { descriptors, driver, device } = virtqueueAddresses(
    SPLIT,
    64,
    0x1_ffff_f000n,
  );
  const layout = virtqueueLayout(SPLIT, 64, "tx");
  assertEquals(descriptors, 0x1_ffff_f000n);
  assertEquals(driver, descriptors + BigInt(layout.driver));
  assertEquals(device, descriptors + BigInt(layout.device));
});

Deno.test("a split ring full of receive buffers, byte by byte (2.7.5, 2.7.6)", () => {
  withVirtio({}, (rig) => {
    const { descriptors, driver } = rig.rxDevice.place;
    for (let i = 0; i < 64; i++) {
      const descriptor = rig.memory.at(descriptors + i * 16, 16);
      const handle = rig.control.rxSlots[i];
      const index = rig.pool.index(handle);
      const entry = rig.pool.description.iova +
        BigInt(index * rig.pool.stride);
      // Address, length, flags: the header lies before the entry.
      assertEquals(descriptor.getBigUint64(0, true), entry - 12n);
      assertEquals(descriptor.getUint32(8, true), 2048 + 12);
      assertEquals(descriptor.getUint16(12, true), 2, "WRITE");
      assertEquals(rig.memory.at(driver + 4 + 2 * i, 2).getUint16(0, true), i);
    }
    const head = rig.memory.at(driver, 4);
    assertEquals(head.getUint16(0, true), 1, "NO_INTERRUPT");
    assertEquals(head.getUint16(2, true), 64, "idx");
  });
});

Deno.test("a packed ring full of receive buffers, byte by byte (2.8.13, 2.8.14)", () => {
  withVirtio({ features: ["packed", "mergeable"] }, (rig) => {
    const { descriptors, driver } = rig.rxDevice.place;
    for (let i = 0; i < 64; i++) {
      const descriptor = rig.memory.at(descriptors + i * 16, 16);
      assertEquals(descriptor.getUint32(8, true), 2048, "as much as an entry");
      assertEquals(descriptor.getUint16(12, true), i, "id");
      assertEquals(descriptor.getUint16(14, true), 0x0082, "AVAIL and WRITE");
    }
    const event = rig.memory.at(driver, 4);
    assertEquals(event.getUint16(2, true), 1, "RING_EVENT_FLAGS_DISABLE");
  });
});

Deno.test("wrap counters begin with 1 and change when the last descriptor is used (2.8.1)", () => {
  withVirtio({ features: ["packed"] }, (rig) => {
    const { descriptors } = rig.txDevice.place;
    const flags = (at: number) =>
      rig.memory.at(descriptors + at * 16 + 14, 2).getUint16(0, true);
    const send = () => {
      const batch = rig.batchOf([rig.packet(new Uint8Array(60))]);
      assertEquals(rig.tx.send(batch), 1);
    };
    for (let round = 0; round < 3; round++) {
      const [available, used] = round % 2 === 0
        ? [0x0080, 0x8080]
        : [0x8000, 0x0000];
      for (let at = 0; at < 64; at++) {
        send();
        assertEquals(flags(at), available, `descriptor ${at}`);
        rig.txDevice.give(rig.collect()!.buffer, 0);
        assertEquals(flags(at), used, `descriptor ${at}`);
      }
    }
  });
});

Deno.test("feature bits have the numbers of the specification (5.1.3, 6)", () => {
  const numbers: [VirtioFeatureName, number][] = [
    ["checksum", 0],
    ["guest-checksum", 1],
    ["mac", 5],
    ["tso4", 11],
    ["tso6", 12],
    ["mergeable", 15],
    ["control-queue", 17],
    ["multiqueue", 22],
    ["any-layout", 27],
    ["indirect", 28],
    ["event-index", 29],
    ["version-1", 32],
    ["access-platform", 33],
    ["packed", 34],
    ["in-order", 35],
    ["order-platform", 36],
    ["ring-reset", 40],
    ["hash-report", 57],
    ["rss", 60],
  ];
  for (const [name, bit] of numbers) {
    assertEquals(VirtioFeatures[name].bit, bit, name);
    const accepted = acceptedFeatures(1n << BigInt(bit));
    const others = VIRTIO_FEATURE_NAMES.filter((other) =>
      accepts(accepted, other)
    );
    assertEquals(others, [name]);
  }
});

Deno.test("a feature is accepted only with all that it needs (5.1.3.1)", () => {
  const all = [...VIRTIO_FEATURE_NAMES];
  const offered = featureBits(all);
  assertEquals(featureNames(negotiate(offered, all)), all);
  for (const name of all) {
    if (name === "version-1") continue;
    const accepted = featureNames(
      negotiate(offered & ~featureBits([name]), all),
    );
    for (const other of accepted) {
      assert(!VirtioFeatures[other].needs.includes(name), `${other}, ${name}`);
    }
  }
  const without = negotiate(featureBits(["version-1", "tso4", "mac"]), all);
  assertEquals(featureNames(without), ["mac", "version-1"]);
});

Deno.test("nothing is accepted that was not offered, or not wanted", () => {
  const offered = featureBits(["version-1", "mac", "packed"]) | (1n << 55n);
  assertEquals(
    featureNames(negotiate(offered, ["packed", "indirect"])),
    ["version-1", "packed"],
  );
  assertEquals(negotiate(offered, ["packed"]) >> 55n, 0n);
});

Deno.test("what the platform needs is accepted, wanted or not (6.1)", () => {
  const offered = featureBits([
    "version-1",
    "access-platform",
    "order-platform",
  ]);
  assertEquals(negotiate(offered, []), offered);
});

Deno.test("a device older than virtio 1.0 is refused (6.1)", () => {
  assertThrows(
    () => negotiate(featureBits(["mac"]), ["mac"]),
    NotSupportedError,
    "VERSION_1",
  );
});

Deno.test("by the legacy interface any layout is accepted, wanted or not, and needed (5.1.6.6)", () => {
  const offered = featureBits(["mac", "any-layout", "mergeable"]);
  assertEquals(
    featureNames(negotiate(offered, ["mac"], true)),
    ["mac", "any-layout"],
  );
  assertThrows(
    () => negotiate(featureBits(["mac"]), ["mac"], true),
    NotSupportedError,
    "ANY_LAYOUT",
  );
});
