/** What a virtio device is told through its control queue, and what of its answers is believed. */
import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../../../src/device_api.ts";
import { DmaMemory } from "../../../../src/dma/memory.ts";
import { Commands } from "../../../../src/drivers/virtio/control/commands.ts";
import {
  ControlQueue,
  controlQueueBytes,
  controlQueueDepth,
} from "../../../../src/drivers/virtio/control/queue.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../../src/bus/virtio/feature_bits.ts";
import { acceptedFeatures } from "../../../../src/drivers/virtio/features.ts";
import {
  ConfigError,
  DeviceFaultError,
  DeviceTimeoutError,
  NotSupportedError,
} from "../../../../src/errors.ts";
import { DmaTable } from "../../../../src/sim/dma_table.ts";
import {
  CONTROLLED,
  PLAIN,
  withVirtio,
} from "../../../support/virtio/device_rig.ts";
import {
  type Chain,
  type DeviceRing,
  deviceRing,
  readable,
  writable,
} from "../../../support/virtio/ring.ts";
import type { Answer, FakeVirtio } from "../../../support/virtio/transport.ts";

const IOVA = 0x20_0000n;

/** The commands since the last call, each as its bytes. */
function told(virtio: FakeVirtio): number[][] {
  return virtio.commands.splice(0).map(([group, command, data]) => [
    group,
    command,
    ...data,
  ]);
}

for (const kind of [[], ["packed"]] as VirtioFeatureName[][]) {
  const offers = [...CONTROLLED, ...kind];
  const ring = kind[0] ?? "split";
  Deno.test(`promiscuous, multicast and addresses are commands (${ring})`, async () => {
    const options = { offers, pairs: 2 };
    await withVirtio(options, { queues: 2 }, ({ device, virtio }) => {
      assertEquals(told(virtio), [[4, 0, 2, 0], [0, 0, 0], [0, 1, 0]]);
      device.setPromiscuous(true);
      assertEquals(told(virtio), [[0, 0, 1], [0, 1, 0]]);
      device.setAllMulticast(true);
      assertEquals(told(virtio), [[0, 0, 1], [0, 1, 1]]);
      device.setMacAddress("02:00:00:00:00:55");
      assertEquals(told(virtio), [[1, 1, 2, 0, 0, 0, 0, 0x55]]);
      assertEquals(device.macAddress, "02:00:00:00:00:55");
      // Enough to go round the ring several times.
      for (let i = 0; i < 100; i++) device.setPromiscuous(i % 2 === 0);
      assertEquals(told(virtio).length, 200);
    });
  });
}

Deno.test("the filter is a table that is told as a whole", async () => {
  await withVirtio({ offers: CONTROLLED }, {}, ({ device, virtio }) => {
    told(virtio);
    device.addMacFilter("02:00:00:00:00:0a");
    assertEquals(told(virtio), [
      [1, 0, ...[1, 0, 0, 0], ...[2, 0, 0, 0, 0, 10], ...[0, 0, 0, 0]],
    ]);
    device.addMacFilter("02:00:00:00:00:0b");
    device.addMacFilter("02:00:00:00:00:0a");
    device.removeMacFilter("02:00:00:00:00:0c");
    assertEquals(told(virtio).length, 1);
    device.removeMacFilter("02:00:00:00:00:0a");
    assertEquals(told(virtio), [
      [1, 0, ...[1, 0, 0, 0], ...[2, 0, 0, 0, 0, 11], ...[0, 0, 0, 0]],
    ]);
    for (let i = 0; i < device.features.macFilters - 1; i++) {
      device.addMacFilter(`02:00:00:00:01:${i.toString(16).padStart(2, "0")}`);
    }
    assertThrows(() => device.addMacFilter("02:00:00:00:02:00"), ConfigError);
    assertThrows(() => device.addMacFilter("01:00:00:00:02:00"), TypeError);
  });
});

Deno.test("RSS is one command with key, table and queues", async () => {
  const options = { offers: [...CONTROLLED, "rss"] as const, pairs: 4 };
  const key = Uint8Array.from({ length: 40 }, (_, i) => i);
  const rss = { key, table: [3, 1], ports: false };
  await withVirtio(options, { queues: 4, rss }, ({ device, virtio }) => {
    const [command] = told(virtio);
    assertEquals(command.slice(0, 10), [4, 1, 0x49, 0, 0, 0, 127, 0, 0, 0]);
    assertEquals(command.slice(10, 18), [3, 0, 1, 0, 3, 0, 1, 0]);
    assertEquals(command.slice(10 + 256), [4, 0, 40, ...key]);
    device.setRssTable([2]);
    const [changed] = told(virtio);
    assertEquals(changed.slice(10, 14), [2, 0, 2, 0]);
    device.setRssKey(new Uint8Array(40).fill(9));
    assertEquals(told(virtio)[0].at(-1), 9);
    assertThrows(() => device.setRssKey(new Uint8Array(39)), ConfigError);
    assertThrows(() => device.setRssTable([4]), ConfigError);
    assertThrows(() => device.setRssTable([1, 2, 3]), ConfigError);
    assertEquals(told(virtio), []);
  });
});

Deno.test("hashes alone are a command of their own, after the number of queues", async () => {
  const offers = [...CONTROLLED, "hash-report"] as const;
  await withVirtio({ offers }, {}, ({ device, virtio }) => {
    const [pairs, hash] = told(virtio);
    assertEquals(pairs, [4, 0, 1, 0]);
    assertEquals(hash.slice(0, 6), [4, 2, 0xff, 1, 0, 0]);
    assertEquals(hash.slice(6, 15), [0, 0, 0, 0, 0, 0, 0, 0, 40]);
    device.setRssKey(new Uint8Array(40).fill(3));
    assertEquals(told(virtio)[1].slice(-2), [3, 3]);
    assertThrows(() => device.setRssTable([0]), NotSupportedError);
  });
});

Deno.test("VLANs are filtered where the user asks for it", async () => {
  const offers = [...CONTROLLED, "vlan-filter"] as const;
  await withVirtio({ offers }, {}, ({ device }) => {
    assertEquals(device.features.vlanFilter, false);
    assertThrows(() => device.addVlanFilter(5), NotSupportedError);
  });
  const config = { virtio: { with: ["vlan-filter"] } };
  await withVirtio({ offers }, config, ({ device, virtio }) => {
    told(virtio);
    assertEquals(device.features.vlanFilter, true);
    device.addVlanFilter(0x123);
    device.addVlanFilter(0x123);
    device.removeVlanFilter(0x124);
    assertEquals(told(virtio), [[2, 0, 0x23, 1]]);
    device.removeVlanFilter(0x123);
    assertEquals(told(virtio), [[2, 1, 0x23, 1]]);
    assertThrows(() => device.addVlanFilter(4095), ConfigError);
  });
});

Deno.test("a device without filters delivers all it gets, so every wish is granted", async () => {
  await withVirtio({ offers: PLAIN }, {}, ({ device, virtio }) => {
    assertEquals(device.features.macFilters, 0);
    device.setPromiscuous(true);
    device.setAllMulticast(true);
    device.addMacFilter("02:00:00:00:00:0a");
    device.removeMacFilter("02:00:00:00:00:0a");
    device.setMacAddress("02:00:00:00:00:66");
    assertEquals(device.macAddress, "02:00:00:00:00:66");
    assertThrows(() => device.setRssKey(new Uint8Array(40)), NotSupportedError);
    assertThrows(() => device.setRssTable([0]), NotSupportedError);
    assertEquals(virtio.commands, []);
  });
});

Deno.test("an address that the device filters by and does not let change stays", async () => {
  const offers = [...PLAIN, "control-queue", "rx-filters"] as const;
  await withVirtio({ offers }, {}, ({ device }) => {
    const change = () => device.setMacAddress("02:00:00:00:00:66");
    assertThrows(change, NotSupportedError, "address");
    assertEquals(device.macAddress, "02:00:00:00:00:07");
  });
});

const LIES: [what: string, answer: Answer, text: string, last: boolean][] = [
  ["an error", { ack: 1 }, "refused VIRTIO_NET_CTRL_RX_PROMISC", false],
  ["a byte that is no answer", { ack: 0x33 }, "51, which is no answer", false],
  ["nothing in the byte", { ack: undefined }, "255, which is", false],
  ["more bytes than there are", { written: 2 }, "2 bytes", true],
  ["a buffer that it was not given", { id: 1 }, "the id 1", true],
  ["an id beyond the ring", { id: 0xffff }, "the id 65535", true],
];

for (const kind of [[], ["packed"]] as VirtioFeatureName[][]) {
  for (const [what, answer, text, isLast] of LIES) {
    const ring = kind[0] ?? "split";
    Deno.test(`${what} in answer to a command is an error (${ring})`, async () => {
      const offers = [...CONTROLLED, ...kind];
      await withVirtio({ offers }, {}, ({ device, virtio }) => {
        virtio.answer = () => answer;
        fails(device, text);
        virtio.answer = () => ({});
        if (isLast) fails(device, "takes no more commands");
        else device.setPromiscuous(true);
      });
    });
  }
}

function fails(device: Device, text: string): void {
  assertThrows(() => device.setPromiscuous(true), DeviceFaultError, text);
}

Deno.test("an answer that is given twice breaks a split control queue", async () => {
  await withVirtio({ offers: CONTROLLED }, {}, ({ device, virtio }) => {
    virtio.answer = () => ({ times: 2 });
    fails(device, "the used index");
    fails(device, "takes no more commands");
  });
});

/** A control queue without a device around it, and how long it waits. */
function withControlQueue(
  names: readonly VirtioFeatureName[],
  test: (queue: ControlQueue, ring: DeviceRing) => void,
  onNotify: (ring: DeviceRing) => void,
): void {
  const features = acceptedFeatures(featureBits(["version-1", ...names]));
  const depth = controlQueueDepth(features, 3);
  const memory = DmaMemory.allocate({
    bytes: controlQueueBytes(features, depth),
    backing: "plain",
  });
  const table = new DmaTable();
  table.map(IOVA, memory.buffer, memory.byteOffset, memory.committed);
  const queue = new ControlQueue({
    memory: {
      buffer: memory.buffer,
      byteOffset: memory.byteOffset,
      iova: IOVA,
    },
    features,
    depth,
    notify: () => onNotify(ring),
    timeoutMs: 30,
  });
  const setup = { ...queue.addresses, size: depth, vector: undefined };
  const ring = deviceRing(table, setup, names.includes("packed"));
  try {
    queue.resetRing();
    test(queue, ring);
  } finally {
    memory.free();
  }
}

/** A command, and the memory that it came in: the bytes are a copy. */
interface Seen {
  readonly chain: Chain;
  readonly bytes: readonly number[];
}

function answerAll(ring: DeviceRing, seen: Seen[]): void {
  for (let chain = ring.take(); chain; chain = ring.take()) {
    writable(chain)[0] = 0;
    seen.push({ chain, bytes: [...readable(chain)] });
    ring.use(chain, 1);
  }
}

for (const names of [[], ["packed"]] as VirtioFeatureName[][]) {
  const kind = names[0] ?? "split";
  Deno.test(`a command that is not answered ends the commands, until a reset (${kind})`, () => {
    let quiet = true;
    const seen: Seen[] = [];
    withControlQueue(names, (queue) => {
      const data = Uint8Array.of(1);
      const send = () => queue.send(Commands.promiscuous, data);
      assertThrows(send, DeviceTimeoutError, "RX_PROMISC");
      assertThrows(send, DeviceFaultError, "did not answer");
      quiet = false;
      queue.resetRing();
      send();
    }, (ring) => quiet || answerAll(ring, seen));
    assertEquals(seen.map(({ bytes }) => bytes), [[0, 0, 1]]);
  });

  Deno.test(`a control queue of two descriptors goes round (${kind})`, () => {
    const seen: Seen[] = [];
    withControlQueue(names, (queue) => {
      assertEquals(queue.depth, 2);
      for (let i = 0; i < 9; i++) {
        queue.send(Commands.vlanAdd, Uint8Array.of(i, 0));
      }
    }, (ring) => answerAll(ring, seen));
    assertEquals(seen.length, 9);
    // What the device reads comes before what it writes, a byte.
    assertEquals(seen[0].chain.pieces.map(({ writable }) => writable), [
      false,
      true,
    ]);
    assertEquals(seen[0].chain.pieces[1].bytes.length, 1);
    assertEquals(seen[8].bytes, [2, 0, 8, 0]);
  });
}
